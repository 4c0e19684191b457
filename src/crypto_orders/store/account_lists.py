"""Accounts and their keys as they are listed; of a key only its beginning is known."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from crypto_orders.domain.api_key import Mode
from crypto_orders.kit.pagination import Page
from crypto_orders.store import keyset
from crypto_orders.store.accounts import Account
from crypto_orders.store.connection import Conn, Row
from crypto_orders.store.keyset import Listing

ACCOUNTS = Listing(
    kind="accounts",
    select="SELECT account_id, name, tier, created_at FROM accounts",
    time_column="created_at",
    id_column="account_id",
)


async def newest(conn: Conn, *, limit: int, after: str | None) -> Page[Account]:
    """Accounts, the newest first, behind the cursor `after`.

    Raises:
        MalformedCursor: `after` is no cursor of this list.
    """
    return await keyset.newest(conn, ACCOUNTS, _account_of, equal={}, limit=limit, after=after)


# Names are found by trigrams where the needle has one, which takes three characters; the rest is few names.
NAMED = """
  WITH found AS MATERIALIZED (
       SELECT account_id, name, tier, created_at
         FROM accounts
        WHERE search_form(name) LIKE '%' || search_form($1) || '%'
          AND strpos(lower(name COLLATE "default"), lower($1::text COLLATE "default")) > 0
     )
SELECT account_id, name, tier, created_at
  FROM found
 ORDER BY created_at DESC, account_id DESC
 LIMIT $2
"""
NAMED_LATELY = """
SELECT account_id, name, tier, created_at
  FROM (SELECT account_id, name, tier, created_at FROM accounts ORDER BY created_at DESC, account_id DESC LIMIT $3) AS a
 WHERE strpos(lower(name COLLATE "default"), lower($1::text COLLATE "default")) > 0
 ORDER BY created_at DESC, account_id DESC
 LIMIT $2
"""
TRIGRAM_CHARS = 3
LATELY_MAX = 5_000
"""The newest accounts among which a needle of one or two characters is looked for."""


async def named(conn: Conn, needle: str, *, limit: int) -> list[Account]:
    """The newest accounts whose name contains a needle, whatever the case."""
    if len(needle) < TRIGRAM_CHARS:
        rows = await conn.fetch(NAMED_LATELY, needle, limit, LATELY_MAX)
    else:
        rows = await conn.fetch(NAMED, needle, limit)
    return [_account_of(row) for row in rows]


def _account_of(row: Row) -> Account:
    return Account(row["account_id"], row["name"], row["tier"], row["created_at"])


class KeptKey(Struct, frozen=True, kw_only=True):
    """A key without its secret; `prefix` is how its text begins."""

    key_id: UUID
    account_id: UUID | None
    mode: Mode
    scopes: tuple[str, ...]
    label: str | None
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


KEYS = Listing(
    kind="keys",
    select="""
SELECT key_id, account_id, mode, scopes, label, prefix, created_at, expires_at, revoked_at
  FROM api_keys""",
    time_column="created_at",
    id_column="key_id",
)


async def newest_keys(conn: Conn, account_id: UUID | None, *, limit: int, after: str | None) -> Page[KeptKey]:
    """An account's keys, revoked and expired ones included, the newest first, behind the cursor `after`.

    Without an account it is everybody's keys, support's among them.

    Raises:
        MalformedCursor: `after` is no cursor of this list.
    """
    equal = {} if account_id is None else {"account_id": account_id}
    return await keyset.newest(conn, KEYS, _key_of, equal=equal, limit=limit, after=after)


KEY = f"{KEYS.select}\n WHERE key_id = $1"


async def key(conn: Conn, key_id: UUID) -> KeptKey | None:
    """A key by its id, whosever it is."""
    row = await conn.fetchrow(KEY, key_id)
    return _key_of(row) if row else None


def _key_of(row: Row) -> KeptKey:
    return KeptKey(
        key_id=row["key_id"],
        account_id=row["account_id"],
        mode=row["mode"],
        scopes=tuple(row["scopes"]),
        label=row["label"],
        prefix=row["prefix"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
