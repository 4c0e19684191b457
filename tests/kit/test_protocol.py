"""The protocol by bytes: framing that cannot be read in two ways, bounds of size, and clocks."""

import asyncio
import random
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from starlette.responses import StreamingResponse

from crypto_orders.kit.application import HttpApp
from crypto_orders.kit.http import PUBLIC, Call, Endpoint, RouteGroup
from crypto_orders.kit.protocol import Limits
from tests.kit.serving import TYPE_BASE, Connection, Served, serving

# One server for all: starting and stopping one takes longer than most of what is asked of it.
pytestmark = pytest.mark.asyncio(loop_scope="module")

AnyCall = Call[None, None, bytes, None]

# Short clocks, so that a test that waits for one is over soon. No test fails by being slow.
QUICK = Limits(head_seconds_max=0.3, idle_seconds_max=1, write_stall_seconds_max=0.5, linger_seconds=0.5)


async def hello(call: AnyCall) -> dict[str, object]:
    return {"hello": call.header("x-name"), "query": call.scope["query_string"].decode()}


async def echo(call: AnyCall) -> dict[str, int]:
    return {"bytes": len(call.body)}


async def flood(call: AnyCall) -> StreamingResponse:
    del call

    async def parts() -> AsyncGenerator[bytes]:
        while True:
            yield b"x" * 65536

    return StreamingResponse(parts())


@asynccontextmanager
async def server(limits: Limits | None = None) -> AsyncGenerator[Served]:
    endpoints = [
        Endpoint(method="GET", path="/hello", handler=hello, scope=PUBLIC),
        Endpoint(method="POST", path="/hello", handler=hello, scope=PUBLIC),
        Endpoint(method="POST", path="/echo", handler=echo, scope=PUBLIC, body=bytes, body_seconds_max=0.5),
        Endpoint(method="GET", path="/flood", handler=flood, scope=PUBLIC),
    ]
    app = HttpApp([RouteGroup(deps=None, endpoints=endpoints)], type_base=TYPE_BASE)
    async with serving(app, limits) as served:
        yield served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncGenerator[Served]:
    async with server() as served:
        yield served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def quick() -> AsyncGenerator[Served]:
    async with server(QUICK) as quick:
        yield quick


HEAD = b"POST /echo HTTP/1.1\r\nHost: a\r\n"
NEXT = b"GET /hello HTTP/1.1\r\nHost: a\r\nX-Name: poisoned\r\n\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
        HEAD + b"Content-Length: 4\r\nContent-Length: 0\r\n\r\n",
        HEAD + b"Content-Length: 4, 4\r\n\r\nabcd",
        HEAD + b"Content-Length: +4\r\n\r\nabcd",
        HEAD + b"Content-Length: 0x4\r\n\r\nabcd",
        HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"X-Folded: a\r\n b\r\n\r\n",
        HEAD + b"X-Bare: a\rb\r\n\r\n",
        HEAD + b"X-Nul: a\x00b\r\n\r\n",
        HEAD + b": nameless\r\n\r\n",
        b"POST /echo HTTP/1.1\nHost: a\n\n",
        b"POST /echo HTTP/1.1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /echo HTTP/2.0\r\nHost: a\r\n\r\n",
        b"POST /echo\r\n\r\n",
        b"POST /ec ho HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\nabcd",
    ],
)
async def test_ambiguous_requests_are_refused_and_what_follows_is_not_read(
    served: Served, request_bytes: bytes
) -> None:
    connection = await served.connect()
    await connection.send(request_bytes + NEXT)
    reply = await connection.reply()
    assert reply.status == 400
    assert reply.slug == "bad-request"
    assert reply.headers["connection"] == "close"
    assert await connection.rest() == b""


async def test_a_head_of_17_kb_is_refused_in_one_piece_or_many(served: Served) -> None:
    big = b"GET /hello HTTP/1.1\r\nHost: a\r\nX-Big: " + b"a" * 17_000
    whole, parts = await served.connect(), await served.connect()
    await whole.send(big + b"\r\n\r\n")
    assert "16384 bytes" in (await whole.reply()).json["detail"]
    for at in range(0, len(big), 3_000):
        await parts.send(big[at : at + 3_000])
        await asyncio.sleep(0.02)
    reply = await parts.reply()
    assert reply.slug == "bad-request"
    assert await parts.rest() == b""


async def test_too_many_headers_are_refused(served: Served) -> None:
    connection = await served.connect()
    await connection.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 101 + b"\r\n")
    assert "100 headers" in (await connection.reply()).json["detail"]


@pytest.mark.parametrize(
    "method", ["FROB", "CONNECT", "get", "TRACE", "OPTIONS", "DELETE", "PROPFIND", "M-SEARCH"]
)
async def test_every_other_method_is_405_with_all_that_are_allowed(served: Served, method: str) -> None:
    reply = await served.request(method, "/hello?x=1")
    assert reply.status == 405
    assert reply.slug == "method-not-allowed"
    assert reply.headers["allow"] == "GET, HEAD, POST"
    assert (await served.request(method, "/nowhere")).slug == "not-found"


async def test_trailers_do_not_become_headers(served: Served) -> None:
    connection = await served.connect()
    await connection.send(
        b"POST /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\na\r\n0\r\nX-Name: trailer\r\n\r\n"
    )
    assert (await connection.reply()).json["hello"] is None


async def test_a_broken_chunk_ends_the_connection_without_a_call(served: Served) -> None:
    connection = await served.connect()
    await connection.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await asyncio.sleep(0.05)
    await connection.send(b"zz\r\n")
    assert (await connection.reply()).slug == "bad-request"
    assert await connection.rest() == b""


async def test_pipelined_requests_are_answered_in_order_before_garbage_ends_it(served: Served) -> None:
    connection = await served.connect()
    one = b"GET /hello?n=%d HTTP/1.1\r\nHost: a\r\n\r\n"
    await connection.send(one % 1 + one % 2 + one % 3 + b"GARBAGE\r\n\r\n")
    assert [(await connection.reply()).json["query"] for _ in range(3)] == ["n=1", "n=2", "n=3"]
    assert await connection.rest() == b""


async def test_a_flood_of_pipelined_requests_is_cut_off(served: Served) -> None:
    connection = await served.connect()
    await connection.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
    answers = (await connection.rest()).count(b"HTTP/1.1 200 OK")
    assert answers <= 20


async def test_a_body_of_the_largest_size_leaves_the_connection_usable(served: Served) -> None:
    connection = await served.connect()
    for _ in range(3):
        await connection.send(HEAD + b"Content-Length: 65536\r\n\r\n" + b"a" * 65536)
        assert (await connection.reply()).json == {"bytes": 65536}


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 65537\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n10001\r\n"]
)
async def test_one_byte_more_is_413_and_the_connection_ends(served: Served, framing: bytes) -> None:
    connection = await served.connect()
    await connection.send(
        HEAD + framing + b"a" * 65537 + (b"\r\n0\r\n\r\n" if b"chunked" in framing else b"")
    )
    assert (await connection.reply()).slug == "payload-too-large"


async def test_an_endless_body_is_413_without_reading_it_all(quick: Served) -> None:
    connection = await quick.connect()
    await connection.send(HEAD + b"Content-Length: 1000000000\r\n\r\n")
    sender = asyncio.create_task(_send_forever(connection))
    reply = await connection.reply()
    assert reply.slug == "payload-too-large"
    await connection.rest()
    connection.close()
    sender.cancel()


async def _send_forever(connection: Connection) -> None:
    while True:
        await connection.send(b"a" * 65536)
        await asyncio.sleep(0)


async def test_expecting_100_is_answered_by_413_before_the_body_is_sent(served: Served) -> None:
    connection = await served.connect()
    await connection.send(HEAD + b"Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n")
    assert (await connection.reply()).slug == "payload-too-large"


async def test_expecting_100_gets_it(served: Served) -> None:
    connection = await served.connect()
    await connection.send(HEAD + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
    assert (await connection.reply(head_only=True)).status == 100
    await connection.send(b"abcd")
    assert (await connection.reply()).json == {"bytes": 4}


async def test_an_unread_body_of_a_route_that_needs_none_ends_the_connection(quick: Served) -> None:
    connection = await quick.connect()
    await connection.send(b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc")
    assert (await connection.reply()).status == 200
    await connection.send(NEXT)
    assert await connection.rest() == b""


async def test_a_short_body_that_comes_after_its_answer_is_skipped(served: Served) -> None:
    connection = await served.connect()
    for _ in range(3):
        await connection.send(b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n")
        assert (await connection.reply()).json["hello"] is None
        await connection.send(NEXT[:50])
    await connection.send(b"GET /hello HTTP/1.1\r\nHost: a\r\nX-Name: next\r\n\r\n")
    assert (await connection.reply()).json["hello"] == "next"


async def test_a_short_body_that_never_comes_ends_the_connection(quick: Served) -> None:
    connection = await quick.connect()
    await connection.send(b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n")
    assert (await connection.reply()).status == 200
    dripping = asyncio.create_task(_drip(connection, b"a" * 49))
    assert await connection.rest() == b""
    dripping.cancel()


async def test_an_offer_to_upgrade_is_ignored(served: Served) -> None:
    connection = await served.connect()
    await connection.send(
        b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + NEXT
    )
    assert (await connection.reply()).status == 200
    assert await connection.rest() == b""


async def test_http_1_0_is_answered_and_closed(served: Served) -> None:
    connection = await served.connect()
    await connection.send(b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert (await connection.reply()).status == 200
    assert await connection.rest() == b""


async def test_nothing_announces_a_product_or_a_version(served: Served) -> None:
    for reply in (await served.request("GET", "/hello"), await served.request("GET", "/nowhere")):
        assert "server" not in reply.headers
        assert "x-powered-by" not in reply.headers
        assert "uvicorn" not in str(reply).lower()


PIECES = [
    b"GET /hello HTTP/1.1\r\n",
    b"POST /echo HTTP/1.1\r\n",
    b"POST /hello HTTP/1.0\r\n",
    b"FROB /hello HTTP/1.1\r\n",
    b"GET /%00%ff/x?a=%zz HTTP/1.1\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n",
    b"Host: a\r\n",
    b"Host: b\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 70000\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Expect: 100-continue\r\n",
    b"abc",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"\x00",
    b"\xff\xfe",
    b" ",
    b":",
    b"\n",
    b"X: y\r\n z\r\n",
    b"x" * 5000,
    b"Authorization: Bearer \xe9\r\n",
    b"X-Request-Id: \r\n",
]


async def test_no_bytes_bring_the_server_down(quick: Served) -> None:
    failures: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    chance = random.Random(7)

    async def speak() -> bytes:
        connection = await quick.connect()
        for _ in range(chance.randint(1, 3)):
            await connection.send(b"".join(chance.choices(PIECES, k=chance.randint(1, 8))))
            await asyncio.sleep(0)
        connection.finish()
        return await connection.rest()

    for _ in range(10):
        for answer in await asyncio.gather(*(speak() for _ in range(40))):
            statuses = set(re.findall(rb"HTTP/1\.1 (\d{3})", answer))
            assert statuses <= {b"100", b"200", b"400", b"404", b"405", b"413"}
    loop.set_exception_handler(None)
    assert failures == []
    assert (await quick.request("GET", "/hello")).status == 200


# -- silent and dripping clients: each is cut off; the test asserts that it ends, not when --------------


async def test_a_silent_connection_is_closed(quick: Served) -> None:
    assert await (await quick.connect()).rest() == b""


async def test_a_head_that_drips_is_closed_with_a_reason(quick: Served) -> None:
    connection = await quick.connect()
    dripping = asyncio.create_task(
        _drip(connection, b"GET /hello HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 10_000)
    )
    reply = await connection.reply()
    dripping.cancel()
    assert reply.slug == "bad-request"
    assert "did not arrive" in reply.json["detail"]
    assert await connection.rest() == b""


async def _drip(connection: Connection, data: bytes, pause_seconds: float = 0.02) -> None:
    for byte in data:
        await connection.send(bytes([byte]))
        await asyncio.sleep(pause_seconds)


async def test_blank_lines_do_not_keep_a_connection_open(quick: Served) -> None:
    connection = await quick.connect()
    await connection.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
    await connection.reply()
    dripping = asyncio.create_task(_drip(connection, b"\r\n" * 10_000))
    assert await connection.rest() == b""
    dripping.cancel()


async def test_an_idle_connection_is_closed(quick: Served) -> None:
    connection = await quick.connect()
    await connection.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
    await connection.reply()
    assert await connection.rest() == b""


@pytest.mark.parametrize("sent", [b"", b"abc"])
async def test_a_body_that_does_not_come_is_refused(quick: Served, sent: bytes) -> None:
    connection = await quick.connect()
    await connection.send(HEAD + b"Content-Length: 100\r\n\r\n" + sent)
    reply = await connection.reply()
    assert reply.slug == "bad-request"
    assert "did not arrive" in reply.json["detail"]
    assert await connection.rest() == b""


async def test_a_body_that_drips_is_refused(quick: Served) -> None:
    connection = await quick.connect()
    await connection.send(HEAD + b"Content-Length: 50000\r\n\r\n")
    dripping = asyncio.create_task(_drip(connection, b"a" * 50_000))
    reply = await connection.reply()
    assert reply.slug == "bad-request"
    await connection.rest()
    dripping.cancel()


async def test_a_client_that_does_not_read_is_cut_off(quick: Served) -> None:
    connection = await quick.connect()
    await connection.send(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await connection.reply(head_only=True)).status == 200
    # Nothing is read while the server fills every buffer; in the end it hangs up.
    await asyncio.sleep(1.5)
    await connection.rest()


async def test_requests_are_answered_beside_many_idle_connections(served: Served) -> None:
    idle = [await served.connect() for _ in range(300)]
    for connection in idle[::2]:
        await connection.send(b"GET /hel")
    replies = await asyncio.gather(*(served.request("GET", "/hello") for _ in range(20)))
    assert [reply.status for reply in replies] == [200] * 20


async def test_a_stopping_server_finishes_what_it_answers() -> None:
    async with server() as served:
        connection, idle = await served.connect(), await served.connect()
        await connection.send(HEAD + b"Content-Length: 4\r\n\r\nab")
        # The half of the request is with the server once another one was answered.
        assert (await served.request("GET", "/hello")).status == 200
        served.stop()
        assert await idle.rest() == b""
        await connection.send(b"cd")
        assert (await connection.reply()).json == {"bytes": 4}
        assert await connection.rest() == b""
