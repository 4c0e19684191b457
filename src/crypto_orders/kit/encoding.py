"""Write values as JSON: exact decimals as plain numbers, instants in milliseconds with ``Z``."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Annotated, Any, Final, TypeAlias, cast

import msgspec

from crypto_orders.kit import clock

JSON_MEDIA_TYPE: Final = "application/json"

# An instant in a struct that is read or answered, so that the API document says what it is.
Instant: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]

_encode = msgspec.json.Encoder().encode


def encode_json(value: object) -> bytes:
    """The JSON of structs, mappings, sequences and plain values, in the order of their fields.

    A Decimal becomes a number with every digit it has and no exponent, which msgspec does not promise; a
    NaN or an infinity is a ValueError, since JSON has no such number.
    """
    return _encode(_prepare(value))


def plain_number(value: Decimal) -> str:
    """The digits of a decimal without an exponent: ``Decimal("1.5E-7")`` is ``0.00000015``."""
    if not value.is_finite():
        message = f"{value} is no number that JSON could hold"
        raise ValueError(message)
    return format(value, "f")


def _prepare(value: Any) -> Any:  # noqa: ANN401 - JSON values are of any type
    kind = cast("type[Any]", type(value))
    prepare = _PREPARE.get(kind)
    if prepare is None:
        prepare = _struct_preparer(kind) if issubclass(kind, msgspec.Struct) else _itself
        _PREPARE[kind] = prepare
    return prepare(value)


def _struct_preparer(struct: type[msgspec.Struct]) -> Callable[[Any], dict[str, Any]]:
    """A function that makes a mapping of such a struct; found once for each class."""
    names = struct.__struct_encode_fields__
    attributes = struct.__struct_fields__
    if len(attributes) < 2:  # noqa: PLR2004 - attrgetter of a single name returns the bare value
        return lambda value: {
            name: _prepare(getattr(value, attribute))
            for name, attribute in zip(names, attributes, strict=True)
        }
    read = attrgetter(*attributes)

    def prepare(value: msgspec.Struct) -> dict[str, Any]:
        return {
            name: _prepare(member)
            for name, member in zip(names, read(value), strict=True)
            if member is not msgspec.UNSET
        }

    return prepare


def _prepare_mapping(value: dict[Any, Any]) -> dict[Any, Any]:
    return {key: _prepare(member) for key, member in value.items()}


def _prepare_sequence(value: list[Any] | tuple[Any, ...]) -> list[Any]:
    return [_prepare(member) for member in value]


def _prepare_decimal(value: Decimal) -> msgspec.Raw:
    return msgspec.Raw(plain_number(value).encode("ascii"))


def _itself(value: Any) -> Any:  # noqa: ANN401
    return value


_PREPARE: dict[type[Any], Callable[[Any], Any]] = {
    str: _itself,
    int: _itself,
    bool: _itself,
    type(None): _itself,
    dict: _prepare_mapping,
    list: _prepare_sequence,
    tuple: _prepare_sequence,
    Decimal: _prepare_decimal,
    datetime: clock.to_iso,
}
