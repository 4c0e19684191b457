"""Checkout and quote: the two calls that start a crypto order."""

import re
from decimal import Decimal

from msgspec import UNSET, Struct, UnsetType

from crypto_orders.api.services import ApiCall
from crypto_orders.domain.errors import ValidationFailed
from crypto_orders.kit.encoding import Instant
from crypto_orders.kit.http import Answer, Endpoint, HeaderParameter
from crypto_orders.usecases import checkout, quote
from crypto_orders.usecases.checkout import Asked, CheckedOut

IDEMPOTENCY_KEY_CHARS_MAX = 255
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")


class CheckoutBody(Struct, frozen=True):
    """What to buy. Prices are compared with the catalogue's and logged, never trusted."""

    product: str
    price_cents: int | UnsetType | None = UNSET
    price_currency: str | UnsetType | None = UNSET
    pay_currency: str | UnsetType | None = UNSET

    def as_sent(self) -> dict[str, object]:
        """The fields that idempotency compares; what was not sent is absent."""
        return {name: v for name in self.__struct_fields__ if (v := getattr(self, name)) is not UNSET}


class CheckoutAnswer(Struct, frozen=True, kw_only=True):
    """The order, and where to pay it: `provider` is `stub` while no address can be shown."""

    order_id: str
    product: str
    price_cents: int
    price_currency: str
    status: str
    provider: str
    payment_address: str | None
    pay_currency: str | None
    pay_amount: Decimal | None
    payin_extra_id: str | None
    network: str | None
    expires_at: Instant | None
    checkout_url: str
    created_at: Instant


class QuoteBody(Struct, frozen=True):
    """What is asked about; a currency of the client's changes nothing."""

    product: str
    price_currency: str | UnsetType | None = UNSET
    pay_currency: str | UnsetType | None = UNSET


class QuoteAnswer(Struct, frozen=True, kw_only=True):
    """The price that would be charged; with a coin also about how much of it, and the least it takes."""

    product: str
    price_cents: int
    price_currency: str
    pay_currency: str | UnsetType = UNSET
    estimate: Decimal | UnsetType | None = UNSET
    minimum: Decimal | UnsetType | None = UNSET


async def check_out(call: ApiCall[CheckoutBody, None]) -> Answer:
    """Start an order and mint its payment, or replay the order of a repeated key."""
    sent = call.body
    asked = Asked(
        account_id=call.principal.account,
        product=sent.product,
        pay_currency=_coin(sent.pay_currency),
        idempotency_key=_idempotency_key(call.header("idempotency-key")),
        fingerprint=sent.as_sent(),
        strict=(call.header("idempotency-mode") or "").strip().lower() == "strict",
    )
    done = await checkout.check_out(call.deps.deployment, asked)
    headers: dict[str, str] = {}
    if done.replayed:
        headers["Idempotent-Replayed"] = "1"
    if done.differing_fields:
        headers["Idempotency-Body-Mismatch"] = ", ".join(done.differing_fields)
    call.log_keys["order_id"] = done.order.order_id
    return Answer(_answer(done, call.deps.checkout_url(done.order.order_id)), headers=headers)


async def quote_price(call: ApiCall[QuoteBody, None]) -> QuoteAnswer:
    """What an order would cost right now."""
    coin = _coin(call.body.pay_currency)
    found = await quote.quote(call.deps.deployment, call.body.product, coin)
    return QuoteAnswer(
        product=found.product,
        price_cents=found.price_cents,
        price_currency=found.price_currency,
        pay_currency=UNSET if coin is None else coin,
        estimate=UNSET if coin is None else found.estimate,
        minimum=UNSET if coin is None else found.minimum,
    )


def _answer(done: CheckedOut, checkout_url: str) -> CheckoutAnswer:
    order, payment = done.order, done.payment
    return CheckoutAnswer(
        order_id=order.order_id,
        product=order.product,
        price_cents=order.price_cents,
        price_currency=order.price_currency,
        status=order.status.value,
        provider="nowpayments" if payment else "stub",
        payment_address=payment.pay_address if payment else None,
        pay_currency=payment.pay_currency if payment else None,
        pay_amount=payment.pay_amount if payment else None,
        payin_extra_id=payment.payin_extra_id if payment else None,
        network=payment.network if payment else None,
        expires_at=order.expires_at,
        checkout_url=checkout_url,
        created_at=order.created_at,
    )


def _coin(sent: str | UnsetType | None) -> str | None:
    return None if sent is UNSET or sent is None else sent.lower()


def _idempotency_key(header: str | None) -> str | None:
    """The key without outer blanks; None when there is none, ValidationFailed when it is of another form."""
    key = (header or "").strip(" \t")
    if not key:
        return None
    if len(key) > IDEMPOTENCY_KEY_CHARS_MAX or not _VISIBLE_ASCII.fullmatch(key):
        text = f"must be 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters"
        raise ValidationFailed({"Idempotency-Key": [text]})
    return key


IDEMPOTENCY_HEADERS = (
    HeaderParameter("Idempotency-Key", "Makes a repeated request answer with the order of the first one."),
    HeaderParameter("Idempotency-Mode", "`strict` refuses a key that comes with another body."),
)

ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/billing/crypto-checkout",
        handler=check_out,
        scope="admin:billing",
        body=CheckoutBody,
        body_error="validation-failed",
        response=CheckoutAnswer,
        status=201,
        problems=("conflict",),
        headers=IDEMPOTENCY_HEADERS,
        summary="Start a crypto order",
        tags=("Checkout",),
    ),
    Endpoint(
        method="POST",
        path="/v1/billing/crypto-checkout/quote",
        handler=quote_price,
        scope="read:billing",
        body=QuoteBody,
        body_error="validation-failed",
        response=QuoteAnswer,
        summary="What an order would cost",
        tags=("Checkout",),
    ),
)
