"""Turn the provider's answers into outcomes; whatever an answer holds, reading it is never an exception.

Errors are ``{"status": false, "statusCode": 400, "code": "…", "message": "…"}``; some come as
``{"message": …}`` or ``{"errors": […]}`` alone, some as a page of HTML, and some with the status 200.
"""

import re
from decimal import Decimal
from http import HTTPStatus

import msgspec

from crypto_orders.domain.ipn_signature import JsonValue, UnreadableJsonError, read_json_exact
from crypto_orders.domain.provider_payment import (
    MalformedPayment,
    ProviderPayment,
    lacks_memo,
    parse_payment,
    read_amount,
)
from crypto_orders.provider.outcomes import (
    KEY_REFUSED,
    RATE_LIMITED,
    Available,
    CreateOutcome,
    CreatePayment,
    Currencies,
    Estimated,
    Found,
    Minimum,
    Minted,
    Mismatched,
    NoAnswer,
    NotFound,
    NotMade,
    PaymentAnswer,
    Refused,
    Unknown,
)
from crypto_orders.provider.transport import Failure, Reply

MESSAGE_CHARS_MAX = 200
"""As much of the provider's words as is kept and logged."""

STORABLE_DIGITS_MAX = 1000
"""PostgreSQL's numeric has room for 16383 digits behind the point; a number this long is nonsense already."""

_OK_STATUSES = range(200, 300)
_CLIENT_ERRORS = range(400, 500)
_KEY_STATUSES = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_REFUSAL_STATUSES = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
_INVALID_PARAMETERS = "INVALID_REQUEST_PARAMS"

_CODE = re.compile(r"[A-Z0-9_]{1,64}")
_COIN = re.compile(r"[a-z0-9]{1,32}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
# What PostgreSQL's jsonb refuses inside texts: NUL and lone surrogates.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

_encoder = msgspec.json.Encoder(decimal_format="number")


def read_document(reply: Reply) -> JsonValue | UnreadableJsonError:
    """Parse an answer's body; an error as a value when it is no JSON that may be read."""
    try:
        return read_json_exact(reply.body)
    except UnreadableJsonError as error:
        return error


def read_create(asked: CreatePayment, answer: Reply | Failure) -> CreateOutcome:
    """Judge what a create call did. Only what cannot have made a payment is ``NotMade`` or ``Refused``."""
    if isinstance(answer, Failure):
        return Unknown(answer.reason) if answer.sent else NotMade(answer.reason)
    document = read_document(answer)
    refusal = _refusal(answer.status, document)
    if refusal is not None:
        return refusal
    if answer.status not in _OK_STATUSES:
        reason = _status_reason(answer.status)
        is_definite = answer.status in _CLIENT_ERRORS and answer.status != HTTPStatus.REQUEST_TIMEOUT
        return NotMade(reason) if is_definite else Unknown(reason)
    if isinstance(document, UnreadableJsonError):
        return Unknown("not_json")
    try:
        payment = parse_payment(document)
    except MalformedPayment as malformed:
        return Unknown(f"no_{malformed.field}")
    raw = storable(answer.body, document)
    differing = _differing(asked, payment)
    return Mismatched(payment, raw, f"differs: {', '.join(differing)}") if differing else Minted(payment, raw)


def read_payment(payment_id: str, answer: Reply | Failure) -> PaymentAnswer:
    """Read the answer about one payment. One about another payment is no answer.

    ``NotFound`` takes an error in the API's own form: a 404 page from something in between says nothing.
    """
    if isinstance(answer, Failure):
        return NoAnswer(answer.reason)
    document = read_document(answer)
    code = _code(document)
    if isinstance(document, dict) and "payment_status" not in document:
        is_no_id = answer.status == HTTPStatus.BAD_REQUEST and code == _INVALID_PARAMETERS
        if answer.status == HTTPStatus.NOT_FOUND or is_no_id:
            return NotFound()
    if answer.status not in _OK_STATUSES:
        return NoAnswer(_status_reason(answer.status))
    if isinstance(document, UnreadableJsonError):
        return NoAnswer("not_json")
    try:
        payment = parse_payment(document)
    except MalformedPayment as malformed:
        return NoAnswer(f"no_{malformed.field}")
    if payment.payment_id != payment_id:
        return NoAnswer("another_payment")
    return Found(payment, storable(answer.body, document))


def read_currencies(answer: Reply | Failure) -> Currencies | NoAnswer:
    """Read the list of coins, whose entries are codes or objects that hold one."""
    document = _success(answer)
    if isinstance(document, NoAnswer):
        return document
    listed = document.get("currencies") if isinstance(document, dict) else None
    codes = frozenset(filter(None, map(_coin, listed))) if isinstance(listed, list) else frozenset[str]()
    return Currencies(codes) if codes else NoAnswer("no_currencies")


def read_estimate(answer: Reply | Failure) -> Estimated | Refused | NoAnswer:
    """Read an estimate, a number or the text of one."""
    document = _success_or_refusal(answer)
    if isinstance(document, Refused | NoAnswer):
        return document
    amount = read_amount(document.get("estimated_amount")) if isinstance(document, dict) else None
    return Estimated(amount) if amount is not None else NoAnswer("no_estimated_amount")


def read_minimum(answer: Reply | Failure) -> Minimum | Refused | NoAnswer:
    """Read the least amount of a pair."""
    document = _success_or_refusal(answer)
    if isinstance(document, Refused | NoAnswer):
        return document
    amount = read_amount(document.get("min_amount")) if isinstance(document, dict) else None
    if amount is None or not isinstance(document, dict):
        return NoAnswer("no_min_amount")
    return Minimum(amount, read_amount(document.get("fiat_equivalent")))


def read_status(answer: Reply | Failure) -> Available | NoAnswer:
    """Read whether the provider says that it is up."""
    document = _success(answer)
    if isinstance(document, NoAnswer):
        return document
    is_up = isinstance(document, dict) and document.get("message") == "OK"
    return Available() if is_up else NoAnswer("not_up")


def storable(body: bytes, document: JsonValue) -> bytes:
    """Return the body, or the same JSON without what PostgreSQL's jsonb refuses when it holds any of that.

    NUL and lone surrogates become U+FFFD, numbers of absurd size null.
    """
    made_storable = _storable(document)
    if made_storable == document and _is_utf8(body):
        return body
    return _encoder.encode(made_storable)


def _storable(value: JsonValue) -> JsonValue:
    match value:
        case str():
            return _UNSTORABLE.sub("\ufffd", value)
        case Decimal():
            return value if _is_storable(value) else None
        case dict():
            return {_UNSTORABLE.sub("\ufffd", key): _storable(item) for key, item in value.items()}
        case list():
            return [_storable(item) for item in value]
        case _:
            return value


def _is_storable(number: Decimal) -> bool:
    if not number.is_finite() or abs(number.adjusted()) > STORABLE_DIGITS_MAX:
        return False
    return len(number.as_tuple().digits) <= STORABLE_DIGITS_MAX


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _differing(asked: CreatePayment, payment: ProviderPayment) -> list[str]:
    """Name what of the made payment is not as asked, or lacks what a payer needs."""
    checks = {
        "order_id": payment.order_id == asked.order_id,
        "price_amount": payment.price_amount == Decimal(asked.price_cents) / 100,
        "price_currency": _same_code(payment.price_currency, asked.price_currency),
        "pay_currency": _same_code(payment.pay_currency, asked.pay_currency),
        "pay_address": bool(payment.pay_address),
        "pay_amount": bool(payment.pay_amount),
        "payin_extra_id": "payin_extra_id" not in payment.malformed_fields
        and not lacks_memo(asked.pay_currency, payment.payin_extra_id),
        "parent_payment_id": payment.parent_payment_id is None,
    }
    return [name for name, is_right in checks.items() if not is_right]


def _same_code(one: str | None, other: str) -> bool:
    return one is not None and one.lower() == other.lower()


def _success(answer: Reply | Failure) -> JsonValue | NoAnswer:
    """Return the document of a success; anything else is no answer."""
    if isinstance(answer, Failure):
        return NoAnswer(answer.reason)
    if answer.status not in _OK_STATUSES:
        return NoAnswer(_status_reason(answer.status))
    document = read_document(answer)
    return NoAnswer("not_json") if isinstance(document, UnreadableJsonError) else document


def _success_or_refusal(answer: Reply | Failure) -> JsonValue | Refused | NoAnswer:
    if isinstance(answer, Reply):
        refusal = _refusal(answer.status, read_document(answer))
        if refusal is not None:
            return refusal
    return _success(answer)


def _refusal(status: int, document: JsonValue | UnreadableJsonError) -> Refused | None:
    """Return the provider's refusal in its own form, whichever HTTP status it came with."""
    if not isinstance(document, dict) or "payment_id" in document:
        return None
    if status in _OK_STATUSES:
        if document.get("status") is not False or document.get("statusCode") not in _REFUSAL_STATUSES:
            return None
    elif status not in _REFUSAL_STATUSES:
        return None
    code, message = _code(document), _message(document)
    return Refused(code or f"HTTP_{status}", message) if code or message else None


def _code(document: JsonValue | UnreadableJsonError) -> str:
    code = document.get("code") if isinstance(document, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""


def _message(document: dict[str, JsonValue]) -> str:
    """Return the words of an error in each of its forms, cut and on one line."""
    errors = document.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    if isinstance(first, dict):
        first = first.get("message")
    words = next((text for text in (document.get("message"), first) if isinstance(text, str)), "")
    return _UNPRINTABLE.sub(" ", words)[:MESSAGE_CHARS_MAX].strip()


def _status_reason(status: int) -> str:
    if status in _KEY_STATUSES:
        return KEY_REFUSED
    return RATE_LIMITED if status == HTTPStatus.TOO_MANY_REQUESTS else f"http_{status}"


def _coin(entry: JsonValue) -> str | None:
    """Return the code of an entry of a list of coins: the entry itself or its ``currency`` or ``code``."""
    if isinstance(entry, dict):
        entry = entry.get("currency") or entry.get("code")
    code = entry.lower() if isinstance(entry, str) else ""
    return code if _COIN.fullmatch(code) else None
