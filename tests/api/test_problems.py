"""The table from errors to answers: a row for each, and none that says too much."""

import asyncpg
import pytest

from crypto_orders.api.problems import TABLE, domain_errors, translate
from crypto_orders.domain.errors import (
    Conflict,
    DomainError,
    Forbidden,
    MalformedCursor,
    NotFound,
    Unavailable,
    ValidationFailed,
)
from crypto_orders.kit.problem import NOT_FOUND_DETAIL
from crypto_orders.store.failures import CommitUnknown, StoreUnavailable


def test_every_domain_error_has_a_row() -> None:
    assert len(domain_errors()) >= 7
    without = {error for error in domain_errors() if not any(kind in TABLE for kind in error.__mro__)}
    assert without == set()


def test_an_error_nobody_expected_is_left_to_the_last_resort() -> None:
    assert translate(RuntimeError("x")) is None
    assert translate(asyncpg.UniqueViolationError("x")) is None


def test_a_conflict_carries_what_applies_and_nothing_else() -> None:
    problem = translate(
        Conflict("Too many.", resource="crypto_order", field="open", limit=5, extras={"outcome": "x"})
    )
    assert problem is not None
    assert (problem.slug, problem.status) == ("conflict", 409)
    assert problem.extras == {"resource": "crypto_order", "field": "open", "limit": 5, "outcome": "x"}
    assert problem.headers == {}
    plain = translate(Conflict("Later.", retry_after_seconds=1))
    assert plain is not None
    assert plain.extras == {}
    assert plain.headers == {"retry-after": "1"}


def test_what_does_not_exist_is_said_in_the_same_words_everywhere() -> None:
    problem = translate(NotFound())
    assert problem is not None
    assert (problem.status, problem.detail) == (404, NOT_FOUND_DETAIL)


def test_a_malformed_cursor_is_a_bad_request() -> None:
    problem = translate(MalformedCursor())
    assert problem is not None
    assert problem.slug == "bad-request"


def test_invalid_fields_are_issues() -> None:
    problem = translate(ValidationFailed({"product": ["Unknown"]}))
    assert problem is not None
    assert problem.extras == {"issues": {"formErrors": [], "fieldErrors": {"product": ["Unknown"]}}}


def test_a_missing_scope_is_named() -> None:
    problem = translate(Forbidden("admin:override"))
    assert problem is not None
    assert problem.extras == {"scope": "admin:override"}


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable("ConnectionRefusedError"),
        CommitUnknown("ConnectionLostError"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.ConnectionDoesNotExistError("connection was closed"),
        asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
        asyncpg.DeadlockDetectedError("deadlock detected"),
        asyncpg.InterfaceError("pool is closed"),
        ConnectionRefusedError(111, "refused"),
        TimeoutError(),
    ],
)
def test_a_database_that_is_away_is_503_and_tells_nothing(error: Exception) -> None:
    problem = translate(error)
    assert problem is not None
    assert (problem.slug, problem.status) == ("internal", 503)
    assert problem.headers == {"retry-after": "2"}
    assert "statement" not in problem.detail


def test_the_providers_absence_names_its_time() -> None:
    problem = translate(Unavailable("The provider does not answer.", 7))
    assert problem is not None
    assert (problem.status, problem.headers) == (503, {"retry-after": "7"})


def test_the_root_itself_is_never_raised() -> None:
    assert translate(DomainError()) is None
