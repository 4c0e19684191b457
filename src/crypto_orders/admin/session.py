"""Who is at the browser: the session behind its cookie, what its role allows, and what its forms must prove.

A module of screens declares its endpoints with `screen` and `action`, draws with `page`, and names what it
does in the audit trail with `audited`.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult, quote, urlsplit
from uuid import UUID

import msgspec
from starlette.responses import RedirectResponse, Response

from crypto_orders.admin import csrf, flash
from crypto_orders.admin.runbook import PageProblem
from crypto_orders.admin.services import AdminServices
from crypto_orders.domain.operator import OPERATOR_SCOPES, READ, SCOPES_OF_ROLE, WRITE, Role, actor_name
from crypto_orders.kit import log
from crypto_orders.kit.http import Call, Endpoint
from crypto_orders.kit.problem import KINDS, Problem
from crypto_orders.pages.site import theme_of
from crypto_orders.store.audit import Actor, Entry, Trail
from crypto_orders.usecases import access, refused_actions, sign_in

BodyT = TypeVar("BodyT")
QueryT = TypeVar("QueryT")

SCOPES: Final = OPERATOR_SCOPES
SIGN_IN_PATH: Final = "/admin/sign-in"
COOKIE: Final = "crypto_orders_admin"
FLASH_COOKIE: Final = "crypto_orders_done"
ACTED_IN: Final = "#order > .within"
"""Where the actions that scripts send have their forms."""

NEXT_CHARS_MAX: Final = 2000

SLUG_OF_STATUS: Final = {KINDS[slug].status: slug for slug in reversed(tuple(KINDS))}
"""The slug of a refusal that a screen drew itself, as the API would call it; of several the first."""

_SERVER_ERRORS_FROM: Final = 500

# A page that refreshes itself says so; being looked at by nobody must not keep a session open.
BACKGROUND_HEADER: Final = "x-background"


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """The person signed in. `theme` is `light`, `dark`, or empty: then the system's own holds."""

    operator_id: UUID
    session_id: UUID
    email: str
    name: str | None
    role: Role
    scopes: tuple[str, ...]
    theme: str
    csrf_secret: bytes

    @property
    def shown_name(self) -> str:
        """What to call them."""
        return self.name or self.email

    def csrf_token(self) -> str:
        """The text for a form's field `csrf` or the header `x-csrf-token`; another one for every answer."""
        return csrf.masked(self.csrf_secret)

    def allows(self, scope: str) -> bool:
        """Whether the role allows what needs this scope."""
        return scope in self.scopes


AdminCall = Call[AdminServices, Operator, BodyT, QueryT]


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """What every form sends along; the bodies of actions extend it."""

    csrf: str = ""


FormT = TypeVar("FormT", bound=Form)


class SignInNeeded(PageProblem):
    """Nobody is signed in: the answer leads to the sign-in page and back."""

    anchor = "refused-sign-in"

    def __init__(self) -> None:
        super().__init__("unauthorized", "Sign in first.")


class RoleLacking(PageProblem):
    """The operator's role does not allow this; the scope that is lacking is named."""

    anchor = "refused-role"

    def __init__(self, operator: Operator, scope: str) -> None:
        roles = [role for role, scopes in SCOPES_OF_ROLE.items() if scope in scopes]
        super().__init__(
            "forbidden",
            f"This needs the role {' or '.join(roles)} ({scope}); yours is {operator.role}. "
            "Ask an admin, who can change it under Operators.",
            extras={"scope": scope},
        )
        self.title = "Your role does not allow this"
        self.reason: access.DenialReason = "role"
        self.why = f"lacks {scope}"


class CsrfRefused(PageProblem):
    """The request does not come from one of our own forms; nothing was done."""

    anchor = "refused-form"

    def __init__(self, why: str) -> None:
        super().__init__(
            "forbidden",
            "This form was not sent from a page of this session (csrf), so nothing was done. "
            "Go back, load the page anew and send it again.",
        )
        self.title = "The form was not accepted"
        self.reason: access.DenialReason = "csrf"
        self.why = why


def audited(call: AdminCall[BodyT, QueryT], action: str, target: str | None, **request: object) -> Entry:
    """The audit row of an operator's action: who, from where, what; its result comes with what it does.

    Whatever refuses the action from here on, `keep_refused` keeps the row: name it before the form is read.
    """
    call.noted = call.noted or Trail()
    trail: Trail = call.noted
    return trail.follow(Entry(actor=_actor_of(call), action=action, target=target, request=request))


def _actor_of(call: Call[Any, Operator, Any, Any]) -> Actor:
    return Actor(
        name=actor_name(call.principal.email),
        remote_address=call.remote_address,
        request_id=call.request_id,
    )


async def keep_refused(
    call: Call[AdminServices, Operator, Any, Any], status: int, problem: Problem | None
) -> None:
    """Keep what an operator was denied, and every action that was refused, in the audit trail.

    Who is not signed in causes no row here, nor does a look at something with filters that are wrong.
    """
    if not call.is_known or (problem is not None and problem.status >= _SERVER_ERRORS_FROM):
        return
    tried = Entry(
        actor=_actor_of(call),
        action=refused_actions.ACTION,
        target=f"{call.method} {call.route}",
        request=call.path_texts,
    )
    if isinstance(problem, RoleLacking | CsrfRefused):
        await access.keep_denial(call.deps.pool, tried, problem.reason, problem.why)
        return
    trail: Trail | None = call.noted
    if call.method not in csrf.SAFE_METHODS or (trail and trail.entry):
        why = problem.slug if problem else SLUG_OF_STATUS.get(status, str(status))
        await refused_actions.keep(call.deps.pool, tried, trail, "refused", why)


def page(
    call: AdminCall[Any, Any],
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: object,
) -> Response:
    """A screen, with what the frame around it shows: `operator`, `csrf` and `theme`.

    `done` is what an action said that led here; a screen that knows it in another way gives its own.
    """
    operator, said = call.principal, _said(call)
    shown: dict[str, object] = {"done": said, **values}
    response = call.deps.templates.page(
        template,
        status=status,
        headers=headers,
        operator=operator,
        csrf=operator.csrf_token(),
        theme=operator.theme,
        **shown,
    )
    if said is not None:
        _set_cookie(call.deps, response, FLASH_COOKIE, "", seconds=0)
    return response


def see_other(path: str) -> Response:
    """The answer after an action that was done: go and look (303)."""
    return RedirectResponse(path, status_code=303)


def see_done(call: AdminCall[Any, Any], path: str, words: str, *, token: str | None = None) -> Response:
    """The answer after an action that was done: go and look (303), where it is said once what was done.

    The words travel in a cookie that is sealed for the session and the page, so that no link can say them.
    `token` is the session's when the action gave it another one.
    """
    response = see_other(path)
    secret = call.principal.csrf_secret if token is None else csrf.secret_of(token)
    value = flash.sealed(secret, urlsplit(path).path, words)
    _set_cookie(call.deps, response, FLASH_COOKIE, value, seconds=flash.SECONDS_MAX)
    return response


def _said(call: AdminCall[Any, Any]) -> str | None:
    """What the action that led to this very page said."""
    if call.method != "GET":
        return None
    value = cookie(call, _full_name(call.deps, FLASH_COOKIE))
    return None if value is None else flash.opened(call.principal.csrf_secret, value, call.scope["path"])


def screen(
    path: str,
    handler: Callable[[AdminCall[None, QueryT]], Awaitable[Response]],
    *,
    query: type[QueryT] | None = None,
    scope: str = READ,
) -> Endpoint[AdminServices, Operator, None, QueryT]:
    """A page that is only looked at."""
    return Endpoint(
        method="GET",
        path=path,
        handler=handler,
        scope=scope,
        query=query,
        media_types=("text/html",),
        documented=False,
        from_page=True,
    )


def action(
    path: str,
    handler: Callable[[AdminCall[FormT, None]], Awaitable[Response]],
    *,
    body: type[FormT],
    scope: str = WRITE,
    body_bytes_max: int | None = None,
) -> Endpoint[AdminServices, Operator, FormT, None]:
    """What a form does: POST alone, from our own pages alone, with the session's token."""

    async def checked(call: AdminCall[FormT, None]) -> Response:
        token = call.header(csrf.HEADER) or call.body.csrf
        if not csrf.is_token_of(call.principal.csrf_secret, token):
            raise CsrfRefused("no token of this session")
        return await handler(call)

    sizes: dict[str, Any] = {} if body_bytes_max is None else {"body_bytes_max": body_bytes_max}
    return Endpoint(
        method="POST",
        path=path,
        handler=checked,
        scope=scope,
        body=body,
        media_types=("text/html",),
        documented=False,
        from_page=True,
        **sizes,
    )


async def authenticate(call: Call[AdminServices, Operator, Any, Any], scope: str) -> Operator:
    """The operator of a call to an endpoint that needs `scope`.

    Raises Problem: SignInNeeded, CsrfRefused for what other sites made the browser send, RoleLacking.
    """
    operator = await find_operator(call)
    if operator is None:
        raise SignInNeeded
    # From here on it is known who is refused.
    call.principal = operator
    call.log_keys["actor"] = actor_name(operator.email)
    log.bind(actor=actor_name(operator.email))
    if call.method not in csrf.SAFE_METHODS and not csrf.is_from_our_pages(call):
        raise CsrfRefused("from another site")
    if not operator.allows(scope):
        raise RoleLacking(operator, scope)
    return operator


async def find_operator(call: Call[AdminServices, Any, Any, Any]) -> Operator | None:
    """The operator whose session the browser's cookie names, as long as it lasts."""
    token = session_token(call)
    if token is None:
        return None
    session = await sign_in.find_session(call.deps.pool, token)
    if session is None:
        return None
    if session.seen_long_ago and call.header(BACKGROUND_HEADER) is None:
        await sign_in.see_session(call.deps.pool, token)
    return Operator(
        operator_id=session.operator_id,
        session_id=session.session_id,
        email=session.email,
        name=session.name,
        role=session.role,
        scopes=SCOPES_OF_ROLE[session.role],
        theme=theme_of(call),
        csrf_secret=csrf.secret_of(token),
    )


def cookie_name(services: AdminServices) -> str:
    """The session cookie's name."""
    return _full_name(services, COOKIE)


def _full_name(services: AdminServices, name: str) -> str:
    """A cookie's name as it is sent; with `__Host-` browsers take it from this host over TLS alone."""
    return f"__Host-{name}" if services.is_https else name


def session_token(call: Call[AdminServices, Any, Any, Any]) -> str | None:
    """The token in the browser's cookie, whatever it is worth."""
    return cookie(call, cookie_name(call.deps))


def cookie(call: Call[Any, Any, Any, Any], wanted: str) -> str | None:
    """A cookie by its exact name; None when it is absent or empty."""
    for part in (call.header("cookie") or "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == wanted and value:
            return value
    return None


def give_cookie(services: AdminServices, response: Response, token: str) -> None:
    """Have the browser keep a session until it is closed; the server ends it sooner (RFC 6265bis)."""
    _set_cookie(services, response, COOKIE, token)


def take_cookie(services: AdminServices, response: Response) -> None:
    """Have the browser forget its session."""
    _set_cookie(services, response, COOKIE, "", seconds=0)


def _set_cookie(
    services: AdminServices, response: Response, name: str, value: str, *, seconds: int | None = None
) -> None:
    """Have the browser keep a cookie that no script reads; without a time until it is closed."""
    response.set_cookie(
        _full_name(services, name),
        value,
        max_age=seconds,
        secure=services.is_https,
        httponly=True,
        samesite="lax",
        path="/",
    )


def local_path(text: str | None) -> str:
    """Where to go after signing in: a page of the admin, never another site or another part of this one."""
    home = "/admin"
    if not text or len(text) > NEXT_CHARS_MAX or not text.isprintable() or "\\" in text or not text.isascii():
        return home
    parts = _parts_of(text)
    is_local = not parts.scheme and not parts.netloc and (parts.path + "/").startswith("/admin/")
    if not is_local or ".." in parts.path.split("/") or parts.path == SIGN_IN_PATH:
        return home
    return text


def _parts_of(address: str) -> SplitResult:
    """An address taken apart; nothing of one that is none, such as `//[`."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def show_sign_in_needed(call: Call[AdminServices, Any, Any, Any]) -> Response:
    """Lead whoever is not signed in to the sign-in page, and back to the page they asked for.

    A page is never led away from under somebody's hands: what refreshes it, and a form that it sends, are
    answered by a notice, so that what was typed stays.
    """
    is_background = call.header(BACKGROUND_HEADER) is not None
    if call.header("hx-request") is not None or is_background:
        current = _parts_of(call.header("hx-current-url") or "")
        address = sign_in_address(
            local_path(f"{current.path}?{current.query}" if current.query else current.path)
        )
        if is_background:
            headers = {}
        elif call.method == "POST":
            headers = {"hx-retarget": ACTED_IN, "hx-reswap": "afterbegin"}
        else:
            # A fragment's place is no place for a whole page: the browser goes there as one.
            headers = {"hx-redirect": address}
        return Response(
            '<p class="notice warn session-ended" role="alert">'
            f'<span>Your session has ended. <a href="{address}">Sign in again</a>.</span></p>',
            status_code=401,
            media_type="text/html",
            headers=headers,
        )
    if call.method not in csrf.SAFE_METHODS:
        return see_other(SIGN_IN_PATH)
    query: str = call.scope["query_string"].decode("ascii", "ignore")
    path: str = call.scope["raw_path"].decode("ascii", "ignore")
    return see_other(sign_in_address(local_path(f"{path}?{query}" if query else path)))


def sign_in_address(path: str) -> str:
    """The sign-in page that leads to a path afterwards."""
    return SIGN_IN_PATH if path == "/admin" else f"{SIGN_IN_PATH}?next={quote(path, safe='/')}"
