"""Flags: those that concern no order, closing them, and resolving them once."""

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from crypto_orders.domain.order import Evidence, FlagKind
from crypto_orders.kit import ids
from crypto_orders.store.connection import Conn, Row, Tx

NO_ACCOUNT = UUID(int=0)
"""Stands for the account of a flag that concerns no order, so that every key can lead with one."""

# What a further fact adds to an open flag: evidence when it is news, at most twenty pieces of it.
SEEN_AGAIN = """    ON CONFLICT (account_id, kind, subject) WHERE state = 'open' DO UPDATE
   SET times_seen = kept.times_seen + 1,
       last_seen_at = greatest(kept.last_seen_at, EXCLUDED.last_seen_at),
       fingerprints = CASE WHEN EXCLUDED.fingerprints <@ kept.fingerprints THEN kept.fingerprints
                           ELSE kept.fingerprints || EXCLUDED.fingerprints END,
       evidence = CASE WHEN EXCLUDED.fingerprints <@ kept.fingerprints THEN kept.evidence
                       WHEN jsonb_array_length(kept.evidence) < 20 THEN kept.evidence || EXCLUDED.evidence
                       ELSE (kept.evidence - 0) || EXCLUDED.evidence END
"""

RAISE_UNMATCHED = f"""
INSERT INTO flags AS kept (account_id, flag_id, kind, subject, payment_id, state, fingerprints, evidence,
                           opened_at, last_seen_at)
SELECT $1, $2, 'unmatched', $3, $4, 'open', ARRAY[$5::text], jsonb_build_array($6::jsonb), $7, $7
 WHERE NOT EXISTS (SELECT FROM flags
                    WHERE account_id = $1 AND kind = 'unmatched' AND subject = $3
                      AND state = 'resolved' AND $5 = ANY (fingerprints))
{SEEN_AGAIN}RETURNING times_seen
"""


async def raise_unmatched(tx: Tx, subject: str, payment_id: str | None, evidence: Evidence) -> int | None:
    """Flag a fact that belongs to no order of ours; how often it was seen, None when it was resolved before."""
    return await tx.fetchval(
        RAISE_UNMATCHED,
        NO_ACCOUNT,
        ids.uuid7(),
        subject,
        payment_id,
        evidence.fingerprint,
        msgspec.json.encode(evidence).decode(),
        evidence.at,
    )


class Found(Struct, frozen=True):
    """A flag as far as resolving it needs."""

    flag_id: UUID
    account_id: UUID
    kind: FlagKind
    payment_id: str | None
    order_id: str | None
    state: str


FIND = "SELECT flag_id, account_id, kind, payment_id, order_id, state FROM flags WHERE flag_id = $1"
LOCK = FIND + " FOR NO KEY UPDATE"


async def find(conn: Conn, flag_id: UUID, *, lock: bool) -> Found | None:
    """A flag by its id, locked for resolving when asked to."""
    row = await conn.fetchrow(LOCK if lock else FIND, flag_id)
    return _found(row) if row else None


def _found(row: Row) -> Found:
    return Found(
        row["flag_id"],
        row["account_id"],
        FlagKind(row["kind"]),
        row["payment_id"],
        row["order_id"],
        row["state"],
    )


RESOLVE = """
UPDATE flags
   SET state = 'resolved', resolution = $3, reason = $4, reference = $5, resolved_by = $6, resolved_at = $7
 WHERE account_id = $1 AND flag_id = $2 AND state = 'open'
RETURNING 1
"""


async def resolve(
    tx: Tx,
    flag: Found,
    *,
    resolution: str,
    reason: str,
    reference: str | None,
    by: str,
    now: datetime,
) -> bool:
    """Close an open flag; False when somebody was faster."""
    done = await tx.fetchval(RESOLVE, flag.account_id, flag.flag_id, resolution, reason, reference, by, now)
    return done is not None


CLOSE_ADOPTED = """
UPDATE flags
   SET state = 'resolved', resolution = 'dismissed', reason = 'our own create call made it',
       resolved_by = 'system', resolved_at = date_trunc('milliseconds', clock_timestamp())
 WHERE account_id = $1 AND kind = 'payment_adopted' AND subject = $2 AND state = 'open'
"""


async def close_adopted(tx: Tx, account_id: UUID, payment_id: str) -> None:
    """Close the adoption flag of a payment that turned out to be our own create call's."""
    await tx.execute(CLOSE_ADOPTED, account_id, payment_id)


async def now(tx: Tx) -> datetime:
    """The database's time in whole milliseconds, for a flag that has no order to lock."""
    return await tx.fetchval("SELECT date_trunc('milliseconds', clock_timestamp())")
