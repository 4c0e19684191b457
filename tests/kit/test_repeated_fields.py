"""A form's boxes of one name arrive as one field with every value that was ticked."""

import pytest
from msgspec import Struct

from crypto_orders.kit.body import InvalidInput
from crypto_orders.kit.query import FORM_MEDIA_TYPE, FormReader


class Ticked(Struct, frozen=True):
    """Boxes of one name, and a field that stands once."""

    scopes: tuple[str, ...] = ()
    label: str = ""


def test_every_ticked_box_counts_in_its_order_and_none_is_none() -> None:
    read = FormReader(Ticked).read
    assert read(b"scopes=a&label=x&scopes=b%3Ac&scopes=", FORM_MEDIA_TYPE) == Ticked(("a", "b:c"), "x")
    assert read(b"label=x", FORM_MEDIA_TYPE) == Ticked((), "x")


def test_a_field_that_stands_once_is_still_refused_twice() -> None:
    with pytest.raises(InvalidInput):
        FormReader(Ticked).read(b"label=x&label=y", FORM_MEDIA_TYPE)
