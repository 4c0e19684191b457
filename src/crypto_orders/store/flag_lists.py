"""Flags as support reads them: the oldest open ones first."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from crypto_orders.domain import cursor
from crypto_orders.domain.cursor import Position
from crypto_orders.domain.errors import MalformedCursor
from crypto_orders.domain.order import Evidence, FlagKind
from crypto_orders.kit import ids, pagination
from crypto_orders.kit.pagination import Page
from crypto_orders.store.connection import Conn, Row
from crypto_orders.store.flags import NO_ACCOUNT

State = Literal["open", "resolved"]

FLAG_COLUMNS = """flag_id, kind, state, order_id, account_id, payment_id, evidence, opened_at, last_seen_at,
                       times_seen, resolution, reason, reference, resolved_at, resolved_by"""


class KeptFlag(Struct, frozen=True, kw_only=True):
    """A flag with its evidence and, once it is resolved, how and by whom."""

    flag_id: UUID
    kind: FlagKind
    state: State
    order_id: str | None
    account_id: UUID
    payment_id: str | None
    evidence: tuple[Evidence, ...]
    opened_at: datetime
    last_seen_at: datetime
    times_seen: int
    resolution: str | None
    reason: str | None
    reference: str | None
    resolved_at: datetime | None
    resolved_by: str | None

    @property
    def account(self) -> UUID | None:
        """Whose flag it is; None when it concerns no order."""
        return None if self.account_id == NO_ACCOUNT else self.account_id


def flag_of(row: Row) -> KeptFlag:
    """Read a flag from a row that has FLAG_COLUMNS."""
    return KeptFlag(
        flag_id=row["flag_id"],
        kind=FlagKind(row["kind"]),
        state=row["state"],
        order_id=row["order_id"],
        account_id=row["account_id"],
        payment_id=row["payment_id"],
        evidence=_evidence(row["evidence"]),
        opened_at=row["opened_at"],
        last_seen_at=row["last_seen_at"],
        times_seen=row["times_seen"],
        resolution=row["resolution"],
        reason=row["reason"],
        reference=row["reference"],
        resolved_at=row["resolved_at"],
        resolved_by=row["resolved_by"],
    )


_evidence = msgspec.json.Decoder(tuple[Evidence, ...]).decode

GET = f"""
SELECT {FLAG_COLUMNS}
  FROM flags
 WHERE flag_id = $1
"""


async def get(conn: Conn, flag_id: UUID) -> KeptFlag | None:
    """A flag by its id."""
    row = await conn.fetchrow(GET, flag_id)
    return flag_of(row) if row else None


CURSOR_KIND = "flags"


async def oldest_open_first(
    conn: Conn, *, kind: FlagKind | None, state: State | None, limit: int, after: str | None
) -> Page[KeptFlag]:
    """Open flags before resolved ones, the oldest first, behind the cursor `after`.

    Raises:
        MalformedCursor: `after` is no cursor of this list.
    """
    args: list[object] = [limit + 1]
    conditions: list[str] = []
    for column, value in (("kind", kind.value if kind else None), ("state", state)):
        if value is not None:
            args.append(value)
            conditions.append(f"{column} = ${len(args)}")
    if after is not None:
        seen = _position(after)
        conditions.append(
            f"(state, opened_at, flag_id) > (${len(args) + 1}, ${len(args) + 2}, ${len(args) + 3})"
        )
        args += seen
    where = "\n WHERE " + " AND ".join(conditions) if conditions else ""
    rows = await conn.fetch(
        f"SELECT {FLAG_COLUMNS}\n  FROM flags{where}\n ORDER BY state, opened_at, flag_id\n LIMIT $1", *args
    )
    return pagination.cut([flag_of(row) for row in rows], limit, _cursor_behind)


def _cursor_behind(flag: KeptFlag) -> str:
    return cursor.encode(CURSOR_KIND, Position(flag.opened_at, f"{flag.state}.{flag.flag_id}"))


def _position(after: str) -> tuple[str, datetime, UUID]:
    position = cursor.decode(CURSOR_KIND, after)
    state, _, text = position.id.partition(".")
    flag_id = ids.parse_uuid(text)
    if flag_id is None:
        raise MalformedCursor
    return state, position.created_at, flag_id
