"""Finds the sections that hold every word of a question, the likeliest first, and shows where they do."""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

RESULTS_MAX: Final = 30
EXCERPT_CHARS: Final = 220
QUESTION_CHARS_MAX: Final = 100
WORDS_MAX: Final = 10

IN_TITLE: Final = 10
IN_PAGE_TITLE: Final = 4
"""A word of a heading says more about its section than one of its text, which counts 1."""

_WORD = re.compile(r"[\w$./-]+")


class Place(NamedTuple):
    """Something that can be found: where it is, what it is called, and what it says."""

    url: str
    page: str
    title: str
    text: str


class Found(NamedTuple):
    """A place with the part of its text that answers; every second piece is a word that was asked for."""

    place: Place
    excerpt: tuple[str, ...]


class Index:
    """All places, made ready once."""

    def __init__(self, places: Iterable[Place]) -> None:
        self._places = [
            (place, place.title.lower(), place.page.lower(), place.text.lower()) for place in places
        ]

    def find(self, question: str) -> Sequence[Found]:
        """The places that hold every word of a question, as words or parts of words."""
        words = list(dict.fromkeys(_WORD.findall(question.lower())))[:WORDS_MAX]
        if not words:
            return ()
        found: list[tuple[int, int, Place]] = []
        for number, (place, title, page, text) in enumerate(self._places):
            scores = [
                IN_TITLE * (word in title) + IN_PAGE_TITLE * (word in page) + min(text.count(word), 3)
                for word in words
            ]
            if all(scores):
                found.append((-sum(scores), number, place))
        found.sort(key=lambda one: one[:2])
        return [Found(place, excerpt(place.text, words)) for _, _, place in found[:RESULTS_MAX]]


def excerpt(text: str, words: Sequence[str]) -> tuple[str, ...]:
    """A part of a text around the first word that is found in it, cut at the words."""
    pattern = re.compile(
        "(" + "|".join(map(re.escape, sorted(words, key=len, reverse=True))) + ")", re.IGNORECASE
    )
    first = pattern.search(text)
    start = max(0, (first.start() if first else 0) - EXCERPT_CHARS // 3)
    if start:
        start = text.find(" ", start) + 1
    end = start + EXCERPT_CHARS
    if end < len(text):
        end = text.rfind(" ", start, end) if " " in text[start:end] else end
    cut = ("… " if start else "") + text[start:end] + (" …" if end < len(text) else "")
    return tuple(pattern.split(cut))
