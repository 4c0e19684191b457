"""The pages under `/pay/<token>`: one order's payment, live, with the choice of a coin and the receipt."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from markupsafe import Markup
from msgspec import Struct
from starlette.responses import RedirectResponse, Response

from crypto_orders.checkout import coins
from crypto_orders.checkout.coins import Coin
from crypto_orders.checkout.languages import CODES, LANGUAGES, Language, language_of
from crypto_orders.checkout.stage import Stage, is_gone, is_worth_asking, stage_of
from crypto_orders.checkout.view import Links, Look, ltr, paid_with, view_of
from crypto_orders.domain.pay_link import order_of_token
from crypto_orders.domain.rate_limit import Policy, bucket_of_address
from crypto_orders.kit.http import PUBLIC, Call, Endpoint, RouteGroup
from crypto_orders.kit.problem import Problem, not_found, rate_limited
from crypto_orders.pages import formats
from crypto_orders.pages.receipt import as_pdf, receipt_of
from crypto_orders.pages.site import Templates, theme_of
from crypto_orders.store import pay_pages
from crypto_orders.store.failures import CommitUnknown, StoreUnavailable
from crypto_orders.store.pay_pages import PayPage
from crypto_orders.usecases import minting, observed, orders
from crypto_orders.usecases.deployment import Deployment
from crypto_orders.usecases.minting import NotChosen
from crypto_orders.usecases.rate_limits import RateLimiter

PREFIX: Final = "/pay"
COIN_PLACE: Final = "/coin"

HEADERS: Final[Mapping[str, str]] = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow",
    "vary": "accept-language",
}
"""The address is the capability: it is neither kept, passed on nor listed."""

ESTIMATE_DEADLINE_SECONDS: Final = 3.0
"""A payer waits no longer for what is only about right; the exact amount comes with the address."""

_LANGUAGE = re.compile(rb"(?:^|&)lang=(?P<code>[a-z]{2})(?:&|$)")

SEARCH_CHARS_MAX: Final = 60
STATE_CHARS_MAX: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class PayServices:
    """What the payment page works with.

    `keys` are all active ones of its addresses, so that they can be rotated; `policy` limits bad addresses,
    and choices of a coin, per client address.
    """

    deployment: Deployment
    templates: Templates
    limiter: RateLimiter
    policy: Policy
    keys: tuple[bytes, ...]


class PageQuery(Struct, frozen=True):
    """What a page is asked beyond its language: words to look coins up by, or the one coin to look at.

    `silent` is there when the page that it was opened from has told of a silent provider.
    """

    coin: str | None = None
    q: str | None = None
    silent: str | None = None


class StatusQuery(Struct, frozen=True):
    """The state that the asking page shows, the coin it was opened with, and whether it told of silence."""

    seen: str | None = None
    coin: str | None = None
    silent: str | None = None


class CoinForm(Struct, frozen=True):
    """The coin that a payer chose, by the provider's code."""

    coin: str | None = None


PayCall = Call[PayServices, Any, Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chooser:
    """The coins to choose from, or the chosen one to be confirmed."""

    known: bool
    coins: list[Coin]
    words: str
    more: bool
    selected: Coin | None
    estimate: Markup | None
    fault: Markup | None


@dataclass(frozen=True, slots=True)
class _Visit:
    """An order's page in the language of its visitor."""

    page: PayPage
    t: Language
    links: Links


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What an address asks of an order's page; `seen` is the state that the asking page shows."""

    coin: str | None = None
    words: str | None = None
    seen: str | None = None
    was_silent: bool = False


async def show(call: PayCall) -> Response:
    """The page of an order."""
    visit = await _visit(call)
    await _ask_sometimes(call, visit.page)
    asked = call.query
    wanted = _Wanted(coin=_code(asked.coin), words=asked.q, was_silent=asked.silent is not None)
    return await _draw(call, visit, "pay.html", wanted)


async def show_news(call: PayCall) -> Response:
    """The changing part of a page, or nothing when the page that asks shows it already."""
    visit = await _visit(call)
    await _ask_sometimes(call, visit.page)
    asked = call.query
    seen = (asked.seen or "")[:STATE_CHARS_MAX]
    wanted = _Wanted(coin=_code(asked.coin), seen=seen, was_silent=asked.silent is not None)
    return await _draw(call, visit, "live.html", wanted)


async def choose_coin(call: PayCall) -> Response:
    """Mint the order in a coin, then show its page; a choice that cannot be is shown with why."""
    visit = await _visit(call)
    allowance = await call.deps.limiter.draw(_choices_of(call), call.deps.policy)
    if allowance is not None and not allowance.granted:
        raise rate_limited(allowance.retry_after_seconds)
    coin = _code(call.body.coin) or ""
    order = visit.page.standing.order
    minted = await minting.mint_chosen(call.deps.deployment, order.account_id, order.order_id, coin)
    if minted is NotChosen.CLOSED:
        # Another window may have chosen another coin: the page says so.
        return RedirectResponse(visit.links.to(coin=coin), status_code=303)
    if minted is NotChosen.NO_SUCH_COIN:
        return await _draw(
            call, visit, "pay.html", _Wanted(), status=400, fault=visit.t("choose.no_such_coin")
        )
    if minted is NotChosen.REFUSED_BEFORE:
        fault = visit.t("choose.refused_before", coin=ltr(coins.coin_of(coin).title))
        return await _draw(call, visit, "pay.html", _Wanted(), status=409, fault=fault)
    return RedirectResponse(visit.links.to(), status_code=303)


async def show_receipt(call: PayCall) -> Response:
    """The receipt of a paid order, to be printed."""
    visit = await _visit(call)
    if stage_of(visit.page) is not Stage.PAID:
        raise not_found()
    view = view_of(visit.page, visit.t, visit.links, Look(rules=call.deps.deployment.rules))
    return call.deps.templates.page(
        "receipt.html",
        **_frame(call, visit.t, visit.links.base + "/receipt"),
        links=visit.links,
        view=view,
        paid_with=paid_with(visit.page),
    )


async def send_receipt(call: PayCall) -> Response:
    """The receipt of a paid order as a PDF."""
    page = (await _visit(call)).page
    if stage_of(page) is not Stage.PAID:
        raise not_found()
    order = page.standing.order
    headers = {"content-disposition": f'attachment; filename="receipt-{order.order_id}.pdf"'}
    receipt = receipt_of(order, page.standing.now)
    # Drawing it takes long enough for others to notice.
    pdf = await asyncio.to_thread(as_pdf, receipt, call.deps.templates.site.brand_name)
    return Response(pdf, media_type="application/pdf", headers=headers)


# ------------------------------------------------------------------ who asks for what


async def _visit(call: PayCall) -> _Visit:
    """The order of the call's token; 404 where there is none, and 429 for who tries too many."""
    token = call.text("token")
    order_id = order_of_token(token, call.deps.keys)
    if order_id is None:
        observed.refused("pay_token", remote_address=call.remote_address)
        bucket = f"pay:{bucket_of_address(call.remote_address)}"
        allowance = await call.deps.limiter.draw(bucket, call.deps.policy)
        if allowance is not None and not allowance.granted:
            raise rate_limited(allowance.retry_after_seconds)
        raise not_found()
    call.log_keys["order_id"] = order_id
    async with call.deps.deployment.pool.acquire() as conn:
        page = await pay_pages.read(conn, order_id)
    if page is None or is_gone(page):
        raise not_found()
    return _Visit(page, _language(call), Links(token, _chosen_language(call)))


def _code(coin: str | None) -> str | None:
    """The provider's code of a coin as it writes it; None when there is none."""
    return (coin or "").strip().lower()[:SEARCH_CHARS_MAX] or None


def _choices_of(call: PayCall) -> str:
    """The bucket of an address for what makes the provider work."""
    return f"choose:{bucket_of_address(call.remote_address)}"


def _chosen_language(call: PayCall) -> str | None:
    """The language that the address names; one that there is not counts as none."""
    found = _LANGUAGE.search(call.scope["query_string"])
    chosen = found["code"].decode("ascii") if found else None
    return chosen if chosen in LANGUAGES else None


def _language(call: PayCall) -> Language:
    return language_of(_chosen_language(call), call.header("accept-language"))


async def _ask_sometimes(call: PayCall, page: PayPage) -> None:
    """Have the provider asked about a payment that somebody watches, at most once a minute."""
    if not is_worth_asking(page, orders.ASK_AT_MOST_EVERY):
        return
    try:
        await orders.ask_soon(call.deps.deployment, page.standing.order)
    except (StoreUnavailable, CommitUnknown):
        # The next look asks again, and the reconciler asks anyway.
        observed.refused("pay_page_ask", order_id=page.standing.order.order_id)


# ------------------------------------------------------------------ drawing


async def _draw(
    call: PayCall,
    visit: _Visit,
    template: str,
    wanted: _Wanted,
    *,
    status: int = 200,
    fault: Markup | None = None,
) -> Response:
    chooser = None
    if stage_of(visit.page) is Stage.CHOOSE:
        chooser = await _chooser(call, visit, wanted, fault)
    look = Look(
        rules=call.deps.deployment.rules,
        was_silent=wanted.was_silent,
        coin=wanted.coin,
        coins_known=chooser is None or chooser.known,
        selected=chooser.selected if chooser else None,
    )
    view = view_of(visit.page, visit.t, visit.links, look)
    if view.state == wanted.seen:
        return Response(status_code=204)
    return call.deps.templates.page(
        template,
        status=status,
        **_frame(call, visit.t, visit.links.base),
        links=visit.links,
        view=view,
        chooser=chooser,
    )


async def _chooser(call: PayCall, visit: _Visit, wanted: _Wanted, fault: Markup | None) -> Chooser:
    codes = await call.deps.deployment.provider.coins()
    on_offer = coins.offered(codes or (), visit.page.refused_coins)
    selected = next((c for c in on_offer if c.code == wanted.coin), None)
    searched = " ".join((wanted.words or "").split())[:SEARCH_CHARS_MAX]
    found = coins.matching(on_offer, searched)
    if wanted.coin and selected is None and fault is None:
        fault = visit.t("choose.no_such_coin")
    if codes is None:
        # Without a list nobody can tell; the page says so.
        fault = None
    return Chooser(
        known=codes is not None,
        coins=found[: coins.SHOWN_MAX],
        words=searched,
        more=len(found) > coins.SHOWN_MAX,
        selected=selected,
        estimate=await _estimate(call, visit.page, selected) if selected else None,
        fault=fault,
    )


async def _estimate(call: PayCall, page: PayPage, coin: Coin) -> Markup | None:
    """About how much of a coin the order costs; None when nobody says, or this address asked too often."""
    allowance = await call.deps.limiter.draw(_choices_of(call), call.deps.policy)
    if allowance is not None and not allowance.granted:
        return None
    order, provider = page.standing.order, call.deps.deployment.provider
    amount = await provider.estimate(
        order.price_cents, order.price_currency, coin.code, deadline_seconds=ESTIMATE_DEADLINE_SECONDS
    )
    return None if amount is None else ltr(formats.crypto(amount, coin.ticker))


def _frame(call: PayCall, t: Language, here: str) -> dict[str, Any]:
    """What the frame around every page is drawn from; `here` is the page's own address without a query."""
    return {
        "t": t,
        "languages": [(code, LANGUAGES[code].name, f"{here}?lang={code}") for code in CODES],
        "language": t.code,
        "direction": t.direction,
        "theme": theme_of(call),
    }


FAILURES: Final = {"not-found": "not_found", "rate-limited": "too_many"}
"""Problems that a payer may meet, by the texts that tell of them; all others are ours."""


def show_problem(call: PayCall, problem: Problem) -> Response:
    """Any error as a page in the visitor's language, without a word of how it came about."""
    t = _language(call)
    name = FAILURES.get(problem.slug, "broken")
    # What was sent to a place that only takes forms is tried again from the page it was sent from.
    here = quote(call.scope["path"].removesuffix(COIN_PLACE), errors="replace")
    return call.deps.templates.page(
        "failure.html",
        status=problem.status,
        **_frame(call, t, here),
        here=here,
        title=f"problem.{name}_title",
        text=f"problem.{name}_text",
        may_retry=name != "not_found",
        request_id=call.request_id,
    )


def _page(method: str, path: str, handler: Any, **more: Any) -> Endpoint[PayServices, Any, Any, Any]:  # noqa: ANN401
    return Endpoint(
        method=method,
        path=f"{PREFIX}/{{token}}{path}",
        handler=handler,
        scope=PUBLIC,
        media_types=("text/html",),
        documented=False,
        from_page=True,
        **more,
    )


ENDPOINTS: Final = (
    _page("GET", "", show, query=PageQuery),
    _page("GET", "/status", show_news, query=StatusQuery),
    _page("POST", COIN_PLACE, choose_coin, body=CoinForm),
    _page("GET", "/receipt", show_receipt),
    _page("GET", "/receipt.pdf", send_receipt),
)


def routes(services: PayServices) -> RouteGroup[PayServices, Any]:
    """The pages of all orders."""
    return RouteGroup(
        deps=services,
        endpoints=ENDPOINTS,
        prefix=PREFIX,
        response_headers={**services.templates.site.headers, **HEADERS},
        show_problem=show_problem,
    )
