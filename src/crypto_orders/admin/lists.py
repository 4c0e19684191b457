"""What the lists of all screens share: filters as chips, pages by cursor, and windows of time."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final
from urllib.parse import urlencode
from uuid import UUID

from msgspec import Meta, Struct

from crypto_orders.domain.errors import BadRequest
from crypto_orders.kit import clock, ids

PAGE_ROWS: Final = 50
FILTER_CHARS_MAX: Final = 200

Needle = Annotated[str, Meta(max_length=FILTER_CHARS_MAX)]

_DATE_CHARS: Final = len("2026-05-22")
_MINUTE_CHARS: Final = len("2026-05-22T10:00")


class Chip(Struct, frozen=True):
    """A filter that holds: what it says, and the address of the same list without it."""

    name: str
    value: str
    without: str


class Paging(Struct, frozen=True, kw_only=True):
    """The filters that hold, and where the list begins and goes on."""

    chips: tuple[Chip, ...]
    clear: str
    first: str | None
    following: str | None


def address(path: str, **values: object) -> str:
    """A path with its query; what is None or empty is left out."""
    query = urlencode({name: _text(value) for name, value in values.items() if value not in {None, ""}})
    return f"{path}?{query}" if query else path


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def paging(
    path: str,
    filters: Mapping[str, object],
    *,
    after: str | None,
    following: str | None,
    words: Mapping[str, str],
    shown: Mapping[str, str] | None = None,
) -> Paging:
    """The chips and pages of a list. `words` name its filters, `shown` what stands for a value."""
    values = shown or {}
    chips = tuple(
        Chip(
            words[name],
            values.get(name, str(value)),
            address(path, **{other: each for other, each in filters.items() if other != name}),
        )
        for name, value in filters.items()
        if value is not None and name in words
    )
    return Paging(
        chips=chips,
        clear=address(path, **{name: value for name, value in filters.items() if name not in words}),
        first=address(path, **filters) if after else None,
        following=address(path, **filters, cursor=following) if following else None,
    )


def trimmed(text: str | None) -> str | None:
    """A value that is looked for exactly, without the blanks that come along when it is pasted."""
    return None if text is None else text.strip()


def account_of(text: str | None) -> UUID | None:
    """The account that a filter names. Raises BadRequest when it is no account's id."""
    if text is None:
        return None
    found = ids.parse_prefixed("acc", text) or ids.parse_uuid(text)
    if found is None:
        raise BadRequest("An account's id begins with acc_.")
    return found


def account_id_of(account_id: UUID | None) -> str | None:
    """An account's id as it is written, or None for none."""
    return None if account_id is None else ids.prefixed("acc", account_id)


def moment(text: str, *, name: str) -> datetime:
    """A time as a date field sends it, without a zone: it is UTC. Raises BadRequest for any other text."""
    text = text.strip()
    if len(text) == _DATE_CHARS:
        text += "T00:00"
    if len(text) == _MINUTE_CHARS:
        text += ":00"
    if not text.endswith(("Z", "z")) and "+" not in text:
        text += "Z"
    try:
        return clock.parse_instant(text)
    except ValueError:
        raise BadRequest(f"{name}: a time such as 2026-05-22T10:00, in UTC.") from None


def field_of(at: datetime) -> str:
    """A time as a date field takes it, in UTC to the minute."""
    return at.strftime("%Y-%m-%dT%H:%M")


def capped(count: int, limit: int) -> str:
    """A number that was counted up to a limit: `1,000+` beyond it."""
    return f"{limit:,}+" if count > limit else f"{count:,}"
