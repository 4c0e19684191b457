"""Every language says everything, and visitors are answered in theirs."""

import re
import tomllib
from pathlib import Path

import pytest

from crypto_orders import checkout
from crypto_orders.checkout.languages import CODES, LANGUAGES, language_of
from crypto_orders.checkout.stage import Stage

FOLDER = Path(checkout.__path__[0])
BRACES = re.compile(r"\{(\w*)\}")


@pytest.mark.parametrize("code", CODES)
def test_a_catalogue_has_every_text_with_the_same_values(code: str) -> None:
    english, other = LANGUAGES["en"].texts, LANGUAGES[code].texts
    assert other.keys() == english.keys()
    for key, text in other.items():
        assert text.strip() == text != ""
        assert sorted(BRACES.findall(text)) == sorted(BRACES.findall(english[key])), key


@pytest.mark.parametrize("code", CODES)
def test_a_catalogue_holds_plain_text(code: str) -> None:
    assert [key for key, text in LANGUAGES[code].texts.items() if set(text) & set("<>&\\")] == []


@pytest.mark.parametrize("code", [code for code in CODES if code != "en"])
def test_a_text_is_not_left_in_english(code: str) -> None:
    english, other = LANGUAGES["en"].texts, LANGUAGES[code].texts
    same = {key for key in english if other[key] == english[key] and len(english[key]) > len("Memo / tag")}
    assert same == set()


def test_every_stage_has_its_words() -> None:
    for stage in Stage:
        assert {f"{stage}.{name}" for name in ("word", "title", "lead", "next")} <= LANGUAGES[
            "en"
        ].texts.keys()


def test_every_text_that_is_used_is_there_and_every_text_is_used() -> None:
    sources = [*FOLDER.glob("*.py"), *FOLDER.glob("templates/*.html")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    named = set(re.findall(r"""["']([a-z]+\.[a-z_]+)["']""", text))
    of_stages = {f"{stage}.{name}" for stage in Stage for name in ("word", "title", "lead", "next")}
    of_problems = {key for key in LANGUAGES["en"].texts if re.fullmatch(r"problem\.\w+_(title|text)", key)}
    known = LANGUAGES["en"].texts.keys()
    assert known - named - of_stages - of_problems == set()
    sections = {key.partition(".")[0] for key in known}
    files = {path.name for path in FOLDER.rglob("*") if path.is_file()}
    assert {key for key in named - known - files if key.partition(".")[0] in sections} == set()


def test_catalogues_name_themselves() -> None:
    for path in FOLDER.glob("messages/*.toml"):
        catalogue = tomllib.loads(path.read_text(encoding="utf-8"))
        assert path.stem in CODES
        assert catalogue["direction"] == ("rtl" if path.stem == "ar" else "ltr")


@pytest.mark.parametrize(
    ("chosen", "header", "code"),
    [
        (None, None, "en"),
        (None, "", "en"),
        (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
        (None, "fr,es;q=0.5,ar;q=0.7", "ar"),
        (None, "de;q=0,es;q=0.1", "es"),
        (None, "fr", "en"),
        (None, "*", "en"),
        (None, "de;q=x,;;,es", "es"),
        ("ar", "de", "ar"),
        ("xx", "de", "de"),
    ],
)
def test_the_chosen_language_goes_before_the_browsers(
    chosen: str | None, header: str | None, code: str
) -> None:
    assert language_of(chosen, header).code == code


def test_values_are_escaped_and_markup_of_ours_is_not() -> None:
    said = LANGUAGES["en"]("pay.title", coin="<b>")
    assert said == "Pay with &lt;b&gt;"
