"""Orders with everything that changes together: locking, creating, and storing one decision."""

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from crypto_orders.domain.order import Decision, Evidence, Flag, Order, Status
from crypto_orders.domain.payment import Payment, next_ask_at
from crypto_orders.domain.webhook_event import webhook_body
from crypto_orders.kit import ids
from crypto_orders.store.connection import Conn, Row, Tx
from crypto_orders.store.flags import SEEN_AGAIN
from crypto_orders.store.payments import payment_of

ORDER_COLUMNS = """o.account_id, o.order_id, o.product, o.price_cents, o.price_currency, o.status, o.version,
       o.payment_id, o.pay_currency, o.customer_note, o.internal_note, o.window_ends_at, o.created_at,
       o.updated_at, o.paid_at, o.mint_due_at"""


class Locked(Struct, frozen=True):
    """An order under its row lock, its payments, and the database's time at which it was locked."""

    order: Order
    payments: tuple[Payment, ...]
    own_attempt: bool
    now: datetime


class Raised(Struct, frozen=True):
    """A flag that a decision raised, and how often it was seen by now."""

    kind: str
    times_seen: int


def order_of(row: Row) -> Order:
    """Read an order from a row that has ORDER_COLUMNS."""
    return Order(
        account_id=row["account_id"],
        order_id=row["order_id"],
        product=row["product"],
        price_cents=row["price_cents"],
        price_currency=row["price_currency"],
        status=Status(row["status"]),
        version=row["version"],
        payment_id=row["payment_id"],
        pay_currency=row["pay_currency"],
        customer_note=row["customer_note"],
        internal_note=row["internal_note"],
        window_ends_at=row["window_ends_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        paid_at=row["paid_at"],
        mint_due_at=row["mint_due_at"],
    )


GET = f"""
SELECT {ORDER_COLUMNS}
  FROM orders o
 WHERE o.account_id = $1 AND o.order_id = $2
"""


async def get(conn: Conn, account_id: UUID, order_id: str) -> Order | None:
    """An account's order, or None when it has no such order."""
    row = await conn.fetchrow(GET, account_id, order_id)
    return order_of(row) if row else None


ROUTE = "SELECT account_id FROM order_routes WHERE order_id = $1"


async def account_of(conn: Conn, order_id: str) -> UUID | None:
    """Whose order it is, for callers that work across accounts."""
    return await conn.fetchval(ROUTE, order_id)


LOCK = f"""
SELECT {ORDER_COLUMNS}
  FROM orders o
 WHERE o.account_id = $1 AND o.order_id = $2
   FOR NO KEY UPDATE OF o
"""
LOCK_BY_PAYMENT = f"""
SELECT {ORDER_COLUMNS}
  FROM payment_routes r
  JOIN orders o USING (account_id, order_id)
 WHERE r.payment_id = $1
   FOR NO KEY UPDATE OF o
"""
# The lock is taken by a statement of its own: what this one reads is what the lock protects.
UNDER_LOCK = """
SELECT date_trunc('milliseconds', clock_timestamp()) AS now, a.own_attempt, p.*
  FROM (SELECT EXISTS (SELECT FROM provider_attempts
                        WHERE account_id = $1 AND order_id = $2 AND state IN ('sent', 'unknown'))) AS a (own_attempt)
  LEFT JOIN payments p ON p.account_id = $1 AND p.order_id = $2
 ORDER BY p.created_at, p.payment_id
"""
PAYMENTS = """
SELECT p.*
  FROM payments p
 WHERE p.account_id = $1 AND p.order_id = $2
 ORDER BY p.created_at, p.payment_id
"""


async def lock(tx: Tx, account_id: UUID, order_id: str) -> Locked | None:
    """Lock an order for a change and read it with its payments; None when there is no such order."""
    return await _under_lock(tx, await tx.fetchrow(LOCK, account_id, order_id))


async def lock_by_payment(tx: Tx, payment_id: str) -> Locked | None:
    """Lock the order that a payment belongs to; None when no order has it."""
    return await _under_lock(tx, await tx.fetchrow(LOCK_BY_PAYMENT, payment_id))


async def _under_lock(tx: Tx, row: Row | None) -> Locked | None:
    if row is None:
        return None
    order = order_of(row)
    rows = await tx.fetch(UNDER_LOCK, order.account_id, order.order_id)
    payments = tuple(payment_of(r) for r in rows if r["payment_id"] is not None)
    return Locked(order, payments, rows[0]["own_attempt"], rows[0]["now"])


async def payments_of(conn: Conn, account_id: UUID, order_id: str) -> tuple[Payment, ...]:
    """The payments of an order, oldest first."""
    return tuple(map(payment_of, await conn.fetch(PAYMENTS, account_id, order_id)))


# ------------------------------------------------------------------ storing a decision


class _PaymentRow(Payment, frozen=True, kw_only=True):
    snapshot: msgspec.Raw | None
    ask_at: datetime | None
    is_new: bool


class _FlagRow(Struct, frozen=True, kw_only=True):
    flag_id: UUID
    kind: str
    subject: str
    payment_id: str | None
    fingerprint: str
    evidence: Evidence
    closed_because: str | None


SAVE = f"""
  WITH payment AS (
       SELECT *
         FROM jsonb_to_recordset($16::jsonb) AS p (
              payment_id text, parent_payment_id text, origin text, pay_address text, pay_currency text,
              pay_amount numeric, payin_extra_id text, network text, provider_status text, best_rank smallint,
              money_seen boolean, actually_paid numeric, actually_paid_at_fiat numeric, outcome_amount numeric,
              outcome_currency text, payin_hash text, payout_hash text, valid_until timestamptz,
              created_at timestamptz, changed_at timestamptz, snapshot jsonb, ask_at timestamptz, is_new boolean)
     ), changed AS (
       UPDATE orders
          SET status = $3, version = $4, payment_id = $5, updated_at = $6, paid_at = $7, mint_due_at = $8,
              payment_currency = $24, payment_amount = $25, payment_paid = $26
        WHERE account_id = $1 AND order_id = $2
          AND (version, payment_id, updated_at, mint_due_at, payment_currency, payment_amount, payment_paid)
              IS DISTINCT FROM ($4, $5, $6, $8, $24, $25::numeric, $26::numeric)
     ), event AS (
       INSERT INTO order_events (account_id, order_id, seq, status, source, via, actor, at, detail)
       SELECT $1, $2, $4, $3, $10, $11, $12, $9, $13::jsonb
        WHERE $10::text IS NOT NULL
     ), counted AS (
       INSERT INTO order_deltas (delta_id, created_on, status, product, price_currency, orders, price_cents, paid_ms)
       SELECT d.delta_id, (o.created_at AT TIME ZONE 'UTC')::date, d.status, o.product, o.price_currency,
              d.sign, d.sign * o.price_cents,
              CASE WHEN d.status = 'paid' THEN extract(epoch FROM $7::timestamptz - o.created_at) * 1000 ELSE 0 END
         FROM orders o
        CROSS JOIN LATERAL (VALUES ($17::uuid, o.status, -1), ($18::uuid, $3, 1)) AS d (delta_id, status, sign)
        WHERE o.account_id = $1 AND o.order_id = $2 AND $10::text IS NOT NULL
     ), told AS (
       INSERT INTO webhook_events (account_id, event_id, order_id, event_type, body, created_at, fan_out_at)
       SELECT $1, $19, $2, $14, $15, $9, $9
        WHERE $14::text IS NOT NULL
     ), routed AS (
       INSERT INTO payment_routes (payment_id, account_id, order_id)
       SELECT payment_id, $1, $2 FROM payment WHERE is_new
     ), paid AS (
       INSERT INTO payments AS kept (
              account_id, order_id, payment_id, parent_payment_id, origin, pay_address, pay_currency, pay_amount,
              payin_extra_id, network, provider_status, best_rank, money_seen, actually_paid,
              actually_paid_at_fiat, outcome_amount, outcome_currency, payin_hash, payout_hash, valid_until,
              created_at, changed_at, snapshot, snapshot_at, ask_at)
       SELECT $1, $2, payment_id, parent_payment_id, origin, pay_address, pay_currency, pay_amount,
              payin_extra_id, network, provider_status, best_rank, money_seen, actually_paid,
              actually_paid_at_fiat, outcome_amount, outcome_currency, payin_hash, payout_hash, valid_until,
              created_at, changed_at, snapshot, CASE WHEN snapshot IS NOT NULL THEN $9::timestamptz END, ask_at
         FROM payment
           ON CONFLICT (account_id, payment_id) DO UPDATE
          SET origin = EXCLUDED.origin, provider_status = EXCLUDED.provider_status,
              payin_extra_id = EXCLUDED.payin_extra_id, network = EXCLUDED.network,
              best_rank = EXCLUDED.best_rank, money_seen = EXCLUDED.money_seen,
              actually_paid = EXCLUDED.actually_paid,
              actually_paid_at_fiat = EXCLUDED.actually_paid_at_fiat,
              outcome_amount = EXCLUDED.outcome_amount, outcome_currency = EXCLUDED.outcome_currency,
              payin_hash = EXCLUDED.payin_hash, payout_hash = EXCLUDED.payout_hash,
              changed_at = EXCLUDED.changed_at,
              snapshot = coalesce(EXCLUDED.snapshot, kept.snapshot),
              snapshot_at = coalesce(EXCLUDED.snapshot_at, kept.snapshot_at),
              ask_at = CASE WHEN EXCLUDED.changed_at > kept.changed_at THEN EXCLUDED.ask_at ELSE kept.ask_at END
     ), settled AS (
       -- The same fact coming again does nothing, and must not hide that it once did something.
       UPDATE notifications
          SET verdict = $21, why = $22, account_id = $1, order_id = $2,
              settled_at = CASE WHEN $21 <> 'waiting' THEN $9::timestamptz END,
              try_at = CASE WHEN $21 = 'waiting' THEN coalesce(try_at, $9::timestamptz) END
        WHERE notification_id = $20 AND verdict <> 'applied' AND (verdict <> 'flagged' OR $21 <> 'no_change')
     )
INSERT INTO flags AS kept (
       account_id, flag_id, kind, subject, payment_id, order_id, state, fingerprints, evidence,
       opened_at, last_seen_at, resolution, reason, resolved_at, resolved_by)
SELECT $1, f.flag_id, f.kind, f.subject, f.payment_id, $2,
       CASE WHEN f.closed_because IS NULL THEN 'open' ELSE 'resolved' END,
       ARRAY[f.fingerprint], jsonb_build_array(f.evidence), $9, $9,
       CASE WHEN f.closed_because IS NOT NULL THEN 'dismissed' END, f.closed_because,
       CASE WHEN f.closed_because IS NOT NULL THEN $9::timestamptz END,
       CASE WHEN f.closed_because IS NOT NULL THEN 'system' END
  FROM jsonb_to_recordset($23::jsonb) AS f (
       flag_id uuid, kind text, subject text, payment_id text, fingerprint text, evidence jsonb, closed_because text)
 WHERE NOT EXISTS (SELECT FROM flags r
                    WHERE r.account_id = $1 AND r.kind = f.kind AND r.subject = f.subject
                      AND r.state = 'resolved' AND f.fingerprint = ANY (r.fingerprints))
{SEEN_AGAIN}RETURNING kept.kind, kept.times_seen
"""


async def save(
    tx: Tx,
    locked: Locked,
    decision: Decision,
    *,
    notification_id: UUID | None = None,
    snapshot: bytes | None = None,
) -> tuple[Raised, ...]:
    """Store all that one decision changes, by one statement, and say which flags it raised.

    The order has to be locked in the same transaction. `snapshot` is the provider's own answer about
    the one payment of the decision, as JSON.

    Raises:
        asyncpg.UniqueViolationError: a new payment id belongs to another order already.
    """
    before, after, event, webhook = locked.order, decision.order, decision.event, decision.webhook
    current = _current_payment(locked, decision)
    event_id = ids.uuid7()
    rows = await tx.fetch(
        SAVE,
        before.account_id,
        before.order_id,
        after.status.value,
        after.version,
        after.payment_id,
        after.updated_at,
        after.paid_at,
        after.mint_due_at,
        locked.now,
        event.source.value if event else None,
        event.via.value if event and event.via else None,
        event.actor if event else None,
        _json(event.detail) if event else None,
        webhook.event_type if webhook else None,
        webhook_body(event_id, webhook) if webhook else None,
        _payment_rows(locked, decision, snapshot),
        ids.uuid7(),
        ids.uuid7(),
        event_id,
        notification_id,
        decision.verdict.value,
        decision.why,
        _flag_rows(decision.flags),
        current.pay_currency if current else None,
        current.pay_amount if current else None,
        current.actually_paid if current else None,
    )
    return tuple(Raised(row["kind"], row["times_seen"]) for row in rows)


def _current_payment(locked: Locked, decision: Decision) -> Payment | None:
    """The payment that is the order's own after a decision, as it is then."""
    wanted = decision.order.payment_id
    return next((p for p in (*decision.payments, *locked.payments) if p.payment_id == wanted), None)


def _payment_rows(locked: Locked, decision: Decision, snapshot: bytes | None) -> str:
    known = {p.payment_id: p for p in locked.payments}
    rows: list[_PaymentRow] = []
    for payment in decision.payments:
        before = known.get(payment.payment_id)
        if before == payment and snapshot is None:
            continue
        fields = msgspec.structs.asdict(payment)
        rows.append(
            _PaymentRow(
                **fields,
                snapshot=msgspec.Raw(snapshot) if snapshot else None,
                ask_at=next_ask_at(payment, locked.now),
                is_new=before is None,
            )
        )
    return _json(rows)


def _flag_rows(flags: tuple[Flag, ...]) -> str:
    return _json(
        [
            _FlagRow(
                flag_id=ids.uuid7(),
                kind=flag.kind.value,
                subject=flag.subject,
                payment_id=flag.payment_id,
                fingerprint=flag.evidence.fingerprint,
                evidence=flag.evidence,
                closed_because=flag.closed_because,
            )
            for flag in flags
        ]
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
