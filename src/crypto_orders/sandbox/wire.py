"""JSON as the provider's JavaScript writes it, and its error bodies."""

from collections.abc import Mapping
from decimal import Decimal
from typing import NoReturn

import msgspec
from starlette.responses import Response

from crypto_orders.domain.ipn_signature import js_number_text
from crypto_orders.kit import clock


class ProviderError(Exception):
    """A request the provider refuses, with the status, code and message of its answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def refuse(status: int, code: str, message: str) -> NoReturn:
    """End the request with a refusal."""
    raise ProviderError(status, code, message)


def refuse_invalid(message: str) -> NoReturn:
    """End a request whose fields are not what they must be."""
    refuse(400, "INVALID_REQUEST_PARAMS", message)


def refuse_unknown(message: str) -> NoReturn:
    """End a request about a thing that this key does not have."""
    refuse(404, "NOT_FOUND", message)


def number_text(amount: Decimal) -> str:
    """An amount in JavaScript's spelling (``1e-7``, ``0.000002``, ``5``)."""
    return js_number_text(amount)


def number(amount: Decimal | int) -> msgspec.Raw:
    """An amount as a JSON number in JavaScript's spelling."""
    return msgspec.Raw(js_number_text(amount).encode("ascii"))


def iso(milliseconds: int) -> str:
    """An instant in epoch milliseconds as ``2026-05-22T10:00:00.000Z``."""
    return clock.to_iso(clock.from_milliseconds(milliseconds))


def now_ms() -> int:
    """The present moment in epoch milliseconds, the unit of every instant the sandbox stores."""
    return clock.to_milliseconds(clock.utc_now())


def json_response(body: object, status: int = 200) -> Response:
    """An answer with the content type Express gives it."""
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        headers={"content-type": "application/json; charset=utf-8"},
    )


def error_body(status: int, code: str, message: str) -> Mapping[str, object]:
    """The provider's error object."""
    return {"status": False, "statusCode": status, "code": code, "message": message}


def error_response(error: ProviderError) -> Response:
    """The answer that tells of a refusal."""
    return json_response(error_body(error.status, error.code, error.message), error.status)
