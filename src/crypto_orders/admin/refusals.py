"""Say in words why an action was refused, for the screen that it was asked from."""

from msgspec import Struct

from crypto_orders.admin.runbook import Section, section
from crypto_orders.domain.errors import (
    BadRequest,
    Conflict,
    DomainError,
    Forbidden,
    NotFound,
    Unavailable,
    ValidationFailed,
)
from crypto_orders.domain.operator import SCOPES_OF_ROLE
from crypto_orders.kit.plain_words import plain, plain_detail


class Refusal(Struct, frozen=True, kw_only=True):
    """Why nothing was done: the status of the page that says so, the words, and where more is said."""

    status: int
    words: str
    more: Section


def unconfirmed(*, may_override: bool) -> str:
    """Why an order was not honoured: the provider does not confirm its money, and nobody overrode that."""
    told = "The provider does not confirm that the money came in full, so honouring this takes an override"
    if may_override:
        return f"{told}: tick it only with proof of the money. The timeline will say so."
    return f"{told}: only an admin may, and the timeline will say so."


def refusal_of(error: DomainError, anchor: str) -> Refusal:
    """A refusal as people read it; `anchor` is of the runbook's section about what was tried."""
    status, words = _told(error)
    return Refusal(status=status, words=words, more=section(anchor))


def _told(error: DomainError) -> tuple[int, str]:
    match error:
        case BadRequest():
            return 400, plain_detail(error.detail)
        case ValidationFailed():
            return 400, plain(error.field_errors, error.form_errors)
        case Forbidden():
            roles = [role for role, scopes in SCOPES_OF_ROLE.items() if error.scope in scopes]
            return 403, f"This needs the role {' or '.join(roles)} ({error.scope})."
        case Conflict():
            return 409, error.detail
        case Unavailable():
            return 503, error.detail
        case NotFound():
            return 404, "There is no such thing, or no longer."
        case _:
            return 400, str(error)
