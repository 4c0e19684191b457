"""Operators' sessions: found by the digest of their token as long as they last, all by the database's clock."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from crypto_orders.domain.operator import IDLE_MAX, SESSION_MAX, Role
from crypto_orders.store.connection import Conn, Row, Tx

SEEN_EVERY_SECONDS = 60
"""How often a session that is used is written to at most."""

KEPT_DAYS = 30
"""How long a session is kept after its last moment, for whoever looks back."""

REMOTE_ADDRESS_CHARS_MAX = 100
USER_AGENT_CHARS_MAX = 200

_ALIVE = f"""s.revoked_at IS NULL
   AND s.expires_at > clock_timestamp()
   AND s.last_seen_at > clock_timestamp() - interval '{IDLE_MAX.total_seconds():.0f} seconds'"""


class LiveSession(Struct, frozen=True, kw_only=True):
    """A session that lasts, and whose it is. `seen_long_ago`: it is time to write that it is used."""

    session_id: UUID
    operator_id: UUID
    email: str
    name: str | None
    role: Role
    seen_long_ago: bool


class ShownSession(Struct, frozen=True, kw_only=True):
    """A session as its operator sees it."""

    session_id: UUID
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    remote_addr: str | None
    user_agent: str | None


FIND_ALIVE = f"""
SELECT s.session_id, o.operator_id, o.email, o.name, o.role,
       s.last_seen_at < clock_timestamp() - interval '{SEEN_EVERY_SECONDS} seconds' AS seen_long_ago
  FROM operator_sessions s
  JOIN operators o USING (operator_id)
 WHERE s.token_sha256 = $1
   AND o.disabled_at IS NULL
   AND {_ALIVE}
"""

# Again under the same conditions: a session that ended meanwhile is not brought back.
SEE = f"""
UPDATE operator_sessions s
   SET last_seen_at = date_trunc('milliseconds', clock_timestamp())
 WHERE s.token_sha256 = $1
   AND s.last_seen_at < clock_timestamp() - interval '{SEEN_EVERY_SECONDS} seconds'
   AND {_ALIVE}
"""

INSERT = f"""
INSERT INTO operator_sessions (token_sha256, session_id, operator_id, created_at, last_seen_at, expires_at,
                               remote_addr, user_agent)
SELECT $1, $2, $3, now_at, now_at, now_at + interval '{SESSION_MAX.total_seconds():.0f} seconds', $4, $5
  FROM date_trunc('milliseconds', clock_timestamp()) AS now_at
"""

RENEW = """
UPDATE operator_sessions
   SET token_sha256 = $3
 WHERE revoked_at IS NULL
   AND operator_id = $1
   AND session_id = $2
"""

REVOKE = """
UPDATE operator_sessions
   SET revoked_at = date_trunc('milliseconds', clock_timestamp())
 WHERE revoked_at IS NULL
   AND token_sha256 = $1
"""

REVOKE_ONE = """
UPDATE operator_sessions
   SET revoked_at = date_trunc('milliseconds', clock_timestamp())
 WHERE revoked_at IS NULL
   AND operator_id = $1
   AND session_id = $2
"""

REVOKE_ALL = """
UPDATE operator_sessions
   SET revoked_at = date_trunc('milliseconds', clock_timestamp())
 WHERE revoked_at IS NULL
   AND operator_id = $1
   AND session_id IS DISTINCT FROM $2
"""

FORGET_OLD = f"""
DELETE FROM operator_sessions
 WHERE operator_id = $1
   AND expires_at < clock_timestamp() - interval '{KEPT_DAYS} days'
"""

LIST_ALIVE = f"""
SELECT s.session_id, s.created_at, s.last_seen_at, s.expires_at, s.remote_addr, s.user_agent
  FROM operator_sessions s
 WHERE s.operator_id = $1
   AND {_ALIVE}
 ORDER BY s.last_seen_at DESC, s.session_id
 LIMIT $2
"""


async def find_alive(conn: Conn, token_sha256: bytes) -> LiveSession | None:
    """The session of a token's digest, unless it ended: revoked, expired, idle, or its operator disabled."""
    row = await conn.fetchrow(FIND_ALIVE, token_sha256)
    if row is None:
        return None
    return LiveSession(
        session_id=row["session_id"],
        operator_id=row["operator_id"],
        email=row["email"],
        name=row["name"],
        role=row["role"],
        seen_long_ago=row["seen_long_ago"],
    )


async def see(tx: Tx, token_sha256: bytes) -> None:
    """Write that a session is used; one statement."""
    await tx.execute(SEE, token_sha256)


async def insert(
    tx: Tx,
    *,
    token_sha256: bytes,
    session_id: UUID,
    operator_id: UUID,
    remote_addr: str | None,
    user_agent: str | None,
) -> None:
    """Open a session, and forget the operator's oldest."""
    await tx.execute(FORGET_OLD, operator_id)
    await tx.execute(
        INSERT,
        token_sha256,
        session_id,
        operator_id,
        None if remote_addr is None else remote_addr[:REMOTE_ADDRESS_CHARS_MAX],
        None if user_agent is None else user_agent[:USER_AGENT_CHARS_MAX],
    )


async def renew(tx: Tx, operator_id: UUID, session_id: UUID, token_sha256: bytes) -> None:
    """Let a session go on under another token; whoever holds the old one is out."""
    await tx.execute(RENEW, operator_id, session_id, token_sha256)


async def revoke(tx: Tx, token_sha256: bytes) -> bool:
    """End the session of a token's digest; whether there was one to end."""
    return _count(await tx.execute(REVOKE, token_sha256)) > 0


async def revoke_one(tx: Tx, operator_id: UUID, session_id: UUID) -> bool:
    """End one of an operator's sessions; whether there was one to end."""
    return _count(await tx.execute(REVOKE_ONE, operator_id, session_id)) > 0


async def revoke_all(tx: Tx, operator_id: UUID, *, besides: UUID | None = None) -> int:
    """End an operator's sessions, all or all but one; how many."""
    return _count(await tx.execute(REVOKE_ALL, operator_id, besides))


async def alive_of(conn: Conn, operator_id: UUID, *, limit: int) -> list[ShownSession]:
    """An operator's open sessions, the last used first."""
    return [_shown(row) for row in await conn.fetch(LIST_ALIVE, operator_id, limit)]


def _count(tag: str) -> int:
    return int(tag.rsplit(" ", 1)[-1])


def _shown(row: Row) -> ShownSession:
    return ShownSession(
        session_id=row["session_id"],
        created_at=row["created_at"],
        last_seen_at=row["last_seen_at"],
        expires_at=row["expires_at"],
        remote_addr=row["remote_addr"],
        user_agent=row["user_agent"],
    )
