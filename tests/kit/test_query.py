"""Queries: strict numbers, instants with zones, nothing empty, nothing twice."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_orders.kit.body import InvalidInput
from crypto_orders.kit.query import QueryReader


class Filters(msgspec.Struct):
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50
    status: Literal["pending", "paid"] | None = None
    search: Annotated[str, msgspec.Meta(max_length=10)] | None = None
    created_after: datetime | None = None
    dry_run: bool = False


class Needed(msgspec.Struct):
    days: int


READER = QueryReader(Filters)


def invalid(raw: bytes) -> dict[str, list[str]]:
    with pytest.raises(InvalidInput) as caught:
        READER.read(raw)
    return caught.value.fields


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", Filters()),
        (b"limit=1&status=paid&dry_run=true", Filters(limit=1, status="paid", dry_run=True)),
        (b"search=a+b%20c%2B", Filters(search="a b c+")),
        (b"search=%E2%82%AC", Filters(search="€")),
        (b"search=a%26b%3Dc", Filters(search="a&b=c")),
        (b"search=a=b", Filters(search="a=b")),
        (b"%6cimit=7", Filters(limit=7)),
        (b"&&limit=7&", Filters(limit=7)),
        (b"unknown=1&unknown=2&also=&%FF=1&LIMIT=7", Filters()),
        (b"created_after=2026-05-22T10:00:00Z", Filters(created_after=datetime(2026, 5, 22, 10, tzinfo=UTC))),
        (
            b"created_after=2026-05-22T10:00:00%2B02:00",
            Filters(created_after=datetime(2026, 5, 22, 8, tzinfo=UTC)),
        ),
        (
            b"created_after=2026-05-22T10:00:00+02:00",
            Filters(created_after=datetime(2026, 5, 22, 8, tzinfo=UTC)),
        ),
        (
            b"created_after=2026-05-22T10:00:00-0200",
            Filters(created_after=datetime(2026, 5, 22, 12, tzinfo=UTC)),
        ),
    ],
)
def test_known_parameters_are_read_and_unknown_ones_ignored(raw: bytes, expected: Filters) -> None:
    assert READER.read(raw) == expected


@pytest.mark.parametrize(
    "text",
    [
        "1e2",
        "%2B5",
        "+5",
        "-1",
        "0",
        "101",
        "5.0",
        "0x5",
        "05",
        "5_0",
        "%EF%BC%95",
        "%D9%A5",
        "1%20",
        "NaN",
        "9" * 19,
        "--1",
        "true",
    ],
)
def test_only_whole_numbers_in_range_are_a_limit(text: str) -> None:
    assert set(invalid(b"limit=" + text.encode())) == {"limit"}


@pytest.mark.parametrize(
    ("raw", "name", "why"),
    [
        (b"limit=", "limit", "empty"),
        (b"limit", "limit", "empty"),
        (b"status=", "status", "empty"),
        (b"search=", "search", "empty"),
        (b"created_after=", "created_after", "empty"),
        (b"limit=1&limit=1", "limit", "more than once"),
        (b"limit=1&%6cimit=2", "limit", "more than once"),
        (b"status=shipped", "status", "Invalid enum value"),
        (b"status=PAID", "status", "Invalid enum value"),
        (b"search=%00", "search", "NUL"),
        (b"search=%FF", "search", "UTF-8"),
        (b"search=%ED%A0%80", "search", "UTF-8"),
        (b"search=%C0%80", "search", "UTF-8"),
        (b"search=%zz", "search", "no escape"),
        (b"search=100%", "search", "no escape"),
        (b"search=12345678901", "search", "length <= 10"),
        (b"created_after=2026-05-22T10:00:00", "created_after", "zone"),
        (b"created_after=2026-05-22%2010:00", "created_after", "not an ISO"),
        (b"created_after=yesterday", "created_after", "Not an ISO"),
        (b"dry_run=1", "dry_run", "neither true nor false"),
    ],
)
def test_a_wrong_value_names_its_parameter(raw: bytes, name: str, why: str) -> None:
    fields = invalid(raw)
    assert list(fields) == [name]
    assert why.lower() in fields[name][0].lower()


def test_a_missing_required_parameter_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        QueryReader(Needed).read(b"")
    assert caught.value.fields == {"days": ["Required"]}


def test_an_endless_query_is_refused_before_it_is_read() -> None:
    with pytest.raises(InvalidInput) as caught:
        READER.read(b"a=" + b"1" * 9000)
    assert caught.value.whole == ["The query is longer than 8192 bytes"]


def test_a_parameter_of_an_unreadable_type_fails_at_start_up() -> None:
    class Odd(msgspec.Struct):
        things: list[str]

    with pytest.raises(TypeError, match="cannot be a"):
        QueryReader(Odd)


@given(
    st.text(alphabet="abclimtsue=&%+0159-T:Z\x00\xff", max_size=60).map(lambda text: text.encode("latin-1"))
)
def test_no_query_makes_the_reader_fail_otherwise(raw: bytes) -> None:
    try:
        assert isinstance(READER.read(raw), Filters)
    except InvalidInput as error:
        assert error.fields or error.whole  # noqa: PT017 - either end is right
