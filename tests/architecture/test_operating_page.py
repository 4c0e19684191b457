"""The operator's page lists every setting as the code knows it."""

from pathlib import Path

from crypto_orders.settings import DESCRIPTIONS, Description

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"


def row(setting: Description) -> str:
    """A setting as a line of the page's table."""
    default = f"`{setting.default}`" if setting.default else ""
    secret = " (or `…_FILE`)" if setting.is_secret else ""
    return f"| `{setting.name.upper()}`{secret} | {default} | {setting.meaning} |"


def test_every_setting_stands_on_the_page_as_it_is() -> None:
    listed = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert [line for line in listed if line.split("`")[1].isupper()] == [row(s) for s in DESCRIPTIONS]
