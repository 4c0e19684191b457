"""Signing in and out, and the choice of a theme."""

from typing import Any, Literal

from msgspec import Struct
from starlette.responses import Response

from crypto_orders.admin import csrf, session
from crypto_orders.admin.runbook import section
from crypto_orders.admin.services import AdminServices
from crypto_orders.admin.session import AdminCall, CsrfRefused, Form, Operator, action, audited, see_other
from crypto_orders.domain.operator import READ
from crypto_orders.kit import log
from crypto_orders.kit.http import PUBLIC, Call, Endpoint
from crypto_orders.pages.site import THEME_COOKIE, theme_of
from crypto_orders.usecases import sign_in
from crypto_orders.usecases.sign_in import Attempt, Refused, SignedIn, TooMany

THEME_COOKIE_SECONDS = 365 * 24 * 3600

WRONG = "The e-mail address, the password or the code is wrong."

_log = log.get()


class SignInQuery(Struct, frozen=True):
    """Where to go afterwards."""

    next: str | None = None


class SignInForm(Struct, frozen=True):
    """What somebody typed. The code is of the authenticator app, where one is set up."""

    email: str = ""
    password: str = ""
    code: str = ""
    next: str = ""


class ThemeForm(Form, frozen=True, kw_only=True):
    """A theme and the page it was chosen on; `system` follows the computer."""

    theme: Literal["light", "dark", "system"] = "system"
    next: str = ""


_Visit = Call[AdminServices, Any, None, SignInQuery]
_Attempt = Call[AdminServices, Any, SignInForm, None]


async def show_sign_in(call: _Visit) -> Response:
    """The sign-in page; whoever is signed in goes on to where they wanted."""
    if await session.find_operator(call) is not None:
        return see_other(session.local_path(call.query.next))
    return _page(call, email="", wanted=call.query.next, said=None, status=200)


async def take_sign_in(call: _Attempt) -> Response:
    """Open a session, or say that something is wrong without saying what."""
    if not csrf.is_from_our_pages(call):
        _log.warning("operator_sign_in_from_elsewhere", remote_address=call.remote_address)
        raise CsrfRefused("from another site")
    form = call.body
    attempt = Attempt(
        email=form.email,
        password=form.password,
        code=form.code,
        remote_address=call.remote_address,
        request_id=call.request_id,
        user_agent=call.header("user-agent"),
        present_token=session.session_token(call),
    )
    match await sign_in.sign_in(call.deps.access, attempt):
        case SignedIn(token):
            response = see_other(session.local_path(form.next))
            session.give_cookie(call.deps, response, token)
            return response
        case Refused():
            return _page(call, email=form.email, wanted=form.next, said=WRONG, status=401)
        case TooMany(seconds):
            call.response_headers["retry-after"] = str(seconds)
            said = f"Too many attempts. Wait {seconds} s and try again."
            return _page(call, email=form.email, wanted=form.next, said=said, status=429)


async def take_sign_out(call: AdminCall[Form, None]) -> Response:
    """End this session."""
    token = session.session_token(call) or ""
    await sign_in.sign_out(call.deps.pool, token, audited(call, "operator.sign_out", call.principal.email))
    response = see_other(session.SIGN_IN_PATH)
    session.take_cookie(call.deps, response)
    return response


async def take_theme(call: AdminCall[ThemeForm, None]) -> Response:
    """Remember a theme in this browser and show the page again."""
    if call.header("hx-request") is not None:
        response = Response(status_code=204, headers={"hx-refresh": "true"})
    else:
        response = see_other(session.local_path(call.body.next))
    response.set_cookie(
        THEME_COOKIE,
        "" if call.body.theme == "system" else call.body.theme,
        max_age=0 if call.body.theme == "system" else THEME_COOKIE_SECONDS,
        secure=call.deps.is_https,
        # No secret: the script of the published pages changes it, too.
        httponly=False,
        samesite="lax",
        path="/",
    )
    return response


def _page(
    call: Call[AdminServices, Any, Any, Any], *, email: str, wanted: str | None, said: str | None, status: int
) -> Response:
    return call.deps.templates.page(
        "sign_in.html",
        status=status,
        theme=theme_of(call),
        email=email,
        next=session.local_path(wanted),
        said=said,
        more=section("refused-sign-in"),
    )


ENDPOINTS: tuple[Endpoint[AdminServices, Operator, Any, Any], ...] = (
    Endpoint(
        method="GET",
        path=session.SIGN_IN_PATH,
        handler=show_sign_in,
        scope=PUBLIC,
        query=SignInQuery,
        media_types=("text/html",),
        documented=False,
        from_page=True,
    ),
    Endpoint(
        method="POST",
        path=session.SIGN_IN_PATH,
        handler=take_sign_in,
        scope=PUBLIC,
        body=SignInForm,
        media_types=("text/html",),
        documented=False,
        from_page=True,
    ),
    action("/admin/sign-out", take_sign_out, body=Form, scope=READ),
    action("/admin/theme", take_theme, body=ThemeForm, scope=READ),
)
