"""Starting an order and recording its payment: the two statements around the provider's create call."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from msgspec import Struct

from crypto_orders.domain.order import Decision, Order
from crypto_orders.domain.payment import Payment, next_ask_at
from crypto_orders.kit import ids
from crypto_orders.store.connection import Conn, Tx
from crypto_orders.store.orders import ORDER_COLUMNS, order_of
from crypto_orders.store.payments import payment_of

IN_FLIGHT = timedelta(seconds=20)
"""A create call older than this is over; its outcome is unknown, and the order may be minted again."""


class Start(Struct, frozen=True, kw_only=True):
    """What a checkout asks for. A limit of 0 is none; without `mint` no create call follows."""

    account_id: UUID
    order_id: str
    product: str
    pay_currency: str | None
    window: timedelta
    idempotency_key: str | None
    fingerprint: Mapping[str, object]
    open_max: int
    per_day_max: int
    mint: bool


class Started(Struct, frozen=True):
    """What came of a start: an order, or why there is none.

    `order` is None when the product is unknown, a limit is reached, or the key is taken.
    """

    order: Order | None
    product_known: bool
    open_orders: int
    unpaid_today: int


START = f"""
  WITH used AS MATERIALIZED (
       SELECT open_orders, unpaid_today FROM unpaid_orders($1, $8, $9)
     ), clock AS MATERIALIZED (
       SELECT date_trunc('milliseconds', clock_timestamp()) AS now FROM used
     ), catalogue AS (
       SELECT price_cents, price_currency FROM products WHERE product = $3 AND active
     ), allowed AS (
       SELECT c.price_cents, c.price_currency
         FROM catalogue c, used u
        WHERE ($8 = 0 OR u.open_orders < $8) AND ($9 = 0 OR u.unpaid_today < $9)
     ), key AS (
       INSERT INTO idempotency_keys (account_id, idempotency_key, order_id, fingerprint, created_at)
       SELECT $1, $6, $2, $7::jsonb, clock.now FROM clock, allowed WHERE $6::text IS NOT NULL
           ON CONFLICT DO NOTHING
    RETURNING 1
     ), started AS (
       INSERT INTO orders AS o (
              account_id, order_id, product, price_cents, price_currency, status, version, pay_currency,
              window_ends_at, created_at, updated_at, mint_due_at)
       SELECT $1, $2, $3, a.price_cents, a.price_currency, 'pending', 1, $4,
              clock.now + $5::interval, clock.now, clock.now,
              CASE WHEN $10::boolean THEN clock.now + interval '20 seconds' END
         FROM clock, allowed a
        WHERE $6::text IS NULL OR EXISTS (SELECT FROM key)
    RETURNING {ORDER_COLUMNS}
     ), routed AS (
       INSERT INTO order_routes (order_id, account_id) SELECT order_id, account_id FROM started
     ), event AS (
       INSERT INTO order_events (account_id, order_id, seq, status, source, at, detail)
       SELECT account_id, order_id, 1, 'pending', 'create', created_at, '{{}}' FROM started
     ), attempt AS (
       INSERT INTO provider_attempts (account_id, order_id, attempt_no, pay_currency, state, started_at)
       SELECT account_id, order_id, 1, pay_currency, 'sent', created_at FROM started WHERE $10
     ), counted AS (
       INSERT INTO order_deltas (delta_id, created_on, status, product, price_currency, orders, price_cents, paid_ms)
       SELECT $11, (created_at AT TIME ZONE 'UTC')::date, 'pending', product, price_currency, 1, price_cents, 0
         FROM started
     )
SELECT s.*, u.open_orders, u.unpaid_today, EXISTS (SELECT FROM catalogue) AS product_known
  FROM used u LEFT JOIN started s ON true
"""


async def start(tx: Tx, asked: Start) -> Started:
    """Start an order with its key, first event and attempt, if its product, the limits and the key allow.

    Where there are limits, starts of one account wait for each other, so that none is counted too late. The time
    of the order is read after that wait.
    """
    row = await tx.fetchrow(
        START,
        asked.account_id,
        asked.order_id,
        asked.product,
        asked.pay_currency,
        asked.window,
        asked.idempotency_key,
        msgspec.json.encode(asked.fingerprint).decode(),
        asked.open_max,
        asked.per_day_max,
        asked.mint,
        ids.uuid7(),
    )
    assert row is not None  # noqa: S101 - an aggregate over no rows is one row
    order = order_of(row) if row["order_id"] is not None else None
    return Started(order, row["product_known"], row["open_orders"], row["unpaid_today"])


# The quick way of recording what was minted: only while the order is as `start` left it.
MINTED = """
  WITH clock AS MATERIALIZED (
       SELECT date_trunc('milliseconds', clock_timestamp()) AS now
     ), changed AS (
       UPDATE orders
          SET payment_id = $3, payment_currency = $6, payment_amount = $7, payment_paid = $13,
              mint_due_at = NULL, updated_at = clock.now
         FROM clock
        WHERE account_id = $1 AND order_id = $2 AND version = 1 AND payment_id IS NULL
    RETURNING account_id, order_id
     ), routed AS (
       INSERT INTO payment_routes (payment_id, account_id, order_id)
       SELECT $3, account_id, order_id FROM changed
     ), attempt AS (
       UPDATE provider_attempts AS a
          SET state = 'minted', payment_id = $3, settled_at = clock.now
         FROM changed c, clock
        WHERE a.account_id = c.account_id AND a.order_id = c.order_id AND a.attempt_no = $4 AND a.state = 'sent'
     ), paid AS (
       INSERT INTO payments (account_id, order_id, payment_id, origin, pay_address, pay_currency, pay_amount,
                             payin_extra_id, network, provider_status, best_rank, money_seen, actually_paid,
                             valid_until, created_at, changed_at, ask_at)
       SELECT account_id, order_id, $3, 'minted', $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17
         FROM changed
     )
SELECT EXISTS (SELECT FROM changed)
"""


async def record_minted(tx: Tx, order: Order, decision: Decision, attempt_no: int, now: datetime) -> bool:
    """Store what `mint` decided for a fresh order by one statement; False when the order has moved on.

    Raises:
        asyncpg.UniqueViolationError: the payment id belongs to another order already.
    """
    (payment,) = decision.payments
    return await tx.fetchval(
        MINTED,
        order.account_id,
        order.order_id,
        payment.payment_id,
        attempt_no,
        payment.pay_address,
        payment.pay_currency,
        payment.pay_amount,
        payment.payin_extra_id,
        payment.network,
        payment.provider_status,
        payment.best_rank,
        payment.money_seen,
        payment.actually_paid,
        payment.valid_until,
        payment.created_at,
        payment.changed_at,
        next_ask_at(payment, now),
    )


# ------------------------------------------------------------------ create calls


class Attempt(Struct, frozen=True):
    """The last create call of an order; its age is told by the database's clock."""

    attempt_no: int
    state: str
    reason: str | None
    pay_currency: str
    age: timedelta


class Standing(Struct, frozen=True):
    """Where the minting of an order stands, at the database's time `now`."""

    order: Order
    attempt: Attempt | None
    payment: Payment | None
    now: datetime


STANDING = f"""
SELECT {ORDER_COLUMNS}, date_trunc('milliseconds', clock_timestamp()) AS now,
       a.attempt_no, a.state, a.reason, a.pay_currency AS attempt_coin, clock_timestamp() - a.started_at AS age
  FROM orders o
  LEFT JOIN LATERAL (SELECT * FROM provider_attempts a
                      WHERE a.account_id = o.account_id AND a.order_id = o.order_id
                      ORDER BY a.attempt_no DESC
                      LIMIT 1) a ON true
 WHERE o.account_id = $1 AND o.order_id = $2
"""
CURRENT_PAYMENT = "SELECT * FROM payments WHERE account_id = $1 AND payment_id = $2"


async def standing(conn: Conn, account_id: UUID, order_id: str) -> Standing | None:
    """An order with its last create call and its current payment; None when there is no such order."""
    row = await conn.fetchrow(STANDING, account_id, order_id)
    if row is None:
        return None
    order, attempt, payment = order_of(row), None, None
    if row["attempt_no"] is not None:
        attempt = Attempt(row["attempt_no"], row["state"], row["reason"], row["attempt_coin"], row["age"])
    if order.payment_id is not None:
        paid = await conn.fetchrow(CURRENT_PAYMENT, account_id, order.payment_id)
        payment = payment_of(paid) if paid else None
    return Standing(order, attempt, payment, row["now"])


REFUSED_COINS = """
SELECT DISTINCT pay_currency FROM provider_attempts WHERE account_id = $1 AND order_id = $2 AND state = 'refused'
"""


async def refused_coins(conn: Conn, order: Order) -> frozenset[str]:
    """The coins that the provider refused for an order."""
    rows = await conn.fetch(REFUSED_COINS, order.account_id, order.order_id)
    return frozenset(row["pay_currency"] for row in rows)


BEGIN_ATTEMPT = """
  WITH over AS (
       UPDATE provider_attempts
          SET state = 'unknown', reason = 'no outcome was recorded', settled_at = $5
        WHERE account_id = $1 AND order_id = $2 AND state = 'sent'
     ), due AS (
       UPDATE orders SET mint_due_at = $5::timestamptz + interval '20 seconds', pay_currency = $4
        WHERE account_id = $1 AND order_id = $2
     )
INSERT INTO provider_attempts (account_id, order_id, attempt_no, pay_currency, state, started_at)
VALUES ($1, $2, $3, $4, 'sent', $5)
"""


async def begin_attempt(tx: Tx, order: Order, attempt_no: int, pay_currency: str, now: datetime) -> None:
    """Write down a further create call before it is made; an older one without outcome is unknown from here."""
    await tx.execute(BEGIN_ATTEMPT, order.account_id, order.order_id, attempt_no, pay_currency, now)


SETTLE_ATTEMPT = """
  WITH settled AS (
       UPDATE provider_attempts
          SET state = $4, reason = $5, payment_id = $6, settled_at = date_trunc('milliseconds', clock_timestamp())
        WHERE account_id = $1 AND order_id = $2 AND attempt_no = $3 AND state IN ('sent', 'unknown')
    RETURNING 1
     )
UPDATE orders
   SET mint_due_at = CASE WHEN $4 IN ('not_made', 'unknown') AND mint_due_at IS NOT NULL
                          THEN greatest(mint_due_at, date_trunc('milliseconds', clock_timestamp()) + $7::interval)
                     END
 WHERE account_id = $1 AND order_id = $2 AND EXISTS (SELECT FROM settled)
"""


async def settle_attempt(
    tx: Tx,
    order: Order,
    attempt_no: int,
    state: str,
    *,
    reason: str | None = None,
    payment_id: str | None = None,
    retry_after: timedelta = timedelta(0),
) -> None:
    """Write down what came of a create call, and when a worker may try again if it may."""
    await tx.execute(
        SETTLE_ATTEMPT,
        order.account_id,
        order.order_id,
        attempt_no,
        state,
        (reason or "")[:500] or None,
        payment_id,
        retry_after,
    )


SETTLE_OPEN = """
UPDATE provider_attempts
   SET state = 'minted', payment_id = $3, settled_at = date_trunc('milliseconds', clock_timestamp())
 WHERE account_id = $1 AND order_id = $2 AND state IN ('sent', 'unknown')
   AND attempt_no = (SELECT max(attempt_no) FROM provider_attempts
                      WHERE account_id = $1 AND order_id = $2 AND state IN ('sent', 'unknown'))
"""


async def settle_open_attempt(tx: Tx, order: Order, payment_id: str) -> None:
    """A payment of ours was met before its create call's outcome: that is the outcome."""
    await tx.execute(SETTLE_OPEN, order.account_id, order.order_id, payment_id)


DUE = """
SELECT account_id, order_id
  FROM orders
 WHERE mint_due_at <= clock_timestamp()
 ORDER BY mint_due_at
 LIMIT $1
"""


async def due_for_minting(conn: Conn, limit: int) -> list[tuple[UUID, str]]:
    """Orders whose minting a worker may complete now."""
    return [(row["account_id"], row["order_id"]) for row in await conn.fetch(DUE, limit)]


GIVE_UP = "UPDATE orders SET mint_due_at = NULL WHERE account_id = $1 AND order_id = $2"


async def give_up_minting(tx: Tx, order: Order) -> None:
    """Nothing is minted for an order any more: it ended, or its pay window did."""
    await tx.execute(GIVE_UP, order.account_id, order.order_id)


# ------------------------------------------------------------------ idempotency keys


class Replayed(Struct, frozen=True):
    """What a key stands for: its order, and the fields it was first sent with."""

    order: Order
    fingerprint: dict[str, object]


REPLAY = f"""
SELECT {ORDER_COLUMNS}, k.fingerprint
  FROM idempotency_keys k
  JOIN orders o USING (account_id, order_id)
 WHERE k.account_id = $1 AND k.idempotency_key = $2
"""


async def find_key(conn: Conn, account_id: UUID, idempotency_key: str) -> Replayed | None:
    """The order a key was first used for, or None when it is new."""
    row = await conn.fetchrow(REPLAY, account_id, idempotency_key)
    if row is None:
        return None
    return Replayed(order_of(row), msgspec.json.decode(row["fingerprint"], type=dict[str, object]))


COUNT_REPLAY = """
INSERT INTO idempotency_replays (account_id, replay_id, idempotency_key, order_id, differing_fields, answered, at)
VALUES ($1, $2, $3, $4, $5, $6, date_trunc('milliseconds', clock_timestamp()))
"""


async def count_replay(
    tx: Tx,
    account_id: UUID,
    idempotency_key: str,
    order_id: str,
    differing_fields: tuple[str, ...],
    *,
    answered: bool,
) -> None:
    """Keep one repeated key for the metrics: the fields that differed, and whether it was answered."""
    await tx.execute(
        COUNT_REPLAY, account_id, ids.uuid7(), idempotency_key, order_id, list(differing_fields), answered
    )
