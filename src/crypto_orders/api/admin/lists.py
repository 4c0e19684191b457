"""Support reads what else is kept: flags, the inbox, the audit trail, accounts, keys, products, key use."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from crypto_orders.api.admin.order_query import account_of
from crypto_orders.api.admin.schemas import FlagView, account_id_of, flag_view, payload_of
from crypto_orders.api.services import ApiCall
from crypto_orders.domain.errors import NotFound
from crypto_orders.domain.order import FlagKind, Verdict
from crypto_orders.kit import ids
from crypto_orders.kit.encoding import Instant
from crypto_orders.kit.http import Endpoint
from crypto_orders.store import (
    account_lists,
    accounts,
    audit_lists,
    flag_lists,
    idempotency_metrics,
    inbox_lists,
    products,
)
from crypto_orders.store.account_lists import KeptKey
from crypto_orders.store.audit_lists import AuditRow
from crypto_orders.store.inbox_lists import KeptNotification
from crypto_orders.store.products import Product

PAGE_MAX = 200
PAGE_DEFAULT = 50
FILTER_CHARS_MAX = 200


class PageQuery(Struct, frozen=True, kw_only=True):
    """Which page of a list."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT
    cursor: str | None = None


class FlagsQuery(PageQuery, frozen=True, kw_only=True):
    """Which flags; without a state the open ones come before the resolved."""

    kind: FlagKind | None = None
    state: Literal["open", "resolved"] | None = None


class FlagList(Struct, frozen=True):
    """A page of flags, the oldest open ones first."""

    data: list[FlagView]
    next_cursor: str | None


class NotificationsQuery(PageQuery, frozen=True, kw_only=True):
    """Which facts of the inbox."""

    payment_id: Annotated[str, Meta(max_length=FILTER_CHARS_MAX)] | None = None
    order_id: Annotated[str, Meta(max_length=FILTER_CHARS_MAX)] | None = None
    verdict: Verdict | None = None


class NotificationView(Struct, frozen=True, kw_only=True):
    """One fact as it came in, and what became of it; a payload that is no JSON is shown as text."""

    id: str
    via: str
    payment_id: str | None
    payment_status: str | None
    claimed_order_id: str | None
    order_id: str | None
    account_id: str | None
    actor: str | None
    reason: str | None
    verdict: str
    why: str | None
    received_at: datetime
    last_seen_at: datetime
    times_seen: int
    settled_at: datetime | None
    payload: msgspec.Raw


class NotificationList(Struct, frozen=True):
    """A page of the inbox, the newest first."""

    data: list[NotificationView]
    next_cursor: str | None


class AuditQuery(PageQuery, frozen=True, kw_only=True):
    """What was done to one target, such as an order's id, or to all."""

    target: Annotated[str, Meta(max_length=FILTER_CHARS_MAX)] | None = None


class AuditView(Struct, frozen=True, kw_only=True):
    """One administrative action or refusal: who, from where, what, and what came of it."""

    id: str
    at: datetime
    actor: str
    remote_address: str | None
    request_id: str | None
    action: str
    target: str | None
    account_id: str | None
    request: Mapping[str, Any]
    result: str
    detail: Mapping[str, Any]


class AuditList(Struct, frozen=True):
    """A page of the audit trail, the newest first."""

    data: list[AuditView]
    next_cursor: str | None


class AccountView(Struct, frozen=True):
    """One customer; `tier` is a free label."""

    account_id: str
    name: str
    tier: str
    created_at: datetime


class AccountList(Struct, frozen=True):
    """A page of accounts, the newest first."""

    data: list[AccountView]
    next_cursor: str | None


class KeyView(Struct, frozen=True, kw_only=True):
    """A key of which only the beginning is known."""

    id: str
    account_id: str | None
    mode: str
    scopes: tuple[str, ...]
    label: str | None
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class KeyList(Struct, frozen=True):
    """A page of an account's keys, the newest first."""

    data: list[KeyView]
    next_cursor: str | None


class ProductList(Struct, frozen=True):
    """The whole catalogue by name."""

    data: list[Product]


class IdempotencyQuery(Struct, frozen=True, kw_only=True):
    """Whose use of idempotency keys, and since when."""

    account_id: str | None = None
    since: Instant | None = None


class AccountUseView(Struct, frozen=True, kw_only=True):
    """One account's use of its idempotency keys."""

    account_id: str
    replays: int
    first_writes: int
    body_mismatches: int
    last_mismatch_at: datetime | None


class IdempotencyMetrics(Struct, frozen=True, kw_only=True):
    """The use of idempotency keys over all processes; the accounts with most mismatches come first."""

    replays: int
    first_writes: int
    body_mismatches: int
    since: datetime | None
    accounts: list[AccountUseView]


async def list_flags(call: ApiCall[None, FlagsQuery]) -> FlagList:
    """What waits for a person, and what was resolved."""
    query = call.query
    async with call.deps.search_pool.acquire() as conn:
        page = await flag_lists.oldest_open_first(
            conn, kind=query.kind, state=query.state, limit=query.limit, after=query.cursor
        )
    return FlagList([flag_view(flag) for flag in page.items], page.next_cursor)


async def list_notifications(call: ApiCall[None, NotificationsQuery]) -> NotificationList:
    """The inbox."""
    query = call.query
    async with call.deps.search_pool.acquire() as conn:
        page = await inbox_lists.newest(
            conn,
            payment_id=query.payment_id,
            order_id=query.order_id,
            verdict=query.verdict,
            limit=query.limit,
            after=query.cursor,
        )
    return NotificationList([_notification_view(kept) for kept in page.items], page.next_cursor)


def _notification_view(kept: KeptNotification) -> NotificationView:
    return NotificationView(
        id=str(kept.notification_id),
        via=kept.via.value,
        payment_id=kept.payment_id,
        payment_status=kept.payment_status,
        claimed_order_id=kept.claimed_order_id,
        order_id=kept.order_id,
        account_id=account_id_of(kept.account_id),
        actor=kept.actor,
        reason=kept.reason,
        verdict=kept.verdict.value,
        why=kept.why,
        received_at=kept.received_at,
        last_seen_at=kept.last_seen_at,
        times_seen=kept.times_seen,
        settled_at=kept.settled_at,
        payload=payload_of(kept.body),
    )


async def list_audit_log(call: ApiCall[None, AuditQuery]) -> AuditList:
    """Who did what."""
    query = call.query
    async with call.deps.search_pool.acquire() as conn:
        page = await audit_lists.newest(conn, target=query.target, limit=query.limit, after=query.cursor)
    return AuditList([_audit_view(row) for row in page.items], page.next_cursor)


def _audit_view(row: AuditRow) -> AuditView:
    return AuditView(
        id=str(row.audit_id),
        at=row.at,
        actor=row.actor,
        remote_address=row.remote_addr,
        request_id=row.request_id,
        action=row.action,
        target=row.target,
        account_id=account_id_of(row.account_id),
        request=row.request,
        result=row.result,
        detail=row.detail,
    )


async def list_accounts(call: ApiCall[None, PageQuery]) -> AccountList:
    """The customers."""
    query = call.query
    async with call.deps.search_pool.acquire() as conn:
        page = await account_lists.newest(conn, limit=query.limit, after=query.cursor)
    data = [
        AccountView(ids.prefixed("acc", each.account_id), each.name, each.tier, each.created_at)
        for each in page.items
    ]
    return AccountList(data, page.next_cursor)


async def list_keys(call: ApiCall[None, PageQuery]) -> KeyList:
    """The keys of one account."""
    query, account_id = call.query, call.uuid("account_id")
    async with call.deps.search_pool.acquire() as conn:
        if await accounts.get(conn, account_id) is None:
            raise NotFound
        page = await account_lists.newest_keys(conn, account_id, limit=query.limit, after=query.cursor)
    return KeyList([_key_view(key) for key in page.items], page.next_cursor)


def _key_view(key: KeptKey) -> KeyView:
    return KeyView(
        id=ids.prefixed("key", key.key_id),
        account_id=account_id_of(key.account_id),
        mode=key.mode,
        scopes=key.scopes,
        label=key.label,
        prefix=key.prefix,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )


async def list_products(call: ApiCall[None, None]) -> ProductList:
    """What is or was sold, and for how much."""
    async with call.deps.pool.acquire() as conn:
        return ProductList(await products.list_all(conn))


async def show_idempotency_metrics(call: ApiCall[None, IdempotencyQuery]) -> IdempotencyMetrics:
    """How idempotency keys are used, for finding a client that uses them wrongly."""
    account_id = account_of(call.query.account_id)
    async with call.deps.search_pool.acquire() as conn:
        use = await idempotency_metrics.metrics(conn, account_id=account_id, since=call.query.since)
    return IdempotencyMetrics(
        replays=use.replays,
        first_writes=use.first_writes,
        body_mismatches=use.body_mismatches,
        since=call.query.since,
        accounts=[
            AccountUseView(
                account_id=ids.prefixed("acc", each.account_id),
                replays=each.replays,
                first_writes=each.first_writes,
                body_mismatches=each.body_mismatches,
                last_mismatch_at=each.last_mismatch_at,
            )
            for each in use.accounts
        ],
    )


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/v1/admin/flags",
        handler=list_flags,
        scope="admin:read",
        query=FlagsQuery,
        response=FlagList,
        summary="List flags",
        tags=("Support",),
    ),
    Endpoint(
        method="GET",
        path="/v1/admin/notifications",
        handler=list_notifications,
        scope="admin:read",
        query=NotificationsQuery,
        response=NotificationList,
        summary="List the inbox",
        tags=("Support",),
    ),
    Endpoint(
        method="GET",
        path="/v1/admin/audit-log",
        handler=list_audit_log,
        scope="admin:read",
        query=AuditQuery,
        response=AuditList,
        summary="List the audit trail",
        tags=("Administration",),
    ),
    Endpoint(
        method="GET",
        path="/v1/admin/accounts",
        handler=list_accounts,
        scope="admin:read",
        query=PageQuery,
        response=AccountList,
        summary="List accounts",
        tags=("Administration",),
    ),
    Endpoint(
        method="GET",
        path="/v1/admin/accounts/{account_id:acc}/keys",
        handler=list_keys,
        scope="admin:read",
        query=PageQuery,
        response=KeyList,
        summary="List an account's keys",
        tags=("Administration",),
    ),
    Endpoint(
        method="GET",
        path="/v1/admin/products",
        handler=list_products,
        scope="admin:read",
        response=ProductList,
        summary="List the catalogue",
        tags=("Administration",),
    ),
    Endpoint(
        method="GET",
        path="/v1/admin/crypto-orders/idempotency-metrics",
        handler=show_idempotency_metrics,
        scope="admin:read",
        query=IdempotencyQuery,
        response=IdempotencyMetrics,
        summary="How idempotency keys are used",
        tags=("Support",),
    ),
)
