"""The browser tests' own instruments find what they are there to find."""

import contextlib
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Page

from tests.browser.conftest import OpenPage
from tests.support.browser import LOOKS, PHONE, Guard, Look, axe, first_load_bytes, no_sideways_scroll
from tests.support.busy_days import BusyDays
from tests.support.service import Service, eventually

STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

GOOD = """
<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Fine</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,"></head>
<body><main><h1>Fine</h1><p>Nothing is wrong here.</p>{}</main></body></html>
"""

PAGES = {
    "/fine": "",
    "/inline-script": "<script>window.ran = true</script>",
    "/inline-handler": "<button onclick='window.ran = true'>Go</button>",
    "/inline-style": "<p style='color: red'>Red</p>",
    "/throws": "<script src='/throws.js'></script>",
    "/evaluates": "<script src='/evaluates.js'></script>",
    "/logs": "<script src='/logs.js'></script>",
    "/asks": "<script src='/asks.js'></script>",
    "/missing-script": "<script src='/nowhere.js'></script>",
    "/another-origin": "<img alt='' src='http://localhost:9/pixel.png'>",
    "/unnamed-image": "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>",
    "/heavy": "<script src='/heavy.js'></script>",
    "/pale": "<link rel='stylesheet' href='/pale.css'><p class='pale'>Hard to read.</p>",
    "/wide": "<link rel='stylesheet' href='/pale.css'><p class='wide'>Wide</p>",
    "/wide-inside": "<link rel='stylesheet' href='/pale.css'><div class='box'><p class='wide'>Wide</p></div>",
}

FILES = {
    "/throws.js": "null.field",
    "/evaluates.js": "eval('1 + 1')",
    "/logs.js": "console.error('it went wrong')",
    "/asks.js": "fetch('/conflict')",
    "/heavy.js": "//" + 50_000 * "x",
    "/pale.css": ".pale { color: #bbb; background: #fff } .wide { width: 900px } .box { overflow-x: auto }",
}

FOUND = {
    "/inline-script": "policy: script-src-elem blocked inline",
    "/inline-style": "policy: style-src-attr blocked inline",
    "/throws": "uncaught: ",
    "/evaluates": "policy: script-src blocked eval",
    "/logs": "console: it went wrong",
    "/asks": "/conflict 409",
    "/missing-script": "/nowhere.js 404",
    "/another-origin": "another origin: GET http://localhost:9/pixel.png",
}


async def answer(request: web.Request) -> web.Response:
    headers = {"Content-Security-Policy": STRICT}
    if request.path in PAGES:
        text = GOOD.format(PAGES[request.path])
        return web.Response(text=text, content_type="text/html", headers=headers)
    if request.path in FILES:
        kind = "text/css" if request.path.endswith(".css") else "text/javascript"
        return web.Response(text=FILES[request.path], content_type=kind)
    status = 409 if request.path == "/conflict" else 404
    return web.Response(text=GOOD.format("Not so."), content_type="text/html", status=status)


@contextlib.asynccontextmanager
async def serving() -> AsyncGenerator[str]:
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield site.name
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def origin() -> AsyncGenerator[str]:
    async with serving() as origin:
        yield origin


@pytest.mark.parametrize("look", LOOKS, ids=str)
async def test_nothing_is_found_on_a_good_page(origin: str, open_page: OpenPage, look: Look) -> None:
    page = await open_page(origin, look)
    await page.goto("/fine")
    await axe(page)
    await no_sideways_scroll(page)


@pytest.mark.parametrize(("path", "found"), FOUND.items(), ids=FOUND)
async def test_the_guard_finds(origin: str, open_page: OpenPage, guard: Guard, path: str, found: str) -> None:
    page = await open_page(origin)
    await page.goto(path, wait_until="networkidle")
    assert any(found in finding for finding in guard.findings), guard.findings
    guard.findings.clear()


async def test_the_guard_finds_a_handler_that_did_not_run(
    origin: str, open_page: OpenPage, guard: Guard
) -> None:
    page = await open_page(origin)
    await page.goto("/inline-handler")
    await page.get_by_role("button").click()
    assert await page.evaluate("window.ran") is None

    async def found() -> bool:
        return any("policy: script-src-attr blocked inline" in finding for finding in guard.findings)

    await eventually(found)
    guard.findings.clear()


async def test_an_answer_that_a_test_provokes_is_no_finding(
    origin: str, open_page: OpenPage, guard: Guard
) -> None:
    page = await open_page(origin)
    guard.allow(409)
    await page.goto("/asks", wait_until="networkidle")
    guard.assert_nothing_found()


async def test_a_page_may_say_that_there_is_none(origin: str, open_page: OpenPage, guard: Guard) -> None:
    page = await open_page(origin)
    shown = await page.goto("/nowhere", wait_until="networkidle")
    assert shown is not None
    assert shown.status == 404
    guard.assert_nothing_found()


@pytest.mark.parametrize(("path", "rule"), [("/unnamed-image", "image-alt"), ("/pale", "color-contrast")])
async def test_axe_finds(origin: str, open_page: OpenPage, path: str, rule: str) -> None:
    page = await open_page(origin)
    await page.goto(path)
    with pytest.raises(AssertionError, match=rule):
        await axe(page)


async def test_a_page_is_weighed_with_all_that_it_loads(origin: str, open_page: OpenPage) -> None:
    alone = await first_load_bytes(await open_page(origin), "/fine")
    with_script = await first_load_bytes(await open_page(origin), "/heavy")
    assert 500 < alone < 2_000
    assert 50_000 < with_script - alone < 52_000


async def test_what_is_wider_than_a_phone_is_named(origin: str, open_page: OpenPage) -> None:
    page = await open_page(origin, PHONE)
    await page.goto("/wide")
    with pytest.raises(AssertionError, match='class="wide"'):
        await no_sideways_scroll(page)
    await page.goto("/wide-inside")
    await no_sideways_scroll(page)


async def test_the_service_is_there_for_its_pages_with_orders_in_every_state(
    service: Service, page: Page, busy_days: BusyDays
) -> None:
    shown = await page.goto("/readyz")
    assert shown is not None
    assert shown.status == 200
    support = await service.admin()
    for status, order in busy_days.newest.items():
        reply = await support.get(f"/v1/admin/crypto-orders/{order.order_id}")
        assert reply.json["status"] == status
    flags = await support.get("/v1/admin/flags?state=open")
    assert [flag["order_id"] for flag in flags.json["data"]] == [busy_days.late.order_id]
