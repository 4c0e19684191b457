"""The audit trail as it is read: who did what to what, the newest first."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from crypto_orders.kit.pagination import Page
from crypto_orders.store import keyset
from crypto_orders.store.connection import Conn, Row
from crypto_orders.store.keyset import Listing


class AuditRow(Struct, frozen=True, kw_only=True):
    """One administrative action or refusal as it was kept."""

    audit_id: UUID
    at: datetime
    actor: str
    remote_addr: str | None
    request_id: str | None
    action: str
    target: str | None
    account_id: UUID | None
    request: Mapping[str, object]
    result: str
    detail: Mapping[str, object]


LISTING = Listing(
    kind="audit",
    select="""
SELECT audit_id, at, actor, remote_addr, request_id, action, target, account_id, request, result, detail
  FROM audit_log""",
    time_column="at",
    id_column="audit_id",
)


async def newest(
    conn: Conn,
    *,
    target: str | None,
    limit: int,
    after: str | None,
    actor: str | None = None,
    action: str | None = None,
) -> Page[AuditRow]:
    """What was done to a target, by somebody, or of a kind, or all, behind the cursor `after`.

    Raises:
        MalformedCursor: `after` is no cursor of this list.
    """
    equal = {"target": target, "actor": actor, "action": action}
    return await keyset.newest(conn, LISTING, _audit_row_of, equal=equal, limit=limit, after=after)


_mapping = msgspec.json.Decoder(dict[str, object]).decode


def _audit_row_of(row: Row) -> AuditRow:
    return AuditRow(
        audit_id=row["audit_id"],
        at=row["at"],
        actor=row["actor"],
        remote_addr=row["remote_addr"],
        request_id=row["request_id"],
        action=row["action"],
        target=row["target"],
        account_id=row["account_id"],
        request=_mapping(row["request"]),
        result=row["result"],
        detail=_mapping(row["detail"]),
    )
