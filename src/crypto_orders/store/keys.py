"""API keys: found by their digest, shown by their prefix, never stored."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from crypto_orders.domain.api_key import ApiKey, Mode
from crypto_orders.store.connection import Conn, Tx

FIND = """
SELECT k.key_id, k.account_id, k.mode, k.scopes, coalesce(a.tier, 'admin') AS tier, k.revoked_at, k.expires_at
  FROM api_keys k
  LEFT JOIN accounts a USING (account_id)
 WHERE k.key_sha256 = $1
"""


async def find_key(conn: Conn, sha256: bytes) -> ApiKey | None:
    """The key with a digest, revoked and expired ones included, or None when nobody has it."""
    row = await conn.fetchrow(FIND, sha256)
    if row is None:
        return None
    return ApiKey(
        key_id=row["key_id"],
        account_id=row["account_id"],
        kind="admin" if row["mode"] == "admin" else "customer",
        livemode=row["mode"],
        scopes=tuple(row["scopes"]),
        tier=row["tier"],
        revoked_at=row["revoked_at"],
        expires_at=row["expires_at"],
    )


INSERT = """
INSERT INTO api_keys (key_sha256, key_id, account_id, mode, scopes, label, prefix, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING created_at
"""


async def insert(  # noqa: PLR0913 - a row has its columns
    tx: Tx,
    *,
    sha256: bytes,
    key_id: UUID,
    account_id: UUID | None,
    mode: Mode,
    scopes: tuple[str, ...],
    label: str | None,
    prefix: str,
    expires_at: datetime | None,
) -> datetime:
    """Store a new key's digest; the moment it was created.

    Raises:
        asyncpg.ForeignKeyViolationError: there is no such account.
    """
    return await tx.fetchval(
        INSERT, sha256, key_id, account_id, mode, list(scopes), label, prefix, expires_at
    )


REVOKE = """
UPDATE api_keys
   SET revoked_at = coalesce(revoked_at, date_trunc('milliseconds', clock_timestamp()))
 WHERE key_id = $1
RETURNING account_id, revoked_at
"""


class Revoked(Struct, frozen=True):
    """A revoked key: whose it was, and since when it is of no use."""

    account_id: UUID | None
    revoked_at: datetime


async def revoke(tx: Tx, key_id: UUID) -> Revoked | None:
    """Revoke a key from the next request on; again it changes nothing. None when there is no such key."""
    row = await tx.fetchrow(REVOKE, key_id)
    return Revoked(row["account_id"], row["revoked_at"]) if row else None


OVERRIDE_RATE = """
INSERT INTO rate_overrides (key_id, capacity, refill_per_second, expires_at)
VALUES ($1, $2, $3, $4)
    ON CONFLICT (key_id) DO UPDATE
   SET capacity = EXCLUDED.capacity, refill_per_second = EXCLUDED.refill_per_second,
       expires_at = EXCLUDED.expires_at
"""


async def override_rate(
    tx: Tx, key_id: UUID, capacity: int, refill_per_second: float, expires_at: datetime | None
) -> None:
    """Give one key a rate limit of its own; a capacity of 0 is none.

    Raises:
        asyncpg.ForeignKeyViolationError: there is no such key.
    """
    await tx.execute(OVERRIDE_RATE, key_id, capacity, refill_per_second, expires_at)
