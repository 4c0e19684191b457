"""Typed endpoints: what a route declares, what its handler is given, and what it may answer."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar, cast
from uuid import UUID

from starlette.responses import Response
from starlette.types import Scope

from crypto_orders.kit import ids
from crypto_orders.kit.body import BODY_BYTES_MAX, BODY_SECONDS_MAX, InvalidInput, JsonReader
from crypto_orders.kit.plain_words import plain
from crypto_orders.kit.problem import KINDS, Problem, bad_request, validation_failed
from crypto_orders.kit.query import FormReader, QueryReader

DepsT = TypeVar("DepsT")
PrincipalT = TypeVar("PrincipalT")
BodyT = TypeVar("BodyT")
QueryT = TypeVar("QueryT")

# How invalid input is answered: the slug differs between endpoints, so each says its own.
InputError = Literal["bad-request", "validation-failed"]

# The scope of a route that needs no key. It is written out, so that leaving it out stays an error.
PUBLIC: Final = "(public)"

# The scope of a route that every valid key opens, whatever its kind.
ANY_KEY: Final = "(any key)"

_PARAMETER = re.compile(r"\{(?P<name>[a-z_]+)(?::(?P<kind>[a-z_]+))?\}", re.ASCII)
_TEXT_CHARS_MAX = 200


class UndeclaredScopeError(TypeError):
    """A route names no scope, or one that nobody knows: the service must not start."""


class Call(Generic[DepsT, PrincipalT, BodyT, QueryT]):
    """One request as a handler sees it: who calls, what was sent, and what the service has to answer it with.

    ``deps`` are the services of the endpoint's group, ``route`` is the path with its names (never the raw
    path), ``path_texts`` the parameters of its path as they were sent, empty unless all have their form,
    ``remote_address`` the client's address as text. Headers set in ``response_headers`` are sent with
    whatever answer follows, errors included. ``noted`` is what the group of the call writes down for its own
    ``refused``.
    """

    __slots__ = (
        "_headers",
        "_path",
        "body",
        "deps",
        "log_keys",
        "method",
        "noted",
        "path_texts",
        "principal",
        "query",
        "remote_address",
        "request_id",
        "response_headers",
        "route",
        "scope",
    )

    body: BodyT
    query: QueryT
    principal: PrincipalT
    noted: Any

    def __init__(
        self, *, deps: DepsT, scope: Scope, route: str, request_id: str, remote_address: str
    ) -> None:
        self.deps = deps
        self.scope = scope
        self.method: str = scope["method"]
        self.route = route
        self.request_id = request_id
        self.remote_address = remote_address
        self.response_headers: dict[str, str] = {}
        self.log_keys: dict[str, object] = {}
        self.path_texts: Mapping[str, str] = {}
        self.principal = cast("PrincipalT", None)
        self.noted = None
        self._headers: dict[str, str] | None = None
        self._path: Mapping[str, str | UUID] = {}

    def header(self, name: str) -> str | None:
        """A request header by its lower-case name; one sent several times is joined by commas (RFC 9110)."""
        if self._headers is None:
            self._headers = {}
            for raw_name, raw_value in self.scope["headers"]:
                key, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
                self._headers[key] = f"{self._headers[key]}, {value}" if key in self._headers else value
        return self._headers.get(name)

    @property
    def is_known(self) -> bool:
        """Whether it is known who calls; until then there is no principal, whatever its type says."""
        return self.principal is not None

    def text(self, name: str) -> str:
        """A path parameter that is a text: ``{product}`` or ``{order_id:order_id}``."""
        return cast("str", self._path[name])

    def uuid(self, name: str) -> UUID:
        """A path parameter that is a prefixed id, as its UUID: ``{endpoint_id:whk}``."""
        return cast("UUID", self._path[name])

    def tell_rate(self, limit: int, remaining: int, reset_seconds: int) -> None:
        """Have the answer say how its client stands with its limit; the reset is seconds from now."""
        self.response_headers["ratelimit-limit"] = str(limit)
        self.response_headers["ratelimit-remaining"] = str(remaining)
        self.response_headers["ratelimit-reset"] = str(reset_seconds)

    def with_path(self, path: Mapping[str, str | UUID], texts: Mapping[str, str]) -> None:
        """Take the path parameters, converted and as sent; for the application that makes the call."""
        self._path = path
        self.path_texts = texts


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with a status or headers of its own; ``value`` is written as the endpoint's response."""

    value: object
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class HeaderParameter:
    """A request header that an endpoint reads, for the API document; the handler checks it."""

    name: str
    description: str
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Generic[DepsT, PrincipalT, BodyT, QueryT]):
    """One method on one path, with all that is declared of it.

    ``path`` names its parameters as ``{name}`` (a text), ``{name:order_id}``, ``{name:uuid}`` or
    ``{name:<prefix>}`` (a prefixed UUID); what does not convert is answered as what does not exist.
    ``scope`` is the scope a key needs, or PUBLIC. ``body`` is the type of the JSON, ``bytes`` for the raw
    body, or None for one that is not read. ``query`` is a struct of the parameters. ``response`` is the
    type of the JSON answered with ``status``; None for no content or, with ``media_types``, for handlers
    that answer with a Starlette response. ``problems`` are slugs beyond those that follow from the rest.
    ``from_page`` marks what browsers ask for: a body is a form, and the blank fields and parameters that
    forms send count as left out.
    """

    method: str
    path: str
    handler: Callable[[Call[DepsT, PrincipalT, BodyT, QueryT]], Awaitable[object]]
    scope: str | None = None
    body: type[BodyT] | None = None
    query: type[QueryT] | None = None
    response: Any = None
    status: int = 200
    problems: Sequence[str] = ()
    summary: str = ""
    description: str = ""
    tags: Sequence[str] = ()
    body_error: InputError = "bad-request"
    query_error: InputError = "bad-request"
    headers: Sequence[HeaderParameter] = ()
    response_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    media_types: Sequence[str] = ()
    body_bytes_max: int = BODY_BYTES_MAX
    body_seconds_max: float = BODY_SECONDS_MAX
    documented: bool = True
    from_page: bool = False

    def __post_init__(self) -> None:
        if not self.scope:
            message = f"{self.method} {self.path} declares no scope; name one, or PUBLIC on purpose"
            raise UndeclaredScopeError(message)
        unknown = set(self.problems) - KINDS.keys()
        if unknown:
            message = f"{self.method} {self.path} names unknown problems: {sorted(unknown)}"
            raise TypeError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteGroup(Generic[DepsT, PrincipalT]):
    """Endpoints that share services and a way to authenticate.

    ``authenticate`` is given the call and the endpoint's scope; it returns the principal or raises a
    Problem. It is not asked for PUBLIC endpoints, and a group without it may have no others. ``scopes``
    are the names it knows.

    A group of pages has a ``prefix``, the path that all of them stand under: whatever fails there, paths that
    nobody declared included, is answered by ``show_problem``, and every answer has ``response_headers``.

    ``refused`` is told of every call to one of the endpoints that is about to be answered with 400 and more:
    the status, and the problem unless the handler drew the answer itself. Its own failure is logged alone.
    """

    deps: DepsT
    endpoints: Sequence[Endpoint[DepsT, PrincipalT, Any, Any]]
    authenticate: Callable[[Call[DepsT, PrincipalT, Any, Any], str], Awaitable[PrincipalT]] | None = None
    scopes: frozenset[str] = frozenset()
    prefix: str | None = None
    response_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    show_problem: Callable[[Call[DepsT, PrincipalT, Any, Any], Problem], Response] | None = None
    refused: Callable[[Call[DepsT, PrincipalT, Any, Any], int, Problem | None], Awaitable[None]] | None = None

    def __post_init__(self) -> None:
        known = self.scopes | {PUBLIC} if self.authenticate else {PUBLIC}
        for endpoint in self.endpoints:
            if endpoint.scope not in known:
                message = f"{endpoint.method} {endpoint.path} needs an unknown scope: {endpoint.scope}"
                raise UndeclaredScopeError(message)


@dataclass(frozen=True, slots=True)
class PathParameter:
    """A named part of a path and the form its text must have."""

    name: str
    kind: str

    def convert(self, text: str) -> str | UUID | None:
        """The value of the parameter, or None when the text has another form."""
        match self.kind:
            case "text":
                return text if len(text) <= _TEXT_CHARS_MAX and text.isprintable() else None
            case "order_id":
                return text if ids.is_order_id(text) else None
            case "uuid":
                return ids.parse_uuid(text)
            case "acc":
                return ids.parse_prefixed("acc", text) or ids.parse_uuid(text)
            case prefix:
                return ids.parse_prefixed(prefix, text)


def path_segments(path: str) -> list[str | PathParameter]:
    """The parts between the slashes of a declared path, parameters taken apart; TypeError when it is odd."""
    if not path.startswith("/"):
        message = f"the path {path} does not start with a slash"
        raise TypeError(message)
    segments: list[str | PathParameter] = []
    for part in path[1:].split("/"):
        found = _PARAMETER.fullmatch(part)
        if found is None and "{" in part:
            message = f"the parameter in {path} is malformed"
            raise TypeError(message)
        segments.append(PathParameter(found["name"], found["kind"] or "text") if found else part)
    return segments


def path_parameters(path: str) -> tuple[PathParameter, ...]:
    """The parameters of a declared path in their order."""
    return tuple(part for part in path_segments(path) if isinstance(part, PathParameter))


def route_name(path: str) -> str:
    """A declared path as logs, metrics and the API document show it: ``/v1/webhooks/{endpoint_id}``."""
    return _PARAMETER.sub(lambda found: f"{{{found['name']}}}", path)


def input_problem(style: InputError, error: InvalidInput, *, from_page: bool = False) -> Problem:
    """Invalid input as the answer its endpoint declares; to pages in plain words."""
    if from_page:
        return bad_request(plain(error.fields, error.whole))
    if style == "validation-failed":
        return validation_failed(error.fields, error.whole)
    told = [f"{name}: {text}" for name, texts in error.fields.items() for text in texts] + error.whole
    return bad_request("; ".join(told) + ".")


def body_reader(endpoint: Endpoint[Any, Any, Any, Any]) -> JsonReader[Any] | FormReader[Any] | None:
    """The reader of an endpoint's body, made once; None where the body is raw or not read."""
    if endpoint.body in {None, bytes}:
        return None
    kind = cast("type[Any]", endpoint.body)
    return FormReader(kind) if endpoint.from_page else JsonReader(kind)


def query_reader(endpoint: Endpoint[Any, Any, Any, Any]) -> QueryReader[Any] | None:
    """The reader of an endpoint's query string, made once; None where the query is not read."""
    return None if endpoint.query is None else QueryReader(endpoint.query, drop_blanks=endpoint.from_page)
