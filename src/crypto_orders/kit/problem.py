"""The one shape of every error on the wire: problem details by RFC 9457, with this service's slugs."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"


class Kind(NamedTuple):
    """What a slug stands for: its usual status and its title, which never vary with the occasion."""

    status: int
    title: str


# The slugs of the project's errors page. A further one needs a section there.
KINDS: Final[Mapping[str, Kind]] = {
    "bad-request": Kind(400, "The request is malformed"),
    "validation-failed": Kind(400, "The request has invalid fields"),
    "unauthorized": Kind(401, "Authentication is needed"),
    "invalid-key": Kind(401, "The API key is not valid here"),
    "revoked-key": Kind(401, "The API key was revoked"),
    "expired-key": Kind(401, "The API key has expired"),
    "forbidden": Kind(403, "The API key lacks a scope"),
    "not-found": Kind(404, "Not found"),
    "method-not-allowed": Kind(405, "The method is not allowed here"),
    "conflict": Kind(409, "The request conflicts with the present state"),
    "payload-too-large": Kind(413, "The body is too large"),
    "rate-limited": Kind(429, "Too many requests"),
    "internal": Kind(500, "The service failed to answer"),
}

# One text for an object that is absent, foreign, or named by a malformed id: nothing may tell them apart.
NOT_FOUND_DETAIL: Final = "There is nothing here that this request may see."

# What a client reads when something of ours broke; the log has the rest under the request id.
INTERNAL_DETAIL: Final = "Something failed on our side. Quote the instance of this answer to support."


class Problem(Exception):  # noqa: N818 - the word of RFC 9457, and what it becomes on the wire
    """An answer that is an error: raise it from a handler, or below one in the layers that speak HTTP.

    ``extras`` become members of the body beside the standard five; ``status`` differs from the slug's own
    only for 503, whose type is ``internal`` since existing clients retry that type and no other 5xx.
    """

    def __init__(
        self,
        slug: str,
        detail: str,
        *,
        status: int | None = None,
        extras: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{slug}: {detail}")
        kind = KINDS[slug]
        self.slug = slug
        self.title = kind.title
        self.status = status or kind.status
        self.detail = detail
        self.extras = dict(extras or {})
        self.headers = dict(headers or {})


def bad_request(detail: str) -> Problem:
    """400 ``bad-request`` with a sentence that tells what to change."""
    return Problem("bad-request", detail)


def validation_failed(
    field_errors: Mapping[str, list[str]] | None = None, form_errors: list[str] | None = None
) -> Problem:
    """400 ``validation-failed`` with its ``issues``: texts by field, and those about the whole input."""
    fields = dict(field_errors or {})
    issues = {"formErrors": form_errors or [], "fieldErrors": fields}
    named = ", ".join(sorted(fields))
    detail = f"These fields are invalid: {named}." if named else "The input as a whole is invalid."
    return Problem("validation-failed", detail, extras={"issues": issues})


def not_found() -> Problem:
    """404 ``not-found``: the same words whether the thing is absent, foreign or misnamed."""
    return Problem("not-found", NOT_FOUND_DETAIL)


def rate_limited(retry_after_seconds: int) -> Problem:
    """429 ``rate-limited``: the body and ``Retry-After`` name the same whole number of seconds."""
    return Problem(
        "rate-limited",
        f"Wait {retry_after_seconds} s before the next request.",
        extras={"retry_after_seconds": retry_after_seconds},
        headers={"retry-after": str(retry_after_seconds)},
    )


def internal() -> Problem:
    """500 ``internal``: says nothing of the cause."""
    return Problem("internal", INTERNAL_DETAIL)


def unavailable(detail: str, retry_after_seconds: int) -> Problem:
    """503 with ``Retry-After`` for a condition that will pass; its type is ``internal`` as well."""
    return Problem("internal", detail, status=503, headers={"retry-after": str(retry_after_seconds)})


def render(problem: Problem, *, type_base: str, request_id: str) -> bytes:
    """The JSON of a problem; ``instance`` is the request id, and extras never overwrite a standard member."""
    return msgspec.json.encode(
        {
            **problem.extras,
            "type": f"{type_base}/{problem.slug}",
            "title": problem.title,
            "status": problem.status,
            "detail": problem.detail,
            "instance": request_id,
        }
    )
