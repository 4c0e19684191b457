"""What the list of orders is narrowed down by: read from its address, field by field, and written back."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from msgspec import Struct

from crypto_orders.domain.cursor import Position
from crypto_orders.domain.errors import MalformedCursor
from crypto_orders.domain.order import FlagKind, Status
from crypto_orders.kit import clock, ids
from crypto_orders.store import order_lists
from crypto_orders.store.order_filters import ANY_FLAG, Filters

PATH: Final = "/admin/orders"
PAGE_ORDERS_DEFAULT: Final = 50
PAGE_ORDERS_MAX: Final = 200
SEARCH_CHARS_MAX: Final = 200
PAYMENT_ID_CHARS_MAX: Final = 128
PRODUCT_CHARS_MAX: Final = 64

FILTER_NAMES: Final[Mapping[str, str]] = {
    "search": "Search",
    "payment_id": "Payment ID",
    "created_after": "From",
    "created_before": "To",
    "status": "Status",
    "account_id": "Account",
    "product": "Product",
    "flag": "Flag",
}
"""The filters by their names in the address, which are those of the API, in the order of the form."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_WITHOUT_ZONE = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)", re.ASCII)

ValueT = TypeVar("ValueT")


class OrdersQuery(Struct, frozen=True, kw_only=True):
    """The parameters of the list as texts: what is wrong with one is told beside its field."""

    account_id: str | None = None
    product: str | None = None
    status: str | None = None
    search: str | None = None
    payment_id: str | None = None
    created_after: str | None = None
    created_before: str | None = None
    flag: str | None = None
    cursor: str | None = None
    limit: str | None = None
    order: str | None = None


class Asked(Struct, frozen=True, kw_only=True):
    """What a list is asked for. `given` are the filters as they were typed, `faults` what is wrong with some.

    `order` is the one whose drawer is open.
    """

    filters: Filters
    after: Position | None
    limit: int
    order: str | None
    given: Mapping[str, str]
    faults: Mapping[str, str]
    cursor: str | None

    def address(self, path: str = PATH, /, **changes: str | None) -> str:
        """An address of the same filters with some changed; None leaves one out, and pages start anew."""
        page = {"limit": str(self.limit)} if self.has_own_limit else {}
        return address_of({**self.given, **page, **changes}, path)

    @property
    def has_own_limit(self) -> bool:
        """Whether pages are of another size than usual."""
        return self.limit != PAGE_ORDERS_DEFAULT

    @property
    def here(self) -> str:
        """The address of this very page, without an open drawer."""
        return self.address(cursor=self.cursor)


def address_of(parameters: Mapping[str, str | None], path: str = PATH) -> str:
    """A path with the parameters that are there."""
    text = urlencode([(name, value) for name, value in parameters.items() if value])
    return f"{path}?{text}" if text else path


def read(query: OrdersQuery) -> Asked:
    """Read the parameters; a faulty one narrows nothing and is told in `faults`."""
    faults: dict[str, str] = {}

    def value(name: str, reader: Callable[[str], ValueT]) -> ValueT | None:
        text: str | None = getattr(query, name)
        if text is None:
            return None
        try:
            return reader(text.strip())
        except ValueError as fault:
            faults[name] = str(fault)
            return None

    filters = Filters(
        account_id=value("account_id", _account),
        product=value("product", _text_up_to(PRODUCT_CHARS_MAX)),
        status=value("status", _status),
        search=value("search", _text_up_to(SEARCH_CHARS_MAX)),
        payment_id=value("payment_id", _text_up_to(PAYMENT_ID_CHARS_MAX)),
        created_after=value("created_after", read_from),
        created_before=value("created_before", read_to),
        flag=value("flag", _flag),
    )
    after, before = filters.created_after, filters.created_before
    if after is not None and before is not None and before <= after:
        faults["created_before"] = "Must be later than From."
    given = msgspec.structs.asdict(query)
    return Asked(
        filters=filters,
        after=value("cursor", _position),
        limit=value("limit", _limit) or PAGE_ORDERS_DEFAULT,
        order=query.order if query.order and ids.is_order_id(query.order) else None,
        given={name: given[name].strip() for name in FILTER_NAMES if given[name]},
        faults=faults,
        cursor=None if "cursor" in faults else query.cursor,
    )


def without(filters: Filters, name: str) -> Filters:
    """The filters with one of them left out."""
    return msgspec.structs.replace(filters, **{name: None})


def read_from(text: str) -> datetime:
    """The moment a span begins: an instant, one without a zone in UTC, or a day from its midnight on."""
    return _midnight(text) if _DAY.fullmatch(text) else _instant(text)


def read_to(text: str) -> datetime:
    """The moment a span ends before; a day belongs to it whole."""
    if not _DAY.fullmatch(text):
        return _instant(text)
    try:
        return _midnight(text) + timedelta(days=1)
    except OverflowError:
        message = "Is the last day there is: leave it out."
        raise ValueError(message) from None


def _midnight(text: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        message = "Is no day that exists."
        raise ValueError(message) from None
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _instant(text: str) -> datetime:
    zoneless = _WITHOUT_ZONE.fullmatch(text)
    try:
        return clock.parse_instant(f"{zoneless[1]}T{zoneless[2]}Z" if zoneless else text)
    except ValueError:
        message = "Write a day such as 2026-05-22, or a time such as 2026-05-22 10:00 in UTC."
        raise ValueError(message) from None


def _account(text: str) -> UUID:
    account_id = ids.parse_prefixed("acc", text) or ids.parse_uuid(text)
    if account_id is None:
        message = "Is no account's id: acc_ and a UUID, or the UUID alone."
        raise ValueError(message)
    return account_id


def _status(text: str) -> Status:
    try:
        return Status(text)
    except ValueError:
        message = f"Is one of {', '.join(Status)}."
        raise ValueError(message) from None


def _flag(text: str) -> FlagKind | Literal["any"]:
    if text == ANY_FLAG:
        return ANY_FLAG
    try:
        return FlagKind(text)
    except ValueError:
        message = "Is no kind of flag."
        raise ValueError(message) from None


def _text_up_to(chars_max: int) -> Callable[[str], str]:
    def reader(text: str) -> str:
        if not 0 < len(text) <= chars_max:
            message = f"Has at most {chars_max} characters."
            raise ValueError(message)
        return text

    return reader


def _position(text: str) -> Position:
    try:
        found = order_lists.position_of(text)
    except MalformedCursor:
        found = None
    if found is None:
        message = "This page of the list does not exist."
        raise ValueError(message)
    return found


def _limit(text: str) -> int:
    limit = whole_number(text, PAGE_ORDERS_MAX)
    if limit is None:
        message = f"A page shows 1 to {PAGE_ORDERS_MAX} orders."
        raise ValueError(message)
    return limit


def whole_number(text: str, most: int) -> int | None:
    """A number from 1 to `most` in plain digits, or None for any other text."""
    is_plain = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    return int(text) if is_plain and 1 <= int(text) <= most else None
