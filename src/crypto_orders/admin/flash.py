"""What an action did, for the page that it leads to: said there once, and only in the action's own words."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Final

import msgspec

SECONDS_MAX: Final = 60
"""A page that the browser does not come to within a minute says nothing any more."""

_PURPOSE: Final = b"flash"


class _Flash(msgspec.Struct, frozen=True, array_like=True):
    path: str
    words: str


def sealed(secret: bytes, path: str, words: str) -> str:
    """Words for the page at a path, as a cookie's value that only this session can have been given."""
    told = msgspec.json.encode(_Flash(path, words))
    return f"{_written(told)}.{_written(_proof(secret, told))}"


def opened(secret: bytes, text: str, path: str) -> str | None:
    """The words in a cookie's value, if they are of this session and for the page at this path."""
    told, _, proof = text.partition(".")
    try:
        raw = urlsafe_b64decode(told.encode("ascii"))
        if not hmac.compare_digest(urlsafe_b64decode(proof.encode("ascii")), _proof(secret, raw)):
            return None
        flash = msgspec.json.decode(raw, type=_Flash)
    except ValueError:
        return None
    return flash.words if flash.path == path else None


def _proof(secret: bytes, told: bytes) -> bytes:
    return hmac.digest(hmac.digest(secret, _PURPOSE, sha256), told, sha256)


def _written(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode()
