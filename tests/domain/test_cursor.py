"""Cursors: opaque, short, and only what this service wrote."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_orders.domain import cursor
from crypto_orders.domain.cursor import Position
from crypto_orders.domain.errors import BadRequest, MalformedCursor

AT = datetime(2026, 5, 22, 10, 0, 0, 123000, tzinfo=UTC)
positions = st.builds(
    Position,
    st.integers(0, 250_000_000_000_000).map(
        lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    ),
    st.text(alphabet=st.characters(min_codepoint=1, max_codepoint=126), max_size=128),
)


@given(positions)
def test_a_cursor_leads_back_to_its_position(position: Position) -> None:
    text = cursor.encode("orders", position)
    assert cursor.decode("orders", text) == position
    assert len(text) <= 512
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)


def test_a_cursor_of_another_list_is_malformed() -> None:
    text = cursor.encode("orders", Position(AT, "ord_1"))
    with pytest.raises(MalformedCursor):
        cursor.decode("deliveries", text)


@given(positions, st.data())
def test_an_altered_cursor_is_malformed(position: Position, data: st.DataObject) -> None:
    text = cursor.encode("orders", position)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from([each for each in "Az09-_" if each != text[at]]))
    with pytest.raises(MalformedCursor):
        cursor.decode("orders", text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize("tail", ["", "=", "==", "A", " ", "\n", "!"])
def test_padding_blanks_and_tails_are_malformed(tail: str) -> None:
    text = cursor.encode("orders", Position(AT, "ord_1"))
    if not tail:
        text = text[:-1]
    with pytest.raises(MalformedCursor):
        cursor.decode("orders", text + tail)


@given(st.text(max_size=600))
def test_any_other_text_is_malformed_and_nothing_worse(text: str) -> None:
    with pytest.raises(MalformedCursor):
        cursor.decode("orders", text)


def test_a_malformed_cursor_is_a_bad_request() -> None:
    assert issubclass(MalformedCursor, BadRequest)


def test_an_id_of_no_use_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="too long"):
        cursor.encode("orders", Position(AT, "x" * 129))
