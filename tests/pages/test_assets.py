"""The files that pages load."""

import gzip
import re
from pathlib import Path

import pytest

from crypto_orders.pages.assets import Asset, Assets

ASSETS = Assets(["pages"])
SOURCE = Path(__file__).parents[2] / "src" / "crypto_orders"


def named(name: str) -> Asset:
    asset = ASSETS.at(ASSETS.url(name))
    assert asset is not None
    return asset


def test_a_file_s_address_names_its_content() -> None:
    assert re.fullmatch(r"/static/[0-9a-f]{12}/site\.css", ASSETS.url("site.css"))


def test_a_style_sheet_names_its_fonts_by_their_addresses() -> None:
    sheet = named("site.css").body.decode()
    assert "asset:" not in sheet
    assert ASSETS.url("vendor/inter-latin-wght-normal.woff2") in sheet


def test_what_is_packed_unpacks_to_the_file() -> None:
    asset = named("site.css")
    assert asset.packed is not None
    assert gzip.decompress(asset.packed) == asset.body


def test_a_font_is_not_packed_twice() -> None:
    assert named("vendor/inter-latin-wght-normal.woff2").packed is None


def test_an_unknown_name_is_an_error_before_a_page_is_sent() -> None:
    with pytest.raises(LookupError):
        ASSETS.url("no-such.css")


def test_every_icon_that_a_template_names_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'<symbol id="([^"]+)"', named("vendor/lucide.svg").body.decode()))
    drawn = {
        icon
        for template in SOURCE.rglob("templates/*.html")
        for names in re.findall(r"icon\('([^']+)'|place\('[^']*', '[^']*', '([^']+)'", template.read_text())
        for icon in names
        if icon
    }
    assert len(drawn) > 20
    assert drawn - sprite == set()
