"""What a page shows of an order, decided before it is drawn: templates only place it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Final
from urllib.parse import urlencode

from markupsafe import Markup, escape

from crypto_orders.checkout.coins import Coin, coin_of
from crypto_orders.checkout.languages import Language
from crypto_orders.checkout.payment_uri import payment_uri, qr_svg
from crypto_orders.checkout.stage import (
    ENDED,
    TONES,
    UNPAID_ENDS,
    Stage,
    arrived_payment,
    has_surplus,
    is_silent,
    stage_of,
)
from crypto_orders.domain.order import Rules
from crypto_orders.domain.payment import Payment
from crypto_orders.pages import formats
from crypto_orders.store.pay_pages import PayPage

REFUSALS: Final = {
    "AMOUNT_MINIMAL_ERROR": "choose.refused_minimum",
    "CURRENCY_UNAVAILABLE": "choose.refused_off",
}
"""What the provider's codes of refusal mean to a payer; any other is told without a reason."""

TAKEN: Final = frozenset({Stage.PREPARING, Stage.PAY})
"""Where a coin was chosen that can still be paid with."""

MORE_NEXT: Final = {Stage.CONFIRMING: "more.confirming", Stage.PAID: "more.paid"}
"""What to do where all is well but that more than was due came; other stages tell of support anyway."""


EXACT: Final = Context(prec=200)
"""Amounts have at most 40 digits and a difference of two no more; Python's usual 28 would round them."""


def ltr(text: str) -> Markup:
    """A text that reads from left to right in every language: amounts, addresses, ids."""
    return Markup('<bdi dir="ltr">{}</bdi>').format(text)


def moment(at: datetime) -> Markup:
    """A moment to the minute with its zone, the same in every language."""
    shown = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Markup('<time datetime="{}"><bdi dir="ltr">{}</bdi></time>').format(at.isoformat(), shown)


@dataclass(frozen=True, slots=True)
class Links:
    """The addresses of one order's pages, in the language that was chosen on them, if one was."""

    token: str
    chosen: str | None

    @property
    def base(self) -> str:
        """The address of the page itself, in the language of whoever opens it."""
        return f"/pay/{self.token}"

    def to(self, place: str = "", **query: str | None) -> str:
        """The address of a place under the order's page."""
        named = {name: value for name, value in (("lang", self.chosen), *query.items()) if value}
        return f"{self.base}{place}" + (f"?{urlencode(named)}" if named else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look at an order's page depends on beyond the order.

    `coin` is the code of the coin that the visitor asked for, `selected` that coin where it is on offer;
    `coins_known` says whether there is a list to choose from, `was_silent` whether the page that looks again
    has told of a silent provider.
    """

    rules: Rules
    was_silent: bool = False
    coin: str | None = None
    coins_known: bool = True
    selected: Coin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payable:
    """What to send where; made only while it may be sent."""

    coin: Coin
    amount: str
    address: str
    memo: str | None
    uri: str | None

    @property
    def qr(self) -> Markup:
        """What wallets scan. Drawing it is most of a page's work, so only a page that shows it does."""
        return Markup(qr_svg(self.uri or self.address))  # noqa: S704 - the library's own SVG, of squares only


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """An order's page: its stage in words, and what belongs to it."""

    t: Language
    links: Links
    page: PayPage
    look: Look
    stage: Stage
    tone: str
    payable: Payable | None
    title: Markup
    notices: tuple[Markup, ...]
    arrived: tuple[tuple[Markup, Markup], ...]
    money_came: bool
    is_silent: bool
    surplus: bool
    state: str

    @property
    def order_id(self) -> Markup:
        """The order's id, to be quoted."""
        return ltr(self.page.standing.order.order_id)

    @property
    def support(self) -> Markup:
        """Whom to turn to, and with what."""
        return self.t("support.quote", order=Markup("<strong>{}</strong>").format(self.order_id))

    @property
    def price(self) -> Markup:
        """The price in the shop's currency."""
        order = self.page.standing.order
        return ltr(formats.fiat(order.price_cents, order.price_currency))

    @property
    def product(self) -> str:
        """What is bought."""
        return self.page.standing.order.product

    @property
    def goes_on(self) -> bool:
        """Whether the page keeps looking for news."""
        return self.stage not in ENDED

    @property
    def asks_sent(self) -> bool:
        """Whether to tell those who have sent coins already what becomes of them."""
        return self.stage in UNPAID_ENDS - {Stage.OVER}

    @property
    def is_timed(self) -> bool:
        """Whether the pay window is running down before the payer's eyes."""
        return self.stage in {Stage.PAY, Stage.CHOOSE}

    @property
    def seconds_left(self) -> int:
        """Whole seconds until the pay window ends."""
        seen = self.page.standing
        return max(0, int((seen.order.window_ends_at - seen.now).total_seconds()))

    @property
    def time_left(self) -> str:
        """The same as a clock shows it: `59:07`, with hours where there are some."""
        minutes, seconds = divmod(self.seconds_left, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"

    @property
    def until(self) -> Markup:
        """When the pay window ends."""
        return self.t("pay.until", time=moment(self.page.standing.order.window_ends_at))

    @property
    def paid_at(self) -> Markup | None:
        """When the order was paid."""
        paid_at = self.page.standing.order.paid_at
        return moment(paid_at) if paid_at else None

    @property
    def news(self) -> str:
        """Where the page looks for news; the address tells what it shows already."""
        return self.links.to("/status", seen=self.state, **self._remembered)

    @property
    def again(self) -> str:
        """Where a reader looks again."""
        return self.links.to("", **self._remembered)

    @property
    def _remembered(self) -> dict[str, str | None]:
        is_taken = self.stage in TAKEN
        return {"coin": self.look.coin if is_taken else None, "silent": "1" if self.is_silent else None}

    @property
    def next(self) -> Markup:
        """What to do."""
        if self.asks_sent and self.money_came:
            return self.t("checking.next")
        return self.t(MORE_NEXT[self.stage]) if self.surplus else self.text("next")

    def text(self, name: str) -> Markup:
        """A text of the stage."""
        return self.t(f"{self.stage}.{name}")


def view_of(page: PayPage, t: Language, links: Links, look: Look) -> View:
    """The page of an order in a language."""
    stage = stage_of(page)
    payable = _payable(page.standing.payment) if stage is Stage.PAY else None
    silent = is_silent(page, was_silent=look.was_silent) and stage not in ENDED
    surplus = stage in MORE_NEXT and has_surplus(page, look.rules)
    came = arrived_payment(page)
    attempt = page.standing.attempt
    return View(
        t=t,
        links=links,
        page=page,
        look=look,
        stage=stage,
        tone=TONES[stage],
        payable=payable,
        title=_title(stage, t, payable.coin if payable else look.selected),
        notices=(
            *_notices_of_coins(page, stage, t, look),
            *_notices_of_money(page, t, silent=silent, surplus=surplus),
        ),
        arrived=_arrived(came, stage, t),
        money_came=came is not None,
        is_silent=silent,
        surplus=surplus,
        # What of a page can change; the same text means that there is nothing new to show.
        state="-".join(
            (
                stage,
                str(page.standing.order.version),
                f"{attempt.attempt_no}{attempt.state}" if attempt else "0",
                page.standing.order.payment_id or "0",
                "silent" if silent else "heard",
                "more" if surplus else "due",
                "coins" if look.coins_known else "none",
                formats.crypto(came.actually_paid) if came else "0",
            )
        ),
    )


def _title(stage: Stage, t: Language, coin: Coin | None) -> Markup:
    if coin is None:
        return t(f"{stage}.title")
    return t("pay.title" if stage is Stage.PAY else "choose.confirm", coin=ltr(coin.title))


def _payable(payment: Payment | None) -> Payable | None:
    if payment is None or payment.pay_address is None or payment.pay_currency is None:
        return None
    coin = coin_of(payment.pay_currency, payment.network)
    memo = payment.payin_extra_id or None
    uri = None if memo else payment_uri(coin.code, payment.pay_address, payment.pay_amount)
    return Payable(
        coin=coin,
        amount=formats.crypto(payment.pay_amount),
        address=payment.pay_address,
        memo=memo,
        uri=uri,
    )


def _notices_of_coins(page: PayPage, stage: Stage, t: Language, look: Look) -> list[Markup]:
    notices: list[Markup] = []
    attempt = page.standing.attempt
    if stage is Stage.CHOOSE and attempt is not None:
        coin = ltr(coin_of(attempt.pay_currency).title)
        code = (attempt.reason or "").partition(":")[0]
        key = REFUSALS.get(code, "choose.refused") if attempt.state == "refused" else "choose.unanswered"
        notices.append(t(key, coin=coin))
    if stage is Stage.CHOOSE and not look.coins_known:
        notices.append(t("choose.silent"))
    taken = _taken(page) if stage in TAKEN else None
    if taken is not None and look.coin is not None and look.coin != taken.code:
        notices.append(t("choose.taken", coin=ltr(taken.title)))
    return notices


def _taken(page: PayPage) -> Coin | None:
    """The coin that was chosen for an order, by whoever came first."""
    payment, attempt = page.standing.payment, page.standing.attempt
    if payment is not None and payment.pay_currency is not None:
        return coin_of(payment.pay_currency, payment.network)
    return coin_of(attempt.pay_currency) if attempt else None


def _notices_of_money(page: PayPage, t: Language, *, silent: bool, surplus: bool) -> list[Markup]:
    notices: list[Markup] = []
    if surplus:
        order = Markup("<strong>{}</strong>").format(ltr(page.standing.order.order_id))
        notices.append(t("more.notice", order=order))
    if silent:
        notices.append(t("page.still_checking"))
    return notices


def _arrived(payment: Payment | None, stage: Stage, t: Language) -> tuple[tuple[Markup, Markup], ...]:
    """What came of the amount due, as labels and amounts; exact, and only where it matters."""
    if payment is None or stage not in {Stage.CONFIRMING, Stage.PARTIAL}:
        return ()
    coin = coin_of(payment.pay_currency or "", payment.network)
    paid, due = payment.actually_paid, payment.pay_amount
    if stage is Stage.CONFIRMING:
        return ((t("confirming.arrived"), _amount(paid, coin)),) if paid else ()
    rows = [(t("partial.arrived"), _amount(paid, coin) if paid else t("partial.unknown"))]
    if due is not None:
        rows.append((t("partial.due"), _amount(due, coin)))
    if paid and due is not None and due > paid:
        rows.append((t("partial.missing"), _amount(EXACT.subtract(due, paid), coin)))
    return tuple(rows)


def _amount(amount: Decimal, coin: Coin) -> Markup:
    return ltr(formats.crypto(amount, coin.ticker))


def paid_with(page: PayPage) -> Markup | None:
    """The coins that paid an order, for its receipt."""
    payment = page.standing.payment
    if payment is None or payment.pay_currency is None:
        return None
    coin = coin_of(payment.pay_currency, payment.network)
    amount = payment.actually_paid or payment.pay_amount
    return _amount(amount, coin) if amount is not None else escape(coin.title)
