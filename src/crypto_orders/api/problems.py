"""The one table that makes answers of what goes wrong in inner layers."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import asyncpg

from crypto_orders.domain.errors import (
    BadRequest,
    Conflict,
    DomainError,
    Forbidden,
    NotFound,
    Unavailable,
    ValidationFailed,
)
from crypto_orders.kit.problem import Problem, bad_request, not_found, unavailable, validation_failed
from crypto_orders.store.failures import LOST, CommitUnknown, StoreUnavailable

# A database that restarts or fails over is back in about this time.
STORE_RETRY_AFTER_SECONDS: Final = 2

# Others were faster, each time it was tried.
_CONTENDED: Final = (
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.SerializationError,
)


def translate(error: Exception) -> Problem | None:
    """The answer that an error stands for; None for one that nobody expected, which is a 500.

    The table is looked up by the error's class and then its bases.
    """
    for kind in type(error).__mro__:
        answer = TABLE.get(kind)
        if answer is not None:
            return answer(error)
    return None


def _bad_request(error: BadRequest) -> Problem:
    return bad_request(error.detail)


def _validation_failed(error: ValidationFailed) -> Problem:
    return validation_failed(error.field_errors, error.form_errors)


def _conflict(error: Conflict) -> Problem:
    named = {"resource": error.resource, "field": error.field, "limit": error.limit}
    extras = {**error.extras, **{name: value for name, value in named.items() if value is not None}}
    headers: dict[str, str] = {}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(error.retry_after_seconds)
    return Problem("conflict", error.detail, extras=extras, headers=headers)


def forbidden(scope: str) -> Problem:
    """403 ``forbidden`` that names the scope the key lacks."""
    return Problem("forbidden", f"This needs a key with the scope {scope}.", extras={"scope": scope})


def _forbidden(error: Forbidden) -> Problem:
    return forbidden(error.scope)


def _unavailable(error: Unavailable) -> Problem:
    return unavailable(error.detail, error.retry_after_seconds)


def _not_found(_: Exception) -> Problem:
    return not_found()


def _store_unavailable(_: Exception) -> Problem:
    return unavailable(
        "The database does not answer at this moment; a repeated request is safe.", STORE_RETRY_AFTER_SECONDS
    )


TABLE: Final[Mapping[type[BaseException], Callable[[Any], Problem]]] = {
    NotFound: _not_found,
    BadRequest: _bad_request,
    ValidationFailed: _validation_failed,
    Conflict: _conflict,
    Forbidden: _forbidden,
    Unavailable: _unavailable,
    StoreUnavailable: _store_unavailable,
    CommitUnknown: _store_unavailable,
    # Reads go to the driver directly; these are its ways to say that the server or a lock is away.
    **dict.fromkeys((*LOST, *_CONTENDED, TimeoutError), _store_unavailable),
}


def domain_errors(root: type[DomainError] = DomainError) -> set[type[DomainError]]:
    """Every class of domain error that is defined, for the test that each has a row."""
    return {each for child in root.__subclasses__() for each in {child, *domain_errors(child)}}
