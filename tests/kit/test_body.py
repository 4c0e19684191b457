"""Bodies: bounded, UTF-8, JSON that every parser reads alike, and typed."""

import json
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_orders.kit.body import InvalidInput, JsonReader, check_content_type, check_json
from crypto_orders.kit.problem import Problem


class Place(msgspec.Struct):
    city: str | None = None


class Checkout(msgspec.Struct):
    product: Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
    price_cents: int | None = None
    tags: list[str] = []
    place: Place | None = None


class Nothing(msgspec.Struct):
    note: str | None = None


READER = JsonReader(Checkout)


def read(raw: bytes, content_type: str | None = "application/json") -> Checkout:
    return READER.read(raw, content_type)


def refusal(raw: bytes, content_type: str | None = "application/json") -> str:
    with pytest.raises(Problem) as caught:
        read(raw, content_type)
    assert caught.value.slug == "bad-request"
    return caught.value.detail


def invalid(raw: bytes) -> tuple[dict[str, list[str]], list[str]]:
    with pytest.raises(InvalidInput) as caught:
        read(raw)
    return caught.value.fields, caught.value.whole


def test_a_body_is_read_into_its_type_and_unknown_fields_are_ignored() -> None:
    assert read(b'{"product":"p","status":"paid","account_id":{"x":[1]}}') == Checkout("p")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "Application/JSON; charset=UTF-8",
        'application/json;charset="utf-8"',
        "application/problem+json",
    ],
)
def test_json_in_utf_8_or_no_content_type_is_taken(content_type: str | None) -> None:
    assert read('{"product":"é"}'.encode(), content_type) == Checkout("é")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
        "json",
        "application/jsonp",
        "application/json, text/plain",
    ],
)
def test_another_content_type_is_refused(content_type: str) -> None:
    assert "application/json" in refusal(b'{"product":"p"}', content_type)


@pytest.mark.parametrize("charset", ["utf-16", "latin1", "ascii", "utf-16le"])
def test_another_charset_is_refused(charset: str) -> None:
    assert "UTF-8" in refusal(b'{"product":"p"}', f"application/json; charset={charset}")


def test_no_body_is_an_empty_object_whatever_its_content_type() -> None:
    assert JsonReader(Nothing).read(b"", "text/plain") == Nothing()
    assert invalid(b"") == ({"product": ["Required"]}, [])


@pytest.mark.parametrize(
    ("raw", "fields", "whole"),
    [
        (b"{}", {"product": ["Required"]}, []),
        (b'{"product":1}', {"product": ["Expected `str`, got `int`"]}, []),
        (b'{"product":""}', {"product": ["Expected `str` of length >= 1"]}, []),
        (b'{"product":"p","price_cents":1.5}', {"price_cents": ["Expected `int | null`, got `float`"]}, []),
        (b'{"product":"p","price_cents":true}', {"price_cents": ["Expected `int | null`, got `bool`"]}, []),
        (b'{"product":"p","tags":["a",1]}', {"tags": ["Expected `str`, got `int`"]}, []),
        (b'{"product":"p","place":{"city":1}}', {"place": ["Expected `str | null`, got `int`"]}, []),
        (b"[]", {}, ["Expected `object`, got `array`"]),
        (b"null", {}, ["Expected `object`, got `null`"]),
        (b'"p"', {}, ["Expected `object`, got `str`"]),
    ],
)
def test_wrong_content_names_its_field(raw: bytes, fields: dict[str, list[str]], whole: list[str]) -> None:
    assert invalid(raw) == (fields, whole)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"{", "no valid JSON"),
        (b"{'product':'p'}", "no valid JSON"),
        (b'{"product":"p",}', "no valid JSON"),
        (b'{"product":"p"} x', "no valid JSON"),
        (b'{"product":"\x00"}', "no valid JSON"),
        (b'{"product":"\n"}', "no valid JSON"),
        (b'{"product":01}', "no valid JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "no valid JSON"),
        (b'\xef\xbb\xbf{"product":"p"}', "no valid JSON"),
        (b'{"product":"\xff"}', "not UTF-8"),
        (b'{"unknown":"\xff"}', "not UTF-8"),
        ('{"product":"p"}'.encode("utf-16"), "not UTF-8"),
        (b'{"product":NaN}', "no NaN"),
        (b'{"x":-Infinity}', "no -Infinity"),
        (b'{"product":"a","product":"b"}', "twice"),
        (b'{"x":{"a":1,"\\u0061":2}}', "twice"),
    ],
)
def test_what_is_no_json_to_everybody_is_refused(raw: bytes, why: str) -> None:
    assert why in refusal(raw)


@pytest.mark.parametrize("escape", ["\\u0000", "\\ud800", "\\udc00", "a\\ud83dz"])
def test_a_character_that_cannot_be_stored_names_its_field(escape: str) -> None:
    for raw in (
        f'{{"product":"{escape}"}}',
        f'{{"tags":["a","{escape}"],"product":"p"}}',
        f'{{"product":"p","x":{{"y":[{{"{escape}":1}}]}}}}',
    ):
        fields, whole = invalid(raw.encode())
        assert len(fields) == 1
        assert whole == []
    assert invalid(f'["{escape}"]'.encode())[0] == {}


def test_a_pair_of_surrogates_and_an_escaped_backslash_are_fine() -> None:
    assert read(b'{"product":"\\ud83d\\ude00"}') == Checkout("\U0001f600")
    assert read(b'{"product":"\\\\u0000"}') == Checkout("\\u0000")


def nested(levels: int) -> bytes:
    """An object with so many levels, itself included."""
    return b'{"product":"p","x":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


def test_32_levels_are_read_and_33_are_not() -> None:
    assert read(nested(32)) == Checkout("p")
    assert "deeper than 32" in refusal(nested(33))
    assert "deeper than 32" in refusal(b'{"a":' * 33 + b"1" + b"}" * 33)
    assert "deeper than 32" in refusal(b"[" * 60_000)


def test_brackets_in_texts_and_side_by_side_are_no_depth() -> None:
    assert read(b'{"product":"' + b"[" * 10 + b'","x":"' + b"{" * 100 + b'"}') == Checkout("[" * 10)
    assert read(b'{"product":"p","x":[' + b",".join([b"[]"] * 100) + b"]}") == Checkout("p")
    assert read(b'{"product":"p","x":"' + b'\\"[' * 100 + b'"}') == Checkout("p")


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_otherwise(raw: bytes) -> None:
    try:
        assert isinstance(read(raw), Checkout)
    except Problem as problem:
        assert problem.slug == "bad-request"  # noqa: PT017 - any of three ends is right
    except InvalidInput as error:
        assert error.fields or error.whole  # noqa: PT017


documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(documents, st.booleans())
def test_every_storable_document_passes(document: Any, ascii_only: bool) -> None:
    raw = json.dumps(document, ensure_ascii=ascii_only).encode()
    if "\\u0000" in json.dumps(document):
        with pytest.raises(InvalidInput):
            check_json(raw)
    else:
        check_json(raw)


@given(st.text(max_size=60))
def test_no_content_type_makes_the_check_fail_otherwise(text: str) -> None:
    try:
        check_content_type(text)
    except Problem as problem:
        assert problem.slug == "bad-request"  # noqa: PT017
