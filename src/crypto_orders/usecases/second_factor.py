"""Codes of an authenticator app (TOTP, RFC 6238): secrets, sealed at rest, and codes that count once."""

import hmac
from base64 import b32encode
from datetime import datetime
from typing import Final
from uuid import UUID

from pyotp.totp import TOTP

from crypto_orders.kit.sealing import SealedPlace, Sealer

SECRET_BYTES: Final = 20
"""What RFC 4226 recommends, and what every app takes."""

STEP_SECONDS: Final = 30
STEPS_OFF_MAX: Final = 1
"""A phone's clock may be this many steps off, and a person takes seconds to type (RFC 6238, section 5.2)."""

CODE_CHARS: Final = 6


def make_secret(random: bytes) -> str:
    """A secret of SECRET_BYTES random bytes, in the base32 that apps read."""
    return b32encode(random).decode()


def address_of(secret: str, *, email: str, issuer: str) -> str:
    """The `otpauth:` address that an app scans."""
    return TOTP(secret).provisioning_uri(name=email, issuer_name=issuer)


def step_of_code(secret: str, code: str, *, now: datetime, after: int | None) -> int | None:
    """The step that a code is of, or None when it is wrong, too old, or not newer than the step `after`."""
    typed = "".join(code.split())
    if len(typed) != CODE_CHARS or not (typed.isascii() and typed.isdigit()):
        return None
    present = int(now.timestamp()) // STEP_SECONDS
    generator = TOTP(secret)
    for step in range(present - STEPS_OFF_MAX, present + STEPS_OFF_MAX + 1):
        if hmac.compare_digest(generator.generate_otp(step), typed) and (after is None or step > after):
            return step
    return None


def seal(sealer: Sealer, operator_id: UUID, secret: str) -> bytes:
    """A secret as it is kept in its operator's row."""
    return sealer.seal(secret.encode(), place_of_secret(operator_id))


def open_sealed(sealer: Sealer, operator_id: UUID, sealed: bytes) -> str:
    """The secret in an operator's row. Raises crypto_orders.kit.sealing.SealBrokenError."""
    return sealer.open(sealed, place_of_secret(operator_id)).decode()


def place_of_secret(operator_id: UUID) -> SealedPlace:
    """Where an operator's secret is sealed for."""
    return SealedPlace("operators", "totp_sealed", str(operator_id))


def place_of_offer(operator_id: UUID) -> SealedPlace:
    """Where a secret is sealed for that its operator has not confirmed yet: the form that confirms it."""
    return SealedPlace("operators", "totp_offer", str(operator_id))
