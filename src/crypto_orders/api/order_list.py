"""A customer's orders as a list."""

from typing import Annotated

from msgspec import Meta, Struct

from crypto_orders.api.schemas import Envelope, envelope
from crypto_orders.api.services import ApiCall
from crypto_orders.domain.errors import BadRequest
from crypto_orders.domain.order import Status
from crypto_orders.kit.encoding import Instant
from crypto_orders.kit.http import Endpoint
from crypto_orders.store import order_lists
from crypto_orders.store.order_filters import Filters

PAGE_ORDERS_MAX = 100
PAGE_ORDERS_DEFAULT = 50


class OrdersQuery(Struct, frozen=True, kw_only=True):
    """Which of the account's orders, and which page of them."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_ORDERS_MAX)] = PAGE_ORDERS_DEFAULT
    cursor: str | None = None
    status: Status | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None


class OrderList(Struct, frozen=True):
    """A page of orders, the newest first."""

    orders: list[Envelope]
    next_cursor: str | None


async def list_orders(call: ApiCall[None, OrdersQuery]) -> OrderList:
    """The orders of the caller's account, narrowed down."""
    query = call.query
    after, before = query.created_after, query.created_before
    if after is not None and before is not None and before <= after:
        detail = "created_before: Must be later than created_after, which is inclusive."
        raise BadRequest(detail)
    filters = Filters(
        account_id=call.principal.account, status=query.status, created_after=after, created_before=before
    )
    position = order_lists.position_of(query.cursor)
    async with call.deps.search_pool.acquire() as conn:
        page = await order_lists.of_account(conn, filters, limit=query.limit, after=position)
    return OrderList([envelope(shown) for shown in page.items], page.next_cursor)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/v1/billing/crypto-orders",
        handler=list_orders,
        scope="read:billing",
        query=OrdersQuery,
        response=OrderList,
        summary="List orders",
        tags=("Orders",),
    ),
)
