"""Operators as rows: their names, roles, password hashes and sealed second factors."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from crypto_orders.domain.operator import Role
from crypto_orders.store.connection import Conn, Row, Tx


class OperatorAccount(Struct, frozen=True, kw_only=True):
    """An operator as kept. `totp_sealed` is None without a second factor."""

    operator_id: UUID
    email: str
    name: str | None
    role: Role
    password_hash: str
    totp_sealed: bytes | None
    totp_last_step: int | None
    created_at: datetime
    password_changed_at: datetime
    disabled_at: datetime | None


class Shown(Struct, frozen=True, kw_only=True):
    """An operator as other people may see them, with the sessions that are open now."""

    operator_id: UUID
    email: str
    name: str | None
    role: Role
    has_second_factor: bool
    created_at: datetime
    password_changed_at: datetime
    disabled_at: datetime | None
    last_seen_at: datetime | None


_COLUMNS = """operator_id, email, name, role, password_hash, totp_sealed, totp_last_step,
       created_at, password_changed_at, disabled_at"""

FIND_BY_EMAIL = f"SELECT {_COLUMNS} FROM operators WHERE email = $1"
LOCK_BY_EMAIL = f"{FIND_BY_EMAIL} FOR UPDATE"
LOCK = f"SELECT {_COLUMNS} FROM operators WHERE operator_id = $1 FOR UPDATE"

INSERT = f"""
INSERT INTO operators (operator_id, email, name, role, password_hash, created_at, password_changed_at)
SELECT $1, $2, $3, $4, $5, now_at, now_at
  FROM date_trunc('milliseconds', clock_timestamp()) AS now_at
    ON CONFLICT (email) DO NOTHING
RETURNING {_COLUMNS}
"""

SET_ROLE = "UPDATE operators SET role = $2 WHERE operator_id = $1"
CHANGE_HASH = """
UPDATE operators
   SET password_hash = $2, password_changed_at = date_trunc('milliseconds', clock_timestamp())
 WHERE operator_id = $1
"""
STRENGTHEN_HASH = "UPDATE operators SET password_hash = $2 WHERE operator_id = $1"
DISABLE = """
UPDATE operators
   SET disabled_at = coalesce(disabled_at, date_trunc('milliseconds', clock_timestamp()))
 WHERE operator_id = $1
"""
ENABLE = "UPDATE operators SET disabled_at = NULL WHERE operator_id = $1"
SET_TOTP = "UPDATE operators SET totp_sealed = $2, totp_last_step = $3 WHERE operator_id = $1"
USE_TOTP_STEP = "UPDATE operators SET totp_last_step = $2 WHERE operator_id = $1"

# Whoever takes an admin away holds all of them meanwhile, so that two cannot take the last two away.
LOCK_ADMINS = """
SELECT operator_id
  FROM operators
 WHERE role = 'admin' AND disabled_at IS NULL
 ORDER BY operator_id
   FOR UPDATE
"""

LIST = """
SELECT o.operator_id, o.email, o.name, o.role, o.totp_sealed IS NOT NULL AS has_second_factor,
       o.created_at, o.password_changed_at, o.disabled_at,
       (SELECT max(s.last_seen_at) FROM operator_sessions s WHERE s.operator_id = o.operator_id) AS last_seen_at
  FROM operators o
 WHERE ($1::uuid IS NULL OR o.operator_id = $1)
 ORDER BY o.disabled_at IS NOT NULL, o.email
 LIMIT $2
"""

COUNT_ACTIVE = "SELECT count(*) FROM operators WHERE disabled_at IS NULL"

NOT_SEALED_WITH = """
SELECT operator_id, totp_sealed
  FROM operators
 WHERE totp_sealed IS NOT NULL AND substring(totp_sealed FOR 9) <> $1 AND operator_id > $2
 ORDER BY operator_id
 LIMIT $3
   FOR UPDATE
"""
RESEAL_TOTP = "UPDATE operators SET totp_sealed = $2 WHERE operator_id = $1"

NOW = "SELECT date_trunc('milliseconds', clock_timestamp())"


async def find_by_email(conn: Conn, email: str) -> OperatorAccount | None:
    """The operator of an address in its normal form, disabled ones included."""
    return _account(await conn.fetchrow(FIND_BY_EMAIL, email))


async def lock_by_email(tx: Tx, email: str) -> OperatorAccount | None:
    """The operator of an address, held until the transaction ends."""
    return _account(await tx.fetchrow(LOCK_BY_EMAIL, email))


async def lock(tx: Tx, operator_id: UUID) -> OperatorAccount | None:
    """An operator, held until the transaction ends."""
    return _account(await tx.fetchrow(LOCK, operator_id))


async def insert(
    tx: Tx, operator_id: UUID, *, email: str, name: str | None, role: Role, password_hash: str
) -> OperatorAccount | None:
    """Store a new operator; None when the address is taken."""
    return _account(await tx.fetchrow(INSERT, operator_id, email, name, role, password_hash))


async def set_role(tx: Tx, operator_id: UUID, role: Role) -> None:
    """Give an operator another role."""
    await tx.execute(SET_ROLE, operator_id, role)


async def set_password(tx: Tx, operator_id: UUID, password_hash: str) -> None:
    """Keep the hash of another password."""
    await tx.execute(CHANGE_HASH, operator_id, password_hash)


async def strengthen_hash(tx: Tx, operator_id: UUID, password_hash: str) -> None:
    """Keep another hash of the same password, made at the present cost."""
    await tx.execute(STRENGTHEN_HASH, operator_id, password_hash)


async def disable(tx: Tx, operator_id: UUID) -> None:
    """Keep an operator from signing in."""
    await tx.execute(DISABLE, operator_id)


async def enable(tx: Tx, operator_id: UUID) -> None:
    """Let an operator sign in again."""
    await tx.execute(ENABLE, operator_id)


async def set_totp(tx: Tx, operator_id: UUID, sealed: bytes | None, last_step: int | None) -> None:
    """Set up a second factor, the code of one step being used already; or take it away."""
    await tx.execute(SET_TOTP, operator_id, sealed, last_step)


async def use_totp_step(tx: Tx, operator_id: UUID, step: int) -> None:
    """Remember the step of a code that was used; the operator's row is held."""
    await tx.execute(USE_TOTP_STEP, operator_id, step)


async def lock_admins(tx: Tx) -> Sequence[UUID]:
    """Hold every admin who can sign in."""
    return [row["operator_id"] for row in await tx.fetch(LOCK_ADMINS)]


async def listed(conn: Conn, *, limit: int) -> list[Shown]:
    """Operators by their addresses, the disabled ones last."""
    return [_shown(row) for row in await conn.fetch(LIST, None, limit)]


async def find_shown(conn: Conn, operator_id: UUID) -> Shown | None:
    """One operator as other people may see them."""
    row = await conn.fetchrow(LIST, operator_id, 1)
    return _shown(row) if row else None


async def count_active(conn: Conn) -> int:
    """How many operators can sign in."""
    return await conn.fetchval(COUNT_ACTIVE)


async def not_sealed_with(tx: Tx, header: bytes, after: UUID, limit: int) -> list[tuple[UUID, bytes]]:
    """Operators behind one whose second factor is sealed under another key than the header's, held."""
    rows = await tx.fetch(NOT_SEALED_WITH, header, after, limit)
    return [(row["operator_id"], row["totp_sealed"]) for row in rows]


async def reseal_totp(tx: Tx, operator_id: UUID, sealed: bytes) -> None:
    """Keep the same second factor, sealed under another key."""
    await tx.execute(RESEAL_TOTP, operator_id, sealed)


async def now(conn: Conn) -> datetime:
    """The database's clock."""
    return await conn.fetchval(NOW)


def _account(row: Row | None) -> OperatorAccount | None:
    if row is None:
        return None
    return OperatorAccount(
        operator_id=row["operator_id"],
        email=row["email"],
        name=row["name"],
        role=row["role"],
        password_hash=row["password_hash"],
        totp_sealed=row["totp_sealed"],
        totp_last_step=row["totp_last_step"],
        created_at=row["created_at"],
        password_changed_at=row["password_changed_at"],
        disabled_at=row["disabled_at"],
    )


def _shown(row: Row) -> Shown:
    return Shown(
        operator_id=row["operator_id"],
        email=row["email"],
        name=row["name"],
        role=row["role"],
        has_second_factor=row["has_second_factor"],
        created_at=row["created_at"],
        password_changed_at=row["password_changed_at"],
        disabled_at=row["disabled_at"],
        last_seen_at=row["last_seen_at"],
    )
