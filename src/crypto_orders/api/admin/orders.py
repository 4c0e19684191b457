"""Support looks at orders: lists, searches, one order with everything, and all of them in numbers."""

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta, Struct

from crypto_orders.api.admin.order_query import OrderQuery, filters_of
from crypto_orders.api.admin.schemas import (
    AdminEnvelope,
    AdminEventView,
    DetailEnvelope,
    admin_envelope,
    detail_envelope,
    event_view,
)
from crypto_orders.api.services import ApiCall
from crypto_orders.domain.errors import NotFound
from crypto_orders.kit import clock
from crypto_orders.kit.http import Endpoint
from crypto_orders.store import order_lists, order_views, stats
from crypto_orders.store.stats import Stats
from crypto_orders.usecases import orders as usecases

PAGE_ORDERS_MAX = 200
PAGE_ORDERS_DEFAULT = 50
DAYS_MAX = 90
DAYS_DEFAULT = 7


class OrderListQuery(OrderQuery, frozen=True, kw_only=True):
    """Which orders, and which page of them."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_ORDERS_MAX)] = PAGE_ORDERS_DEFAULT
    cursor: str | None = None


class AdminOrderList(Struct, frozen=True, kw_only=True):
    """A page of orders, the newest first. `search_scope` says how far a search went."""

    orders: list[AdminEnvelope]
    next_cursor: str | None
    search_scope: Literal["all", "newest_20000"]


class AdminEvents(Struct, frozen=True):
    """An order's timeline, the oldest event first."""

    events: list[AdminEventView]


class DaysQuery(Struct, frozen=True):
    """How many days, today included."""

    days: Annotated[int, Meta(ge=1, le=DAYS_MAX)] = DAYS_DEFAULT


class DayRow(Struct, frozen=True):
    """How many orders created on one UTC day have a status now."""

    date: date
    status: str
    count: int


class Daily(Struct, frozen=True):
    """Orders by day of creation and present status, the days ascending; what is zero is left out."""

    days: int
    rows: list[DayRow]


class AgeBuckets(Struct, frozen=True, kw_only=True):
    """How many orders have been pending for how long."""

    under_1h: int
    h1_to_6h: int
    h6_to_24h: int
    over_24h: int


class PendingAge(Struct, frozen=True):
    """All pending orders by age, and what they are worth in cents, by currency."""

    buckets: AgeBuckets
    pending_value_cents: dict[str, int]
    total: int


async def list_orders(call: ApiCall[None, OrderListQuery]) -> AdminOrderList:
    """Orders of all accounts, narrowed down."""
    filters, after = filters_of(call.query), order_lists.position_of(call.query.cursor)
    async with call.deps.search_pool.acquire() as conn:
        found = await order_lists.for_support(conn, filters, limit=call.query.limit, after=after)
    return AdminOrderList(
        orders=[admin_envelope(shown) for shown in found.page.items],
        next_cursor=found.page.next_cursor,
        search_scope=found.search_scope,
    )


async def show_order(call: ApiCall[None, None]) -> DetailEnvelope:
    """One order with everything. The provider is asked soon about its open payments; nobody waits for it."""
    async with call.deps.pool.acquire() as conn:
        detail = await order_views.detail(conn, call.text("order_id"))
    if detail is None:
        raise NotFound
    await usecases.ask_soon(call.deps.deployment, detail.shown.order)
    return detail_envelope(detail)


async def show_events(call: ApiCall[None, None]) -> AdminEvents:
    """The timeline of an order, with raw sources."""
    async with call.deps.pool.acquire() as conn:
        shown = await order_views.one(conn, call.text("order_id"))
    if shown is None:
        raise NotFound
    return AdminEvents([event_view(event) for event in shown.events])


async def show_stats(call: ApiCall[None, None]) -> Stats:
    """All orders in numbers."""
    async with call.deps.pool.acquire() as conn:
        return await stats.stats(conn)


async def show_daily(call: ApiCall[None, DaysQuery]) -> Daily:
    """The orders of the last days in numbers."""
    days = call.query.days
    async with call.deps.pool.acquire() as conn:
        counts = await stats.daily(conn, clock.utc_now().date(), days)
    return Daily(days, [DayRow(count.date, count.status, count.count) for count in counts])


async def show_pending_age(call: ApiCall[None, None]) -> PendingAge:
    """How long orders have been pending."""
    async with call.deps.pool.acquire() as conn:
        ages = await stats.pending_ages(conn, clock.utc_now())
    buckets = AgeBuckets(
        under_1h=ages.under_1h,
        h1_to_6h=ages.h1_to_6h,
        h6_to_24h=ages.h6_to_24h,
        over_24h=ages.over_24h,
    )
    return PendingAge(buckets, ages.value_cents, ages.total)


_ORDERS = "/v1/admin/crypto-orders"
_ORDER = f"{_ORDERS}/{{order_id:order_id}}"

ENDPOINTS = (
    Endpoint(
        method="GET",
        path=_ORDERS,
        handler=list_orders,
        scope="admin:read",
        query=OrderListQuery,
        response=AdminOrderList,
        summary="List and search orders",
        description=(
            "Newest first. A search of three or more characters covers all orders; a shorter one matches"
            " ids that begin with it everywhere, anything else in the newest 20,000, and says so."
        ),
        tags=("Support",),
    ),
    Endpoint(
        method="GET",
        path=f"{_ORDERS}/stats",
        handler=show_stats,
        scope="admin:read",
        response=Stats,
        summary="All orders in numbers",
        tags=("Support",),
    ),
    Endpoint(
        method="GET",
        path=f"{_ORDERS}/daily",
        handler=show_daily,
        scope="admin:read",
        query=DaysQuery,
        response=Daily,
        summary="Orders by day and status",
        tags=("Support",),
    ),
    Endpoint(
        method="GET",
        path=f"{_ORDERS}/pending-age",
        handler=show_pending_age,
        scope="admin:read",
        response=PendingAge,
        summary="Pending orders by age",
        tags=("Support",),
    ),
    Endpoint(
        method="GET",
        path=_ORDER,
        handler=show_order,
        scope="admin:read",
        response=DetailEnvelope,
        summary="One order with everything",
        tags=("Support",),
    ),
    Endpoint(
        method="GET",
        path=f"{_ORDER}/events",
        handler=show_events,
        scope="admin:read",
        response=AdminEvents,
        summary="The timeline of an order",
        tags=("Support",),
    ),
)
