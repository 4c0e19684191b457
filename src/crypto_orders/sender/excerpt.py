"""Makes the start of a response body fit to be stored and shown: it is text from a stranger."""

from typing import Final

EXCERPT_CHARS_MAX: Final = 512
"""Characters of a response body that are kept for the customer to look at."""


def excerpt_of(body_start: bytes) -> str | None:
    """Return at most 512 printable characters; None when there are none.

    Everything else (controls, line ends, invisible and direction-changing characters) becomes a blank, and
    runs of blanks become one.
    """
    if not body_start:
        return None
    text = body_start.decode("utf-8", errors="replace")
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(text.split())[:EXCERPT_CHARS_MAX].rstrip() or None
