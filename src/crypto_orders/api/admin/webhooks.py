"""Support works webhooks: endpoints of all accounts, the dead-letter queue, and sending again."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from crypto_orders.api.admin.order_query import account_of
from crypto_orders.api.services import ApiCall, audited
from crypto_orders.api.webhook_schemas import (
    DeliveryView,
    EndpointView,
    ReplayAnswer,
    delivery_view,
    endpoint_view,
)
from crypto_orders.api.webhooks import ReplayBody
from crypto_orders.kit import clock, ids
from crypto_orders.kit.http import Endpoint
from crypto_orders.store import deliveries, webhooks
from crypto_orders.store.deliveries import Delivery
from crypto_orders.usecases import deliveries as delivering

PAGE_MAX = 200


class WebhooksQuery(Struct, frozen=True, kw_only=True):
    """Whose, and which page."""

    account_id: str | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = 50
    cursor: str | None = None


class AdminEndpointView(EndpointView, frozen=True, kw_only=True):
    """An endpoint with whose it is, and why it was disabled by itself."""

    account_id: str
    disabled_reason: str | None
    deleted: bool


class AdminEndpointList(Struct, frozen=True):
    """A page of endpoints, the newest first."""

    data: list[AdminEndpointView]
    next_cursor: str | None


class AdminDeliveryView(DeliveryView, frozen=True, kw_only=True):
    """A delivery with whose it is."""

    account_id: str


class DeadLetters(Struct, frozen=True):
    """A page of the dead-letter queue, the newest deliveries first."""

    data: list[AdminDeliveryView]
    next_cursor: str | None


def _admin_delivery_view(delivery: Delivery) -> AdminDeliveryView:
    return AdminDeliveryView(
        **msgspec.structs.asdict(delivery_view(delivery)),
        account_id=ids.prefixed("acc", delivery.account_id),
    )


async def list_webhooks(call: ApiCall[None, WebhooksQuery]) -> AdminEndpointList:
    """The webhook endpoints of one account or of all."""
    query = call.query
    async with call.deps.search_pool.acquire() as conn:
        page = await webhooks.newest(
            conn, account_id=account_of(query.account_id), limit=query.limit, after=query.cursor
        )
    views = [
        AdminEndpointView(
            **msgspec.structs.asdict(endpoint_view(shown)),
            account_id=ids.prefixed("acc", shown.endpoint.account_id),
            disabled_reason=shown.endpoint.disabled_reason,
            deleted=shown.endpoint.deleted_at is not None,
        )
        for shown in page.items
    ]
    return AdminEndpointList(views, page.next_cursor)


async def list_dead_letters(call: ApiCall[None, WebhooksQuery]) -> DeadLetters:
    """What could not be delivered."""
    query = call.query
    async with call.deps.search_pool.acquire() as conn:
        page = await deliveries.dead(
            conn, account_id=account_of(query.account_id), limit=query.limit, after=query.cursor
        )
    return DeadLetters([_admin_delivery_view(each) for each in page.items], page.next_cursor)


async def replay_delivery(call: ApiCall[None, None]) -> AdminDeliveryView:
    """Send any delivery again, with the same event id."""
    delivery_id = call.uuid("delivery_id")
    entry = audited(call, "replay_webhook_delivery", ids.prefixed("wdl", delivery_id))
    return _admin_delivery_view(await delivering.replay(call.deps.pool, None, delivery_id, entry))


async def requeue_dead_letter(call: ApiCall[None, None]) -> AdminDeliveryView:
    """Send a delivery of the dead-letter queue again."""
    delivery_id = call.uuid("delivery_id")
    entry = audited(call, "requeue_dead_letter", ids.prefixed("wdl", delivery_id))
    return _admin_delivery_view(await delivering.requeue(call.deps.pool, delivery_id, entry))


async def discard_dead_letter(call: ApiCall[None, None]) -> AdminDeliveryView:
    """Take a delivery off the dead-letter queue."""
    delivery_id = call.uuid("delivery_id")
    entry = audited(call, "discard_dead_letter", ids.prefixed("wdl", delivery_id))
    return _admin_delivery_view(await delivering.discard(call.deps.pool, delivery_id, entry))


async def replay_webhook(call: ApiCall[ReplayBody, None]) -> ReplayAnswer:
    """Send the deliveries of a window of any endpoint again."""
    endpoint_id, body = call.uuid("webhook_id"), call.body
    entry = audited(
        call,
        "replay_webhook",
        ids.prefixed("whk", endpoint_id),
        since=clock.to_iso(body.since),
        until=clock.to_iso(body.until),
        statuses=body.statuses,
        dry_run=body.dry_run,
    )
    replayed = await delivering.replay_window(
        call.deps.pool, None, endpoint_id, body.window, dry_run=body.dry_run, entry=entry
    )
    return ReplayAnswer(replayed.matched, replayed.queued)


_DEAD_LETTER = "/v1/admin/webhook-dlq/{delivery_id:wdl}"
_TAGS = ("Support",)

ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/v1/admin/webhooks",
        handler=list_webhooks,
        scope="admin:read",
        query=WebhooksQuery,
        response=AdminEndpointList,
        summary="List webhook endpoints",
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/v1/admin/webhooks/{webhook_id:whk}/replay",
        handler=replay_webhook,
        scope="admin:write",
        body=ReplayBody,
        response=ReplayAnswer,
        status=202,
        problems=("conflict",),
        summary="Send the deliveries of a window again",
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/v1/admin/webhook-deliveries/{delivery_id:wdl}/replay",
        handler=replay_delivery,
        scope="admin:write",
        response=AdminDeliveryView,
        problems=("conflict",),
        summary="Send a webhook delivery again",
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/v1/admin/webhook-dlq",
        handler=list_dead_letters,
        scope="admin:read",
        query=WebhooksQuery,
        response=DeadLetters,
        summary="List the dead-letter queue",
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=f"{_DEAD_LETTER}/requeue",
        handler=requeue_dead_letter,
        scope="admin:write",
        response=AdminDeliveryView,
        problems=("conflict",),
        summary="Send a dead delivery again",
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=f"{_DEAD_LETTER}/discard",
        handler=discard_dead_letter,
        scope="admin:write",
        response=AdminDeliveryView,
        problems=("conflict",),
        summary="Take a delivery off the dead-letter queue",
        tags=_TAGS,
    ),
)
