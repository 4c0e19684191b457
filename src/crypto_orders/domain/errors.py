"""What may go wrong in the terms of the service, without a word of HTTP; ``api.problems`` maps it."""

from collections.abc import Mapping, Sequence


class DomainError(Exception):
    """The root of every refusal that a caller is told about."""


class NotFound(DomainError):  # noqa: N818 - reads as the sentence it stands for, like its siblings
    """There is no such object for this caller: absent, another account's, or named by a malformed id."""


class BadRequest(DomainError):  # noqa: N818
    """The input is malformed; ``detail`` is a sentence that tells what to change."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class MalformedCursor(BadRequest):
    """A cursor that this list did not hand out, or that was altered."""

    def __init__(self) -> None:
        super().__init__(
            "The cursor is malformed: send next_cursor exactly as it was given, or leave it out."
        )


class ValidationFailed(DomainError):  # noqa: N818
    """Fields of the input are invalid: texts by field name, and texts about the input as a whole."""

    def __init__(
        self, field_errors: Mapping[str, Sequence[str]] | None = None, form_errors: Sequence[str] = ()
    ) -> None:
        self.field_errors = {name: list(texts) for name, texts in (field_errors or {}).items()}
        self.form_errors = list(form_errors)
        super().__init__(f"{self.field_errors} {self.form_errors}")


class Conflict(DomainError):  # noqa: N818
    """The request cannot be done in the present state.

    ``resource`` and ``field`` name what stands in the way, ``limit`` the bound that was reached, and
    ``extras`` are further members of the answer (``outcome``, ``snapshot``, ``idempotency_status``).
    """

    def __init__(
        self,
        detail: str,
        *,
        resource: str | None = None,
        field: str | None = None,
        limit: int | None = None,
        extras: Mapping[str, object] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.resource = resource
        self.field = field
        self.limit = limit
        self.extras = dict(extras or {})
        self.retry_after_seconds = retry_after_seconds


class Forbidden(DomainError):  # noqa: N818
    """The caller's key lacks a scope, which is named."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"missing scope {scope}")
        self.scope = scope


class Unavailable(DomainError):  # noqa: N818
    """A condition that will pass keeps the service from answering; come back after so many seconds."""

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds
