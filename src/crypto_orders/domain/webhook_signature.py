"""Signs webhook attempts twice over the same bytes with the same secret, and makes the secrets' text.

The first scheme is Standard Webhooks (https://www.standardwebhooks.com): `webhook-id`, `webhook-timestamp`,
`webhook-signature`. The second is the brand's own header family, `X-<Brand>-Signature: t=…,v1=…`.
"""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

TEXT_PREFIX: Final = "whsec_"
"""What every secret begins with, in Standard Webhooks and here."""
SECRET_RANDOM_BYTES: Final = 24
"""Random bytes in a secret: the least that Standard Webhooks allows, and base64 of 24 needs no padding."""
SECRET_LENGTH: Final = 38
SHOWN_PREFIX_LENGTH: Final = 12
"""How much of a secret stays visible after it was shown once: its prefix and six characters."""

_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{32}")
_BRAND_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt signs and says; only `at` differs between the attempts of one event."""

    event_id: UUID
    event_type: str
    body: bytes
    at: datetime
    """The moment of this attempt; both schemes carry it in whole unix seconds."""


def make_secret(random_bytes: bytes) -> str:
    """Write 24 random bytes as a secret of 38 characters. Raises ValueError for another count."""
    if len(random_bytes) != SECRET_RANDOM_BYTES:
        message = f"a webhook secret takes {SECRET_RANDOM_BYTES} random bytes, not {len(random_bytes)}"
        raise ValueError(message)
    return TEXT_PREFIX + b64encode(random_bytes).decode("ascii")


def shown_prefix(secret: str) -> str:
    """Return the part of a secret by which people recognise it: its first 12 characters."""
    return secret[:SHOWN_PREFIX_LENGTH]


def header_family(brand_slug: str) -> str:
    """Turn a brand slug into its header family: `crypto-orders` gives `X-Crypto-Orders`.

    Raises ValueError when the slug is not lower-case words of letters and digits joined by single hyphens.
    """
    if not _BRAND_SLUG.fullmatch(brand_slug):
        message = "a brand slug is lower-case words of letters and digits joined by hyphens"
        raise ValueError(message)
    return "X-" + "-".join(word.capitalize() for word in brand_slug.split("-"))


class SigningKey(NamedTuple):
    """A secret as each scheme takes it for a key."""

    standard: bytes
    """The decoded part after the prefix."""
    branded: bytes
    """The whole text."""


def signing_key(secret: str) -> SigningKey:
    """Make the key of a secret. Raises ValueError when it is not one of `make_secret`."""
    if not _SECRET.fullmatch(secret):
        message = "a webhook secret is whsec_ and 32 characters of base64"
        raise ValueError(message)
    return SigningKey(b64decode(secret[len(TEXT_PREFIX) :], validate=True), secret.encode("ascii"))


def attempt_headers(attempt: Attempt, family: str, keys: Sequence[SigningKey]) -> tuple[tuple[str, str], ...]:
    """Return every header that identifies and signs one attempt.

    `family` is `header_family(brand_slug)`. Every key signs: during the grace of a rotation these are the
    current one and the one before it, in this order.
    """
    event_id = str(attempt.event_id)
    timestamp = str(int(attempt.at.timestamp()))
    branded = b"%b.%b" % (timestamp.encode("ascii"), attempt.body)
    standard = b"%b.%b" % (event_id.encode("ascii"), branded)
    standard_signatures = [b64encode(hmac.digest(key.standard, standard, "sha256")) for key in keys]
    branded_signatures = [hmac.digest(key.branded, branded, "sha256").hex() for key in keys]
    return (
        ("webhook-id", event_id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", " ".join(f"v1,{each.decode('ascii')}" for each in standard_signatures)),
        (f"{family}-Signature", ",".join([f"t={timestamp}", *(f"v1={each}" for each in branded_signatures)])),
        (f"{family}-Event-Id", event_id),
        (f"{family}-Event-Type", attempt.event_type),
    )
