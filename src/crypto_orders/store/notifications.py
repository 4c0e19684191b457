"""The inbox: facts are stored before they are looked into, and counted when they come again."""

from datetime import timedelta
from uuid import UUID

from msgspec import Struct

from crypto_orders.domain.order import Verdict, Via
from crypto_orders.kit import ids
from crypto_orders.store.connection import Row, Tx

RETRY_FIRST = timedelta(seconds=2)
RETRY_MAX = timedelta(hours=1)
"""A fact that waits is tried after 2 s, then twice as long each time, at most hourly."""


class Arrival(Struct, frozen=True, kw_only=True):
    """A fact as it comes in. `digest` says whether it is the same fact again."""

    via: Via
    digest: bytes
    body: bytes
    matched_form: str | None = None
    payment_id: str | None = None
    payment_status: str | None = None
    claimed_order_id: str | None = None
    actor: str | None = None
    reason: str | None = None


class Kept(Struct, frozen=True):
    """A fact in the inbox, as far as applying it needs."""

    notification_id: UUID
    via: Via
    body: bytes
    matched_form: str | None
    verdict: Verdict
    actor: str | None
    reason: str | None
    tries: int


KEEP = """
INSERT INTO notifications AS n (
       notification_id, via, digest, body, matched_form, payment_id, payment_status, claimed_order_id, actor,
       reason, received_at, last_seen_at, try_at)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now, now, now + interval '2 seconds'
  FROM date_trunc('milliseconds', clock_timestamp()) AS now
    ON CONFLICT (via, digest) DO UPDATE
   SET times_seen = n.times_seen + 1, last_seen_at = greatest(n.last_seen_at, EXCLUDED.last_seen_at)
RETURNING n.notification_id, n.via, n.body, n.matched_form, n.verdict, n.actor, n.reason, n.tries
"""


async def keep(tx: Tx, arrival: Arrival) -> Kept:
    """Store a fact, or count it when it came before. A worker tries it soon if nobody settles it."""
    row = await tx.fetchrow(
        KEEP,
        ids.uuid7(),
        arrival.via.value,
        arrival.digest,
        arrival.body,
        arrival.matched_form,
        arrival.payment_id,
        arrival.payment_status,
        arrival.claimed_order_id,
        arrival.actor,
        arrival.reason,
    )
    assert row is not None  # noqa: S101 - RETURNING of an upsert always gives its row
    return _kept(row)


def _kept(row: Row) -> Kept:
    return Kept(
        row["notification_id"],
        Via(row["via"]),
        row["body"],
        row["matched_form"],
        Verdict(row["verdict"]),
        row["actor"],
        row["reason"],
        row["tries"],
    )


SETTLE = """
UPDATE notifications
   SET verdict = $2, why = $3, settled_at = date_trunc('milliseconds', clock_timestamp()), try_at = NULL
 WHERE notification_id = $1 AND try_at IS NOT NULL
"""


async def settle(tx: Tx, notification_id: UUID, verdict: Verdict, why: str) -> None:
    """Close an open fact that needs no order's lock; what a settled one did before stays told."""
    await tx.execute(SETTLE, notification_id, verdict.value, why)


# Claiming moves try_at ahead: whoever claims and dies leaves the fact to be tried again.
CLAIM = """
UPDATE notifications
   SET tries = tries + 1,
       try_at = clock_timestamp() + least($2::interval * 2 ^ least(tries, 20), $3::interval)
 WHERE notification_id IN (SELECT notification_id
                             FROM notifications
                            WHERE try_at <= clock_timestamp()
                            ORDER BY try_at
                            LIMIT $1
                              FOR UPDATE SKIP LOCKED)
   AND try_at <= clock_timestamp()
RETURNING notification_id, via, body, matched_form, verdict, actor, reason, tries
"""


async def claim_due(tx: Tx, limit: int) -> list[Kept]:
    """Take up to `limit` facts that are due for another try; each is due again later by itself."""
    return [_kept(row) for row in await tx.fetch(CLAIM, limit, RETRY_FIRST, RETRY_MAX)]
