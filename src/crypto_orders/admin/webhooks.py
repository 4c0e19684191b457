"""The webhook endpoints of all accounts: which are in trouble, what was sent to one, and sending it again."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from msgspec import Struct
from starlette.responses import Response

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
from crypto_orders.admin.session import AdminCall, Form, Operator, action, audited, page, screen, see_other
from crypto_orders.domain.errors import BadRequest, DomainError, NotFound
from crypto_orders.kit import clock, ids
from crypto_orders.kit.http import Endpoint
from crypto_orders.store import deliveries, overview, webhook_health
from crypto_orders.store.connection import Conn
from crypto_orders.store.deliveries import Attempt, Delivery, DeliveryStatus, Window
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

STATUS_WORDS: Final = {
    "pending": ("Waiting", "neutral"),
    "in_flight": ("In flight", "info"),
    "delivered": ("Delivered", "good"),
    "failed": ("Failed", "warn"),
    "dlq": ("Dead letter", "bad"),
}


class EndpointRow(Struct, frozen=True, kw_only=True):
    """An endpoint as it is drawn; the state says in a word how it fares."""

    path: str
    webhook_id: str
    account: str
    account_path: str
    at: Faring
    state: str
    tone: str
    delivered: str
    waiting: str
    dlq: str


class DeliveryRow(Struct, frozen=True, kw_only=True):
    """A delivery as it is drawn, with the attempts at it."""

    delivery_id: str
    path: str
    url: str | None
    webhook: str
    account_path: str
    account_name: str | None
    at: Delivery
    word: str
    tone: str
    attempts: Sequence[Attempt]

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
    """Which deliveries of the endpoint, and what was done just now."""

    status: DeliveryStatus | None = None
    cursor: str | None = None
    queued: int | None = None
    replayed: Needle | None = None


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
    webhook_id, most = ids.prefixed("whk", at.endpoint_id), webhook_health.COUNTED_MAX
    account = ids.prefixed("acc", at.account_id)
    return EndpointRow(
        path=f"{PATH}/{webhook_id}",
        webhook_id=webhook_id,
        account=account,
        account_path=f"/admin/accounts/{account}",
        at=at,
        state=state,
        tone=tone,
        delivered=capped(at.delivered, most),
        waiting=capped(at.waiting, most),
        dlq=capped(at.dlq, most),
    )


def _state_of(at: Faring) -> tuple[str, str]:
    if at.deleted_at is not None:
        return "Deleted", "neutral"
    if at.disabled_at is not None:
        return "Disabled", "bad"
    if not at.active:
        return "Paused", "neutral"
    return ("Failing", "warn") if at.consecutive_failures else ("Active", "good")


async def show_webhook(call: AdminCall[None, EndpointQuery]) -> Response:
    """One endpoint with its deliveries, and sending a window of them again."""
    query = call.query
    done = None
    if query.queued is not None:
        done = f"{query.queued} deliveries are queued and on their way."
    elif query.replayed is not None and ids.parse_prefixed("wdl", query.replayed) is not None:
        done = f"{query.replayed} is queued and on its way."
    return await _endpoint_page(call, status=query.status, after=query.cursor, done=done)


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
        return see_other(f"{PATH}/{shown_id}?queued={replayed.queued}")
    return await _endpoint_page(call, form=form, counted=replayed)


def _window_of(form: WindowForm) -> Window:
    statuses = tuple[DeliveryStatus, ...](status for status in STATUSES if status in form.statuses)
    if not statuses:
        raise BadRequest("Choose which deliveries: delivered, failed or dead letters.")
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
    return see_other(address(f"{PATH}/{endpoint}", replayed=shown_id))


async def _endpoint_page(
    call: AdminCall[Any, Any],
    *,
    endpoint_id: UUID | None = None,
    status: DeliveryStatus | None = None,
    after: str | None = None,
    form: WindowForm | None = None,
    counted: Replayed | None = None,
    done: str | None = None,
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
        status_words=STATUS_WORDS,
        replayable=STATUSES,
        form=form or _last_day(now),
        days_max=REPLAY_WINDOW_MAX.days,
        counted=counted,
        done=done,
        refusal=refusal,
        paging=paging(
            row.path,
            {"status": status},
            after=after,
            following=found.next_cursor,
            words={"status": "Status"},
            shown={"status": STATUS_WORDS[status][0]} if status else None,
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
    urls = await webhook_health.urls(conn, [each.endpoint_id for each in found])
    return [
        DeliveryRow(
            delivery_id=ids.prefixed("wdl", each.delivery_id),
            path=f"{PATH}/deliveries/{ids.prefixed('wdl', each.delivery_id)}",
            url=urls.get(each.endpoint_id),
            webhook=f"{PATH}/{ids.prefixed('whk', each.endpoint_id)}",
            account_path=f"/admin/accounts/{account_id_of(each.account_id)}",
            account_name=(names or {}).get(each.account_id),
            at=each,
            word=STATUS_WORDS[each.status][0],
            tone=STATUS_WORDS[each.status][1],
            attempts=attempts.get(each.delivery_id, ()),
        )
        for each in found
    ]


ENDPOINTS: tuple[Endpoint[AdminServices, Operator, Any, Any], ...] = (
    screen(PATH, show_webhooks, query=EndpointsQuery),
    screen(_ONE, show_webhook, query=EndpointQuery),
    action(f"{_ONE}/replay", replay_window, body=WindowForm),
    action(f"{PATH}/deliveries/{{delivery_id:wdl}}/replay", replay_delivery, body=Form),
)
