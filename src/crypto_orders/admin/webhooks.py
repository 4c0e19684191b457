"""The webhook endpoints of all accounts: which are in trouble, what was sent to one, and sending it again."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from msgspec import Struct
from starlette.responses import Response

from crypto_orders.admin import delivery_words
from crypto_orders.admin.lists import (
    Needle,
    account_id_of,
    account_of,
    address,
    capped,
    field_of,
    moment,
    paging,
)
from crypto_orders.admin.refusals import Refusal, refusal_of
from crypto_orders.admin.services import AdminServices
from crypto_orders.admin.session import AdminCall, Form, Operator, action, audited, page, screen, see_done
from crypto_orders.domain.errors import BadRequest, DomainError, NotFound
from crypto_orders.kit import clock, ids
from crypto_orders.kit.http import Endpoint
from crypto_orders.store import deliveries, overview, webhook_health
from crypto_orders.store.connection import Conn
from crypto_orders.store.deliveries import Attempt, Delivery, DeliveryStatus, Receiver, Window
from crypto_orders.store.webhook_health import Faring
from crypto_orders.usecases import deliveries as delivering
from crypto_orders.usecases.deliveries import REPLAY_WINDOW_MAX, Replayed

PATH: Final = "/admin/webhooks"
REPLAY: Final = "replay_webhook"
_ONE: Final = f"{PATH}/{{webhook_id:whk}}"
ROWS: Final = 25
"""Deliveries and endpoints of a page: each has its attempts or its counts beside it."""

STATUSES: Final[tuple[DeliveryStatus, ...]] = ("delivered", "failed", "dlq")
"""What can be replayed; what waits or is in flight is sent anyway."""


class EndpointRow(Struct, frozen=True, kw_only=True):
    """An endpoint as it is drawn; the state says in a word how it fares.

    `kept_because` says why it is sent nothing now, where its deliveries are kept for it.
    """

    path: str
    webhook_id: str
    account: str
    account_path: str
    at: Faring
    state: str
    tone: str
    kept_because: str | None
    delivered: str
    to_send: str
    dlq: str


class DeliveryRow(Struct, frozen=True, kw_only=True):
    """A delivery as it is drawn, with the attempts at it.

    `tried_at` is when it is tried next, or was last. `last_word` is what its last attempt met; `earlier`, of
    a delivered one, what an attempt before met.
    """

    delivery_id: str
    path: str
    url: str | None
    webhook: str
    account_path: str
    account_name: str | None
    at: Delivery
    word: str
    tone: str
    tried_at: datetime | None
    last_word: str | None
    earlier: str | None
    attempts: Sequence[Attempt]
    is_deleted: bool

    @property
    def is_in_flight(self) -> bool:
        """Whether its result is waited for, so that it cannot be replayed."""
        return self.at.status == "in_flight"


class EndpointsQuery(Struct, frozen=True, kw_only=True):
    """Whose endpoints, and whether only those in trouble."""

    account: Needle | None = None
    failing: bool | None = None
    cursor: str | None = None


class EndpointQuery(Struct, frozen=True, kw_only=True):
    """Which deliveries of the endpoint."""

    status: DeliveryStatus | None = None
    cursor: str | None = None


class WindowForm(Form, frozen=True, kw_only=True):
    """Which deliveries to send again. Without `confirmed` they are only counted."""

    since: str = ""
    until: str = ""
    statuses: tuple[str, ...] = ()
    confirmed: bool = False


async def show_webhooks(call: AdminCall[None, EndpointsQuery]) -> Response:
    """The endpoints of one account or of all."""
    query = call.query
    async with call.deps.search_pool.acquire() as conn:
        found = await webhook_health.newest(
            conn,
            account_id=account_of(query.account),
            failing=bool(query.failing),
            limit=ROWS,
            after=query.cursor,
        )
        waiting = await overview.waiting(conn)
        now = await overview.now(conn)
    filters = {"account": query.account, "failing": query.failing or None}
    return page(
        call,
        "webhooks.html",
        active="webhooks",
        rows=[_endpoint_row(each) for each in found.items],
        now=now,
        account=query.account,
        tabs=tabs("failing" if query.failing else "all", waiting, query.account),
        paging=paging(
            PATH, filters, after=query.cursor, following=found.next_cursor, words={"account": "Account"}
        ),
    )


def tabs(
    shown: str, waiting: overview.Waiting, account: str | None
) -> list[tuple[str, str | None, str, bool]]:
    """The three ways to look at webhooks: name, count, address, and whether it is the one shown."""
    most = overview.COUNTED_MAX
    return [
        ("All endpoints", None, address(PATH, account=account), shown == "all"),
        (
            "Failing",
            capped(waiting.failing_endpoints, most),
            address(PATH, account=account, failing=True),
            shown == "failing",
        ),
        ("Dead letters", capped(waiting.dlq, most), address(f"{PATH}/dlq", account=account), shown == "dlq"),
    ]


def _endpoint_row(at: Faring) -> EndpointRow:
    state, tone = _state_of(at)
    receiver = Receiver(at.url, at.active, at.deleted_at is not None, at.disabled_reason)
    webhook_id, most = ids.prefixed("whk", at.endpoint_id), webhook_health.COUNTED_MAX
    account = ids.prefixed("acc", at.account_id)
    return EndpointRow(
        path=f"{PATH}/{webhook_id}",
        webhook_id=webhook_id,
        account=account,
        account_path=f"/admin/accounts/{account}",
        at=at,
        kept_because=delivery_words.why_held(receiver) if receiver.holds else None,
        state=state,
        tone=tone,
        delivered=capped(at.delivered, most),
        to_send=capped(at.to_send, most),
        dlq=capped(at.dlq, most),
    )


def _state_of(at: Faring) -> tuple[str, str]:
    if at.deleted_at is not None:
        return "Deleted", "neutral"
    if at.disabled_at is not None:
        return "Disabled", "bad"
    if not at.active:
        return "Paused", "neutral"
    return ("Failing", "warn") if at.failing else ("Active", "good")


async def show_webhook(call: AdminCall[None, EndpointQuery]) -> Response:
    """One endpoint with its deliveries, and sending a window of them again."""
    return await _endpoint_page(call, status=call.query.status, after=call.query.cursor)


async def replay_window(call: AdminCall[WindowForm, None]) -> Response:
    """Count the deliveries of a window, and with `confirmed` send them again."""
    form, endpoint_id = call.body, call.uuid("webhook_id")
    shown_id = ids.prefixed("whk", endpoint_id)
    audited(call, REPLAY, shown_id, since=form.since, until=form.until, statuses=form.statuses)
    try:
        window = _window_of(form)
        entry = audited(
            call,
            REPLAY,
            shown_id,
            since=clock.to_iso(window.since),
            until=clock.to_iso(window.until),
            statuses=window.statuses,
            dry_run=not form.confirmed,
        )
        replayed = await delivering.replay_window(
            call.deps.pool, None, endpoint_id, window, dry_run=not form.confirmed, entry=entry
        )
    except NotFound:
        raise
    except DomainError as error:
        return await _endpoint_page(call, form=form, refusal=refusal_of(error, "dead-webhooks"))
    if form.confirmed:
        what = "1 delivery" if replayed.queued == 1 else f"{replayed.queued:,} deliveries"
        words = await _queued(call, endpoint_id, what, is_one=replayed.queued == 1)
        return see_done(call, f"{PATH}/{shown_id}", words)
    return await _endpoint_page(call, form=form, counted=replayed)


def _window_of(form: WindowForm) -> Window:
    statuses = tuple[DeliveryStatus, ...](status for status in STATUSES if status in form.statuses)
    if not statuses:
        words = ", ".join(delivery_words.STATUSES[status] for status in STATUSES)
        raise BadRequest(f"Choose which deliveries: {words}.")
    return Window(
        since=moment(form.since, name="From"), until=moment(form.until, name="To"), statuses=statuses
    )


async def replay_delivery(call: AdminCall[Form, None]) -> Response:
    """Send one delivery again, with the same event id."""
    delivery_id = call.uuid("delivery_id")
    shown_id = ids.prefixed("wdl", delivery_id)
    async with call.deps.pool.acquire() as conn:
        owner = await deliveries.account_of(conn, delivery_id)
        known = await deliveries.get(conn, owner, delivery_id) if owner else None
    if known is None:
        raise NotFound
    endpoint = ids.prefixed("whk", known.endpoint_id)
    entry = audited(call, "replay_webhook_delivery", shown_id)
    try:
        await delivering.replay(call.deps.pool, None, delivery_id, entry)
    except DomainError as error:
        refusal = refusal_of(error, "dead-webhooks")
        return await _endpoint_page(call, endpoint_id=known.endpoint_id, refusal=refusal)
    words = await _queued(call, known.endpoint_id, shown_id, is_one=True)
    return see_done(call, f"{PATH}/{endpoint}", words)


async def _queued(call: AdminCall[Any, Any], endpoint_id: UUID, what: str, *, is_one: bool) -> str:
    """What becomes of deliveries that were queued just now."""
    async with call.deps.pool.acquire() as conn:
        receiver = (await deliveries.receivers(conn, [endpoint_id])).get(endpoint_id)
    if receiver is not None and receiver.holds:
        kept = "is kept, and is sent" if is_one else "are kept, and are sent"
        return f"{what} {kept} when the customer resumes the endpoint: {delivery_words.why_held(receiver)}."
    return f"{what} is queued and on its way." if is_one else f"{what} are queued and on their way."


async def _endpoint_page(
    call: AdminCall[Any, Any],
    *,
    endpoint_id: UUID | None = None,
    status: DeliveryStatus | None = None,
    after: str | None = None,
    form: WindowForm | None = None,
    counted: Replayed | None = None,
    refusal: Refusal | None = None,
) -> Response:
    async with call.deps.search_pool.acquire() as conn:
        at = await webhook_health.get(conn, endpoint_id or call.uuid("webhook_id"))
        if at is None:
            raise NotFound
        found = await deliveries.of_endpoint(
            conn, at.account_id, at.endpoint_id, status=status, limit=ROWS, after=after
        )
        rows = await delivery_rows(conn, found.items)
        now = await overview.now(conn)
    row = _endpoint_row(at)
    return page(
        call,
        "webhook.html",
        status=refusal.status if refusal else 200,
        active="webhooks",
        endpoint=row,
        rows=rows,
        now=now,
        status_shown=status,
        status_words=delivery_words.STATUSES,
        replayable=STATUSES,
        form=form or _last_day(now),
        days_max=REPLAY_WINDOW_MAX.days,
        counted=counted,
        refusal=refusal,
        paging=paging(
            row.path,
            {"status": status},
            after=after,
            following=found.next_cursor,
            words={"status": "Status"},
            shown={"status": delivery_words.STATUSES[status]} if status else None,
        ),
    )


def _last_day(now: datetime) -> WindowForm:
    until = now + timedelta(minutes=1)
    return WindowForm(
        since=field_of(until - timedelta(days=1)), until=field_of(until), statuses=("failed", "dlq")
    )


async def delivery_rows(
    conn: Conn, found: Sequence[Delivery], names: Mapping[UUID, str] | None = None
) -> list[DeliveryRow]:
    """Deliveries as they are drawn, each with its attempts and where it goes."""
    attempts = await webhook_health.attempts(conn, [(each.account_id, each.delivery_id) for each in found])
    receivers = await deliveries.receivers(conn, [each.endpoint_id for each in found])
    return [
        _delivery_row(
            each,
            receivers.get(each.endpoint_id),
            attempts.get(each.delivery_id, ()),
            (names or {}).get(each.account_id),
        )
        for each in found
    ]


def _delivery_row(
    at: Delivery, receiver: Receiver | None, attempts: Sequence[Attempt], account_name: str | None
) -> DeliveryRow:
    delivery_id = ids.prefixed("wdl", at.delivery_id)
    words = delivery_words.words_of(at, receiver, attempts)
    answer = f"HTTP {at.last_response_status}" if at.last_response_status is not None else None
    was_delivered = at.status == "delivered"
    goes_on = delivery_words.goes_on(at, receiver)
    last_at = attempts[-1].started_at if attempts else None
    return DeliveryRow(
        delivery_id=delivery_id,
        path=f"{PATH}/deliveries/{delivery_id}",
        url=receiver.url if receiver else None,
        webhook=f"{PATH}/{ids.prefixed('whk', at.endpoint_id)}",
        account_path=f"/admin/accounts/{account_id_of(at.account_id)}",
        account_name=account_name,
        at=at,
        word=words.name,
        tone=words.tone,
        tried_at=at.next_attempt_at if goes_on or not at.is_due else last_at,
        last_word=answer if was_delivered else at.last_error or answer,
        earlier=at.last_error if was_delivered else None,
        attempts=attempts,
        is_deleted=receiver is not None and receiver.deleted,
    )


ENDPOINTS: tuple[Endpoint[AdminServices, Operator, Any, Any], ...] = (
    screen(PATH, show_webhooks, query=EndpointsQuery),
    screen(_ONE, show_webhook, query=EndpointQuery),
    action(f"{_ONE}/replay", replay_window, body=WindowForm),
    action(f"{PATH}/deliveries/{{delivery_id:wdl}}/replay", replay_delivery, body=Form),
)
