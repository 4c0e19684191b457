"""Puts orders straight into a database, for tests of how they are read."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID, uuid4

from crypto_orders.kit import ids
from crypto_orders.store.connection import Conn

DAY = datetime(2026, 5, 22, tzinfo=UTC)
WINDOW = timedelta(minutes=60)

ACCOUNT = "INSERT INTO accounts (account_id, name) VALUES ($1, 'An account') ON CONFLICT DO NOTHING"
ORDER = """
  WITH routed AS (
       INSERT INTO order_routes (order_id, account_id) VALUES ($2, $1)
     ), counted AS (
       INSERT INTO order_deltas (
              delta_id, created_on, status, product, price_currency, orders, price_cents, paid_ms)
       SELECT $15, ($12::timestamptz AT TIME ZONE 'UTC')::date, $6, $3, $5, 1, $4,
              coalesce(extract(epoch FROM $14::timestamptz - $12) * 1000, 0)
     )
INSERT INTO orders (account_id, order_id, product, price_cents, price_currency, status, version, payment_id,
                    customer_note, internal_note, pay_currency, window_ends_at, created_at, updated_at,
                    paid_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'btc', $11, $12, $13, $14)
"""
EVENT = """
INSERT INTO order_events (account_id, order_id, seq, status, source, via, at, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7, '{}')
"""
PAYMENT = """
  WITH routed AS (
       INSERT INTO payment_routes (payment_id, account_id, order_id) VALUES ($3, $1, $2)
     ), repeated AS (
       UPDATE orders
          SET payment_currency = 'btc', payment_amount = $6, payment_paid = $7
        WHERE account_id = $1 AND order_id = $2 AND payment_id = $3
     )
INSERT INTO payments (account_id, order_id, payment_id, parent_payment_id, origin, pay_address, pay_currency,
                      pay_amount, actually_paid, provider_status, best_rank, money_seen, valid_until,
                      created_at, changed_at)
VALUES ($1, $2, $3, $4, $5, 'bc1qaddress', 'btc', $6, $7, 'waiting', 0, false, $8, $9, $9)
"""
FLAG = """
INSERT INTO flags (account_id, flag_id, kind, subject, payment_id, order_id, state, fingerprints, evidence,
                   opened_at, last_seen_at, resolution, reason, resolved_at, resolved_by)
VALUES ($1, $2, $3, $4, $4, $5, $6, '{}', '[]', $7, $7, $8, $8, $9, $8)
"""


class Put(NamedTuple):
    """An order that was put in."""

    account_id: UUID
    order_id: str
    created_at: datetime
    product: str
    status: str
    note: str | None


async def put_account(conn: Conn) -> UUID:
    """A new account."""
    account_id = uuid4()
    await conn.execute(ACCOUNT, account_id)
    return account_id


async def put_order(
    conn: Conn,
    account_id: UUID,
    *,
    at: datetime = DAY,
    product: str = "solo_manual",
    status: str = "pending",
    note: str | None = None,
    internal_note: str | None = None,
    payment_id: str | None = None,
    cents: int = 7900,
    currency: str = "USD",
    paid_at: datetime | None = None,
    order_id: str | None = None,
) -> Put:
    """An order with its events, its count in the statistics, and its payment when it has one."""
    order_id = order_id or ids.order_id(at)
    if status == "paid":
        paid_at = paid_at or at + timedelta(minutes=10)
        payment_id = payment_id or f"pay-{order_id}"
    moved = status != "pending"
    updated_at = paid_at or (at + timedelta(minutes=5) if moved else at)
    await conn.execute(
        ORDER,
        account_id,
        order_id,
        product,
        cents,
        currency,
        status,
        2 if moved else 1,
        payment_id,
        note,
        internal_note,
        at + WINDOW,
        at,
        updated_at,
        paid_at,
        uuid4(),
    )
    await conn.execute(EVENT, account_id, order_id, 1, "pending", "create", None, at)
    if moved:
        source, via = ("cancel", None) if status == "cancelled" else ("ipn", "ipn")
        await conn.execute(EVENT, account_id, order_id, 2, status, source, via, updated_at)
    if payment_id:
        await put_payment(conn, account_id, order_id, payment_id, at=at)
    return Put(account_id, order_id, at, product, status, note)


async def put_payment(
    conn: Conn,
    account_id: UUID,
    order_id: str,
    payment_id: str,
    *,
    parent: str | None = None,
    at: datetime = DAY,
    amount: Decimal = Decimal("0.00079"),
    paid: Decimal | None = None,
) -> None:
    """A payment of an order; one with a parent is a child."""
    await conn.execute(
        PAYMENT,
        account_id,
        order_id,
        payment_id,
        parent,
        "child" if parent else "minted",
        amount,
        paid,
        at + timedelta(days=7),
        at,
    )


async def put_flag(
    conn: Conn,
    account_id: UUID,
    kind: str,
    *,
    order_id: str | None = None,
    payment_id: str = "1",
    at: datetime = DAY,
    resolved: bool = False,
) -> UUID:
    """A flag, open or dismissed."""
    flag_id = uuid4()
    await conn.execute(
        FLAG,
        account_id,
        flag_id,
        kind,
        payment_id,
        order_id,
        "resolved" if resolved else "open",
        at,
        "dismissed" if resolved else None,
        at if resolved else None,
    )
    return flag_id
