"""Every route of the admin's pages, and what is shown when one of them fails."""

from typing import Any, Final

from starlette.responses import Response

from crypto_orders.admin import (
    account,
    accounts,
    audit,
    dead_letters,
    flags,
    inbox,
    operators,
    orders,
    overview,
    products,
    session,
    sign_in,
    stuck,
    webhooks,
)
from crypto_orders.admin.runbook import section_on
from crypto_orders.admin.services import AdminServices
from crypto_orders.admin.session import ACTED_IN, Operator, SignInNeeded
from crypto_orders.kit.http import Call, Endpoint, RouteGroup
from crypto_orders.kit.problem import Problem
from crypto_orders.pages.site import detail_of, theme_of

PREFIX: Final = "/admin"

ENDPOINTS: Final[tuple[Endpoint[AdminServices, Operator, Any, Any], ...]] = (
    *sign_in.ENDPOINTS,
    *account.ENDPOINTS,
    *operators.ENDPOINTS,
    *orders.ENDPOINTS,
    *overview.ENDPOINTS,
    *flags.ENDPOINTS,
    *stuck.ENDPOINTS,
    *webhooks.ENDPOINTS,
    *dead_letters.ENDPOINTS,
    *inbox.ENDPOINTS,
    *audit.ENDPOINTS,
    *accounts.ENDPOINTS,
    *products.ENDPOINTS,
)


def routes(services: AdminServices) -> RouteGroup[AdminServices, Operator]:
    """The admin's pages, for operators who are signed in."""
    return RouteGroup(
        deps=services,
        endpoints=ENDPOINTS,
        authenticate=session.authenticate,
        scopes=session.SCOPES,
        prefix=PREFIX,
        response_headers={
            **services.site.headers,
            "cache-control": "no-store, private",
            "vary": "HX-Request",
        },
        show_problem=show_problem,
        refused=session.keep_refused,
    )


def show_problem(call: Call[AdminServices, Operator, Any, Any], problem: Problem) -> Response:
    """A failure as a page, or within the page that made the request; without a session, the way to one."""
    if isinstance(problem, SignInNeeded):
        return session.show_sign_in_needed(call)
    if call.header("hx-request") is None:
        values: dict[str, Any] = {
            "problem": problem,
            "detail": detail_of(problem),
            "more": section_on(problem),
            "request_id": call.request_id,
        }
        if call.is_known:
            return session.page(call, "problem_framed.html", status=problem.status, active="", **values)
        return call.deps.templates.page("problem.html", status=problem.status, theme=theme_of(call), **values)
    return call.deps.templates.page(
        "problem_fragment.html",
        status=problem.status,
        # An action's form stays, with the failure above it.
        headers={"hx-retarget": ACTED_IN, "hx-reswap": "afterbegin"} if call.method == "POST" else None,
        problem=problem,
        detail=detail_of(problem),
        more=section_on(problem),
        request_id=call.request_id,
    )
