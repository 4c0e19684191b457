"""The merchant endpoints about payments and invoices: create, read, re-estimate, list."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_orders.kit import clock
from crypto_orders.sandbox import coins, views
from crypto_orders.sandbox import payment as payments
from crypto_orders.sandbox.access import engine_of, keyed, with_token
from crypto_orders.sandbox.coins import COINS
from crypto_orders.sandbox.engine import Engine
from crypto_orders.sandbox.fields import Fields, body_fields, query_fields, required
from crypto_orders.sandbox.ledger import PageQuery
from crypto_orders.sandbox.merchant_catalogue import is_address_of
from crypto_orders.sandbox.payment import Payment
from crypto_orders.sandbox.wire import (
    iso,
    json_response,
    now_ms,
    number,
    number_text,
    refuse,
    refuse_invalid,
    refuse_unknown,
)

_ID: Final = re.compile(r"[0-9]+")
# SQLite's integers end at 19 digits; no id of ours is near that.
_ID_DIGITS_MAX: Final = 18
_ACCOUNT_ID: Final = "5281936047"
_PAGE_ROWS_MAX: Final = 500
_PAGE_ROWS_DEFAULT: Final = 10
_PAGE_NUMBER_MAX: Final = 1_000_000
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_OUTCOME_SORT: Final = "CAST(actually_paid AS REAL)"

_SORTS: Final = {
    "created_at": "created_ms",
    "updated_at": "updated_ms",
    "payment_id": "payment_id",
    "payment_status": "payment_status",
    "pay_address": "pay_address",
    "price_amount": "CAST(price_amount AS REAL)",
    "price_currency": "price_currency",
    "pay_amount": "CAST(pay_amount AS REAL)",
    "actually_paid": "CAST(actually_paid AS REAL)",
    "pay_currency": "pay_currency",
    "order_id": "order_id",
    "order_description": "order_description",
    "purchase_id": "purchase_id",
    # The outcome is reckoned, not stored; what was paid orders alike within a coin.
    "outcome_amount": _OUTCOME_SORT,
    "outcome_currency": "outcome_currency",
}


class _Price(NamedTuple):
    amount: Decimal
    currency: str


class _Terms(NamedTuple):
    """What a creation asks for besides its price and coin."""

    order_id: str | None
    order_description: str | None
    customer_email: str | None
    ipn_callback_url: str | None
    payout_currency: str | None
    purchase_id: int | None
    pay_amount: Decimal | None
    is_fixed_rate: bool
    is_fee_paid_by_user: bool
    case: str | None


async def create_payment(request: Request) -> Response:
    """Make a payment with an address of its own."""
    fields = await body_fields(request)
    price = _price(fields)
    coin = _payable_coin(fields)
    return _created(request, price, coin, _terms(fields), invoice_id=None)


async def create_invoice(request: Request) -> Response:
    """Make an invoice; a payment comes of it once a coin is chosen."""
    fields = await body_fields(request)
    price = _price(fields)
    terms = _terms(fields)
    coin = None if fields.code("pay_currency") is None else _payable_coin(fields)
    engine = engine_of(request)
    invoice_id = engine.ledger.next_id()
    at = iso(now_ms())
    invoice: dict[str, object] = {
        "id": str(invoice_id),
        "token_id": _ACCOUNT_ID,
        "order_id": terms.order_id,
        "order_description": terms.order_description,
        "price_amount": number_text(price.amount),
        "price_currency": price.currency.upper(),
        "pay_currency": coin,
        "ipn_callback_url": terms.ipn_callback_url,
        "invoice_url": f"{engine.config.invoice_page_url}?iid={invoice_id}",
        "success_url": fields.uri("success_url"),
        "cancel_url": fields.uri("cancel_url"),
        "partially_paid_url": fields.uri("partially_paid_url"),
        "payout_currency": terms.payout_currency,
        "created_at": at,
        "updated_at": at,
        "is_fixed_rate": terms.is_fixed_rate,
        "is_fee_paid_by_user": terms.is_fee_paid_by_user,
    }
    engine.ledger.add_invoice(invoice_id, msgspec.json.encode(invoice))
    return json_response(invoice, 201)


async def create_invoice_payment(request: Request) -> Response:
    """Make the payment of an invoice, on the invoice's terms."""
    fields = await body_fields(request)
    invoice_id = required(fields.identifier("iid"), "iid")
    coin = _payable_coin(fields)
    own = _terms(fields)
    document = engine_of(request).ledger.invoice(invoice_id)
    if document is None:
        refuse_unknown("Invoice not found")
    invoice = Fields(msgspec.json.decode(document))
    agreed = _terms(invoice)
    terms = own._replace(
        order_id=agreed.order_id,
        order_description=own.order_description or agreed.order_description,
        ipn_callback_url=agreed.ipn_callback_url,
        payout_currency=own.payout_currency or agreed.payout_currency,
        is_fixed_rate=agreed.is_fixed_rate,
        is_fee_paid_by_user=agreed.is_fee_paid_by_user,
    )
    return _created(request, _price(invoice), coin, terms, invoice_id=invoice_id)


async def read_payment(request: Request) -> Response:
    """Show one payment."""
    engine = engine_of(request)
    payment = _found(request)
    if payment.parent_payment_id is not None and not engine.config.children_readable:
        refuse_unknown("Payment not found")
    return json_response(views.read(payment, engine.ledger.children(payment.payment_id)))


async def update_estimate(request: Request) -> Response:
    """Renew the estimate of a waiting payment; before it ran out it is answered unchanged."""
    payment = engine_of(request).reestimate(_found(request))
    return json_response(
        {
            "id": str(payment.payment_id),
            "token_id": _ACCOUNT_ID,
            "pay_amount": number(payment.pay_amount),
            "expiration_estimate_date": iso(payment.estimate_until_ms),
        }
    )


async def list_payments(request: Request) -> Response:
    """List payments by page."""
    fields = query_fields(request)
    limit = fields.whole("limit", default=_PAGE_ROWS_DEFAULT, least=1, most=_PAGE_ROWS_MAX)
    page = fields.whole("page", default=0, least=0, most=_PAGE_NUMBER_MAX)
    query = request.query_params
    sort_sql = _SORTS.get(query.get("sortBy") or "created_at")
    if sort_sql is None:
        refuse_invalid("sortBy must be one of [" + ", ".join(_SORTS) + "]")
    direction = (query.get("orderBy") or "asc").lower()
    if direction not in {"asc", "desc"}:
        # The real one breaks on this; integrators confuse the two parameters.
        refuse(500, "INTERNAL_ERROR", "Internal server error")
    ledger = engine_of(request).ledger
    found = ledger.page(
        PageQuery(
            order_sql=f"{sort_sql} {direction}, payment_id {direction}",
            limit=limit,
            offset=page * limit,
            from_ms=_instant(query.get("dateFrom"), "dateFrom"),
            until_ms=_instant(query.get("dateTo"), "dateTo", whole_day=True),
            invoice_id=fields.identifier("invoiceId") if query.get("invoiceId") else None,
        )
    )
    return json_response(
        {
            "data": [views.read(payment, ledger.children(payment.payment_id)) for payment in found.rows],
            "limit": limit,
            "page": page,
            "pagesCount": -(-found.total // limit),
            "total": found.total,
        }
    )


def _price(fields: Fields) -> _Price:
    amount = required(fields.amount("price_amount"), "price_amount")
    currency = required(fields.code("price_currency"), "price_currency")
    if not coins.is_known(currency):
        refuse_invalid(f"Currency {currency} was not found")
    return _Price(amount, currency)


def _payable_coin(fields: Fields) -> str:
    code = required(fields.code("pay_currency"), "pay_currency")
    coin = COINS.get(code)
    if coin is None:
        refuse_invalid(f"Currency {code} was not found")
    if not coin.payable:
        refuse(400, "CURRENCY_UNAVAILABLE", f"Currency {code} is currently unavailable")
    return code


def _terms(fields: Fields) -> _Terms:
    case = fields.text("case")
    if case is not None and case not in payments.CASES:
        refuse_invalid("case must be one of [" + ", ".join(payments.CASES) + "]")
    fee_by_user = bool(fields.flag("is_fee_paid_by_user"))
    return _Terms(
        order_id=fields.text("order_id"),
        order_description=fields.text("order_description"),
        customer_email=fields.text("customer_email"),
        ipn_callback_url=fields.uri("ipn_callback_url"),
        payout_currency=_payout_currency(fields),
        purchase_id=fields.identifier("purchase_id"),
        pay_amount=fields.amount("pay_amount"),
        is_fixed_rate=fee_by_user or bool(fields.flag("is_fixed_rate")) or bool(fields.flag("fixed_rate")),
        is_fee_paid_by_user=fee_by_user,
        case=case,
    )


def _payout_currency(fields: Fields) -> str | None:
    address = fields.text("payout_address")
    code = fields.code("payout_currency")
    if address is None:
        return code if code in COINS else None
    code = required(code, "payout_currency")
    if not is_address_of(code, address, fields.text("payout_extra_id")):
        refuse(
            400,
            "BAD_CREATE_PAYMENT_REQUEST",
            "Can not validate address, check payout_address and payout_extra_id",
        )
    return code


def _created(
    request: Request, price: _Price, coin: str, terms: _Terms, *, invoice_id: int | None
) -> Response:
    engine = engine_of(request)
    outcome_currency = terms.payout_currency or engine.config.outcome_currency or coin
    pay_amount = terms.pay_amount or coins.convert(price.amount, price.currency, coin)
    least = coins.minimum(
        coin, outcome_currency, fixed_rate=terms.is_fixed_rate, fee_paid_by_user=terms.is_fee_paid_by_user
    )
    if pay_amount < least:
        refuse(400, "AMOUNT_MINIMAL_ERROR", f"Crypto amount {number_text(pay_amount)} is less than minimal")
    if terms.is_fee_paid_by_user:
        pay_amount = coins.round_to(pay_amount * (1 + coins.SERVICE_FEE_RATE), coin)
    address, memo = engine.deposit_address(coin)
    now = now_ms()
    payment = Payment(
        payment_id=engine.ledger.next_id(),
        purchase_id=terms.purchase_id or engine.ledger.next_id(),
        invoice_id=invoice_id,
        order_id=terms.order_id,
        order_description=terms.order_description,
        customer_email=terms.customer_email,
        price_amount=price.amount,
        price_currency=price.currency,
        pay_amount=pay_amount,
        pay_currency=coin,
        pay_address=address,
        payin_extra_id=memo,
        outcome_currency=outcome_currency,
        ipn_callback_url=terms.ipn_callback_url,
        origin_ip=_origin(request),
        is_fixed_rate=terms.is_fixed_rate,
        is_fee_paid_by_user=terms.is_fee_paid_by_user,
        created_ms=now,
        updated_ms=now,
        estimate_until_ms=now + engine.config.estimate_valid_seconds * 1000,
        valid_until_ms=now + engine.config.payment_valid_seconds * 1000,
    )
    engine.create(payment, terms.case)
    return json_response(views.created(payment, pay_amount_as_text=engine.config.pay_amount_as_text), 201)


def payment_of(engine: Engine, text: str) -> Payment | None:
    """The payment an id of a path names; None when there is none."""
    if _ID.fullmatch(text) is None or len(text) > _ID_DIGITS_MAX:
        return None
    return engine.ledger.payment(int(text))


def _found(request: Request) -> Payment:
    text: str = request.path_params["payment_id"]
    if _ID.fullmatch(text) is None:
        refuse_invalid("Payment id must be a number")
    payment = payment_of(engine_of(request), text)
    if payment is None:
        refuse_unknown("Payment not found")
    return payment


def _origin(request: Request) -> str | None:
    given = request.headers.get("origin-ip")
    if given:
        return given[:64]
    return None if request.client is None else request.client.host


def _instant(text: str | None, name: str, *, whole_day: bool = False) -> int | None:
    """A bound of the list in epoch milliseconds: an instant, or a day, of which ``dateTo`` means the end."""
    if not text:
        return None
    try:
        if _DATE.fullmatch(text):
            day = datetime.fromisoformat(text).replace(tzinfo=UTC)
            return clock.to_milliseconds(day + timedelta(days=1) if whole_day else day)
        return clock.to_milliseconds(clock.parse_instant(text))
    except (ValueError, OverflowError):
        refuse_invalid(f"{name} must be a valid date")


ROUTES: Final = (
    Route("/v1/payment", keyed(create_payment), methods=["POST"]),
    Route("/v1/payment", with_token(keyed(list_payments)), methods=["GET"]),
    Route("/v1/payment/{payment_id}", keyed(read_payment), methods=["GET"]),
    Route("/v1/payment/{payment_id}/update-merchant-estimate", keyed(update_estimate), methods=["POST"]),
    Route("/v1/invoice", keyed(create_invoice), methods=["POST"]),
    Route("/v1/invoice-payment", keyed(create_invoice_payment), methods=["POST"]),
)
