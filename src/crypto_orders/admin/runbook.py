"""The sections of the published runbook that the admin's pages link, and the one for every refusal."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from crypto_orders.admin.flag_words import name_of
from crypto_orders.domain.order import FlagKind
from crypto_orders.kit.problem import Problem

RUNBOOK: Final = "/docs/crypto-orders-ops-runbook"


class Section(Struct, frozen=True):
    """A section of the runbook: its anchor, and what a link to it says."""

    anchor: str
    label: str

    @property
    def address(self) -> str:
        """Where it stands."""
        return f"{RUNBOOK}#{self.anchor}"


SECTIONS: Final[Mapping[str, str]] = {
    "payment-id": "which order is this payment id",
    "stuck-in-pending": "stuck in pending",
    "sweep": "retire old pending orders",
    "states": "the six states",
    "two-charges": "two charges",
    "timeline": "what happened, in order",
    "why-failed": "why is my order failed",
    "partial": "only a part was paid",
    "export": "export for reconciliation",
    "idempotency": "idempotency keys",
    "resolve": "honour, credit or dismiss a flag",
    "honour": "honour",
    "credit": "credit",
    "dismiss": "dismiss",
    "replay-ipn": "replay a lost notification",
    "override": "override the provider",
    "dead-webhooks": "dead webhooks",
    "refused": "when the admin refuses",
    "refused-sign-in": "signing in",
    "refused-role": "what each role may do",
    "refused-form": "a form that was not accepted",
    "refused-value": "a value that cannot be read",
    "refused-absent": "what is not there any more",
    "refused-now": "not at this moment",
    "refused-account": "your password and second factor",
    "refused-operators": "operators",
    "refused-accounts": "accounts and keys",
    "refused-products": "products and prices",
    **{f"flag-{kind}": name_of(kind).lower() for kind in FlagKind},
}
"""The sections that these pages link, by their anchors."""


def section(anchor: str) -> Section:
    """A section by its anchor; KeyError for one that the runbook does not have."""
    return Section(anchor, f"Runbook: {SECTIONS[anchor]}")


SECTION_OF_SLUG: Final[Mapping[str, str]] = {
    "bad-request": "refused-value",
    "validation-failed": "refused-value",
    "payload-too-large": "refused-value",
    "unauthorized": "refused-sign-in",
    "invalid-key": "refused-sign-in",
    "revoked-key": "refused-sign-in",
    "expired-key": "refused-sign-in",
    "forbidden": "refused-role",
    "not-found": "refused-absent",
    "method-not-allowed": "refused-absent",
    "conflict": "refused",
    "rate-limited": "refused-now",
    "internal": "refused-now",
}
"""Where is said what to do about a problem that no screen has drawn itself, by its slug."""


class PageProblem(Problem):
    """A problem that knows the section of the runbook about it better than its slug does."""

    anchor: str


def section_on(problem: Problem) -> Section:
    """The section of the runbook about any problem."""
    return section(problem.anchor if isinstance(problem, PageProblem) else SECTION_OF_SLUG[problem.slug])
