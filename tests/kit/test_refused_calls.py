"""A group of routes is told of every call to it that is refused, whoever refuses it, and of nothing else."""

from typing import Any

from starlette.responses import PlainTextResponse

from crypto_orders.kit.application import HttpApp
from crypto_orders.kit.http import Call, Endpoint, RouteGroup
from crypto_orders.kit.problem import Problem
from tests.kit.serving import TYPE_BASE, serving

PATH = "/orders/{order_id:order_id}"
ORDER_ID = "ord_01m81q5xrefvsarpy8cngf6r6x"
AnyCall = Call[None, str, Any, Any]


class Refused:
    """What a group was told, as the hook of the group; it fails for calls that ask for it."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str | None, bool, dict[str, str]]] = []

    async def __call__(self, call: AnyCall, status: int, problem: Problem | None) -> None:
        self.told.append((status, problem.slug if problem else None, call.is_known, dict(call.path_texts)))
        if call.header("x-fail"):
            raise RuntimeError(call.route)


async def authenticate(call: AnyCall, scope: str) -> str:
    name = call.header("x-name")
    if name is None:
        raise Problem("unauthorized", "Say who you are.")
    call.principal = name
    if name == "viewer":
        raise Problem("forbidden", f"This needs {scope}.")
    return name


async def draw(call: AnyCall) -> PlainTextResponse:
    return PlainTextResponse("drawn", status_code=int(call.header("x-status") or 200))


async def test_a_group_is_told_of_its_refusals() -> None:
    refused = Refused()
    group: RouteGroup[None, str] = RouteGroup(
        deps=None,
        endpoints=(Endpoint(method="GET", path=PATH, handler=draw, scope="read"),),
        authenticate=authenticate,
        scopes=frozenset({"read"}),
        refused=refused,
    )
    async with serving(HttpApp([group], type_base=TYPE_BASE)) as served:
        whole = {"order_id": ORDER_ID}
        path = f"/orders/{ORDER_ID}"
        ann, viewer, fails = ("x-name", "ann"), ("x-name", "viewer"), ("x-fail", "1")
        conflict = ("x-status", "409")
        for headers, told in (
            ((), (401, "unauthorized", False, whole)),
            ((viewer,), (403, "forbidden", True, whole)),
            ((ann, conflict), (409, None, True, whole)),
            ((ann, conflict, fails), (409, None, True, whole)),
            ((viewer, fails), (403, "forbidden", True, whole)),
        ):
            assert (await served.request("GET", path, headers=headers)).status == told[0]
            assert refused.told.pop() == told
        assert (await served.request("GET", "/orders/odd", headers=(ann,))).status == 404
        assert refused.told.pop() == (404, "not-found", True, {})
        assert (await served.request("GET", path, headers=(ann,))).status == 200
        assert (await served.request("GET", "/nowhere", headers=(ann,))).status == 404
        assert (await served.request("DELETE", path)).status == 405
        assert refused.told == []
