"""Groups of pages: forms, errors as pages, their headers, and compression."""

import asyncio
import gzip
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest
from msgspec import Struct
from starlette.responses import HTMLResponse

from crypto_orders.kit import server
from crypto_orders.kit.application import HttpApp
from crypto_orders.kit.compression import accepts_gzip
from crypto_orders.kit.http import PUBLIC, Call, Endpoint, RouteGroup
from crypto_orders.kit.problem import Problem, bad_request

LONG = "<p>" + "long " * 1000


class Note(Struct, frozen=True):
    """A form with two fields."""

    text: str | None = None
    times: int = 1


async def _write(call: Call[None, None, Note, None]) -> HTMLResponse:
    if call.body.text == "bad":
        detail = "Not that word."
        raise bad_request(detail)
    return HTMLResponse(f"{call.body.text!r} {call.body.times}", headers={"x-group": "page"})


async def _read(call: Call[None, None, None, Note]) -> HTMLResponse:
    return HTMLResponse(f"{call.query.text!r}{LONG}")


def _show(call: Call[None, None, Any, Any], problem: Problem) -> HTMLResponse:
    if call.header("x-undrawable"):
        raise KeyError(problem.slug)
    return HTMLResponse(f"<h1>{problem.slug} on {call.route}</h1>", status_code=problem.status)


GROUP: RouteGroup[None, None] = RouteGroup(
    deps=None,
    endpoints=(
        Endpoint(method="POST", path="/desk/notes", handler=_write, scope=PUBLIC, body=Note, from_page=True),
        Endpoint(method="GET", path="/desk", handler=_read, scope=PUBLIC, query=Note, from_page=True),
    ),
    prefix="/desk",
    response_headers={"x-group": "desk"},
    show_problem=_show,
)


@pytest.fixture
async def client() -> AsyncGenerator[aiohttp.ClientSession]:
    """A client of a server with one group of pages."""
    app = HttpApp([GROUP], type_base="http://errors")
    bound = server.bind("127.0.0.1", 0)
    host, port = server.address_of(bound)
    running = server.make_server(app, type_base="http://errors")
    task = asyncio.create_task(running.serve(sockets=[bound]))
    async with aiohttp.ClientSession(f"http://{host}:{port}", auto_decompress=False) as session:
        yield session
    running.should_exit = True
    await task


async def test_a_form_is_read_and_its_blank_fields_count_as_left_out(client: aiohttp.ClientSession) -> None:
    async with client.post("/desk/notes", data={"text": "", "times": "3", "other": "x"}) as reply:
        assert await reply.text() == "None 3"
        assert reply.headers.getall("x-group") == ["page"]


async def test_the_lines_of_a_text_area_end_with_line_feeds(client: aiohttp.ClientSession) -> None:
    async with client.post("/desk/notes", data={"text": "a\r\nb"}) as reply:
        assert await reply.text() == r"'a\nb' 1"


async def test_another_kind_of_body_is_refused_with_a_page(client: aiohttp.ClientSession) -> None:
    async with client.post("/desk/notes", json={"text": "a"}) as reply:
        assert (reply.status, await reply.text()) == (400, "<h1>bad-request on /desk/notes</h1>")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/desk/notes", 400), ("GET", "/desk/nowhere", 404), ("PUT", "/desk/notes", 405)],
)
async def test_whatever_fails_under_the_prefix_is_a_page(
    client: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with client.request(method, path, data={"text": "bad"}) as reply:
        assert reply.status == status
        assert reply.headers["content-type"].startswith("text/html")
        assert reply.headers["x-group"] == "desk"
        assert "x-request-id" in reply.headers


async def test_an_error_whose_page_cannot_be_drawn_is_still_answered(client: aiohttp.ClientSession) -> None:
    async with client.get("/desk/nowhere", headers={"x-undrawable": "yes"}) as reply:
        assert (reply.status, reply.content_type) == (404, "application/problem+json")
        assert (await reply.json())["type"] == "http://errors/not-found"


async def test_elsewhere_errors_stay_problem_details(client: aiohttp.ClientSession) -> None:
    async with client.get("/desks") as reply:
        assert (reply.status, reply.content_type) == (404, "application/problem+json")


async def test_a_page_is_compressed_for_those_who_take_it(client: aiohttp.ClientSession) -> None:
    async with client.get("/desk?text=", headers={"accept-encoding": "gzip"}) as reply:
        assert reply.headers["content-encoding"] == "gzip"
        assert gzip.decompress(await reply.read()).decode() == f"None{LONG}"
    async with client.get("/desk", headers={"accept-encoding": "identity"}) as reply:
        assert "content-encoding" not in reply.headers
        assert reply.headers["vary"] == "accept-encoding"


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        (None, False),
        ("gzip, deflate, br", True),
        ("br;q=1.0, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("*", True),
        ("xgzip", False),
    ],
)
def test_who_takes_gzip(header: str | None, takes: bool) -> None:
    assert accepts_gzip(header) is takes
