"""The operators, for admins: who they are, making one, and changing what they may do."""

from collections.abc import Awaitable, Mapping
from typing import Any, Final

from starlette.responses import Response

from crypto_orders.admin.refusals import Refusal, refusal_of
from crypto_orders.admin.services import AdminServices
from crypto_orders.admin.session import AdminCall, Form, Operator, action, audited, page, screen, see_done
from crypto_orders.domain.errors import BadRequest, Conflict, NotFound
from crypto_orders.domain.operator import MANAGE_OPERATORS, ROLES, normal_email
from crypto_orders.kit import ids
from crypto_orders.kit.http import Endpoint
from crypto_orders.store import operator_accounts
from crypto_orders.store.operator_accounts import Shown
from crypto_orders.usecases import operator_accounts as accounts
from crypto_orders.usecases.operator_accounts import Wanted

PATH: Final = "/admin/operators"
_ONE: Final = f"{PATH}/{{operator_id:opr}}"
SHOWN_MAX: Final = 500
"""Far more operators than one deployment has."""

ABOUT: Final = "refused-operators"
"""The section of the runbook about what is refused here."""

ROLE_CHARS_KEPT: Final = 20
"""What somebody sends in a role's place is kept in the audit log this far."""

ROLE_TEXTS: Final[Mapping[str, str]] = {
    "viewer": "looks at everything and changes nothing",
    "support": "works on orders: asks, replays, sweeps, notes, resolves, resends",
    "admin": "also overrides the provider's word, and manages accounts, keys, products and operators",
}

DONE: Final[Mapping[str, str]] = {
    "role": "The role is changed. They have to sign in again.",
    "disabled": "They are signed out and cannot sign in any more.",
    "enabled": "They can sign in again.",
    "second-factor": "The second factor is taken away. They have to sign in again, with the password alone.",
}


class NewForm(Form, frozen=True, kw_only=True):
    """An operator to make; the password is made up and shown."""

    email: str = ""
    name: str = ""
    role: str = ""


class RoleForm(Form, frozen=True, kw_only=True):
    """Another role."""

    role: str = ""


async def show_operators(call: AdminCall[None, None]) -> Response:
    """Every operator, and the form for a new one."""
    return await _list_page(call)


async def create_operator(call: AdminCall[NewForm, None]) -> Response:
    """Make an operator and show the password this one time."""
    form = call.body
    wanted = Wanted(email=form.email, role=form.role, name=form.name or None)
    entry = audited(call, "operator.create", normal_email(form.email), role=form.role[:ROLE_CHARS_KEPT])
    try:
        made = await accounts.create(call.deps.pool, call.deps.access.passwords, wanted, entry)
    except (BadRequest, Conflict) as fault:
        return await _list_page(call, form=form, refusal=refusal_of(fault, ABOUT))
    return await _list_page(call, made=made)


async def show_operator(call: AdminCall[None, None]) -> Response:
    """One operator, and what can be changed."""
    return _one_page(call, await _found(call))


async def set_role(call: AdminCall[RoleForm, None]) -> Response:
    """Give an operator another role and end their sessions."""
    shown, role = await _found(call), call.body.role
    entry = audited(call, "operator.set_role", shown.email, role=role[:ROLE_CHARS_KEPT])
    return await _changed(call, shown, "role", accounts.set_role(call.deps.pool, shown.email, role, entry))


async def reset_password(call: AdminCall[Form, None]) -> Response:
    """Make up another password, shown this one time, and end their sessions."""
    shown = await _found(call)
    entry = audited(call, "operator.set_password", shown.email)
    made = await accounts.set_password(call.deps.pool, call.deps.access.passwords, shown.email, None, entry)
    return _one_page(call, await _found(call), password=made.password)


async def disable(call: AdminCall[Form, None]) -> Response:
    """Keep an operator out from the next request on."""
    shown = await _found(call)
    entry = audited(call, "operator.disable", shown.email)
    return await _changed(call, shown, "disabled", accounts.disable(call.deps.pool, shown.email, entry))


async def enable(call: AdminCall[Form, None]) -> Response:
    """Let an operator sign in again."""
    shown = await _found(call)
    entry = audited(call, "operator.enable", shown.email)
    return await _changed(call, shown, "enabled", accounts.enable(call.deps.pool, shown.email, entry))


async def reset_second_factor(call: AdminCall[Form, None]) -> Response:
    """Take the second factor away from whoever lost it."""
    shown = await _found(call)
    entry = audited(call, "operator.reset_second_factor", shown.email)
    change = accounts.reset_second_factor(call.deps.pool, shown.email, entry)
    return await _changed(call, shown, "second-factor", change)


async def _changed(call: AdminCall[Any, Any], shown: Shown, done: str, change: Awaitable[object]) -> Response:
    try:
        await change
    except (BadRequest, Conflict) as fault:
        return _one_page(call, shown, refusal=refusal_of(fault, ABOUT))
    return see_done(call, f"{PATH}/{ids.prefixed('opr', shown.operator_id)}", DONE[done])


async def _found(call: AdminCall[Any, Any]) -> Shown:
    async with call.deps.pool.acquire() as conn:
        shown = await operator_accounts.find_shown(conn, call.uuid("operator_id"))
    if shown is None:
        raise NotFound
    return shown


async def _list_page(
    call: AdminCall[Any, Any],
    *,
    form: NewForm | None = None,
    made: accounts.WithPassword | None = None,
    refusal: Refusal | None = None,
) -> Response:
    async with call.deps.pool.acquire() as conn:
        listed = await operator_accounts.listed(conn, limit=SHOWN_MAX)
        now = await operator_accounts.now(conn)
    return page(
        call,
        "operators.html",
        status=refusal.status if refusal else 200,
        listed=[(ids.prefixed("opr", each.operator_id), each) for each in listed],
        now=now,
        form=form or NewForm(role="viewer"),
        made=made,
        roles=[(role, ROLE_TEXTS[role]) for role in ROLES],
        refusal=refusal,
    )


def _one_page(
    call: AdminCall[Any, Any],
    shown: Shown,
    *,
    password: str | None = None,
    refusal: Refusal | None = None,
) -> Response:
    return page(
        call,
        "operator.html",
        status=refusal.status if refusal else 200,
        path=f"{PATH}/{ids.prefixed('opr', shown.operator_id)}",
        shown=shown,
        is_self=shown.operator_id == call.principal.operator_id,
        roles=[(role, ROLE_TEXTS[role]) for role in ROLES],
        password=password,
        refusal=refusal,
    )


ENDPOINTS: tuple[Endpoint[AdminServices, Operator, Any, Any], ...] = (
    screen(PATH, show_operators, scope=MANAGE_OPERATORS),
    action(PATH, create_operator, body=NewForm, scope=MANAGE_OPERATORS),
    screen(_ONE, show_operator, scope=MANAGE_OPERATORS),
    action(f"{_ONE}/role", set_role, body=RoleForm, scope=MANAGE_OPERATORS),
    action(f"{_ONE}/password", reset_password, body=Form, scope=MANAGE_OPERATORS),
    action(f"{_ONE}/disable", disable, body=Form, scope=MANAGE_OPERATORS),
    action(f"{_ONE}/enable", enable, body=Form, scope=MANAGE_OPERATORS),
    action(f"{_ONE}/reset-second-factor", reset_second_factor, body=Form, scope=MANAGE_OPERATORS),
)
