"""Excerpts: a stranger's bytes as short printable text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_orders.sender.excerpt import excerpt_of


@pytest.mark.parametrize(
    ("body", "excerpt"),
    [
        (b"", None),
        (b" \r\n\t ", None),
        (b"\x00\x01\x02", None),
        (b"ok", "ok"),
        (b"  two\r\n\r\n  lines ", "two lines"),
        (b"nul\x00byte", "nul byte"),
        (b"\x1b[31mred", "[31mred"),
        ("é ✓".encode(), "é ✓"),
        (b"caf\xe9", "caf\ufffd"),
        ("left\u202eright\u200b.".encode(), "left right ."),
        (b"a" * 4096, "a" * 512),
        (b"a" * 511 + b" b", "a" * 511),
    ],
)
def test_an_excerpt_is_printable_and_short(body: bytes, excerpt: str | None) -> None:
    assert excerpt_of(body) == excerpt


@given(st.binary(max_size=4096))
def test_any_bytes_make_printable_text_of_512_characters_at_most(body: bytes) -> None:
    excerpt = excerpt_of(body)
    assert excerpt is None or (excerpt.isprintable() and 1 <= len(excerpt) <= 512)
