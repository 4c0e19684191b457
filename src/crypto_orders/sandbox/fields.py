"""Read what a request names, from JSON, a form or a query, and refuse it in the provider's words."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar, cast
from urllib.parse import parse_qsl, urlsplit

import msgspec
from starlette.requests import Request

from crypto_orders.sandbox.wire import refuse, refuse_invalid

_BODY_BYTES_MAX: Final = 64 * 1024
_TEXT_CHARS_MAX: Final = 4096
# More digits than any coin has, few enough that arithmetic with them is exact.
_DIGITS_MAX: Final = 20
_AMOUNT_MIN: Final = Decimal("1e-18")
_AMOUNT_MAX: Final = Decimal("1e12")
_NUMBER: Final = re.compile(
    r"\s*[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,3})?\s*", re.ASCII
)
_ALPHANUMERIC: Final = re.compile(r"[A-Za-z0-9]+")
_URI: Final = re.compile(r"https?://[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_BOOLEANS: Final = {"true": True, "false": False}
_ID: Final = re.compile(r"[0-9]{1,18}")

_T = TypeVar("_T")

_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class Fields:
    """The named values of a request; null and absent are the same."""

    def __init__(self, values: Mapping[str, object]) -> None:
        """Wrap the values, numbers as int or Decimal, everything of a form or query as text."""
        self._values = values

    def text(self, name: str) -> str | None:
        """A string that is not empty."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            refuse_invalid(f"{name} must be a string")
        if not value:
            refuse_invalid(f"{name} is not allowed to be empty")
        if len(value) > _TEXT_CHARS_MAX:
            refuse_invalid(f"{name} length must be less than or equal to {_TEXT_CHARS_MAX} characters long")
        return value

    def code(self, name: str) -> str | None:
        """A currency code, in lower case."""
        value = self.text(name)
        if value is not None and _ALPHANUMERIC.fullmatch(value) is None:
            refuse_invalid(f"{name} must only contain alpha-numeric characters")
        return None if value is None else value.lower()

    def amount(self, name: str) -> Decimal | None:
        """A number above zero, or its text."""
        value = self._values.get(name)
        if value is None:
            return None
        number = _decimal(value)
        if number is None:
            refuse_invalid(f"{name} must be a number")
        if number <= 0:
            refuse_invalid(f"{name} must be a positive number")
        if (
            not _AMOUNT_MIN <= number <= _AMOUNT_MAX
            or len(number.normalize().as_tuple().digits) > _DIGITS_MAX
        ):
            refuse_invalid(f"{name} must be a safe number")
        return number

    def flag(self, name: str) -> bool | None:
        """A boolean, or ``true`` and ``false`` as text in any case."""
        value = self._values.get(name)
        if isinstance(value, str):
            value = _BOOLEANS.get(value.lower(), value)
        if value is not None and not isinstance(value, bool):
            refuse_invalid(f"{name} must be a boolean")
        return value

    def uri(self, name: str) -> str | None:
        """An http or https URL without any character that has to be escaped."""
        value = self.text(name)
        if value is not None and not _is_uri(value):
            refuse_invalid(f"{name} must be a valid uri")
        return value

    def identifier(self, name: str) -> int | None:
        """A whole number of up to 18 digits, or its text."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or _ID.fullmatch(str(value)) is None:
            refuse_invalid(f"{name} must be a number")
        return int(str(value))

    def whole(self, name: str, *, default: int, least: int, most: int) -> int:
        """A whole number within bounds."""
        value = self._values.get(name)
        if value is None or value == "":
            return default
        number = _decimal(value)
        if number is None:
            refuse_invalid(f"{name} must be a number")
        if number != number.to_integral_value():
            refuse_invalid(f"{name} must be an integer")
        if number < least:
            refuse_invalid(f"{name} must be larger than or equal to {least}")
        if number > most:
            refuse_invalid(f"{name} must be less than or equal to {most}")
        return int(number)


def required(value: _T | None, name: str) -> _T:
    """The value, or the refusal of a request that lacks it."""
    if value is None:
        refuse_invalid(f"{name} is required")
    return value


async def body_values(request: Request, *, json_only: bool = False) -> dict[str, object]:
    """The values of a body: a form when it says so, else JSON; an empty body has none.

    With ``json_only`` the content type is not looked at, as with ``curl -d '{…}'``, which names a form.
    """
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _BODY_BYTES_MAX:
            refuse(413, "PAYLOAD_TOO_LARGE", "request entity too large")
    if not raw.strip():
        return {}
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not json_only and media_type == "application/x-www-form-urlencoded":
        return dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True))
    try:
        document: Any = _decode(bytes(raw))
    except (msgspec.DecodeError, RecursionError, InvalidOperation, UnicodeDecodeError):
        refuse_invalid("Unexpected token in JSON")
    if not isinstance(document, dict):
        refuse_invalid("value must be an object")
    return cast("dict[str, object]", document)


async def body_fields(request: Request, *, json_only: bool = False) -> Fields:
    """The fields of a body, as :func:`body_values` reads it."""
    return Fields(await body_values(request, json_only=json_only))


def query_fields(request: Request) -> Fields:
    """The fields of a query string."""
    return Fields(dict(request.query_params))


def _decimal(value: object) -> Decimal | None:
    match value:
        case bool():
            return None
        case int():
            return Decimal(value)
        case Decimal():
            return value if value.is_finite() else None
        case str() if _NUMBER.fullmatch(value):
            return Decimal(value.strip())
        case _:
            return None


def _is_uri(text: str) -> bool:
    if _URI.fullmatch(text) is None:
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
