"""The ASGI application over typed endpoints: route, authenticate, read, call, answer, and tell the log."""

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crypto_orders.kit import log, metrics
from crypto_orders.kit.body import ClientGone, InvalidInput, JsonReader, read_body
from crypto_orders.kit.client_address import ClientAddresses
from crypto_orders.kit.compression import HTML_MEDIA_TYPE, compress
from crypto_orders.kit.encoding import JSON_MEDIA_TYPE, encode_json
from crypto_orders.kit.http import (
    PUBLIC,
    Answer,
    Call,
    Endpoint,
    PathParameter,
    RouteGroup,
    body_reader,
    input_problem,
    path_parameters,
    query_reader,
    route_name,
)
from crypto_orders.kit.problem import (
    PROBLEM_MEDIA_TYPE,
    Problem,
    bad_request,
    internal,
    not_found,
    render,
    unavailable,
)
from crypto_orders.kit.query import FormReader, QueryReader
from crypto_orders.kit.routing import Match, Router

# More requests at once than this only wait for each other; the rest are told to come back.
IN_FLIGHT_MAX: Final = 512
_BUSY_RETRY_AFTER_SECONDS: Final = 1

# Everything under this path is about an account and must not stay in any cache.
_PRIVATE_PREFIX: Final = "/v1/"
_PRIVATE_CACHE: Final = (b"cache-control", b"no-store, private")
_NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")

# What a request id may look like to be kept: it is written to headers, bodies and logs as it is.
_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@~-]{1,128}")

# The status that the log and the metrics show when the client left before its answer.
_CLIENT_GONE_STATUS: Final = 499
_ERRORS_FROM: Final = 400
_SERVER_ERRORS_FROM: Final = 500
_UNMATCHED_ROUTE: Final = "(unmatched)"
_KNOWN_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})

_log = log.get()


def request_id_of(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """The id a request came with, when it is of a sane form and sent once; else a new one."""
    given = [value for name, value in headers if name == b"x-request-id"]
    if len(given) == 1 and _SANE_REQUEST_ID.fullmatch(given[0]):
        return given[0].decode("ascii")
    return f"req_{secrets.token_hex(16)}"


@dataclass(frozen=True, slots=True)
class _Target:
    """An endpoint with what is prepared for it once."""

    endpoint: Endpoint[Any, Any, Any, Any]
    group: RouteGroup[Any, Any]
    route: str
    parameters: tuple[PathParameter, ...]
    body: JsonReader[Any] | FormReader[Any] | None
    query: QueryReader[Any] | None


class _Exchange:
    """One answer under way: adds what every answer carries and remembers how far it got."""

    __slots__ = ("_private", "_request_id", "_send", "started", "status")

    def __init__(self, send: Send, request_id: str, *, private: bool) -> None:
        self._send = send
        self._request_id = request_id.encode("ascii")
        self._private = private
        self.started = False
        self.status = _CLIENT_GONE_STATUS

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            if self._private:
                headers = [header for header in headers if header[0].lower() != b"cache-control"]
                headers.append(_PRIVATE_CACHE)
            headers += ((b"x-request-id", self._request_id), _NO_SNIFFING)
            message = {**message, "headers": headers}
        await self._send(message)
        if message.get("more_body"):
            # To a client that left, sending returns at once; the one who watches for that needs his turn.
            await asyncio.sleep(0)

    async def send_whole(
        self, status: int, media_type: str | None, body: bytes, headers: Mapping[str, str]
    ) -> None:
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        if media_type is not None:
            raw += [(b"content-type", media_type.encode("ascii")), (b"content-length", b"%d" % len(body))]
        await self.send({"type": "http.response.start", "status": status, "headers": raw})
        await self._send({"type": "http.response.body", "body": body})


class HttpApp:
    """Serves groups of endpoints as one ASGI application.

    ``type_base`` is the address the problem types stand under. ``translate`` turns the errors of inner
    layers into problems, or None for what nobody expected. ``trusted_proxies`` are networks. ``mounts``
    are ASGI applications for files, by path prefix without a slash at the end.
    """

    def __init__(
        self,
        groups: Sequence[RouteGroup[Any, Any]],
        *,
        type_base: str,
        translate: Callable[[Exception], Problem | None] = lambda _: None,
        trusted_proxies: Sequence[str] = (),
        mounts: Mapping[str, ASGIApp] | None = None,
        in_flight_max: int = IN_FLIGHT_MAX,
    ) -> None:
        self._type_base = type_base
        self._translate = translate
        self._addresses = ClientAddresses(trusted_proxies)
        self._mounts = dict(mounts or {})
        self._in_flight_max = in_flight_max
        self._in_flight = 0
        self._router: Router[_Target] = Router()
        self._page_groups = {group.prefix: group for group in groups if group.prefix is not None}
        for group in groups:
            for endpoint in group.endpoints:
                self._add(group, endpoint)

    def _add(self, group: RouteGroup[Any, Any], endpoint: Endpoint[Any, Any, Any, Any]) -> None:
        target = _Target(
            endpoint=endpoint,
            group=group,
            route=route_name(endpoint.path),
            parameters=path_parameters(endpoint.path),
            body=body_reader(endpoint),
            query=query_reader(endpoint),
        )
        self._router.add(endpoint.method, endpoint.path, target)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI); life-span and socket scopes are refused by returning at once."""
        if scope["type"] != "http":
            return
        started = perf_counter()
        request_id = request_id_of(scope["headers"])
        log.bind(request_id=request_id)
        exchange = _Exchange(send, request_id, private=scope["path"].startswith(_PRIVATE_PREFIX))
        match = self._router.find(scope["method"], scope["raw_path"])
        route = match.target.route if match and match.target else _UNMATCHED_ROUTE
        group = match.target.group if match and match.target else self._page_group(scope["path"])
        call: Call[Any, Any, Any, Any] = Call(
            deps=group.deps if group else None,
            scope=scope,
            route=route,
            request_id=request_id,
            remote_address=self._addresses.of(scope),
        )
        call.response_headers.update(group.response_headers if group else {})
        self._in_flight += 1
        try:
            await self._answer(call, match, group, receive, exchange)
        finally:
            self._in_flight -= 1
            self._tell(call, exchange.status, perf_counter() - started)

    def _page_group(self, path: str) -> RouteGroup[Any, Any] | None:
        """The group of pages that a path stands under, declared or not."""
        return self._page_groups.get("/" + path[1:].partition("/")[0])

    async def _answer(
        self,
        call: Call[Any, Any, Any, Any],
        match: Match[_Target] | None,
        group: RouteGroup[Any, Any] | None,
        receive: Receive,
        exchange: _Exchange,
    ) -> None:
        try:
            await self._serve(call, match, receive, exchange)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - the last resort: whatever it is becomes an answer
            problem = self._problem_of(error)
            if exchange.started:
                # Too late for another answer: an unfinished one ends the connection, so that nobody takes
                # what was sent for the whole.
                return
            if match is not None and match.target is not None:
                await _tell_refused(call, match.target.group, problem.status, problem)
            page = None
            if group is not None and group.show_problem is not None:
                try:
                    page = group.show_problem(call, problem)
                except Exception:  # noqa: BLE001 - an error that cannot be drawn is still answered
                    _log.exception("problem_page_failed")
            if page is not None:
                await _send_page(call, page, receive, exchange, problem.headers)
                return
            await exchange.send_whole(
                problem.status,
                PROBLEM_MEDIA_TYPE,
                render(problem, type_base=self._type_base, request_id=call.request_id),
                {**call.response_headers, **problem.headers},
            )

    async def _serve(
        self,
        call: Call[Any, Any, Any, Any],
        match: Match[_Target] | None,
        receive: Receive,
        exchange: _Exchange,
    ) -> None:
        if self._in_flight > self._in_flight_max:
            detail = "Too many requests are being answered at this moment."
            raise unavailable(detail, _BUSY_RETRY_AFTER_SECONDS)
        if match is None:
            await self._serve_mount(call, receive, exchange)
        elif match.target is None:
            raise _method_not_allowed(call.method, match.allowed)
        else:
            await self._serve_endpoint(call, match.target, match.captured, receive, exchange)

    async def _serve_mount(
        self, call: Call[Any, Any, Any, Any], receive: Receive, exchange: _Exchange
    ) -> None:
        path: str = call.scope["path"]
        for prefix, mounted in self._mounts.items():
            if path.startswith(prefix + "/"):
                call.route = prefix + "/*"
                await mounted({**call.scope, "root_path": prefix}, receive, exchange.send)
                return
        raise not_found()

    async def _serve_endpoint(
        self,
        call: Call[Any, Any, Any, Any],
        target: _Target,
        captured: tuple[str, ...],
        receive: Receive,
        exchange: _Exchange,
    ) -> None:
        endpoint, group = target.endpoint, target.group
        path = _convert(target.parameters, captured)
        if path is not None:
            call.with_path(
                path, {each.name: text for each, text in zip(target.parameters, captured, strict=True)}
            )
        if endpoint.scope != PUBLIC and group.authenticate is not None:
            call.principal = await group.authenticate(call, endpoint.scope or "")
        call.body = await _read_body(call, target, receive)
        call.query = _read_query(call, target)
        if path is None:
            # Last, so that a malformed id is answered exactly as an absent one would be.
            raise not_found()
        result = await endpoint.handler(call)
        if isinstance(result, Response) and result.status_code >= _ERRORS_FROM:
            await _tell_refused(call, group, result.status_code, None)
        await _respond(call, endpoint, result, receive, exchange)

    def _problem_of(self, error: Exception) -> Problem:
        if isinstance(error, Problem):
            return error
        if isinstance(error, HTTPException):
            return _problem_of_mount(error)
        problem = self._translate(error)
        if problem is None:
            _log.exception("request_failed")
            return internal()
        if problem.status >= _SERVER_ERRORS_FROM:
            _log.warning("request_unavailable", error=type(error).__name__)
        return problem

    @staticmethod
    def _tell(call: Call[Any, Any, Any, Any], status: int, seconds: float) -> None:
        method = call.method if call.method in _KNOWN_METHODS else "OTHER"
        metrics.count_request(call.route, method, status, seconds)
        _log.info(
            "request_answered",
            method=method,
            route=call.route,
            status=status,
            ms=round(seconds * 1000, 1),
            **call.log_keys,
        )


async def _read_body(call: Call[Any, Any, Any, Any], target: _Target, receive: Receive) -> object:
    endpoint = target.endpoint
    if endpoint.body is None:
        return None
    raw = await read_body(
        receive,
        declared=call.header("content-length"),
        waits_for_continue=call.header("expect") is not None,
        bytes_max=endpoint.body_bytes_max,
        seconds_max=endpoint.body_seconds_max,
    )
    if target.body is None:
        return raw
    try:
        return target.body.read(raw, call.header("content-type"))
    except InvalidInput as error:
        raise input_problem(endpoint.body_error, error, from_page=endpoint.from_page) from None


def _read_query(call: Call[Any, Any, Any, Any], target: _Target) -> object:
    if target.query is None:
        return None
    try:
        return target.query.read(call.scope["query_string"])
    except InvalidInput as error:
        endpoint = target.endpoint
        raise input_problem(endpoint.query_error, error, from_page=endpoint.from_page) from None


def _convert(
    parameters: tuple[PathParameter, ...], captured: tuple[str, ...]
) -> dict[str, str | UUID] | None:
    """The parameters of a path, or None when one of them has not its form."""
    converted: dict[str, str | UUID] = {}
    for parameter, text in zip(parameters, captured, strict=True):
        value = parameter.convert(text)
        if value is None:
            return None
        converted[parameter.name] = value
    return converted


async def _tell_refused(
    call: Call[Any, Any, Any, Any], group: RouteGroup[Any, Any], status: int, problem: Problem | None
) -> None:
    """Let a group know what is refused; whatever becomes of that, the refusal is answered."""
    if group.refused is None:
        return
    try:
        await group.refused(call, status, problem)
    except Exception:  # noqa: BLE001 - nothing was done, and whoever asked has to hear why
        _log.exception("refusal_not_kept")


async def _respond(
    call: Call[Any, Any, Any, Any],
    endpoint: Endpoint[Any, Any, Any, Any],
    result: object,
    receive: Receive,
    exchange: _Exchange,
) -> None:
    if isinstance(result, Response):
        await _send_page(call, result, receive, exchange)
        return
    status, headers = endpoint.status, call.response_headers
    if isinstance(result, Answer):
        status, headers = result.status or status, {**headers, **result.headers}
        result = result.value
    if status == 204:  # noqa: PLR2004 - No Content
        await exchange.send_whole(status, None, b"", headers)
    else:
        await exchange.send_whole(status, JSON_MEDIA_TYPE, encode_json(result), headers)


async def _send_page(
    call: Call[Any, Any, Any, Any],
    response: Response,
    receive: Receive,
    exchange: _Exchange,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Send a response made by hand; its own headers win over those of its group."""
    for name, value in {**call.response_headers, **(headers or {})}.items():
        response.headers.setdefault(name, value)
    if response.media_type == HTML_MEDIA_TYPE:
        compress(response, call.header("accept-encoding"))
    if call.method == "HEAD":
        # The head alone: a stream is not even begun.
        await exchange.send(
            {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        )
        await exchange.send({"type": "http.response.body", "body": b""})
        return
    await response(call.scope, receive, exchange.send)


def _method_not_allowed(method: str, allowed: Sequence[str]) -> Problem:
    listed = ", ".join(allowed)
    shown = method if method in _KNOWN_METHODS else "This method"
    return Problem(
        "method-not-allowed", f"{shown} is not allowed here. Allowed: {listed}.", headers={"allow": listed}
    )


def _problem_of_mount(error: HTTPException) -> Problem:
    if error.status_code == 404:  # noqa: PLR2004 - Not Found
        return not_found()
    if error.status_code == 405:  # noqa: PLR2004 - Method Not Allowed
        return _method_not_allowed("", ("GET", "HEAD"))
    detail = "The request cannot be answered as it is."
    return bad_request(detail)
