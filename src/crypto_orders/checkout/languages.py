"""What the page says in each language, and which language a payer is answered in."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Final, Literal, NamedTuple, cast

from markupsafe import Markup

CODES: Final = ("en", "de", "es", "ar")
"""The languages there are, in the order in which they are offered; the first is for everybody else."""

_ACCEPTED_MAX: Final = 20
"""No browser names more languages; the rest of a longer header is left unread."""


class Language(NamedTuple):
    """One language: its code, its own name, its direction of writing, and every text by its key."""

    code: str
    name: str
    direction: Literal["ltr", "rtl"]
    texts: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> Markup:
        """The text of a key as HTML, with values in its braces, each escaped unless it is HTML already."""
        return Markup(self.texts[key]).format(**values)  # noqa: S704 - the texts are our own


def _read(code: str) -> Language:
    path = resources.files("crypto_orders.checkout").joinpath("messages", f"{code}.toml")
    catalogue = tomllib.loads(path.read_text(encoding="utf-8"))
    texts = {
        f"{section}.{name}": text
        for section, entries in catalogue.items()
        if isinstance(entries, dict)
        for name, text in cast("dict[str, str]", entries).items()
    }
    return Language(code, catalogue["name"], catalogue["direction"], texts)


LANGUAGES: Final[Mapping[str, Language]] = {code: _read(code) for code in CODES}


def language_of(chosen: str | None, accept_language: str | None) -> Language:
    """The language that was chosen on the page, else the one that the browser likes best, else the first."""
    if chosen in LANGUAGES:
        return LANGUAGES[chosen]
    for code in _accepted(accept_language or ""):
        if code in LANGUAGES:
            return LANGUAGES[code]
    return LANGUAGES[CODES[0]]


def _accepted(header: str) -> list[str]:
    """The primary subtags of an Accept-Language header (RFC 9110, 12.5.4), the most wanted first."""
    ranked: list[tuple[float, str]] = []
    for part in header.split(",")[:_ACCEPTED_MAX]:
        tag, _, weight = part.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if quality > 0:
            ranked.append((-quality, tag.strip().lower().partition("-")[0]))
    return [code for _, code in sorted(ranked, key=lambda entry: entry[0])]
