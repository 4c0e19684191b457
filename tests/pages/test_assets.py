"""The files that pages load."""

import gzip
import re

import pytest

from crypto_orders.pages.assets import Assets

ASSETS = Assets(["pages"])


def test_a_file_s_address_names_its_content() -> None:
    assert re.fullmatch(r"/static/[0-9a-f]{12}/site\.css", ASSETS.url("site.css"))


def test_a_style_sheet_names_its_fonts_by_their_addresses() -> None:
    sheet = ASSETS.body("site.css").decode()
    assert "asset:" not in sheet
    assert ASSETS.url("vendor/inter-latin-wght-normal.woff2") in sheet


def test_what_is_packed_unpacks_to_the_file() -> None:
    asset = ASSETS.all["site.css"]
    assert asset.packed is not None
    assert gzip.decompress(asset.packed) == asset.body


def test_a_font_is_not_packed_twice() -> None:
    assert ASSETS.all["vendor/inter-latin-wght-normal.woff2"].packed is None


def test_an_unknown_name_is_an_error_before_a_page_is_sent() -> None:
    with pytest.raises(LookupError):
        ASSETS.url("no-such.css")


def test_the_icons_that_templates_draw_are_in_the_sprite() -> None:
    sprite = ASSETS.body("vendor/lucide.svg").decode()
    assert '<symbol id="copy"' in sprite
