"""Identifiers: their form, their order, and what is not one of them."""

import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_orders.kit import clock, ids

CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def test_a_uuid7_carries_the_present_millisecond_version_and_variant() -> None:
    before = clock.to_milliseconds(clock.utc_now())
    made = ids.uuid7()
    after = clock.to_milliseconds(clock.utc_now())
    assert before <= made.int >> 80 <= after + 1
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"


def test_ids_of_one_process_ascend_also_across_threads() -> None:
    made: list[list[UUID]] = [[] for _ in range(4)]

    def make(into: list[UUID]) -> None:
        into.extend(ids.uuid7() for _ in range(2000))

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(into == sorted(into) for into in made)
    assert len({each for into in made for each in into}) == 8000


def test_an_order_id_is_ord_and_26_characters_of_crockford() -> None:
    made = ids.order_id()
    prefix, number = made[:4], made[4:]
    assert prefix == "ord_"
    assert len(number) == 26
    assert set(number) <= set(CROCKFORD)
    assert ids.is_order_id(made)


def test_an_order_id_decodes_to_a_uuid7_of_its_moment() -> None:
    at = datetime(2026, 5, 22, 10, tzinfo=UTC)
    value = 0
    for character in ids.order_id(at)[4:]:
        value = value * 32 + CROCKFORD.index(character)
    decoded = UUID(int=value)
    assert decoded.version == 7
    assert clock.from_milliseconds(decoded.int >> 80) == at


@given(st.lists(st.integers(0, 10**11), min_size=2, max_size=20, unique=True))
def test_order_ids_sort_as_their_moments(offsets: list[int]) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    moments = sorted(start + timedelta(milliseconds=offset) for offset in offsets)
    made = [ids.order_id(moment) for moment in moments]
    assert made == sorted(made, key=str.encode)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ord_",
        "ord_01m81q5xrefvsarpy8cngf6r6",
        "ord_01m81q5xrefvsarpy8cngf6r6xx",
        "ORD_01m81q5xrefvsarpy8cngf6r6x",
        "ord_01M81Q5XREFVSARPY8CNGF6R6X",
        "ord_81m81q5xrefvsarpy8cngf6r6x",
        "ord_01m81q5xrefvsarpy8cngf6r6u",
        "ord_01m81q5xrefvsarpy8cngf6r6x\n",
        "ord_01m81q5xrefvsarpy8cngf6r6\0",
        "ord_\u0660\u0661m81q5xrefvsarpy8cngf6r6x",
    ],
)
def test_nothing_else_is_an_order_id(text: str) -> None:
    assert not ids.is_order_id(text)


def test_a_prefixed_id_is_read_back() -> None:
    made = ids.uuid7()
    text = ids.prefixed("whk", made)
    assert text == f"whk_{made}"
    assert ids.parse_prefixed("whk", text) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whk",
        "whk_",
        "wdl_0192aa00-0000-7000-8000-000000000000",
        "whk_0192AA00-0000-7000-8000-000000000000",
        "whk_0192aa0000007000800000000000000",
        "whk_{0192aa00-0000-7000-8000-000000000000}",
        "whk_0192aa00-0000-7000-8000-000000000000 ",
        "whk-0192aa00-0000-7000-8000-000000000000",
        "0192aa00-0000-7000-8000-000000000000",
    ],
)
def test_another_form_is_no_prefixed_id(text: str) -> None:
    assert ids.parse_prefixed("whk", text) is None


@given(st.text(max_size=60))
def test_no_text_makes_the_readers_fail(text: str) -> None:
    assert ids.is_order_id(text) in {True, False}
    assert ids.parse_prefixed("whk", text) is None or text.startswith("whk_")
