"""Accounts: the customers whose orders these are."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from crypto_orders.store.connection import Conn, Row, Tx


class Account(Struct, frozen=True):
    """One customer."""

    account_id: UUID
    name: str
    tier: str
    created_at: datetime


INSERT = """
INSERT INTO accounts (account_id, name, tier) VALUES ($1, $2, $3) RETURNING account_id, name, tier, created_at
"""


async def insert(tx: Tx, account_id: UUID, name: str, tier: str) -> Account:
    """Store a new account."""
    row = await tx.fetchrow(INSERT, account_id, name, tier)
    assert row is not None  # noqa: S101 - RETURNING of an insert always gives its row
    return _account(row)


GET = "SELECT account_id, name, tier, created_at FROM accounts WHERE account_id = $1"


async def get(conn: Conn, account_id: UUID) -> Account | None:
    """An account by its id."""
    row = await conn.fetchrow(GET, account_id)
    return _account(row) if row else None


NAMES = "SELECT account_id, name FROM accounts WHERE account_id = ANY ($1::uuid[])"


async def names(conn: Conn, account_ids: Iterable[UUID]) -> dict[UUID, str]:
    """The names of some accounts."""
    rows = await conn.fetch(NAMES, sorted(set(account_ids)))
    return {row["account_id"]: row["name"] for row in rows}


def _account(row: Row) -> Account:
    return Account(row["account_id"], row["name"], row["tier"], row["created_at"])
