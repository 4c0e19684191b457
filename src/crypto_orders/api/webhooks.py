"""A customer's webhooks: endpoints, their secrets, what was delivered, and sending it again."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from crypto_orders.api.services import ApiCall
from crypto_orders.api.webhook_schemas import (
    DeliveryView,
    EndpointView,
    ReplayAnswer,
    Subscribable,
    delivery_view,
    endpoint_view,
)
from crypto_orders.domain.errors import MalformedCursor, NotFound, ValidationFailed
from crypto_orders.domain.webhook_event import TEST_PING
from crypto_orders.domain.webhook_url import URL_LENGTH_MAX
from crypto_orders.kit import ids
from crypto_orders.kit.encoding import Instant
from crypto_orders.kit.http import Endpoint
from crypto_orders.store import deliveries, webhooks
from crypto_orders.store.deliveries import DeliveryStatus, Window
from crypto_orders.usecases import deliveries as delivering
from crypto_orders.usecases import webhooks as usecases
from crypto_orders.usecases.webhooks import Changes, Wanted

EVENTS_MAX = 10
DESCRIPTION_CHARS_MAX = 200
PAGE_DELIVERIES_MAX = 100

ALL_STATUSES: tuple[DeliveryStatus, ...] = ("pending", "in_flight", "delivered", "failed", "dlq")

Url = Annotated[str, Meta(min_length=1, max_length=URL_LENGTH_MAX)]
Events = Annotated[list[Subscribable], Meta(min_length=1, max_length=EVENTS_MAX)]
Description = Annotated[str, Meta(max_length=DESCRIPTION_CHARS_MAX)]


class EndpointBody(Struct, frozen=True, kw_only=True):
    """Where to send which events."""

    url: Url
    events: Events
    description: Description | None = None


class EndpointChanges(Struct, frozen=True, kw_only=True):
    """What to change of an endpoint, at least one field; what is left out stays."""

    url: Url | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    active: bool | UnsetType = UNSET


class CreatedEndpoint(EndpointView, frozen=True, kw_only=True):
    """A new endpoint with its secret, which is shown this once."""

    secret: str


class EndpointList(Struct, frozen=True):
    """The account's endpoints, deleted ones included, the newest first."""

    data: list[EndpointView]


class PingAnswer(Struct, frozen=True):
    """A test event on its way."""

    delivery_id: str
    event_id: str
    event_type: str


class RotatedSecret(Struct, frozen=True, kw_only=True):
    """The new secret, shown this once; until the grace expires the previous one signs, too."""

    id: str
    secret: str
    secret_prefix: str
    prev_secret_prefix: str | None
    grace_expires_at: datetime | None


class DeliveriesQuery(Struct, frozen=True, kw_only=True):
    """Which deliveries, and which page of them."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_DELIVERIES_MAX)] = 50
    cursor: str | None = None
    status: DeliveryStatus | None = None


class DeliveryList(Struct, frozen=True):
    """A page of deliveries, the newest first; the last page has no cursor."""

    data: list[DeliveryView]
    has_more: bool
    next_cursor: str | None


class ReplayBody(Struct, frozen=True, kw_only=True):
    """Deliveries made from `since` on and before `until`, in the statuses (all); `dry_run` only counts."""

    since: Instant
    until: Instant
    statuses: Annotated[list[DeliveryStatus], Meta(min_length=1, max_length=5)] | None = None
    dry_run: bool = False

    @property
    def window(self) -> Window:
        """The deliveries that are meant."""
        return Window(since=self.since, until=self.until, statuses=tuple(self.statuses or ALL_STATUSES))


async def create_webhook(call: ApiCall[EndpointBody, None]) -> CreatedEndpoint:
    """Add an endpoint."""
    body = call.body
    wanted = Wanted(url=body.url, events=tuple(body.events), description=body.description)
    made = await usecases.create(call.deps.webhooks, call.principal.account, wanted)
    return CreatedEndpoint(**msgspec.structs.asdict(endpoint_view(made.shown)), secret=made.secret)


async def list_webhooks(call: ApiCall[None, None]) -> EndpointList:
    """The account's endpoints."""
    async with call.deps.pool.acquire() as conn:
        found = await webhooks.of_account(conn, call.principal.account)
    return EndpointList([endpoint_view(shown) for shown in found])


async def show_webhook(call: ApiCall[None, None]) -> EndpointView:
    """One endpoint of the account."""
    async with call.deps.pool.acquire() as conn:
        shown = await webhooks.get(conn, call.principal.account, call.uuid("webhook_id"))
    if shown is None:
        raise NotFound
    return endpoint_view(shown)


async def change_webhook(call: ApiCall[EndpointChanges, None]) -> EndpointView:
    """Change an endpoint; inactive it holds its deliveries, active again it sends them."""
    given = {name: value for name, value in msgspec.structs.asdict(call.body).items() if value is not UNSET}
    if "events" in given:
        given["events"] = tuple(given["events"])
    shown = await usecases.change(
        call.deps.webhooks,
        call.principal.account,
        call.uuid("webhook_id"),
        Changes(named=frozenset(given), **given),
    )
    return endpoint_view(shown)


async def delete_webhook(call: ApiCall[None, None]) -> None:
    """Delete an endpoint; nothing is sent to it again."""
    await usecases.delete(call.deps.webhooks, call.principal.account, call.uuid("webhook_id"))


async def ping_webhook(call: ApiCall[None, None]) -> PingAnswer:
    """Send a test event to an endpoint."""
    ping = await usecases.ping(call.deps.webhooks, call.principal.account, call.uuid("webhook_id"))
    return PingAnswer(ids.prefixed("wdl", ping.delivery_id), str(ping.event_id), TEST_PING)


async def rotate_secret(call: ApiCall[None, None]) -> RotatedSecret:
    """Give an endpoint a new secret."""
    made = await usecases.rotate_secret(call.deps.webhooks, call.principal.account, call.uuid("webhook_id"))
    endpoint = made.shown.endpoint
    return RotatedSecret(
        id=ids.prefixed("whk", endpoint.endpoint_id),
        secret=made.secret,
        secret_prefix=endpoint.secret_prefix,
        prev_secret_prefix=endpoint.prev_secret_prefix,
        grace_expires_at=endpoint.grace_expires_at,
    )


async def list_deliveries(call: ApiCall[None, DeliveriesQuery]) -> DeliveryList:
    """The deliveries of an endpoint."""
    account_id, endpoint_id, query = call.principal.account, call.uuid("webhook_id"), call.query
    async with call.deps.pool.acquire() as conn:
        if await webhooks.get(conn, account_id, endpoint_id) is None:
            raise NotFound
        try:
            page = await deliveries.of_endpoint(
                conn, account_id, endpoint_id, status=query.status, limit=query.limit, after=query.cursor
            )
        except MalformedCursor as malformed:
            raise ValidationFailed({"cursor": [malformed.detail]}) from None
    return DeliveryList([delivery_view(each) for each in page.items], page.has_more, page.next_cursor)


async def replay_delivery(call: ApiCall[None, None]) -> DeliveryView:
    """Send a delivery again, with the same event id."""
    replayed = await delivering.replay(call.deps.pool, call.principal.account, call.uuid("delivery_id"))
    return delivery_view(replayed)


async def replay_webhook(call: ApiCall[ReplayBody, None]) -> ReplayAnswer:
    """Send the deliveries of a window again."""
    replayed = await delivering.replay_window(
        call.deps.pool,
        call.principal.account,
        call.uuid("webhook_id"),
        call.body.window,
        dry_run=call.body.dry_run,
    )
    return ReplayAnswer(replayed.matched, replayed.queued)


_ENDPOINT = "/v1/webhooks/{webhook_id:whk}"
_TAGS = ("Webhooks",)

ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/webhooks",
        handler=create_webhook,
        scope="account_owner",
        body=EndpointBody,
        body_error="validation-failed",
        response=CreatedEndpoint,
        status=201,
        problems=("conflict", "validation-failed"),
        summary="Add a webhook endpoint",
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/v1/webhooks",
        handler=list_webhooks,
        scope="read:webhooks",
        response=EndpointList,
        summary="The account's webhook endpoints",
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_ENDPOINT,
        handler=show_webhook,
        scope="read:webhooks",
        response=EndpointView,
        summary="One webhook endpoint",
        tags=_TAGS,
    ),
    Endpoint(
        method="PATCH",
        path=_ENDPOINT,
        handler=change_webhook,
        scope="account_owner",
        body=EndpointChanges,
        response=EndpointView,
        problems=("conflict",),
        summary="Change, pause or resume a webhook endpoint",
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path=_ENDPOINT,
        handler=delete_webhook,
        scope="account_owner",
        status=204,
        summary="Delete a webhook endpoint",
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=f"{_ENDPOINT}/test",
        handler=ping_webhook,
        scope="account_owner",
        response=PingAnswer,
        status=202,
        problems=("bad-request",),
        summary="Send a test event",
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=f"{_ENDPOINT}/rotate-secret",
        handler=rotate_secret,
        scope="account_owner",
        response=RotatedSecret,
        problems=("conflict",),
        summary="Give a webhook endpoint a new secret",
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=f"{_ENDPOINT}/deliveries",
        handler=list_deliveries,
        scope="read:webhooks",
        query=DeliveriesQuery,
        query_error="validation-failed",
        response=DeliveryList,
        summary="The deliveries of a webhook endpoint",
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/v1/webhook-deliveries/{delivery_id:wdl}/replay",
        handler=replay_delivery,
        scope="account_owner",
        response=DeliveryView,
        problems=("conflict",),
        summary="Send a delivery again",
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=f"{_ENDPOINT}/replay",
        handler=replay_webhook,
        scope="account_owner",
        body=ReplayBody,
        response=ReplayAnswer,
        status=202,
        problems=("conflict",),
        summary="Send the deliveries of a window again",
        tags=_TAGS,
    ),
)
