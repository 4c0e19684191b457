"""The operator's own account: password, second factor, and where they are signed in."""

import io
from typing import Any, Final

import segno
from markupsafe import Markup
from starlette.responses import Response

from crypto_orders.admin import session
from crypto_orders.admin.refusals import Refusal, refusal_of
from crypto_orders.admin.services import AdminServices
from crypto_orders.admin.session import (
    AdminCall,
    Form,
    Operator,
    action,
    audited,
    page,
    screen,
    see_done,
    see_other,
)
from crypto_orders.domain.errors import BadRequest, Conflict
from crypto_orders.domain.operator import PASSWORD_CHARS_MIN, READ
from crypto_orders.kit.http import Endpoint
from crypto_orders.store import operator_accounts, operator_sessions
from crypto_orders.usecases import operator_accounts as accounts
from crypto_orders.usecases import sign_in
from crypto_orders.usecases.operator_accounts import Offer

PATH: Final = "/admin/account"
SECOND_FACTOR_PATH: Final = f"{PATH}/second-factor"
SESSIONS_SHOWN_MAX: Final = 50
QR_SCALE: Final = 5
ABOUT: Final = "refused-account"
"""The section of the runbook about what is refused here."""


class PasswordForm(Form, frozen=True, kw_only=True):
    """The present password, and the new one twice."""

    present: str = ""
    wanted: str = ""
    repeated: str = ""


class ConfirmForm(Form, frozen=True, kw_only=True):
    """The offer as the page gave it, a code of the app, and the password."""

    offer: str = ""
    code: str = ""
    password: str = ""


class RemoveForm(Form, frozen=True, kw_only=True):
    """The present password, and a code of the app that is taken away."""

    password: str = ""
    code: str = ""


async def show_account(call: AdminCall[None, None]) -> Response:
    """Who the operator is, what the role allows, and every session."""
    return await _account_page(call)


async def change_password(call: AdminCall[PasswordForm, None]) -> Response:
    """Change the operator's own password; the other sessions end, and this one has a new token."""
    form, operator = call.body, call.principal
    entry = audited(call, "operator.change_password", operator.email)
    if form.wanted != form.repeated:
        fault = BadRequest("The new password was not typed the same way twice.")
        return await _account_page(call, fault_of="password", refusal=refusal_of(fault, ABOUT))
    try:
        token = await accounts.change_own_password(
            call.deps.access,
            operator.email,
            operator.session_id,
            form.present,
            form.wanted,
            entry,
        )
    except (BadRequest, Conflict) as fault:
        return await _account_page(call, fault_of="password", refusal=refusal_of(fault, ABOUT))
    words = "Your password is changed. Your other sessions have ended."
    response = see_done(call, PATH, words, token=token)
    session.give_cookie(call.deps, response, token)
    return response


async def show_offer(call: AdminCall[None, None]) -> Response:
    """A new secret for the operator's app, as a QR code and as text."""
    operator = call.principal
    offer = accounts.offer_second_factor(
        call.deps.access, operator.operator_id, operator.email, call.deps.site.brand_name
    )
    return _offer_page(call, offer, None)


async def confirm_offer(call: AdminCall[ConfirmForm, None]) -> Response:
    """Set up the second factor once a code of it is right."""
    form, operator = call.body, call.principal
    entry = audited(call, "operator.set_second_factor", operator.email)
    offer = accounts.same_offer(
        call.deps.access, operator.operator_id, operator.email, call.deps.site.brand_name, form.offer
    )
    try:
        await accounts.confirm_second_factor(
            call.deps.access,
            operator.operator_id,
            operator.email,
            form.offer,
            form.code,
            form.password,
            entry,
        )
    except (BadRequest, Conflict) as fault:
        return _offer_page(call, offer, refusal_of(fault, ABOUT))
    return see_done(call, PATH, "The second factor is set up: from now on signing in needs a code.")


async def remove_second_factor(call: AdminCall[RemoveForm, None]) -> Response:
    """Take the operator's own second factor away."""
    form, operator = call.body, call.principal
    entry = audited(call, "operator.remove_second_factor", operator.email)
    try:
        await accounts.remove_second_factor(call.deps.access, operator.email, form.password, form.code, entry)
    except (BadRequest, Conflict) as fault:
        return await _account_page(call, fault_of="second-factor", refusal=refusal_of(fault, ABOUT))
    return see_done(call, PATH, "The second factor is removed: signing in needs the password alone.")


async def end_session(call: AdminCall[Form, None]) -> Response:
    """End one of the operator's sessions; of this one, it is signing out."""
    session_id, operator = call.uuid("session_id"), call.principal
    entry = audited(call, "operator.end_session", operator.email, session_id=str(session_id))
    await sign_in.end_session(call.deps.pool, operator.operator_id, session_id, entry)
    return see_done(call, PATH, "That session has ended.")


async def sign_out_everywhere(call: AdminCall[Form, None]) -> Response:
    """End every session of the operator, this one included."""
    operator = call.principal
    entry = audited(call, "operator.sign_out_everywhere", operator.email)
    await sign_in.sign_out_everywhere(call.deps.pool, operator.operator_id, entry)
    response = see_other(session.SIGN_IN_PATH)
    session.take_cookie(call.deps, response)
    return response


async def _account_page(
    call: AdminCall[Any, Any],
    *,
    fault_of: str | None = None,
    refusal: Refusal | None = None,
) -> Response:
    operator = call.principal
    async with call.deps.pool.acquire() as conn:
        shown = await operator_accounts.find_shown(conn, operator.operator_id)
        sessions = await operator_sessions.alive_of(conn, operator.operator_id, limit=SESSIONS_SHOWN_MAX)
        now = await operator_accounts.now(conn)
    return page(
        call,
        "account.html",
        status=refusal.status if refusal else 200,
        shown=shown,
        sessions=sessions,
        now=now,
        fault_of=fault_of,
        refusal=refusal,
        password_chars_min=PASSWORD_CHARS_MIN,
    )


def _offer_page(call: AdminCall[Any, Any], offer: Offer, refusal: Refusal | None) -> Response:
    return page(
        call,
        "second_factor.html",
        status=refusal.status if refusal else 200,
        secret=" ".join(offer.secret[at : at + 4] for at in range(0, len(offer.secret), 4)),
        offer=offer.sealed,
        qr=qr_code(offer.address),
        refusal=refusal,
    )


def qr_code(text: str) -> Markup:
    """A text as an SVG, dark on light whatever the theme: cameras need it so."""
    drawn = io.BytesIO()
    segno.make(text, error="m").save(
        drawn, kind="svg", scale=QR_SCALE, border=4, xmldecl=False, svgns=False, dark="#000", light="#fff"
    )
    # The text is drawn as modules: nothing of it reaches the markup.
    return Markup(drawn.getvalue().decode())  # noqa: S704


ENDPOINTS: tuple[Endpoint[AdminServices, Operator, Any, Any], ...] = (
    screen(PATH, show_account),
    action(f"{PATH}/password", change_password, body=PasswordForm, scope=READ),
    screen(SECOND_FACTOR_PATH, show_offer),
    action(SECOND_FACTOR_PATH, confirm_offer, body=ConfirmForm, scope=READ),
    action(f"{SECOND_FACTOR_PATH}/remove", remove_second_factor, body=RemoveForm, scope=READ),
    action(f"{PATH}/sessions/{{session_id:uuid}}/end", end_session, body=Form, scope=READ),
    action(f"{PATH}/sign-out-everywhere", sign_out_everywhere, body=Form, scope=READ),
)
