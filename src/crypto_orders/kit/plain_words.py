"""Say in plain words what is wrong with a field of a form or of an address, for pages that people read."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

LABELS: Final[Mapping[str, str]] = {"q": "Search", "since": "From", "until": "To"}
"""What forms call the fields whose names say something else."""

_BOUND = re.compile(r"Expected `int` (?P<side><=|>=) (?P<bound>-?\d+)")
_LENGTH = re.compile(r"Expected `str` of length <= (?P<most>\d+)")
_CHOICE = re.compile(r"Invalid enum value '.*'", re.DOTALL)
_SIDES: Final[Mapping[str, str]] = {"<=": "at most", ">=": "at least"}


def plain(fields: Mapping[str, Sequence[str]], whole: Sequence[str] = ()) -> str:
    """What is wrong with some fields, by their names in a request, and with the whole."""
    told = [f"{_label(name)}: {_words(text)}." for name, texts in fields.items() for text in texts]
    return " ".join([*told, *(f"{text.rstrip('.')}." for text in whole)])


def plain_detail(detail: str) -> str:
    """A sentence that may begin with the name of a field, such as `until: Must be later than since`."""
    name, parted, text = detail.partition(": ")
    return plain({name: [text]}) if parted and name in LABELS else detail


def _label(name: str) -> str:
    return LABELS.get(name) or name.replace("_", " ").capitalize()


def _words(text: str) -> str:
    bound, length = _BOUND.fullmatch(text), _LENGTH.fullmatch(text)
    if bound is not None:
        return f"a number of {_SIDES[bound['side']]} {bound['bound']}"
    if length is not None:
        return f"at most {length['most']} characters"
    if _CHOICE.fullmatch(text):
        return "choose one that the page offers"
    if text == "Required":
        return "needed"
    for name, label in LABELS.items():
        text = re.sub(rf"\b{name}\b", label, text)
    return (text[:1].lower() + text[1:]).rstrip(".")
