"""The signature NOWPayments puts on its notifications, and the JavaScript-exact JSON text it is made over.

The provider signs ``JSON.stringify(sortObject(JSON.parse(body)))`` with HMAC-SHA512: the keys of every
object sorted, arrays left as arrays. What Python prints for the same document differs in small numbers
(``1e-07`` for ``1e-7``), in whole ones (``1.0`` for ``1``) and in text outside ASCII, and a notification
checked against that would be refused although it is genuine. So the text is made here by JavaScript's rules.

Two forms of a body are accepted, nothing else: the raw bytes and the canonical text. Both cover the whole
body. The canonical form is many-to-one (``5.0`` and ``5`` are the same text), which is why values may only be
read from the very text whose MAC matched (:attr:`Verified.text`).
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from json import JSONDecodeError, JSONDecoder
from json.encoder import encode_basestring as _quoted  # JSON.stringify's escapes, lone surrogates aside.
from math import isfinite
from typing import Literal, NoReturn, TypeAlias, cast

import msgspec

BODY_BYTES_MAX = 256 * 1024
"""Longest document read, in bytes; a real notification has well under 2 KiB."""

DEPTH_MAX = 32
"""Deepest nesting of arrays and objects read; a real notification has two levels."""

JsonValue: TypeAlias = dict[str, "JsonValue"] | list["JsonValue"] | str | Decimal | bool | None
"""What :func:`read_json_exact` returns. Every number is a Decimal; there is no float and no int."""

_Parsed: TypeAlias = dict[str, "_Parsed"] | list["_Parsed"] | str | float | bool | None

_SIGNATURE = re.compile(r"[0-9A-Fa-f]{128}")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_ARRAY_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_ARRAY_INDEX_MAX = 2**32 - 2  # ECMAScript 6.1.7: the keys that objects hold in numeric order.
_PLAIN_DIGITS_MAX = 21  # JavaScript uses an exponent from 1e21 on,
_PLAIN_ZEROS_MAX = 5  # and below 0.000001.


class UnreadableJsonError(ValueError):
    """The bytes hold no document that may be read; the message says why."""


class NotJsonError(UnreadableJsonError):
    """JavaScript's ``JSON.parse`` refuses the text."""


class TooDeepError(UnreadableJsonError):
    """Arrays and objects are nested more than :data:`DEPTH_MAX` deep."""


class TooLargeError(UnreadableJsonError):
    """The document has more than :data:`BODY_BYTES_MAX` bytes."""


class Verified(msgspec.Struct, frozen=True):
    """A body proved to come from a holder of the secret.

    ``form`` says which text the provider had signed; ``text`` is that text. Values are read from it alone.
    """

    form: Literal["raw", "canonical"]
    text: bytes

    def identity(self) -> bytes:
        """Return the 32 bytes that tell this notification from others; see :func:`identity`."""
        return hashlib.sha256(self.text).digest() if self.form == "canonical" else identity(self.text)


def verify(raw: bytes, signature_header: str, secrets: Sequence[str]) -> Verified | None:
    """Check a body against the value of its one ``x-nowpayments-sig`` header under all active secrets.

    Returns None for anything but a genuine body. The header is 128 hex digits of any case, blanks around it
    aside; secrets are stripped, and an empty one matches nothing. The time taken does not tell how much of a
    wrong signature was right.
    """
    signature = signature_header.strip(" \t")
    if not _SIGNATURE.fullmatch(signature):
        return None
    expected = bytes.fromhex(signature)
    keys = [key for key in (secret.strip().encode() for secret in secrets) if key]
    if _matches_any(raw, expected, keys):
        return Verified("raw", raw)
    try:
        text = canonical(raw)
    except UnreadableJsonError:
        return None
    return Verified("canonical", text) if _matches_any(text, expected, keys) else None


def is_well_formed(signature_header: str) -> bool:
    """Whether a header has the form of a signature, blanks around it aside."""
    return _SIGNATURE.fullmatch(signature_header.strip(" \t")) is not None


def sign(raw: bytes, secret: str) -> str:
    """Return the signature the provider would send with a body: 128 lower-case hex digits.

    Raises ValueError for an empty secret and :class:`UnreadableJsonError` when the body is no JSON.
    """
    key = secret.strip().encode()
    if not key:
        msg = "an empty secret signs nothing"
        raise ValueError(msg)
    return hmac.digest(key, canonical(raw), "sha512").hex()


def identity(raw: bytes) -> bytes:
    """Return the SHA-256 of the canonical form, or of the bytes themselves when they have none.

    One notification sent twice in different spellings has one identity.
    """
    try:
        text = canonical(raw)
    except UnreadableJsonError:
        text = raw
    return hashlib.sha256(text).digest()


def canonical(raw: bytes) -> bytes:
    """Return the text the provider signs for this body, as UTF-8.

    Raises :class:`UnreadableJsonError` (one of its three kinds) when there is none.
    """
    # Lone surrogates are all that UTF-8 cannot carry, and JSON.stringify writes them the same: \udxxx.
    return _text(cast("_Parsed", _decode(_TO_TEXT, raw))).encode("utf-8", "backslashreplace")


def read_json_exact(raw: bytes) -> JsonValue:
    """Parse a document with every number as a Decimal; of duplicate keys the last one wins.

    A number whose exponent is beyond what a Decimal can hold reads as an infinite Decimal, so that it spoils
    its own field and no other. Raises :class:`UnreadableJsonError`.
    """
    return cast("JsonValue", _decode(_TO_VALUES, raw))


def js_number_text(number: Decimal | int) -> str:
    """Return a number as ``JSON.stringify`` prints it: the nearest double's text, ``null`` beyond doubles."""
    if isinstance(number, Decimal) and not number.is_finite():
        return "null"
    try:
        return _double_text(float(number))
    except OverflowError:
        return "null"


def _matches_any(text: bytes, expected: bytes, keys: list[bytes]) -> bool:
    """Tell whether one of the keys made the MAC; every key is tried so that time says nothing of which."""
    matched = False
    for key in keys:
        matched |= hmac.compare_digest(hmac.digest(key, text, "sha512"), expected)
    return matched


# Reading ----------------------------------------------------------------------------------------------------


def _decode(decoder: JSONDecoder, raw: bytes) -> object:
    """Read a document that keeps the limits, from the characters Node would see in these bytes.

    Node turns bytes that are not UTF-8 into U+FFFD; a byte order mark stays, and is no JSON.
    """
    if len(raw) > BODY_BYTES_MAX:
        msg = f"the document has more than {BODY_BYTES_MAX} bytes"
        raise TooLargeError(msg)
    if raw.count(b"[") + raw.count(b"{") > DEPTH_MAX and _is_too_deep(raw):
        msg = f"the document is nested more than {DEPTH_MAX} deep"
        raise TooDeepError(msg)
    try:
        return cast("object", decoder.decode(raw.decode("utf-8", "replace")))
    except JSONDecodeError as error:
        msg = f"the document is not JSON: {error.msg} at character {error.pos}"
        raise NotJsonError(msg) from None


def _is_too_deep(raw: bytes) -> bool:
    """Tell whether brackets outside strings nest beyond the limit, in time linear in the document."""
    depth = 0
    for byte in _STRING.sub(b"", raw):
        if byte in b"[{":
            depth += 1
            if depth > DEPTH_MAX:
                return True
        elif byte in b"]}":
            depth -= 1
    return False


def _refuse_constant(name: str) -> NoReturn:
    """Refuse ``NaN`` and the infinities, which Python's reader takes and JavaScript's does not."""
    msg = f"the document is not JSON: {name} is no value"
    raise NotJsonError(msg)


def _exact_number(lexeme: str) -> Decimal:
    try:
        return Decimal(lexeme)
    except InvalidOperation:
        return Decimal("-Infinity" if lexeme.startswith("-") else "Infinity")


# Numbers are doubles to JavaScript, integers too; an overflowing one is an infinity.
_TO_TEXT = JSONDecoder(parse_int=float, parse_float=float, parse_constant=_refuse_constant)
_TO_VALUES = JSONDecoder(parse_int=_exact_number, parse_float=_exact_number, parse_constant=_refuse_constant)


# Writing as JavaScript does ---------------------------------------------------------------------------------


def _text(value: _Parsed) -> str:
    # In the order of how often a notification has each kind: this runs once a field.
    if isinstance(value, str):
        return _quoted(value)
    if value is None:
        return "null"
    if isinstance(value, float):
        return _double_text(value)
    if isinstance(value, dict):
        return _object_text(value)
    if isinstance(value, list):
        return f"[{','.join([_text(item) for item in value])}]"
    return "true" if value else "false"


def _object_text(members: dict[str, _Parsed]) -> str:
    # Assigning to __proto__ sets an object's prototype, so in the provider's sorter the key vanishes.
    members.pop("__proto__", None)
    keys = sorted(members)
    # Only keys that start with a digit or leave ASCII can be out of place; ":" follows "9".
    if keys and (keys[0] < ":" or not "".join(keys).isascii()):
        keys = _javascript_order(keys)
    return f"{{{','.join([f'{_quoted(key)}:{_text(members[key])}' for key in keys])}}}"


def _javascript_order(keys: list[str]) -> list[str]:
    """Order keys as an object holds them: array indexes by number, then the others by UTF-16 code unit."""
    indexes = [key for key in keys if _ARRAY_INDEX.fullmatch(key) and int(key) <= _ARRAY_INDEX_MAX]
    names = set(keys).difference(indexes)
    return sorted(indexes, key=int) + sorted(names, key=lambda key: key.encode("utf-16-be", "surrogatepass"))


def _double_text(number: float) -> str:
    """Return a double as ECMAScript's Number::toString prints it (6.1.6.1.20); ``null`` for the infinities.

    Python finds the same shortest digits and differs in where it starts to use exponents.
    """
    if number == 0:
        return "0"
    if not isfinite(number):
        return "null"
    text = repr(number)
    if "e" not in text:
        return text.removesuffix(".0")
    mantissa, _, exponent = text.partition("e")
    sign = "-" if number < 0 else ""
    digits = mantissa.removeprefix("-").replace(".", "")
    point = int(exponent) + 1
    if 0 < point <= _PLAIN_DIGITS_MAX:
        return sign + digits.ljust(point, "0")
    if -_PLAIN_ZEROS_MAX <= point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"
