"""One order: its drawer beside the list, its page of its own, and the part of both that refreshes itself."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct
from starlette.responses import Response

from crypto_orders.admin import order_query
from crypto_orders.admin.order_answers import STATUS_CHOICES, Row
from crypto_orders.admin.order_view import OrderView, order_view
from crypto_orders.admin.runbook import Section
from crypto_orders.admin.session import AdminCall, page
from crypto_orders.domain.delivery import ATTEMPTS_MAX
from crypto_orders.domain.errors import NotFound
from crypto_orders.domain.operator import OVERRIDE, WRITE
from crypto_orders.store import order_surroundings, order_views
from crypto_orders.usecases import orders as usecases
from crypto_orders.usecases.operators import OVERRIDE_REASON_CHARS_MIN

ShownIn = Literal["drawer", "page"]

OPEN_EVERY_SECONDS: Final = 4
ENDED_EVERY_SECONDS: Final = 20
"""How often what is looked at refreshes itself: what has ended rarely changes."""


class Result(Struct, frozen=True, kw_only=True):
    """What came of an action: told at the top, with the provider's answer beside ours where it was asked."""

    tone: str
    lead: str
    text: str
    more: Section | None = None
    rows: tuple[Row, ...] = ()


class Typed(Struct, frozen=True):
    """What was typed into a form that was refused, so that nobody types it twice; `form` names it."""

    form: str
    values: Mapping[str, str]

    def value(self, form: str, name: str) -> str:
        """What was typed into a field of a form; nothing when it was another form."""
        return self.values.get(name, "") if form == self.form else ""


NOTHING_TYPED: Final = Typed("", {})


class LiveQuery(Struct, frozen=True, kw_only=True):
    """What the browser shows now."""

    seen: str = ""
    flags: str = ""
    shown_in: ShownIn = "page"


async def read_view(call: AdminCall[Any, Any], order_id: str) -> OrderView:
    """An order with everything as it is drawn; NotFound when there is none."""
    services = call.deps
    async with services.pool.acquire() as conn:
        detail = await order_views.detail(conn, order_id)
        if detail is None:
            raise NotFound
        order = detail.shown.order
        names = await order_surroundings.account_names(conn, [order.account_id])
        used_key = await order_surroundings.used_key(conn, order)
    return order_view(
        detail,
        account_name=names.get(order.account_id, ""),
        used_key=used_key,
        checkout_url=services.checkout_url(order_id),
    )


def values_of(
    call: AdminCall[Any, Any],
    view: OrderView,
    shown_in: ShownIn,
    *,
    back: str = order_query.PATH,
    result: Result | None = None,
    typed: Typed = NOTHING_TYPED,
    flags_drawn: str | None = None,
) -> dict[str, Any]:
    """What the templates of one order are given. `flags_drawn` are the flags whose forms a browser shows."""
    order = view.order
    return {
        "view": view,
        "order": order,
        "shown_in": shown_in,
        "back": back,
        "result": result,
        "typed": typed,
        "is_fetched": call.header("hx-request") is not None,
        "here": f"{order_query.PATH}/{order.order_id}",
        "may_write": call.principal.allows(WRITE),
        "may_override": call.principal.allows(OVERRIDE),
        "status_choices": STATUS_CHOICES,
        "attempts_max": ATTEMPTS_MAX,
        "reason_chars_min": OVERRIDE_REASON_CHARS_MIN,
        "flags_drawn": view.flags_fingerprint if flags_drawn is None else flags_drawn,
        "refresh_seconds": OPEN_EVERY_SECONDS if is_open(view) else ENDED_EVERY_SECONDS,
    }


def is_open(view: OrderView) -> bool:
    """Whether an order may still move by itself."""
    return view.order.status.value in {"pending", "confirming", "partial"}


def draw(
    call: AdminCall[Any, Any],
    view: OrderView,
    shown_in: ShownIn,
    *,
    status: int = 200,
    result: Result | None = None,
    typed: Typed = NOTHING_TYPED,
) -> Response:
    """An order after an action: the fragment where a script asked for it, else the whole page."""
    is_fragment = call.header("hx-request") is not None
    template = "order_fragment.html" if is_fragment else "order.html"
    where: ShownIn = shown_in if is_fragment else "page"
    return page(call, template, status=status, **values_of(call, view, where, result=result, typed=typed))


async def show_order(call: AdminCall[None, None]) -> Response:
    """An order as a page of its own. The provider is asked soon about its open payments."""
    view = await read_view(call, call.text("order_id"))
    await usecases.ask_soon(call.deps.deployment, view.order)
    return page(call, "order.html", **values_of(call, view, "page"))


async def show_drawer(call: AdminCall[None, None]) -> Response:
    """The content of an order's drawer."""
    view = await read_view(call, call.text("order_id"))
    await usecases.ask_soon(call.deps.deployment, view.order)
    return page(call, "order_fragment.html", **values_of(call, view, "drawer"))


async def show_live(call: AdminCall[None, LiveQuery]) -> Response:
    """What changed of an order since the browser drew it; nothing (204) when nothing did."""
    query = call.query
    view = await read_view(call, call.text("order_id"))
    if view.fingerprint == query.seen:
        return Response(status_code=204)
    return page(call, "order_changed.html", **values_of(call, view, query.shown_in, flags_drawn=query.flags))
