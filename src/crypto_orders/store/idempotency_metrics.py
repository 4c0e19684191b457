"""How customers use their idempotency keys: first writes, replays, and replays with another body.

Every one is a row, so that the counts are exact over all processes and outlive them.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from crypto_orders.store.connection import Conn, Row

ACCOUNTS_MAX = 1_000
"""Accounts that are named, the worst first; the sums are over all of them."""


class AccountUse(Struct, frozen=True, kw_only=True):
    """One account's use of its keys.

    `replays` counts every replayed answer, mismatched ones included; `body_mismatches` every request whose
    body differed, answered or refused.
    """

    account_id: UUID
    replays: int
    first_writes: int
    body_mismatches: int
    last_mismatch_at: datetime | None


class IdempotencyUse(Struct, frozen=True, kw_only=True):
    """The use of all accounts, and of each, the worst first. `capped`: only the newest uses are in it."""

    replays: int
    first_writes: int
    body_mismatches: int
    accounts: tuple[AccountUse, ...]
    capped: bool = False


def _metrics(keys: str, replays: str) -> str:
    return f"""
  WITH used AS (
       SELECT account_id, count(*) AS first_writes, 0 AS replays, 0 AS replay_rows, 0 AS body_mismatches,
              NULL::timestamptz AS last_mismatch_at
         FROM {keys}
        WHERE created_at >= coalesce($1::timestamptz, '-infinity') AND ($2::uuid IS NULL OR account_id = $2)
        GROUP BY account_id
        UNION ALL
       SELECT account_id, 0, count(*) FILTER (WHERE answered), count(*),
              count(*) FILTER (WHERE differing_fields <> '{{}}'),
              max(at) FILTER (WHERE differing_fields <> '{{}}')
         FROM {replays}
        WHERE at >= coalesce($1::timestamptz, '-infinity') AND ($2::uuid IS NULL OR account_id = $2)
        GROUP BY account_id
     ), by_account AS (
       SELECT account_id, sum(first_writes)::bigint AS first_writes, sum(replays)::bigint AS replays,
              sum(replay_rows)::bigint AS replay_rows, sum(body_mismatches)::bigint AS body_mismatches,
              max(last_mismatch_at) AS last_mismatch_at
         FROM used
        GROUP BY account_id
     )
SELECT account_id, first_writes, replays, body_mismatches, last_mismatch_at,
       sum(first_writes) OVER ()::bigint    AS all_first_writes,
       sum(replays) OVER ()::bigint         AS all_replays,
       sum(replay_rows) OVER ()::bigint     AS all_replay_rows,
       sum(body_mismatches) OVER ()::bigint AS all_body_mismatches
  FROM by_account
 ORDER BY body_mismatches DESC, replays DESC, first_writes DESC, account_id
 LIMIT $3
"""


METRICS = _metrics("idempotency_keys", "idempotency_replays")

# What an overview shows is never read beyond a bound: both are the ends of an index by time.
METRICS_OF_NEWEST = _metrics(
    """(SELECT account_id, created_at
                 FROM idempotency_keys
                WHERE created_at >= $1
                ORDER BY created_at DESC
                LIMIT $4) AS newest_keys""",
    """(SELECT account_id, at, answered, differing_fields
                 FROM idempotency_replays
                WHERE at >= $1
                ORDER BY at DESC
                LIMIT $4) AS newest_replays""",
)


async def metrics(conn: Conn, *, account_id: UUID | None, since: datetime | None) -> IdempotencyUse:
    """The use of keys since a moment, or ever, by one account or all."""
    return _use_of(await conn.fetch(METRICS, since, account_id, ACCOUNTS_MAX))


async def of_newest(conn: Conn, since: datetime, *, most: int) -> IdempotencyUse:
    """The use of keys by all accounts since a moment, of at most the `most` newest first writes and replays."""
    return _use_of(await conn.fetch(METRICS_OF_NEWEST, since, None, ACCOUNTS_MAX, most), most)


def _use_of(rows: Sequence[Row], most: int | None = None) -> IdempotencyUse:
    first = rows[0] if rows else None
    read = max(first["all_first_writes"], first["all_replay_rows"]) if first else 0
    return IdempotencyUse(
        capped=most is not None and read >= most,
        replays=first["all_replays"] if first else 0,
        first_writes=first["all_first_writes"] if first else 0,
        body_mismatches=first["all_body_mismatches"] if first else 0,
        accounts=tuple(
            AccountUse(
                account_id=row["account_id"],
                replays=row["replays"],
                first_writes=row["first_writes"],
                body_mismatches=row["body_mismatches"],
                last_mismatch_at=row["last_mismatch_at"],
            )
            for row in rows
        ),
    )
