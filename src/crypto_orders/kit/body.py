"""Read the body of a request within bounds of size, time and depth, and its JSON into a typed value."""

import asyncio
import json
import re
from typing import Any, Final, Generic, NoReturn, TypeVar, cast

import msgspec
from starlette.types import Receive

from crypto_orders.kit.problem import Problem, bad_request

# Bodies here are a few fields; the project's API page names this bound.
BODY_BYTES_MAX: Final = 64 * 1024
# From the first wait for the body to its last byte. An honest client needs milliseconds.
BODY_SECONDS_MAX: Final = 5.0
# Deeper JSON has no meaning here and costs recursion.
JSON_DEPTH_MAX: Final = 32
# A body past its bound is read on this far, so that a client that does not listen while it sends still gets
# its 413 instead of a reset connection.
_DISCARD_BYTES_MAX: Final = 4 * 1024 * 1024

_JSON_MEDIA_TYPE = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json", re.IGNORECASE | re.ASCII)
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)
_JSON_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
# msgspec ends its messages with the place: "Expected `int`, got `str` - at `$.events[0].at`".
_PLACE = re.compile(r" - at `(?:key in )?\$(?P<path>[^`]*)`$")
_MISSING_FIELD = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_FIRST_NAME = re.compile(r"\.(?P<name>[^.\[]+)")

ValueT = TypeVar("ValueT")


class ClientGone(Exception):  # noqa: N818 - an occurrence, not an error of ours
    """The client closed the connection before its request was complete."""


class InvalidInput(Exception):  # noqa: N818 - becomes one of two answers, by the endpoint
    """Input of the right syntax and the wrong content: texts by field, and texts about the whole."""

    def __init__(self, fields: dict[str, list[str]], whole: list[str] | None = None) -> None:
        super().__init__(f"{fields} {whole}")
        self.fields = fields
        self.whole = whole or []


async def read_body(
    receive: Receive, *, declared: str | None, waits_for_continue: bool, bytes_max: int, seconds_max: float
) -> bytes:
    """The whole body; Problem 413 above ``bytes_max``, 400 when it takes longer than ``seconds_max``.

    ``declared`` is the Content-Length header. Raises ClientGone when the client hangs up.
    """
    announced = int(declared) if declared is not None else 0
    if announced > bytes_max and waits_for_continue:
        raise _too_large(bytes_max)
    try:
        async with asyncio.timeout(seconds_max):
            return await _receive_all(receive, bytes_max)
    except TimeoutError:
        detail = f"The body did not arrive within {seconds_max:g} s."
        late = bad_request(detail)
        late.headers["connection"] = "close"
        raise late from None


async def _receive_all(receive: Receive, bytes_max: int) -> bytes:
    message = await receive()
    if (
        message["type"] == "http.request"
        and not message.get("more_body")
        and len(message["body"]) <= bytes_max
    ):
        return message["body"]
    parts: list[bytes] = []
    size = 0
    while message["type"] == "http.request":
        part = message.get("body", b"")
        size += len(part)
        if size <= bytes_max:
            parts.append(part)
        else:
            parts.clear()
        if not message.get("more_body") or size > bytes_max + _DISCARD_BYTES_MAX:
            if size > bytes_max:
                raise _too_large(bytes_max)
            return b"".join(parts)
        message = await receive()
    raise ClientGone


def _too_large(bytes_max: int) -> Problem:
    return Problem("payload-too-large", f"The body may have at most {bytes_max} bytes.")


class JsonReader(Generic[ValueT]):
    """Reads JSON bodies into one type; unknown fields are ignored, since existing clients send some."""

    def __init__(self, kind: type[ValueT]) -> None:
        self._decoder = msgspec.json.Decoder(kind)

    def read(self, raw: bytes, content_type: str | None) -> ValueT:
        """The value in the body; an empty body counts as ``{}``.

        Raises Problem ``bad-request`` for what is no acceptable JSON and InvalidInput for wrong fields.
        """
        if not raw:
            return self._decode(b"{}")
        check_content_type(content_type)
        check_json(raw)
        return self._decode(raw)

    def _decode(self, raw: bytes) -> ValueT:
        try:
            return self._decoder.decode(raw)
        except msgspec.ValidationError as error:
            raise invalid_input(error) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            _refuse("it is no valid JSON text")


def invalid_input(error: msgspec.ValidationError) -> InvalidInput:
    """The field and the text in msgspec's message about a value of the wrong kind."""
    message = str(error)
    missing = _MISSING_FIELD.search(message)
    place = _PLACE.search(message)
    first = _FIRST_NAME.match(place["path"]) if place else None
    if first is not None:
        return InvalidInput({first["name"]: [message[: place.start()] if place else message]})
    if missing is not None:
        return InvalidInput({missing["name"]: ["Required"]})
    return InvalidInput({}, [message[: place.start()] if place else message])


def check_content_type(content_type: str | None) -> None:
    """Problem ``bad-request`` unless the header is absent or names JSON in UTF-8."""
    if content_type is None:
        return
    media_type = content_type.partition(";")[0].strip()
    if _JSON_MEDIA_TYPE.fullmatch(media_type) is None:
        detail = "The body must be JSON: send it with Content-Type: application/json."
        raise bad_request(detail)
    charset = _CHARSET.search(content_type)
    if charset is not None and charset[1].lower() not in {"utf-8", "utf8"}:
        detail = "JSON is UTF-8: leave the charset out of the Content-Type, or name utf-8."
        raise bad_request(detail)


def check_json(raw: bytes) -> None:
    """Refuse what parsers disagree on or a database cannot hold, before any of it is used.

    Problem ``bad-request`` for bad UTF-8, depth above 32, a name twice in one object, NaN and infinities;
    InvalidInput for a NUL or a lone surrogate in a string.
    """
    if _depth_exceeds(raw, JSON_DEPTH_MAX):
        _refuse(f"it is nested deeper than {JSON_DEPTH_MAX} levels")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        _refuse("it is not UTF-8")
    except (ValueError, RecursionError):
        _refuse("it is no valid JSON text")
    if b"\\u" in raw:
        _check_strings(value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        _refuse("an object names a field twice")
    return members


def _refuse_constant(name: str) -> NoReturn:
    _refuse(f"JSON has no {name}")


def _refuse(why: str) -> NoReturn:
    detail = f"The body cannot be read: {why}."
    raise bad_request(detail) from None


def _depth_exceeds(raw: bytes, depth_max: int) -> bool:
    if raw.count(b"{") + raw.count(b"[") <= depth_max:
        return False
    depth = 0
    for character in _JSON_STRING.sub(b"", raw):
        if character in b"{[":
            depth += 1
            if depth > depth_max:
                return True
        elif character in b"}]":
            depth -= 1
    return False


def _check_strings(value: object) -> None:
    """Only an escape can bring a NUL or half a surrogate pair into a string: control bytes are no JSON."""
    if isinstance(value, dict):
        for name, member in cast("dict[str, object]", value).items():
            if not _storable(name) or not all(map(_storable, _strings(member))):
                shown = name if _storable(name) else "?"
                raise InvalidInput(
                    {shown: ["Contains a character that cannot be stored (NUL or half a pair)"]}
                )
    elif not all(map(_storable, _strings(value))):
        raise InvalidInput({}, ["Contains a character that cannot be stored (NUL or half a pair)"])


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for member in cast("list[object]", value) for text in _strings(member)]
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return [*members, *(text for member in members.values() for text in _strings(member))]
    return []


def _storable(text: str) -> bool:
    if "\0" in text:
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
