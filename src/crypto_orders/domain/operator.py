"""Operators: the people behind the admin's pages, what their roles allow, and what they may sign in with."""

import unicodedata
from datetime import timedelta
from typing import Final, Literal, get_args

from crypto_orders.domain.errors import BadRequest

Role = Literal["viewer", "support", "admin"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""From the least to the most that is allowed."""

READ: Final = "admin:read"
WRITE: Final = "admin:write"
OVERRIDE: Final = "admin:override"
MANAGE_CATALOGUE: Final = "admin:catalogue"
"""Accounts, their keys, and products. Only people have it: to API keys WRITE opens these, too."""

MANAGE_OPERATORS: Final = "admin:operators"
"""Only people have it: no API key makes an operator."""

OPERATOR_SCOPES: Final = frozenset({READ, WRITE, OVERRIDE, MANAGE_CATALOGUE, MANAGE_OPERATORS})

SCOPES_OF_ROLE: Final[dict[Role, tuple[str, ...]]] = {
    "viewer": (READ,),
    "support": (READ, WRITE),
    "admin": (READ, WRITE, OVERRIDE, MANAGE_CATALOGUE, MANAGE_OPERATORS),
}

IDLE_MAX: Final = timedelta(minutes=30)
"""A session that nobody used for so long is over."""

SESSION_MAX: Final = timedelta(hours=12)
"""A session is over after this, however much it is used."""

EMAIL_CHARS_MAX: Final = 190
"""Audit rows and events name an operator by it, in at most 200 characters."""

NAME_CHARS_MAX: Final = 100

PASSWORD_CHARS_MIN: Final = 12
"""Length is what makes a password hard to guess (NIST SP 800-63B asks for no mix of characters)."""

PASSWORD_CHARS_MAX: Final = 200
"""Longer texts make nothing safer, and hashing them takes memory."""

_ADDRESS_PARTS: Final = 2
_DIFFERENT_CHARS_MIN: Final = 4


def normal_email(text: str) -> str | None:
    """An address as it is kept, lower-case and without blanks around it; None when it is none.

    Nothing is sent to it, so it is only asked to look like one: it is a name.
    """
    email = unicodedata.normalize("NFKC", text).strip().lower()
    parts = email.split("@")
    sane = len(parts) == _ADDRESS_PARTS and all(parts) and len(email) <= EMAIL_CHARS_MAX
    if not sane or not email.isprintable() or " " in email:
        return None
    return email


def normal_password(text: str) -> str:
    """A password as it is hashed: keyboards write the same letters in more than one way (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", text)


def checked_email(text: str) -> str:
    """An address as it is kept. Raises BadRequest when it is none."""
    email = normal_email(text)
    if email is None:
        raise BadRequest(f"An e-mail address such as ann@example.com, at most {EMAIL_CHARS_MAX} characters.")
    return email


def checked_password(text: str, email: str) -> str:
    """A new password as it is hashed. Raises BadRequest when it is too easy or too long."""
    password = normal_password(text)
    if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
        raise BadRequest(f"A password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters.")
    if password.strip().lower() == email or len(set(password)) < _DIFFERENT_CHARS_MIN:
        raise BadRequest("This password is too easy to guess: take another one.")
    return password


def checked_role(text: str) -> Role:
    """A role by its name. Raises BadRequest when there is none of that name."""
    for role in ROLES:
        if role == text:
            return role
    raise BadRequest(f"A role is one of {', '.join(ROLES)}.")


def actor_name(email: str) -> str:
    """How audit rows and events name an operator."""
    return f"op:{email}"
