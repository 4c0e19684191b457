"""Signs webhook attempts twice over the same bytes with the same secret, and makes the secrets' text.

The first scheme is Standard Webhooks (https://www.standardwebhooks.com): `webhook-id`, `webhook-timestamp`,
`webhook-signature`. The second is the brand's own header family, `X-<Brand>-Signature: t=…,v1=…`.
"""

import hmac
import re
from base64 import b64decode, b64encode
from datetime import datetime
from typing import Final
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


def attempt_headers(
    attempt: Attempt, family: str, secret: str, previous_secret: str | None = None
) -> tuple[tuple[str, str], ...]:
    """Return every header that identifies and signs one attempt.

    `family` is `header_family(brand_slug)`. `previous_secret` is given during the grace of a rotation: then
    both secrets sign, the current one first. Raises ValueError when a secret is not one of `make_secret`.
    """
    event_id = str(attempt.event_id)
    timestamp = str(int(attempt.at.timestamp()))
    secrets = (secret,) if previous_secret is None else (secret, previous_secret)
    standard = " ".join(standard_signature(each, event_id, timestamp, attempt.body) for each in secrets)
    branded = ",".join(f"v1={branded_signature(each, timestamp, attempt.body)}" for each in secrets)
    return (
        ("webhook-id", event_id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", standard),
        (f"{family}-Signature", f"t={timestamp},{branded}"),
        (f"{family}-Event-Id", event_id),
        (f"{family}-Event-Type", attempt.event_type),
    )


def standard_signature(secret: str, event_id: str, timestamp: str, body: bytes) -> str:
    """Sign `<id>.<timestamp>.<body>` the Standard Webhooks way; the key is the decoded part of the secret."""
    signed = b"%b.%b.%b" % (event_id.encode("ascii"), timestamp.encode("ascii"), body)
    return "v1," + b64encode(hmac.digest(_decoded(secret), signed, "sha256")).decode("ascii")


def branded_signature(secret: str, timestamp: str, body: bytes) -> str:
    """Sign `<timestamp>.<body>` the brand's way, in hex; the key is the whole text of the secret."""
    return hmac.digest(
        _checked(secret).encode("ascii"), b"%b.%b" % (timestamp.encode("ascii"), body), "sha256"
    ).hex()


def _checked(secret: str) -> str:
    if not _SECRET.fullmatch(secret):
        message = "a webhook secret is whsec_ and 32 characters of base64"
        raise ValueError(message)
    return secret


def _decoded(secret: str) -> bytes:
    return b64decode(_checked(secret)[len(TEXT_PREFIX) :], validate=True)
