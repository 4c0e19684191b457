"""API keys: their form, the scopes they carry, and what a scope allows."""

import re
from collections.abc import Collection
from datetime import datetime
from hashlib import sha256
from typing import Final, Literal
from uuid import UUID

import msgspec

# The scopes of customers' keys. The last two stand for others; see ``satisfies``.
CUSTOMER_SCOPES: Final = frozenset(
    {"read:billing", "admin:billing", "read:webhooks", "account_owner", "read"}
)
ADMIN_SCOPES: Final = frozenset({"admin:read", "admin:write", "admin:override"})
# An override decides over money against the provider's word, so it is given on purpose only.
ADMIN_SCOPES_BY_DEFAULT: Final = ("admin:read", "admin:write")

# After the prefix and the mode: 160 random bits in lower-case base32.
SECRET_CHARS: Final = 32
SECRET_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"  # noqa: S105 - the characters, not a secret

Mode = Literal["live", "test", "admin"]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A stored key. The key itself is not in here: only its SHA-256 is kept anywhere.

    ``livemode`` is the word in the key's text; a customer's key has an account, an admin's has none.
    """

    key_id: UUID
    account_id: UUID | None
    kind: Literal["customer", "admin"]
    livemode: Mode
    scopes: tuple[str, ...]
    tier: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class KeyForm:
    """The form of a deployment's keys: ``<prefix>_live_…``, ``<prefix>_test_…`` and ``<prefix>_admin_…``."""

    def __init__(self, prefix: str) -> None:
        self._pattern = re.compile(
            rf"{re.escape(prefix)}_(?P<mode>live|test|admin)_[{SECRET_ALPHABET}]{{{SECRET_CHARS}}}", re.ASCII
        )

    def mode_of(self, text: str) -> Mode | None:
        """The mode named in a text of the exact form of a key; None for any other text."""
        found = self._pattern.fullmatch(text)
        if found is None:
            return None
        match found["mode"]:
            case "live":
                return "live"
            case "test":
                return "test"
            case _:
                return "admin"


def digest(key: str) -> bytes:
    """What is stored of a key. A fast hash is enough for 160 random bits."""
    return sha256(key.encode()).digest()


def satisfies(held: Collection[str], needed: str) -> bool:
    """Whether the scopes of a key allow what needs a scope.

    ``account_owner`` stands for every customer scope and ``read`` for every ``read:`` one. No scope of
    one kind of key ever stands for one of the other kind.
    """
    if needed in held:
        return True
    if needed not in CUSTOMER_SCOPES:
        return False
    return "account_owner" in held or ("read" in held and needed.startswith("read:"))
