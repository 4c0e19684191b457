"""Make and recognise the identifiers of this service: UUIDv7s, ``ord_`` ids and prefixed UUIDs."""

import re
import secrets
import threading
from datetime import datetime
from uuid import UUID

from crypto_orders.kit import clock

ORDER_ID_PREFIX = "ord_"

# Crockford's base32 in lower case. Its characters ascend in ASCII, so the text sorts as the number does.
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_CROCKFORD_PAIRS = tuple(high + low for high in _CROCKFORD for low in _CROCKFORD)
# 26 characters hold 130 bits for a number of 128, so the first one is never above 7.
_ORDER_ID = re.compile(r"ord_[0-7][0-9a-hjkmnp-tv-z]{25}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

# RFC 9562, section 5.7: 48 bits of milliseconds, the version, 12 random bits, the variant, 62 random bits.
_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62
_RANDOM_BITS = 74
_LOW_BITS = 62
_LOW_MASK = (1 << _LOW_BITS) - 1
# Ids of one millisecond step by a random amount of up to this, so that one does not give away the next.
_STEP_BITS = 32


def _compose(milliseconds: int, tail: int) -> UUID:
    return UUID(
        int=(milliseconds << 80) | _VERSION_7 | (tail >> _LOW_BITS) << 64 | _VARIANT | (tail & _LOW_MASK)
    )


class _Sequence:
    """The last id this process made, so that the next one is always greater (RFC 9562, section 6.2)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._milliseconds = 0
        self._tail = 0

    def following(self, milliseconds: int) -> UUID:
        with self._lock:
            if milliseconds > self._milliseconds:
                self._milliseconds = milliseconds
                self._tail = secrets.randbits(_RANDOM_BITS)
            else:
                # The same millisecond, or a clock that stepped back: count on from the last id.
                self._tail += 1 + secrets.randbits(_STEP_BITS)
                if self._tail >> _RANDOM_BITS:
                    self._milliseconds += 1
                    self._tail = secrets.randbits(_RANDOM_BITS)
            return _compose(self._milliseconds, self._tail)


_sequence = _Sequence()


def uuid7(at: datetime | None = None) -> UUID:
    """A new UUIDv7 (RFC 9562) of this moment, greater than every one this process made before.

    With ``at`` it carries that moment instead and is ordered by it alone, for records of the past.
    """
    if at is not None:
        return _compose(clock.to_milliseconds(at), secrets.randbits(_RANDOM_BITS))
    return _sequence.following(clock.to_milliseconds(clock.utc_now()))


def order_id(at: datetime | None = None) -> str:
    """A new order id: ``ord_`` and a UUIDv7 as 26 characters of lower-case Crockford base32.

    The order of the texts (by bytes, collation "C") is the order of the moments.
    """
    number = uuid7(at).int
    return ORDER_ID_PREFIX + "".join(
        _CROCKFORD_PAIRS[(number >> shift) & 0x3FF] for shift in range(120, -1, -10)
    )


def is_order_id(text: str) -> bool:
    """Whether the text has the exact form of an order id; it says nothing about the order's existence."""
    return _ORDER_ID.fullmatch(text) is not None


def prefixed(prefix: str, identifier: UUID) -> str:
    """The public text of an identifier: ``prefixed("whk", uuid)`` is ``whk_<uuid>``."""
    return f"{prefix}_{identifier}"


def parse_prefixed(prefix: str, text: str) -> UUID | None:
    """The UUID of ``<prefix>_<uuid>`` in its exact lower-case form; None for anything else."""
    head, separator, tail = text.partition("_")
    if head != prefix or not separator:
        return None
    return parse_uuid(tail)


def parse_uuid(text: str) -> UUID | None:
    """The UUID of 36 lower-case characters in the usual form; None for anything else."""
    return UUID(text) if _UUID.fullmatch(text) else None
