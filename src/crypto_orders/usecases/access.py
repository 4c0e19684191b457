"""What lets operators in: passwords, limits and sessions, and what is told of every attempt."""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from prometheus_client import Counter

from crypto_orders.domain.operator import actor_name
from crypto_orders.domain.rate_limit import Policy
from crypto_orders.kit import log
from crypto_orders.kit.metrics import REGISTRY
from crypto_orders.kit.sealing import Sealer
from crypto_orders.store import audit
from crypto_orders.store.audit import Entry
from crypto_orders.store.connection import Pool
from crypto_orders.store.transaction import transact_single
from crypto_orders.usecases.passwords import Passwords
from crypto_orders.usecases.rate_limits import RateLimiter

UNLIMITED: Final = Policy(0, 1)


class Tries(NamedTuple):
    """How often passwords may be tried.

    One place guesses one operator's password five times a minute, and everybody's twenty times. All places
    together may try one operator's more often than a single one can: no stranger alone locks an operator out.
    """

    of_an_operator_from_one_place: Policy = Policy(5, 5 / 60)
    from_one_place: Policy = Policy(20, 20 / 60)
    of_an_operator: Policy = Policy(30, 15 / 60)


USUAL_TRIES: Final = Tries()
NO_LIMITS: Final = Tries(UNLIMITED, UNLIMITED, UNLIMITED)

_log = log.get()

_SIGN_INS = Counter(
    "crypto_orders_operator_sign_ins", "Operators' sign-ins by outcome.", ("outcome",), registry=REGISTRY
)
_CHANGES = Counter(
    "crypto_orders_operator_changes", "Changes of operators, by action.", ("action",), registry=REGISTRY
)
_DENIALS = Counter(
    "crypto_orders_operator_denials",
    "Requests an operator was denied, by reason.",
    ("reason",),
    registry=REGISTRY,
)

DenialReason = Literal["role", "csrf"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAccess:
    """What operators are let in with. The sealer keeps the secrets of second factors."""

    pool: Pool
    passwords: Passwords
    limiter: RateLimiter
    sealer: Sealer
    tries: Tries = USUAL_TRIES


def observe_sign_in(outcome: str, email: str | None, remote_address: str | None) -> None:
    """An attempt to sign in ended."""
    _SIGN_INS.labels(outcome).inc()
    write = _log.info if outcome == "signed_in" else _log.warning
    actor = None if email is None else actor_name(email)
    write("operator_sign_in", outcome=outcome, actor=actor, remote_address=remote_address)


def observe_change(entry: Entry, result: str) -> None:
    """Something about an operator, or a session, was changed."""
    _CHANGES.labels(entry.action).inc()
    _log.info(
        "operator_changed", action=entry.action, actor=entry.actor.name, target=entry.target, result=result
    )


async def keep_denial(pool: Pool, entry: Entry, reason: DenialReason, why: str) -> None:
    """Keep that an operator was denied a request."""
    await transact_single(pool, lambda tx: audit.record(tx, audit.with_result(entry, "denied", why)))
    _DENIALS.labels(reason).inc()
    _log.warning(
        "operator_denied",
        reason=reason,
        why=why,
        action=entry.action,
        actor=entry.actor.name,
        target=entry.target,
    )
