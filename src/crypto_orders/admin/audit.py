"""The audit trail: who did what to what, and what was refused."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.responses import Response

from crypto_orders.admin.lists import PAGE_ROWS, Needle, account_id_of, address, paging
from crypto_orders.admin.services import AdminServices
from crypto_orders.admin.session import AdminCall, Operator, page, screen
from crypto_orders.kit import ids
from crypto_orders.kit.http import Endpoint
from crypto_orders.store import audit_lists, overview
from crypto_orders.store.audit_lists import AuditRow

PATH: Final = "/admin/audit"

REFUSED: Final = frozenset({"refused", "denied", "not_found"})

PAGE_OF: Final[Mapping[str, str]] = {
    "flg": "/admin/flags/{}",
    "whk": "/admin/webhooks/{}",
    "acc": "/admin/accounts/{}",
    "ord": "/admin/orders?order={}",
}
"""The screens of what an action can have been done to, by how its id begins."""


class Line(Struct, frozen=True, kw_only=True):
    """One action as it is drawn; `page` is the screen of what it was done to."""

    at: datetime
    actor: str
    by_actor: str
    remote_addr: str | None
    request_id: str | None
    action: str
    by_action: str
    target: str | None
    page: str | None
    by_target: str | None
    account: str | None
    request: str
    result: str
    tone: str
    why: str | None
    detail: str | None


class AuditQuery(Struct, frozen=True, kw_only=True):
    """Whose actions, which, and to what; each exactly."""

    actor: Needle | None = None
    action: Needle | None = None
    target: Needle | None = None
    cursor: str | None = None


async def show_audit(call: AdminCall[None, AuditQuery]) -> Response:
    """The audit trail, the newest first."""
    query = call.query
    async with call.deps.search_pool.acquire() as conn:
        found = await audit_lists.newest(
            conn,
            actor=query.actor,
            action=query.action,
            target=query.target,
            limit=PAGE_ROWS,
            after=query.cursor,
        )
        now = await overview.now(conn)
    return page(
        call,
        "audit.html",
        active="audit",
        rows=[_line(row) for row in found.items],
        now=now,
        query=query,
        paging=paging(
            PATH,
            {"actor": query.actor, "action": query.action, "target": query.target},
            after=query.cursor,
            following=found.next_cursor,
            words={"actor": "Actor", "action": "Action", "target": "Target"},
        ),
    )


def _line(row: AuditRow) -> Line:
    why = row.detail.get("why")
    if row.action == "create_account" and isinstance(why, str):
        # The row names the account by its UUID alone.
        why = account_id_of(ids.parse_uuid(why)) or why
    rest = {name: value for name, value in row.detail.items() if name != "why"}
    return Line(
        at=row.at,
        actor=row.actor,
        by_actor=address(PATH, actor=row.actor),
        remote_addr=row.remote_addr,
        request_id=row.request_id,
        action=row.action,
        by_action=address(PATH, action=row.action),
        target=row.target,
        page=_page_of(row.target),
        by_target=address(PATH, target=row.target) if row.target else None,
        account=account_id_of(row.account_id),
        request=_written(row.request),
        result=row.result,
        tone="bad" if row.result in REFUSED else "neutral",
        why=why if isinstance(why, str) else None,
        detail=_written(rest) if rest else None,
    )


def _page_of(target: str | None) -> str | None:
    begins = (target or "").partition("_")[0]
    # Only what is an id through and through becomes a part of an address.
    if target is None or begins not in PAGE_OF or not target.replace("_", "").replace("-", "").isalnum():
        return None
    return PAGE_OF[begins].format(target)


def _written(value: Mapping[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


ENDPOINTS: tuple[Endpoint[AdminServices, Operator, Any, Any], ...] = (
    screen(PATH, show_audit, query=AuditQuery),
)
