"""What operators' machines ask: is the process alive, can it work, what does it count, what does it serve."""

import hmac
import ipaddress
from dataclasses import dataclass
from typing import Any, Final

from msgspec import Struct
from starlette.responses import Response

from crypto_orders.kit import metrics
from crypto_orders.kit.http import PUBLIC, Answer, Call, Endpoint, RouteGroup
from crypto_orders.kit.problem import Problem
from crypto_orders.store import gauges
from crypto_orders.store.connection import ACQUIRE_TIMEOUT_SECONDS, Pool
from crypto_orders.store.failures import LOST

READY_STATEMENT_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationsServices:
    """What these endpoints work with. Without a token /metrics answers this machine alone."""

    pool: Pool
    metrics_token: str | None
    openapi: bytes
    sandbox: bool


class Alive(Struct, frozen=True):
    """The process answers."""

    status: str = "ok"


class Ready(Struct, frozen=True):
    """Whether the process can do its work; `sandbox` says that its payments are not real."""

    status: str
    sandbox: bool


_Call = Call[OperationsServices, Any, None, None]


async def live(_: _Call) -> Alive:
    """The process answers; nothing else is looked at."""
    return Alive()


async def ready(call: _Call) -> Answer:
    """The database answers, so that requests can be served."""
    try:
        async with call.deps.pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as conn:
            await conn.fetchval("SELECT 1", timeout=READY_STATEMENT_SECONDS)
    except (TimeoutError, *LOST):
        return Answer(
            Ready("database_unavailable", call.deps.sandbox), status=503, headers={"retry-after": "1"}
        )
    return Answer(Ready("ok", call.deps.sandbox))


async def show_metrics(call: _Call) -> Response:
    """Every metric of this process, and what is counted in the database, in Prometheus' text format."""
    if not _may_see_metrics(call):
        raise Problem(
            "unauthorized", "Send the metrics token as a bearer.", headers={"www-authenticate": "Bearer"}
        )
    async with call.deps.pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as conn:
        await gauges.refresh(conn)
    return Response(metrics.exposition(), headers={"content-type": metrics.EXPOSITION_MEDIA_TYPE})


def _may_see_metrics(call: _Call) -> bool:
    token = call.deps.metrics_token
    if token is None:
        return ipaddress.ip_address(call.remote_address).is_loopback
    sent = (call.header("authorization") or "").removeprefix("Bearer ")
    return hmac.compare_digest(sent.encode(), token.encode())


async def show_openapi(call: _Call) -> Response:
    """The OpenAPI document of this service."""
    return Response(call.deps.openapi, media_type="application/json")


def worker_routes(services: OperationsServices) -> RouteGroup[OperationsServices, Any]:
    """What a worker answers: whether it lives and can work, and what it counts."""
    return RouteGroup(deps=services, endpoints=_OF_EVERY_PROCESS)


_OF_EVERY_PROCESS: Final = (
    Endpoint(method="GET", path="/livez", handler=live, scope=PUBLIC, response=Alive, documented=False),
    Endpoint(method="GET", path="/readyz", handler=ready, scope=PUBLIC, response=Ready, documented=False),
    Endpoint(method="GET", path="/metrics", handler=show_metrics, scope=PUBLIC, documented=False),
)


def routes(services: OperationsServices) -> RouteGroup[OperationsServices, Any]:
    """The endpoints that need no key."""
    endpoints = (
        *_OF_EVERY_PROCESS,
        Endpoint(method="GET", path="/openapi.json", handler=show_openapi, scope=PUBLIC, documented=False),
    )
    return RouteGroup(deps=services, endpoints=endpoints)
