"""The sandbox as an ASGI application: the merchant's API with its faults, and the controls."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crypto_orders.kit import log as logs
from crypto_orders.sandbox import control, merchant_catalogue, merchant_payments
from crypto_orders.sandbox.config import SandboxConfig
from crypto_orders.sandbox.engine import Engine
from crypto_orders.sandbox.faults import Faults
from crypto_orders.sandbox.ledger import Ledger
from crypto_orders.sandbox.wire import ProviderError, error_response, json_response

log = logs.get()

_MERCHANT_PREFIX: Final = "/v1/"
_GARBAGE: Final = (
    b'<!DOCTYPE html>\n<html lang="en-US"><head><title>api.nowpayments.io | 502: Bad gateway</title></head>'
    b"<body><h1>Bad gateway</h1><p>Error code 502. Cloudflare Ray ID: 8f1c2d3e4a5b6c7d</p></body></html>\n"
)


def create_app(config: SandboxConfig) -> Starlette:
    """Make the application; its state directory is opened when it starts and let go when it stops.

    Starting raises StateInUseError when another process serves the directory.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        engine = Engine(config, Ledger(config.state_dir))
        app.state.engine = engine
        engine.start()
        yield
        await engine.stop()

    app = Starlette(
        routes=[*merchant_payments.ROUTES, *merchant_catalogue.ROUTES, *control.ROUTES],
        middleware=[Middleware(_LooseSlashes), Middleware(_Faulty)],
        exception_handlers={ProviderError: _refused, HTTPException: _unrouted, Exception: _broken},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


class _LooseSlashes:
    """Take ``/v1/payment/`` for ``/v1/payment``, as Express does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        await self._app(scope, receive, send)


class _Faulty:
    """Spoil the answers of the merchant's API as the faults in force say."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_MERCHANT_PREFIX):
            await self._app(scope, receive, send)
            return
        engine: Engine = scope["app"].state.engine
        faults = engine.faults
        if faults.api_status is None and not faults.api_delay_ms and not faults.api_garbage:
            await self._app(scope, receive, send)
            return
        await self._spoiled(faults, scope, receive, send)

    async def _spoiled(self, faults: Faults, scope: Scope, receive: Receive, send: Send) -> None:
        held: list[Message] = []

        async def hold(message: Message) -> None:
            held.append(message)

        if faults.api_status is None:
            # The effect comes first: a merchant that gave up waiting has a payment it knows nothing of.
            await self._app(scope, receive, hold)
        else:
            await _status_answer(faults.api_status)(scope, receive, hold)
        await asyncio.sleep(faults.api_delay_ms / 1000)
        if faults.api_garbage:
            answer = Response(_GARBAGE, faults.api_status or 200, media_type="text/html; charset=UTF-8")
            await answer(scope, receive, send)
            return
        for message in held:
            await send(message)


def _status_answer(status: int) -> Response:
    if status < HTTPStatus.BAD_REQUEST:
        return json_response({}, status)
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown error"
    code = (
        "INTERNAL_ERROR" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else phrase.upper().replace(" ", "_")
    )
    return error_response(ProviderError(status, code, phrase))


async def _refused(request: Request, error: Exception) -> Response:  # noqa: ARG001 - the framework's signature.
    if not isinstance(error, ProviderError):
        raise error
    return error_response(error)


async def _unrouted(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = HTTPStatus(error.status_code).name
    return error_response(
        ProviderError(error.status_code, code, f"Cannot {request.method} {request.url.path}")
    )


async def _broken(request: Request, error: Exception) -> Response:
    log.error("sandbox_request_failed", path=request.url.path, error=repr(error))
    return error_response(ProviderError(500, "INTERNAL_ERROR", "Internal server error"))
