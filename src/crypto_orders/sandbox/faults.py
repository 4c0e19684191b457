"""What can be made to go wrong on purpose, until it is changed again."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, cast

import msgspec
from msgspec.structs import asdict

_MILLISECONDS_MAX = 10 * 60 * 1000
_COPIES_MAX = 100
_STATUS_MIN, _STATUS_MAX = 200, 599


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """The faults now in force; the defaults are none. The ``api_`` ones touch ``/v1`` only."""

    drop_ipns: float = 0.0
    """The share of notifications that are lost, and never retried: 0 none, 1 all."""
    duplicate_ipns: int = 0
    """How many further copies of each notification are sent with it."""
    reorder_ipns: bool = False
    """Notifications of one payment that come close together are sent out of order."""
    ipn_delay_ms: int = 0
    api_status: int | None = None
    """Every answer has this status; the request has no effect."""
    api_delay_ms: int = 0
    """Every answer comes late; the request has its effect at once."""
    api_garbage: bool = False
    """Every answer is a proxy's HTML page; the request has its effect all the same."""


class FaultError(ValueError):
    """A change of the faults that cannot be understood; the message says which part."""


def changed(faults: Faults, changes: Mapping[str, object]) -> Faults:
    """The faults after a partial change: what is not named stays, null means off.

    Raises FaultError for an unknown name or a value that does not fit.
    """
    values: dict[str, object] = asdict(faults)
    for name, value in changes.items():
        read = _READERS.get(name)
        if read is None:
            message = f"{name} is not a fault; there are {', '.join(_READERS)}"
            raise FaultError(message)
        values[name] = read(name, value)
    return msgspec.convert(values, Faults)


def loaded(document: str | None) -> Faults:
    """The faults as stored by :func:`stored`; none when nothing was."""
    return Faults() if document is None else msgspec.json.decode(document, type=Faults)


def stored(faults: Faults) -> str:
    """The faults as text."""
    return msgspec.json.encode(faults).decode()


def _share(name: str, value: object) -> float:
    share = _number(name, value)
    if not 0 <= share <= 1:
        message = f"{name} must be true, false or a number from 0 to 1"
        raise FaultError(message)
    return share


def _switch(name: str, value: object) -> bool:
    return _number(name, value) > 0


def _count_up_to(most: int) -> Callable[[str, object], int]:
    def count(name: str, value: object) -> int:
        amount = _number(name, value)
        if amount != int(amount) or not 0 <= amount <= most:
            message = f"{name} must be a whole number from 0 to {most}"
            raise FaultError(message)
        return int(amount)

    return count


def _status(name: str, value: object) -> int | None:
    if value is None or value is False:
        return None
    status = _number(name, value)
    if status != int(status) or not _STATUS_MIN <= status <= _STATUS_MAX:
        message = f"{name} must be an HTTP status from {_STATUS_MIN} to {_STATUS_MAX}, or null"
        raise FaultError(message)
    return int(status)


def _number(name: str, value: object) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool | int | Decimal):
        return float(value)
    message = f"{name} must be a number or a boolean"
    raise FaultError(message)


_READERS: Final = cast(
    "Mapping[str, Callable[[str, object], object]]",
    {
        "drop_ipns": _share,
        "duplicate_ipns": _count_up_to(_COPIES_MAX),
        "reorder_ipns": _switch,
        "ipn_delay_ms": _count_up_to(_MILLISECONDS_MAX),
        "api_status": _status,
        "api_delay_ms": _count_up_to(_MILLISECONDS_MAX),
        "api_garbage": _switch,
    },
)
