"""Read the query string of a request into a typed value, strictly: nothing is guessed."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, Generic, TypeVar, cast
from urllib.parse import unquote_to_bytes

import msgspec

from crypto_orders.kit import clock
from crypto_orders.kit.body import BODY_BYTES_MAX, InvalidInput, invalid_input
from crypto_orders.kit.problem import bad_request

FORM_MEDIA_TYPE: Final = "application/x-www-form-urlencoded"

# Far above any honest query; a longer one is refused before it is taken apart.
QUERY_BYTES_MAX: Final = 8 * 1024

# 18 digits fit 64 bits. Signs, exponents and the digits of other scripts are no numbers here.
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}", re.ASCII)
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# A plus that a client did not encode arrives as a blank. In an instant it can have been nothing else.
_OFFSET_BLANK = re.compile(r"(.+[Tt].+) (\d{2}:?\d{2})", re.ASCII)

ValueT = TypeVar("ValueT", bound=msgspec.Struct)


class QueryReader(Generic[ValueT]):
    """Reads query strings into one struct whose fields are texts, integers, booleans, instants or choices.

    Unknown parameters are ignored. A known one given twice is InvalidInput unless its field is a tuple, which
    takes every value as the ticked boxes of one name mean it. One with an empty value is InvalidInput, too,
    unless `drop_blanks` has it count as left out, as the untouched fields of an HTML form mean it.
    """

    def __init__(
        self, kind: type[ValueT], *, drop_blanks: bool = False, bytes_max: int = QUERY_BYTES_MAX
    ) -> None:
        self._kind = kind
        self._drop_blanks = drop_blanks
        self._bytes_max = bytes_max
        fields = cast("msgspec.inspect.StructType", msgspec.inspect.type_info(kind)).fields
        self._readers = {field.encode_name: _reader_of(field.type) for field in fields}
        self._repeated = {
            field.encode_name for field in fields if isinstance(field.type, msgspec.inspect.VarTupleType)
        }

    def read(self, raw: bytes) -> ValueT:
        """The value of a query string; InvalidInput names the parameter at fault."""
        if not raw:
            return self._convert({})
        if len(raw) > self._bytes_max:
            raise InvalidInput({}, [f"The query is longer than {self._bytes_max} bytes"])
        given: dict[str, Any] = {}
        for name, encoded in _pairs(raw):
            reader = self._readers.get(name)
            if reader is None or (self._drop_blanks and encoded.strip(b"+") in {b"", b"%20"}):
                continue
            value = self._value(name, encoded, reader)
            if name in self._repeated:
                given.setdefault(name, []).append(value)
            elif name in given:
                raise InvalidInput({name: ["Given more than once"]})
            else:
                given[name] = value
        return self._convert(given)

    def _value(self, name: str, encoded: bytes, reader: Callable[[str], Any]) -> object:
        try:
            text = _unquote(encoded)
            if not text:
                message = "Is empty: give it a value or leave it out"
                raise ValueError(message)  # noqa: TRY301 - one place turns all of them into the same answer
            return reader(text)
        except ValueError as error:
            raise InvalidInput({name: [str(error)]}) from None

    def _convert(self, given: dict[str, Any]) -> ValueT:
        try:
            return msgspec.convert(given, self._kind)
        except msgspec.ValidationError as error:
            raise invalid_input(error) from None


class FormReader(Generic[ValueT]):
    """Reads the bodies of HTML forms into one struct of the same kinds of fields; blanks are absent."""

    def __init__(self, kind: type[ValueT]) -> None:
        self._fields: QueryReader[ValueT] = QueryReader(kind, drop_blanks=True, bytes_max=BODY_BYTES_MAX)

    def read(self, raw: bytes, content_type: str | None) -> ValueT:
        """The value in the body; Problem `bad-request` for another kind of body, InvalidInput for fields.

        Browsers end the lines of a text area with CR LF (HTML, "form data set"); here they end with LF.
        """
        if raw and (content_type or "").partition(";")[0].strip().lower() != FORM_MEDIA_TYPE:
            detail = f"The body must be a form: {FORM_MEDIA_TYPE}."
            raise bad_request(detail)
        return self._fields.read(raw.replace(b"%0D%0A", b"%0A").replace(b"%0d%0a", b"%0a"))


def _pairs(raw: bytes) -> Iterator[tuple[str, bytes]]:
    for part in raw.split(b"&"):
        name, _, value = part.partition(b"=")
        try:
            yield _unquote(name), value
        except ValueError:
            # A name that is no text is no name of ours.
            continue


def _unquote(encoded: bytes) -> str:
    if encoded.isalnum():
        # Nearly every name and value: ASCII letters and digits stand for themselves.
        return encoded.decode("ascii")
    if _BROKEN_ESCAPE.search(encoded):
        message = "Has a % that is no escape"
        raise ValueError(message)
    try:
        text = unquote_to_bytes(encoded.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        message = "Is not UTF-8"
        raise ValueError(message) from None
    if "\0" in text:
        message = "Contains a NUL character"
        raise ValueError(message)
    return text


def _reader_of(kind: msgspec.inspect.Type) -> Callable[[str], Any]:
    """How the text of a parameter becomes what its field wants; choices and bounds are checked after it."""
    match kind:
        case msgspec.inspect.IntType():
            return _read_integer
        case msgspec.inspect.BoolType():
            return _read_boolean
        case msgspec.inspect.DateTimeType():
            return _read_instant
        case msgspec.inspect.VarTupleType(item_type=item):
            return _reader_of(item)
        case msgspec.inspect.UnionType(types=types):
            wanted = [each for each in types if not isinstance(each, msgspec.inspect.NoneType)]
            return _reader_of(wanted[0])
        case msgspec.inspect.StrType() | msgspec.inspect.LiteralType() | msgspec.inspect.EnumType():
            return str
        case _:
            message = f"a query parameter cannot be a {kind}"
            raise TypeError(message)


def _read_integer(text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        message = "Is not a whole number"
        raise ValueError(message)
    return int(text)


def _read_boolean(text: str) -> bool:
    if text not in {"true", "false"}:
        message = "Is neither true nor false"
        raise ValueError(message)
    return text == "true"


def _read_instant(text: str) -> datetime:
    repaired = _OFFSET_BLANK.fullmatch(text)
    try:
        return clock.parse_instant(f"{repaired[1]}+{repaired[2]}" if repaired else text)
    except ValueError as error:
        told = str(error)
        message = f"{told[0].upper()}{told[1:]}"
        raise ValueError(message) from None
