"""Keep every call of the admin API that was refused to a known key, in one place for all of its routes."""

from typing import Any, Final

from crypto_orders.api.auth import Principal
from crypto_orders.api.services import actor_of
from crypto_orders.domain.rate_limit import Policy, bucket_of_key
from crypto_orders.kit.http import Call
from crypto_orders.kit.problem import Problem
from crypto_orders.store.audit import Entry, Trail
from crypto_orders.store.connection import Pool
from crypto_orders.usecases import refused_actions
from crypto_orders.usecases.rate_limits import RateLimiter

ADMIN_ROUTES: Final = "/v1/admin/"

CUSTOMER_DENIALS: Final = Policy(10, 1 / 60)
"""A customer's key has no business here, and its holder is no colleague: ten rows at once and one a minute
tell that it tries; the rest is told to log and metric alone."""

_FORBIDDEN: Final = 403
_SERVER_ERRORS_FROM: Final = 500


class RefusedCalls:
    """What the API's group of routes tells of the calls that it refuses."""

    def __init__(self, pool: Pool, limiter: RateLimiter) -> None:
        self._pool = pool
        self._limiter = limiter

    async def keep(self, call: Call[Any, Principal, Any, Any], status: int, problem: Problem | None) -> None:
        """Keep a denial, or an action that was refused, in the audit trail.

        Nobody who is not known causes a row: without a valid key there is the log and the metrics. Neither
        does a look at something with filters that are wrong, nor what failed on our side.
        """
        if not call.is_known or not call.route.startswith(ADMIN_ROUTES) or status >= _SERVER_ERRORS_FROM:
            return
        principal = call.principal
        trail: Trail | None = call.noted
        is_action = call.method not in refused_actions.SAFE_METHODS or (trail and trail.entry)
        if status != _FORBIDDEN and not is_action:
            return
        tried = Entry(
            actor=actor_of(call),
            action=refused_actions.ACTION,
            target=f"{call.method} {call.route}",
            request=call.path_texts,
            account_id=principal.account_id,
        )
        result = "denied" if status == _FORBIDDEN else "refused"
        why = problem.slug if problem else str(status)
        if problem and "scope" in problem.extras:
            why = f"lacks {problem.extras['scope']}"
        if principal.kind == "customer" and not await self._may_grow(principal):
            refused_actions.tell(tried, result, why)
            return
        await refused_actions.keep(self._pool, tried, trail, result, why)

    async def _may_grow(self, principal: Principal) -> bool:
        told = await self._limiter.draw(f"denied:{bucket_of_key(principal.key_id)}", CUSTOMER_DENIALS)
        return told is None or told.granted
