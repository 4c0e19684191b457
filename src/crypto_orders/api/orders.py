"""A customer's orders: reading one, its note, and cancelling it."""

from typing import Annotated

from msgspec import Meta, Struct

from crypto_orders.api.schemas import Envelope, envelope
from crypto_orders.api.services import ApiCall
from crypto_orders.domain.errors import BadRequest, NotFound
from crypto_orders.domain.order import Order, Status
from crypto_orders.kit.encoding import Instant
from crypto_orders.kit.http import Endpoint
from crypto_orders.store import envelopes, order_lists, orders
from crypto_orders.store.connection import Pool
from crypto_orders.store.order_filters import Filters
from crypto_orders.usecases import orders as usecases

CUSTOMER_NOTE_CHARS_MAX = 500


class NoteBody(Struct, frozen=True):
    """The customer's own note; null or an empty text clears it."""

    customer_note: Annotated[str, Meta(max_length=CUSTOMER_NOTE_CHARS_MAX)] | None


class OrdersQuery(Struct, frozen=True, kw_only=True):
    """Which orders of the account, and which page of them; `created_before` is exclusive."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    status: Status | None = None
    cursor: str | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None


class OrderList(Struct, frozen=True):
    """A page of orders, the newest first; the last page has no cursor."""

    orders: list[Envelope]
    next_cursor: str | None


async def list_orders(call: ApiCall[None, OrdersQuery]) -> OrderList:
    """The orders of the caller's account."""
    query = call.query
    if query.created_after and query.created_before and query.created_before <= query.created_after:
        raise BadRequest("created_before: Must be later than created_after, which is inclusive.")
    filters = Filters(
        account_id=call.principal.account,
        status=query.status,
        created_after=query.created_after,
        created_before=query.created_before,
    )
    after = order_lists.position_of(query.cursor)
    async with call.deps.pool.acquire() as conn:
        page = await order_lists.of_account(conn, filters, limit=query.limit, after=after)
    return OrderList([envelope(shown) for shown in page.items], page.next_cursor)


async def show_order(call: ApiCall[None, None]) -> Envelope:
    """One order of the caller's account."""
    async with call.deps.pool.acquire() as conn:
        order = await orders.get(conn, call.principal.account, call.text("order_id"))
        if order is None:
            raise NotFound
        return envelope(await envelopes.show_one(conn, order))


async def set_note(call: ApiCall[NoteBody, None]) -> Envelope:
    """Change the customer's note in any status."""
    order = await usecases.set_customer_note(
        call.deps.deployment, call.principal.account, call.text("order_id"), call.body.customer_note
    )
    return await _shown(call.deps.pool, order)


async def cancel_order(call: ApiCall[None, None]) -> Envelope:
    """Cancel a pending order; past its pay window it fails as expired."""
    order = await usecases.cancel(call.deps.deployment, call.principal.account, call.text("order_id"))
    return await _shown(call.deps.pool, order)


async def _shown(pool: Pool, order: Order) -> Envelope:
    async with pool.acquire() as conn:
        return envelope(await envelopes.show_one(conn, order))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/v1/billing/crypto-orders",
        handler=list_orders,
        scope="read:billing",
        query=OrdersQuery,
        response=OrderList,
        summary="The account's orders",
        tags=("Orders",),
    ),
    Endpoint(
        method="GET",
        path="/v1/billing/crypto-orders/{order_id:order_id}",
        handler=show_order,
        scope="read:billing",
        response=Envelope,
        summary="One order",
        tags=("Orders",),
    ),
    Endpoint(
        method="PATCH",
        path="/v1/billing/crypto-orders/{order_id:order_id}",
        handler=set_note,
        scope="admin:billing",
        body=NoteBody,
        response=Envelope,
        summary="Change the customer's note",
        tags=("Orders",),
    ),
    Endpoint(
        method="POST",
        path="/v1/billing/crypto-orders/{order_id:order_id}/cancel",
        handler=cancel_order,
        scope="admin:billing",
        response=Envelope,
        problems=("conflict",),
        summary="Cancel an order",
        tags=("Orders",),
    ),
)
