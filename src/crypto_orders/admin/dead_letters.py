"""The dead-letter queue: what could not be delivered, sending it again, or taking it off."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from msgspec import Struct
from starlette.responses import Response

from crypto_orders.admin.lists import Needle, account_of, address, capped, field_of, moment, paging
from crypto_orders.admin.refusals import Refusal, refusal_of
from crypto_orders.admin.services import AdminServices
from crypto_orders.admin.session import AdminCall, Form, Operator, action, audited, page, screen, see_done
from crypto_orders.admin.webhooks import delivery_rows, tabs
from crypto_orders.domain.errors import BadRequest, Conflict, DomainError, NotFound
from crypto_orders.kit import ids
from crypto_orders.kit.http import Endpoint
from crypto_orders.store import accounts, deliveries, overview, webhook_health
from crypto_orders.usecases import deliveries as delivering

PATH: Final = "/admin/webhooks/dlq"
ROWS: Final = 50

Act = Literal["requeue", "discard"]

ACTED: Final = {"requeue": "sent again", "discard": "taken off the queue"}


class DeadQuery(Struct, frozen=True, kw_only=True):
    """Whose dead letters."""

    account: Needle | None = None
    cursor: str | None = None


class SelectionForm(Form, frozen=True, kw_only=True):
    """Deliveries and what to do with them: those ticked, or the one whose own button was pressed."""

    selected: tuple[str, ...] = ()
    act: Act | None = None
    requeue: str | None = None
    discard: str | None = None
    account: str | None = None


class WindowForm(Form, frozen=True, kw_only=True):
    """Dead letters made in a window of time. Without `confirmed` they are only counted."""

    since: str = ""
    until: str = ""
    account: str | None = None
    act: Act = "requeue"
    confirmed: bool = False


class Acted(Struct, frozen=True):
    """What was done to some dead letters.

    To `count` of them; `kept` of these wait for an endpoint that is paused or disabled. `left` stayed as they
    are.
    """

    act: Act
    count: int
    kept: int
    left: int

    @property
    def words(self) -> str:
        """That, for whoever did it."""
        told: list[str] = []
        if self.kept < self.count or not self.kept:
            told.append(f"{self.count - self.kept} {ACTED[self.act]}.")
        if self.kept:
            told.append(f"{self.kept} kept, to be sent when the customer resumes the endpoint.")
        if self.left:
            told.append(f"{self.left} were not in the queue any more, or their endpoint is deleted.")
        return " ".join(told)


class Counted(Struct, frozen=True, kw_only=True):
    """What a window holds, and what the next button does to it."""

    count: int
    most: int
    act: Act

    @property
    def taken(self) -> int:
        """How many the next button takes."""
        return min(self.count, self.most)

    @property
    def words(self) -> str:
        """The number, as far as it was counted."""
        return capped(self.count, self.most)


async def show_dead_letters(call: AdminCall[None, DeadQuery]) -> Response:
    """The dead-letter queue of one account or of all, the newest first."""
    return await _dead_page(call, account=call.query.account, after=call.query.cursor)


async def act_on_selection(call: AdminCall[SelectionForm, None]) -> Response:
    """Send the chosen deliveries again, or take them off the queue."""
    form = call.body
    audited(call, "work_dead_letters", None, act=form.act, selected=form.selected)
    try:
        act, chosen = _chosen(form)
        acted = await _act(call, act, chosen)
    except DomainError as error:
        return await _dead_page(call, account=form.account, refusal=refusal_of(error, "dead-webhooks"))
    return see_done(call, address(PATH, account=form.account), acted.words)


def _chosen(form: SelectionForm) -> tuple[Act, list[UUID]]:
    texts: Sequence[str]
    if form.requeue is not None:
        act, texts = "requeue", (form.requeue,)
    elif form.discard is not None:
        act, texts = "discard", (form.discard,)
    elif form.act is not None:
        act, texts = form.act, form.selected
    else:
        raise BadRequest("Choose what to do.")
    found = [ids.parse_prefixed("wdl", text) for text in texts]
    chosen = [each for each in found if each is not None]
    if not chosen:
        raise BadRequest("Tick the deliveries that are meant first.")
    if len(chosen) != len(texts) or len(chosen) > webhook_health.BULK_MAX:
        raise BadRequest(f"At most {webhook_health.BULK_MAX} deliveries at once, as the list names them.")
    return act, chosen


async def act_on_window(call: AdminCall[WindowForm, None]) -> Response:
    """Count the dead letters of a window, and with `confirmed` do what was chosen to them."""
    form = call.body
    audited(call, "work_dead_letters", None, act=form.act, since=form.since, until=form.until)
    try:
        since, until = moment(form.since, name="From"), moment(form.until, name="To")
        if until <= since:
            raise BadRequest("To: later than From.")
        most = webhook_health.BULK_MAX
        async with call.deps.search_pool.acquire() as conn:
            found = await webhook_health.dead_between(
                conn, since, until, account_of(form.account), most + (not form.confirmed)
            )
        if not form.confirmed:
            counted = Counted(count=len(found), most=most, act=form.act)
            return await _dead_page(call, account=form.account, form=form, counted=counted)
        acted = await _act(call, form.act, found)
    except DomainError as error:
        refusal = refusal_of(error, "dead-webhooks")
        return await _dead_page(call, account=form.account, form=form, refusal=refusal)
    return see_done(call, address(PATH, account=form.account), acted.words)


async def _act(call: AdminCall[Any, Any], act: Act, chosen: Sequence[UUID]) -> Acted:
    """Do it to each, one after the other. One alone that is refused says why."""
    left, requeued = 0, list[UUID]()
    for delivery_id in chosen:
        shown_id = ids.prefixed("wdl", delivery_id)
        try:
            if act == "requeue":
                entry = audited(call, "requeue_dead_letter", shown_id)
                requeued.append((await delivering.requeue(call.deps.pool, delivery_id, entry)).endpoint_id)
            else:
                await delivering.discard(
                    call.deps.pool, delivery_id, audited(call, "discard_dead_letter", shown_id)
                )
        except (Conflict, NotFound):
            if len(chosen) == 1:
                raise
            left += 1
    async with call.deps.pool.acquire() as conn:
        receivers = await deliveries.receivers(conn, requeued)
    kept = sum(receivers[endpoint_id].holds for endpoint_id in requeued)
    return Acted(act, len(chosen) - left, kept, left)


async def _dead_page(
    call: AdminCall[Any, Any],
    *,
    account: str | None,
    after: str | None = None,
    form: WindowForm | None = None,
    counted: Counted | None = None,
    refusal: Refusal | None = None,
) -> Response:
    async with call.deps.search_pool.acquire() as conn:
        found = await deliveries.dead(conn, account_id=account_of(account), limit=ROWS, after=after)
        names = await accounts.names(conn, {each.account_id for each in found.items})
        rows = await delivery_rows(conn, found.items, names)
        waiting = await overview.waiting(conn)
        now = await overview.now(conn)
    return page(
        call,
        "dead_letters.html",
        status=refusal.status if refusal else 200,
        active="webhooks",
        rows=rows,
        now=now,
        account=account,
        tabs=tabs("dlq", waiting, account),
        form=form or _last_week(now),
        counted=counted,
        refusal=refusal,
        paging=paging(
            PATH,
            {"account": account},
            after=after,
            following=found.next_cursor,
            words={"account": "Account"},
        ),
    )


def _last_week(now: datetime) -> WindowForm:
    until = now + timedelta(minutes=1)
    return WindowForm(since=field_of(until - timedelta(days=7)), until=field_of(until))


ENDPOINTS: tuple[Endpoint[AdminServices, Operator, Any, Any], ...] = (
    screen(PATH, show_dead_letters, query=DeadQuery),
    action(f"{PATH}/selected", act_on_selection, body=SelectionForm),
    action(f"{PATH}/window", act_on_window, body=WindowForm),
)
