"""What the provider says of one payment, read from a notification, an answer or a row of its list.

The provider spells the same thing in several ways: ids are strings in one answer and numbers in the next,
amounts come quoted when a merchant chose so, ``null`` arrives as the four letters, times are ISO texts or
milliseconds. All of them are read. Two fields must be there and right, the payment's id and its status; any
other that cannot be read is None and named in ``malformed_fields``, so that one odd field never loses money:

* an unreadable ``order_id`` or ``parent_payment_id`` reads as :data:`MALFORMED`, an id that nobody has:
  taking it for absent would let a payment of another order, or a child, move this order;
* an unreadable ``actually_paid`` counts as money seen (:func:`shows_money`), for nobody can say it was none;
* whatever else is missing before an order may become paid is asked of the provider.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

from msgspec import Struct

from crypto_orders.domain.ipn_signature import JsonValue
from crypto_orders.kit.clock import from_milliseconds, parse_instant, whole_milliseconds

MALFORMED = "(malformed)"
"""Stands for an order's or parent's id that could not be read; nobody makes such an id."""

ID_CHARS_MAX = 128
TEXT_CHARS_MAX = 1000
"""Longest text kept, in characters; the longest real one is an address of a few hundred."""

AMOUNT_DIGITS_MAX = 40
AMOUNT_EXPONENT_MAX = 30
"""How far from the point the first digit of an amount may stand. The smallest coins are worth 10^-18 of their
unit, and a supply of the most inflated ones stays below 10^30."""

EARLIEST = datetime(2009, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""Times outside these years are mistakes, and would overflow the sums made with them."""

_RANKS = {
    "waiting": 0,
    "confirming": 1,
    "confirmed": 2,
    "sending": 3,
    "spending": 3,
    "failed": 4,
    "expired": 4,
    "refunded": 4,
    "cancelled": 4,
    "canceled": 4,
    "partially_paid": 5,
    "finished": 6,
}
_FAILED_CLASS = frozenset({"failed", "expired", "refunded", "cancelled", "canceled"})
_SHOW_MONEY = frozenset({"confirming", "confirmed", "sending", "spending", "partially_paid", "finished"})

MEMO_COINS = frozenset({"ava", "bnbmainnet", "eos", "xlm", "xrp"})
"""Coins whose deposits the provider finds by memo or tag alone: what is sent without it is not detected."""

_ABSENT = (None, "", "null")
# PostgreSQL stores no NUL and no lone surrogate; other control characters have no place in these texts.
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_AMOUNT = re.compile(r"-?[0-9]{1,80}(?:\.[0-9]{1,80})?(?:[eE][+-]?[0-9]{1,3})?")
_MILLISECONDS = re.compile(r"[0-9]{12,14}")

_Read = TypeVar("_Read")


class MalformedPayment(ValueError):  # noqa: N818 - It is met in match statements, beside the payment it is not.
    """The document cannot be taken for a payment at all; ``field`` names what is wrong."""

    def __init__(self, field: str) -> None:
        """Name the field that is missing or of no use."""
        super().__init__(f"{field} is missing or not what it should be")
        self.field = field


class ProviderPayment(Struct, frozen=True, kw_only=True):
    """One payment in the provider's words; None is what the words do not tell, or do not tell readably.

    Amounts are exact, never negative: ``price_amount`` and ``actually_paid_at_fiat`` in whole units of
    ``price_currency``, ``pay_amount`` and ``actually_paid`` in ``pay_currency``, ``outcome_amount`` in
    ``outcome_currency``. Currencies keep the case they came in. Times are UTC in whole milliseconds.
    ``expiration_estimate`` ends the rate's estimate, ``valid_until`` the watch for deposits.
    """

    payment_id: str
    payment_status: str
    parent_payment_id: str | None = None
    payment_extra_ids: tuple[str, ...] = ()
    order_id: str | None = None
    invoice_id: str | None = None
    purchase_id: str | None = None
    price_amount: Decimal | None = None
    price_currency: str | None = None
    pay_currency: str | None = None
    pay_address: str | None = None
    pay_amount: Decimal | None = None
    payin_extra_id: str | None = None
    network: str | None = None
    actually_paid: Decimal | None = None
    actually_paid_at_fiat: Decimal | None = None
    outcome_amount: Decimal | None = None
    outcome_currency: str | None = None
    payin_hash: str | None = None
    payout_hash: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    valid_until: datetime | None = None
    expiration_estimate: datetime | None = None
    malformed_fields: tuple[str, ...] = ()


def rank(payment_status: str) -> int | None:
    """How far along a status is, from 0; None for a word we do not know.

    waiting < confirming < confirmed < sending < the failed class < partially_paid < finished.
    """
    return _RANKS.get(payment_status)


def is_failed_class(payment_status: str) -> bool:
    """Whether a status says that the payment ended without being settled to the merchant."""
    return payment_status in _FAILED_CLASS


def lacks_memo(pay_currency: str | None, memo: str | None) -> bool:
    """Whether coins sent to a payment in this coin would get lost, since nobody knows its memo."""
    return pay_currency is not None and pay_currency.lower() in MEMO_COINS and not memo


def shows_money(payment: ProviderPayment) -> bool:
    """Whether the words show that money arrived, by status or by amount.

    ``outcome_amount`` shows nothing: it is an estimate while a payment waits.
    """
    return (
        payment.payment_status in _SHOW_MONEY
        or (payment.actually_paid or 0) > 0
        or "actually_paid" in payment.malformed_fields
    )


def parse_payment(document: JsonValue) -> ProviderPayment:
    """Read a payment from a document that :func:`~crypto_orders.domain.ipn_signature.read_json_exact` read.

    Raises :class:`MalformedPayment` when the document is no object, the ``payment_id`` is neither an
    integer-valued number nor a text of 1 to 128 characters, or the ``payment_status`` is no text.
    """
    if not isinstance(document, dict):
        field = "document"
        raise MalformedPayment(field)
    payment_id = _id(document.get("payment_id"))
    if payment_id is None:
        field = "payment_id"
        raise MalformedPayment(field)
    payment_status = document.get("payment_status")
    if not isinstance(payment_status, str) or _text(payment_status) is None:
        field = "payment_status"
        raise MalformedPayment(field)
    fields = _Fields(document)
    return ProviderPayment(
        payment_id=payment_id,
        payment_status=payment_status,
        parent_payment_id=fields.binding("parent_payment_id"),
        payment_extra_ids=fields.read("payment_extra_ids", _ids) or (),
        order_id=fields.binding("order_id"),
        invoice_id=fields.read("invoice_id", _id),
        purchase_id=fields.read("purchase_id", _id),
        price_amount=fields.read("price_amount", read_amount),
        price_currency=fields.read("price_currency", _text),
        pay_currency=fields.read("pay_currency", _text),
        pay_address=fields.read("pay_address", _text),
        pay_amount=fields.read("pay_amount", read_amount),
        payin_extra_id=fields.read("payin_extra_id", _id),
        network=fields.read("network", _text),
        actually_paid=fields.read("actually_paid", read_amount),
        actually_paid_at_fiat=fields.read("actually_paid_at_fiat", read_amount),
        outcome_amount=fields.read("outcome_amount", read_amount),
        outcome_currency=fields.read("outcome_currency", _text),
        payin_hash=fields.read("payin_hash", _text),
        payout_hash=fields.read("payout_hash", _text),
        created_at=fields.read("created_at", _moment),
        updated_at=fields.read("updated_at", _moment),
        valid_until=fields.read("valid_until", _moment),
        expiration_estimate=fields.read("expiration_estimate_date", _moment),
        malformed_fields=tuple(fields.malformed),
    )


class _Fields:
    """The optional fields of a document, and the names of those that could not be read."""

    def __init__(self, document: Mapping[str, JsonValue]) -> None:
        self._document = document
        self.malformed: list[str] = []

    def read(self, name: str, reader: Callable[[JsonValue], _Read | None]) -> _Read | None:
        """Read a field; None when it is absent, null in one of its spellings, or noted as malformed."""
        value = self._document.get(name)
        if value in _ABSENT:
            return None
        read = reader(value)
        if read is None:
            self.malformed.append(name)
        return read

    def binding(self, name: str) -> str | None:
        """Read an id that binds the payment to something; unreadable, it binds to nothing there is."""
        read = self.read(name, _id)
        return MALFORMED if name in self.malformed else read


def read_amount(value: JsonValue) -> Decimal | None:
    """Read an amount, a number or the text of one; None when it is negative, endless or absurd.

    Absurd is more than 40 digits, or a first digit more than 30 places from the decimal point. The value is
    exact, with an exponent of at most 0.
    """
    match value:
        case Decimal():
            amount = value
        case str() if _AMOUNT.fullmatch(value):
            amount = Decimal(value)
        case _:
            return None
    if not amount.is_finite() or amount < 0:
        return None
    if amount == 0:
        return Decimal(0)
    _, digits, exponent = amount.as_tuple()
    if len(digits) > AMOUNT_DIGITS_MAX or abs(amount.adjusted()) > AMOUNT_EXPONENT_MAX:
        return None
    return Decimal(format(amount, "f")) if int(exponent) > 0 else amount


def _id(value: JsonValue) -> str | None:
    """Read an id, a text or a whole number, as text; a number as its digits, never ``1E+3``."""
    match value:
        case Decimal() if value.is_finite() and abs(value.adjusted()) < ID_CHARS_MAX:
            if value != value.to_integral_value():
                return None
            text = format(value.to_integral_value(), "f") if value else "0"
        case str():
            text = value
        case _:
            return None
    return text if 0 < len(text) <= ID_CHARS_MAX and not _UNUSABLE.search(text) else None


def _ids(value: JsonValue) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    ids = [_id(item) for item in value]
    readable = tuple(item for item in ids if item is not None)
    return readable if len(readable) == len(ids) else None


def _text(value: JsonValue) -> str | None:
    if not isinstance(value, str) or len(value) > TEXT_CHARS_MAX or _UNUSABLE.search(value):
        return None
    return value


def _moment(value: JsonValue) -> datetime | None:
    """Read an instant, an ISO text with a zone or milliseconds since 1970 as a number or its digits."""
    try:
        match value:
            case Decimal() if value.is_finite() and abs(value.adjusted()) < ID_CHARS_MAX:
                moment = from_milliseconds(int(value))
            case str() if _MILLISECONDS.fullmatch(value):
                moment = from_milliseconds(int(value))
            case str():
                moment = whole_milliseconds(parse_instant(value))
            case _:
                return None
    except (ValueError, OverflowError):
        return None
    return moment if EARLIEST <= moment < LATEST else None
