"""The application over real sockets: ids, headers, errors, scopes, bodies, streams and its log."""

import asyncio
import io
import json
from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest
import pytest_asyncio
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.staticfiles import StaticFiles

from crypto_orders.kit import log, metrics
from crypto_orders.kit.application import HttpApp
from crypto_orders.kit.http import (
    PUBLIC,
    Answer,
    Call,
    Endpoint,
    RouteGroup,
    UndeclaredScopeError,
)
from crypto_orders.kit.problem import Problem, not_found, unavailable
from tests.kit.serving import TYPE_BASE, Reply, Served, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDER_ID = "ord_01m81q5xrefvsarpy8cngf6r6x"
WEBHOOK_ID = "whk_0192aa00-0000-7000-8000-000000000000"


class Note(msgspec.Struct):
    note: Annotated[str, msgspec.Meta(max_length=5)] | None = None


class Product(msgspec.Struct):
    product: str


class Limit(msgspec.Struct):
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50


class Amount(msgspec.Struct):
    amount: Decimal


Services = dict[str, asyncio.Event]
AnyCall = Call[Services, str, Any, Any]


async def show(call: AnyCall) -> dict[str, object]:
    return {"order_id": call.text("order_id"), "by": call.principal}


async def absent(call: AnyCall) -> None:
    assert call.uuid("webhook_id")
    raise not_found()


async def amount(call: AnyCall) -> Amount:
    call.response_headers["x-own"] = "1"
    return Amount(Decimal("1.5E-7"))


async def create(call: AnyCall) -> Answer:
    return Answer({"product": call.body.product}, headers={"idempotent-replayed": "1"})


async def put_note(call: AnyCall) -> dict[str, object]:
    return {"note": call.body.note}


async def remove(call: AnyCall) -> None:
    del call


async def listing(call: AnyCall) -> dict[str, int]:
    return {"limit": call.query.limit}


async def text(call: AnyCall) -> PlainTextResponse:
    call.response_headers["x-own"] = "1"
    return PlainTextResponse("receipt", headers={"cache-control": "public"})


async def stream(call: AnyCall) -> StreamingResponse:
    async def parts() -> AsyncGenerator[bytes]:
        yield b"first\r\n"
        call.deps["streaming"].set()
        if call.header("x-break"):
            message = "the database went away"
            raise RuntimeError(message)
        yield b"second\r\n"

    return StreamingResponse(parts(), media_type="text/csv; charset=utf-8")


async def explode(call: AnyCall) -> None:
    del call
    message = "SELECT secret FROM orders"
    raise RuntimeError(message)


async def away(call: AnyCall) -> None:
    del call
    detail = "The provider does not answer."
    raise unavailable(detail, 7)


async def hang(call: AnyCall) -> dict[str, bool]:
    await call.deps["go"].wait()
    return {"ok": True}


async def authenticate(call: AnyCall, scope: str) -> str:
    """Keys here are the names of the scopes they have."""
    call.response_headers["ratelimit-limit"] = "120"
    if call.header("authorization") is None:
        slug = "unauthorized"
        raise Problem(slug, "Send a key.", headers={"www-authenticate": "Bearer"})
    if call.header("authorization") != f"Bearer {scope}":
        slug = "forbidden"
        raise Problem(slug, f"Needs {scope}.")
    call.log_keys["account_id"] = "acc_1"
    return scope


def endpoint(method: str, path: str, handler: Any, **declared: Any) -> Endpoint[Services, str, Any, Any]:
    return Endpoint(method=method, path=path, handler=handler, **{"scope": PUBLIC, **declared})


ENDPOINTS = [
    endpoint("GET", "/v1/orders/{order_id:order_id}", show, scope="read"),
    endpoint("GET", "/v1/webhooks/{webhook_id:whk}", absent),
    endpoint("GET", "/v1/amount", amount),
    endpoint("POST", "/v1/orders", create, body=Product, status=201, body_error="validation-failed"),
    endpoint("POST", "/v1/secret", create, body=Product, scope="write"),
    endpoint("PATCH", "/v1/note", put_note, body=Note),
    endpoint("DELETE", "/v1/note", remove, status=204),
    endpoint("GET", "/v1/orders", listing, query=Limit),
    endpoint("GET", "/v1/deliveries", listing, query=Limit, query_error="validation-failed"),
    endpoint("GET", "/v1/receipt.txt", text),
    endpoint("GET", "/v1/orders.csv", stream),
    endpoint("GET", "/v1/explode", explode),
    endpoint("GET", "/v1/away", away),
    endpoint("GET", "/v1/hang", hang),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    files = tmp_path_factory.mktemp("static")
    (files / "style.css").write_text("body{}")
    deps = {"go": asyncio.Event(), "streaming": asyncio.Event()}
    group = RouteGroup(
        deps=deps, endpoints=ENDPOINTS, authenticate=authenticate, scopes=frozenset({"read", "write"})
    )
    app = HttpApp(
        [group], type_base=TYPE_BASE, mounts={"/static": StaticFiles(directory=files)}, in_flight_max=3
    )
    async with serving(app) as served:
        served.deps = deps
        yield served


async def get(served: Served, path: str, *headers: tuple[str, str], bearer: str | None = None) -> Reply:
    return await served.request("GET", path, headers=headers, bearer=bearer)


async def test_an_answer_is_json_with_exact_numbers_and_the_handlers_headers(served: Served) -> None:
    reply = await get(served, "/v1/amount")
    assert (reply.status, reply.body) == (200, b'{"amount":0.00000015}')
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-own"] == "1"
    assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/amount",
        "/v1/nowhere",
        "/v1/explode",
        "/v1/receipt.txt",
        "/v1/orders.csv",
        f"/v1/orders/{ORDER_ID}",
        "/%761/amount",
    ],
)
async def test_nothing_under_v1_may_be_kept_by_caches(served: Served, path: str) -> None:
    assert (await get(served, path)).headers["cache-control"] == "no-store, private"


@pytest.mark.parametrize(
    "given", ["abc", "req-1", "0192aa00-0000-7000-8000-000000000000", "a" * 128, "trace:1/2=="]
)
async def test_a_sane_request_id_is_kept(served: Served, given: str) -> None:
    for path in ("/v1/amount", "/v1/nowhere"):
        assert (await get(served, path, ("x-request-id", given))).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a" * 129, "a b", 'a"b', "a\tb", "<script>", "é"])
async def test_an_odd_request_id_is_replaced(served: Served, given: str) -> None:
    assert (
        (await get(served, "/v1/amount", ("x-request-id", given))).headers["x-request-id"].startswith("req_")
    )


async def test_two_request_ids_are_replaced_by_one(served: Served) -> None:
    reply = await get(served, "/v1/amount", ("x-request-id", "a"), ("x-request-id", "b"))
    assert reply.headers["x-request-id"].startswith("req_")


async def test_every_request_has_another_id(served: Served) -> None:
    assert len({(await get(served, "/v1/amount")).headers["x-request-id"] for _ in range(5)}) == 5


async def test_a_scope_is_asked_for_and_the_principal_given_on(served: Served) -> None:
    path = f"/v1/orders/{ORDER_ID}"
    assert (await get(served, path)).slug == "unauthorized"
    assert (await get(served, path)).headers["www-authenticate"] == "Bearer"
    assert (await get(served, path, bearer="write")).slug == "forbidden"
    assert (await get(served, path, bearer="read")).json == {"order_id": ORDER_ID, "by": "read"}


async def test_headers_set_before_an_error_are_sent_with_it(served: Served) -> None:
    assert (await get(served, f"/v1/orders/{ORDER_ID}")).headers["ratelimit-limit"] == "120"


@pytest.mark.parametrize(
    "segment", ["x", "ord_", ORDER_ID.upper(), ORDER_ID + "0", "%00", "..%2F", "%FF", "'%20or%201=1--"]
)
async def test_a_malformed_id_is_answered_as_an_absent_one(served: Served, segment: str) -> None:
    absent_reply = await get(served, f"/v1/webhooks/{WEBHOOK_ID}", ("x-request-id", "same"))
    malformed = await get(served, f"/v1/orders/{segment}", ("x-request-id", "same"), bearer="read")
    assert absent_reply.slug == "not-found"
    assert (malformed.status, malformed.body) == (absent_reply.status, absent_reply.body)


async def test_an_unknown_path_is_404_and_another_method_405(served: Served) -> None:
    assert (await get(served, "/v1/orders/")).slug == "not-found"
    assert (await get(served, "/v1/amount/x")).slug == "not-found"
    reply = await served.request("PUT", "/v1/note")
    assert (reply.slug, reply.headers["allow"]) == ("method-not-allowed", "DELETE, PATCH")


async def test_head_is_get_without_the_body(served: Served) -> None:
    head, full = await served.request("HEAD", "/v1/amount"), await get(served, "/v1/amount")
    assert head.headers["content-length"] == full.headers["content-length"]
    assert (await served.request("HEAD", "/v1/nowhere")).status == 404


async def test_head_does_not_begin_a_stream(served: Served) -> None:
    served.deps["streaming"].clear()
    assert (await served.request("HEAD", "/v1/orders.csv")).headers[
        "content-type"
    ] == "text/csv; charset=utf-8"
    assert not served.deps["streaming"].is_set()


async def test_no_content_has_none(served: Served) -> None:
    reply = await served.request("DELETE", "/v1/note", body=b"{")
    assert (reply.status, reply.body) == (204, b"")
    assert "content-type" not in reply.headers


async def test_a_body_of_the_wrong_kind_is_answered_as_the_endpoint_declares(served: Served) -> None:
    json_headers = (("content-type", "application/json"),)
    reply = await served.request("POST", "/v1/orders", body=b"{}", headers=json_headers)
    assert reply.slug == "validation-failed"
    assert reply.json["issues"] == {"formErrors": [], "fieldErrors": {"product": ["Required"]}}
    reply = await served.request("PATCH", "/v1/note", body=b'{"note":"123456"}', headers=json_headers)
    assert reply.slug == "bad-request"
    assert reply.json["detail"] == "note: Expected `str` of length <= 5."
    assert (await served.request("POST", "/v1/orders", body=b"{", headers=json_headers)).slug == "bad-request"
    assert (await served.request("POST", "/v1/orders")).slug == "validation-failed"
    assert (await served.request("PATCH", "/v1/note")).json == {"note": None}


async def test_a_created_answer_has_its_status_and_headers(served: Served) -> None:
    reply = await served.request("POST", "/v1/orders", body=b'{"product":"p","price_cents":1}')
    assert (reply.status, reply.json) == (201, {"product": "p"})
    assert reply.headers["idempotent-replayed"] == "1"


async def test_a_key_is_checked_before_a_body_is_read(served: Served) -> None:
    assert (await served.request("POST", "/v1/secret", body=b"{")).slug == "unauthorized"
    assert (await served.request("POST", "/v1/secret", body=b"{", bearer="write")).slug == "bad-request"


async def test_a_wrong_query_is_answered_as_the_endpoint_declares(served: Served) -> None:
    assert (await get(served, "/v1/orders?limit=7&x=1")).json == {"limit": 7}
    assert (await get(served, "/v1/orders?limit=101")).slug == "bad-request"
    assert (await get(served, "/v1/deliveries?limit=")).json["issues"]["fieldErrors"].keys() == {"limit"}


async def test_a_failure_tells_nothing_but_the_request_id(served: Served) -> None:
    reply = await get(served, "/v1/explode")
    assert (reply.status, reply.slug) == (500, "internal")
    assert b"SELECT" not in reply.body


async def test_what_will_pass_is_503_with_a_time(served: Served) -> None:
    reply = await get(served, "/v1/away")
    assert (reply.status, reply.slug, reply.headers["retry-after"]) == (503, "internal", "7")


async def test_a_text_answer_keeps_its_type_and_gets_the_common_headers(served: Served) -> None:
    reply = await get(served, "/v1/receipt.txt")
    assert reply.body == b"receipt"
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["x-own"] == "1"


async def test_a_stream_that_fails_midway_ends_the_connection_unfinished(served: Served) -> None:
    connection = await served.connect()
    await connection.send(b"GET /v1/orders.csv HTTP/1.1\r\nHost: a\r\nX-Break: 1\r\n\r\n")
    received = await connection.rest()
    assert b"first\r\n" in received
    assert not received.endswith(b"0\r\n\r\n")
    assert (await get(served, "/v1/orders.csv")).body == b"first\r\nsecond\r\n"


async def test_files_are_served_from_mounts_and_their_errors_are_problems(served: Served) -> None:
    assert (await get(served, "/static/style.css")).body == b"body{}"
    assert (await get(served, "/static/other.css")).slug == "not-found"
    assert (await get(served, "/static/../test_application.py")).slug == "not-found"
    assert (await served.request("POST", "/static/style.css")).slug == "method-not-allowed"
    assert (await get(served, "/static")).slug == "not-found"


async def test_more_requests_at_once_than_can_be_served_are_told_to_come_back(served: Served) -> None:
    hanging = [asyncio.create_task(get(served, "/v1/hang")) for _ in range(3)]
    reply = await get(served, "/v1/amount")
    while reply.status == 200:
        reply = await get(served, "/v1/amount")
    assert (reply.status, reply.slug, reply.headers["retry-after"]) == (503, "internal", "1")
    served.deps["go"].set()
    assert [answer.status for answer in await asyncio.gather(*hanging)] == [200, 200, 200]
    assert (await get(served, "/v1/amount")).status == 200


async def test_one_line_tells_each_request_by_its_route_and_nothing_of_its_text(served: Served) -> None:
    stream = io.StringIO()
    log.configure(stream=stream)
    try:
        await get(served, f"/v1/orders/{ORDER_ID}?key=canary", ("x-request-id", "req-7"), bearer="read")
        await get(served, "/v1/canary-path/canary", ("x-request-id", "req-8"))
        await get(served, "/v1/explode", ("x-request-id", "req-9"))
        await served.request("POST", "/v1/orders", body=b'{"product":"canary"}')
    finally:
        log.configure(level="critical")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    answered = [line for line in lines if line["event"] == "request_answered"]
    first = answered[0]
    assert first.pop("ms") >= 0
    assert first.pop("time")
    assert first == {
        "level": "info", "event": "request_answered", "request_id": "req-7", "method": "GET",
        "route": "/v1/orders/{order_id}", "status": 200, "account_id": "acc_1",
    }  # fmt: skip
    assert [(line["route"], line["status"]) for line in answered[1:]] == [
        ("(unmatched)", 404), ("/v1/explode", 500), ("/v1/orders", 201),
    ]  # fmt: skip
    failed = [line for line in lines if line["event"] == "request_failed"]
    assert [line["request_id"] for line in failed] == ["req-9"]
    assert "canary" not in stream.getvalue()


async def test_requests_are_counted_by_route_method_and_status(served: Served) -> None:
    def counted() -> float:
        labels = {"route": "/v1/amount", "method": "GET", "status": "200"}
        return metrics.REGISTRY.get_sample_value("crypto_orders_http_requests_total", labels) or 0

    before = counted()
    await get(served, "/v1/amount")
    assert counted() == before + 1
    await served.request("FROB", "/v1/amount")
    exposition = metrics.exposition().decode()
    assert 'method="OTHER"' in exposition
    assert "FROB" not in exposition


async def test_a_route_without_a_scope_fails_at_start_up() -> None:
    with pytest.raises(UndeclaredScopeError, match="GET /v1/x declares no scope"):
        Endpoint(method="GET", path="/v1/x", handler=show)


async def test_a_route_with_an_unknown_scope_fails_at_start_up() -> None:
    odd = endpoint("GET", "/v1/x", show, scope="raed")
    with pytest.raises(UndeclaredScopeError, match="unknown scope: raed"):
        RouteGroup(deps={}, endpoints=[odd], authenticate=authenticate, scopes=frozenset({"read"}))


async def test_a_route_that_needs_a_key_needs_somebody_who_checks_it() -> None:
    closed = endpoint("GET", "/v1/x", show, scope="read")
    with pytest.raises(UndeclaredScopeError):
        RouteGroup(deps={}, endpoints=[closed], scopes=frozenset({"read"}))


async def test_a_route_with_an_unknown_problem_fails_at_start_up() -> None:
    with pytest.raises(TypeError, match="unknown problems"):
        endpoint("GET", "/v1/x", show, problems=("not-fuond",))
