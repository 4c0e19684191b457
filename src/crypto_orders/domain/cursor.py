"""Opaque cursors of keyset lists: a position (created_at, id), written as URL-safe text."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from crypto_orders.domain.errors import MalformedCursor
from crypto_orders.kit import clock

# The project's pagination page promises this bound to clients.
CURSOR_CHARS_MAX = 512
# The longest id that a list is ordered by, far above those in use, and short enough for the bound above.
_ID_BYTES_MAX = 128

_VERSION = 1
# The format's version, a check sum, and the milliseconds since 1970; the id follows as ASCII.
_HEAD = Struct(">BIq")


class Position(NamedTuple):
    """A place in a list ordered by (created_at, id): the list goes on with what lies beyond it."""

    created_at: datetime
    id: str


def encode(kind: str, position: Position) -> str:
    """The cursor of a position in the list called ``kind``; at most 512 of ``A-Z a-z 0-9 - _``.

    ``created_at`` is taken in whole milliseconds, as it is stored. ValueError for an id of no use here.
    """
    identifier = position.id.encode("ascii")
    if len(identifier) > _ID_BYTES_MAX:
        message = "the id is too long for a cursor"
        raise ValueError(message)
    milliseconds = clock.to_milliseconds(position.created_at)
    packed = _HEAD.pack(_VERSION, _check_sum(kind, milliseconds, identifier), milliseconds) + identifier
    return urlsafe_b64encode(packed).rstrip(b"=").decode("ascii")


def decode(kind: str, text: str) -> Position:
    """The position in a cursor of the list called ``kind``; MalformedCursor for any other text.

    The check sum catches damage and a cursor of another list. It is no signature: a forged position only
    moves its maker through rows the same query would show anyway.
    """
    try:
        return _decode(kind, text)
    except (ValueError, OverflowError):
        raise MalformedCursor from None


def _decode(kind: str, text: str) -> Position:
    if not 0 < len(text) <= CURSOR_CHARS_MAX:
        raise MalformedCursor
    packed = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    # The decoder skips characters and bits it does not like; only the text we would write ourselves passes.
    if len(packed) < _HEAD.size or urlsafe_b64encode(packed).rstrip(b"=") != text.encode("ascii"):
        raise MalformedCursor
    version, check_sum, milliseconds = _HEAD.unpack_from(packed)
    identifier = packed[_HEAD.size :]
    if version != _VERSION or check_sum != _check_sum(kind, milliseconds, identifier):
        raise MalformedCursor
    return Position(clock.from_milliseconds(milliseconds), identifier.decode("ascii"))


def _check_sum(kind: str, milliseconds: int, identifier: bytes) -> int:
    return crc32(b"%b %d %b" % (kind.encode(), milliseconds, identifier))
