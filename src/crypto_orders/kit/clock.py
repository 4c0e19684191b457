"""Tell the time, and write and read instants the one way this service does."""

import re
from datetime import UTC, datetime, timedelta
from time import time_ns

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_MILLISECOND = timedelta(milliseconds=1)
_NANOSECONDS_PER_MILLISECOND = 1_000_000

# An upper bound for the text of an instant: the longest sensible one has 9 digits of fraction and an offset.
_INSTANT_CHARS_MAX = 64

# A date, the separator, a time, and a zone. Python's own parser takes any character as the separator and lets
# the zone out, so the frame is checked here and the numbers there.
_INSTANT = re.compile(
    r"(?P<date>\d{4}-?\d{2}-?\d{2}|\d{4}-?W\d{2}-?\d)[Tt]"
    r"(?P<time>\d{2}(?::?\d{2}(?::?\d{2}(?:[.,]\d+)?)?)?)"
    r"(?P<zone>[Zz]|[+-]\d{2}(?::?\d{2})?)?",
    re.ASCII,
)


def utc_now() -> datetime:
    """The present moment in UTC, cut to whole milliseconds, as every stored and shown instant is."""
    return from_milliseconds(time_ns() // _NANOSECONDS_PER_MILLISECOND)


def whole_milliseconds(moment: datetime) -> datetime:
    """The same instant in UTC, cut (never rounded up) to whole milliseconds."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def to_milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970-01-01T00:00Z, by integer arithmetic alone."""
    return (moment - _EPOCH) // _ONE_MILLISECOND


def from_milliseconds(milliseconds: int) -> datetime:
    """The instant so many milliseconds after 1970-01-01T00:00Z; OverflowError outside the years 1 to 9999."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def to_iso(moment: datetime) -> str:
    """Write an aware datetime as ``2026-05-22T10:00:00.000Z``; a naive one is a ValueError."""
    if moment.tzinfo is not UTC:
        if moment.tzinfo is None:
            message = "an instant without a time zone cannot be written"
            raise ValueError(message)
        moment = moment.astimezone(UTC)
    return moment.isoformat("T", "milliseconds")[:-6] + "Z"


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant with ``Z`` or an offset into UTC, exact to the microsecond.

    The bounds of a filter are compared with stored instants, so nothing above a microsecond is cut off.
    Raises ValueError, with a sentence that may be shown, for anything else, a missing zone included.
    """
    found = _INSTANT.fullmatch(text) if len(text) <= _INSTANT_CHARS_MAX else None
    if found is None:
        message = "not an ISO 8601 instant such as 2026-05-22T10:00:00.000Z"
        raise ValueError(message)
    if found["zone"] is None:
        message = "an instant needs a zone: end it with Z or an offset such as +02:00"
        raise ValueError(message)
    try:
        return datetime.fromisoformat(text.upper().replace(",", ".")).astimezone(UTC)
    except (ValueError, OverflowError):
        message = "not a moment that exists between the years 1 and 9999"
        raise ValueError(message) from None
