"""Problems: the five members, the slugs, and the statuses that belong to them."""

import json

import pytest

from crypto_orders.kit import problem
from crypto_orders.kit.problem import Problem


def rendered(raised: Problem) -> dict[str, object]:
    return json.loads(
        problem.render(raised, type_base="https://shop.example/docs/errors", request_id="req_1")
    )


def test_a_problem_has_the_five_members_and_its_extras() -> None:
    raised = Problem("conflict", "Too many.", extras={"resource": "crypto_order", "limit": 5})
    assert rendered(raised) == {
        "type": "https://shop.example/docs/errors/conflict",
        "title": "The request conflicts with the present state",
        "status": 409,
        "detail": "Too many.",
        "instance": "req_1",
        "resource": "crypto_order",
        "limit": 5,
    }


def test_extras_cannot_overwrite_a_standard_member() -> None:
    assert rendered(Problem("conflict", "d", extras={"status": 200, "type": "x"}))["status"] == 409


@pytest.mark.parametrize(
    ("slug", "status"),
    [
        ("bad-request", 400),
        ("validation-failed", 400),
        ("unauthorized", 401),
        ("invalid-key", 401),
        ("revoked-key", 401),
        ("expired-key", 401),
        ("forbidden", 403),
        ("not-found", 404),
        ("method-not-allowed", 405),
        ("conflict", 409),
        ("payload-too-large", 413),
        ("rate-limited", 429),
        ("internal", 500),
    ],
)
def test_every_slug_has_its_status(slug: str, status: int) -> None:
    assert Problem(slug, "d").status == status


def test_validation_names_its_fields() -> None:
    raised = rendered(problem.validation_failed({"product": ["Unknown"]}, ["Too odd"]))
    assert raised["issues"] == {"formErrors": ["Too odd"], "fieldErrors": {"product": ["Unknown"]}}
    assert raised["detail"] == "These fields are invalid: product."


def test_a_rate_limit_says_when_to_come_back_twice() -> None:
    raised = problem.rate_limited(3)
    assert rendered(raised)["retry_after_seconds"] == 3
    assert raised.headers == {"retry-after": "3"}


def test_what_passes_is_503_of_the_type_that_clients_retry() -> None:
    raised = problem.unavailable("The database is away.", 2)
    assert raised.headers == {"retry-after": "2"}
    assert rendered(raised)["status"] == 503
    assert rendered(raised)["type"] == "https://shop.example/docs/errors/internal"
