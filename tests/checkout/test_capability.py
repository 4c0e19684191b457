"""The address of a payment page is a capability: what it opens, for how long, and where it never shows up."""

import asyncio
import io
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from crypto_orders.domain import pay_link
from crypto_orders.kit import log
from crypto_orders.kit.sealing import Sealer
from tests.support.payer import order_in, path_of
from tests.support.service import SEALING_KEY, Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

AGE = """
WITH e AS (UPDATE order_events SET at = at - $2::interval WHERE order_id = $1)
UPDATE orders SET created_at = created_at - $2::interval, window_ends_at = window_ends_at - $2::interval
 WHERE order_id = $1
"""


@pytest_asyncio.fixture(loop_scope="module")
async def logged() -> AsyncGenerator[io.StringIO]:
    """What the service logs while a test runs."""
    stream = io.StringIO()
    log.configure(stream=stream)
    yield stream
    log.configure(level="critical")


async def grow_old(service: Service, order: dict[str, Any], age: str) -> None:
    """Let an order have happened so much earlier."""
    await service.rows(AGE.replace("$2::interval", f"interval '{age}'"), order["order_id"])


async def test_the_address_is_the_same_for_every_replay(service: Service) -> None:
    customer = await service.customer()
    first = await customer.check_out("key-1", pay_currency="btc")
    again = await customer.check_out("key-1", pay_currency="btc")
    assert again["checkout_url"] == first["checkout_url"]


@pytest.mark.parametrize("place", ["", "/status", "/receipt", "/receipt.pdf"])
async def test_a_forged_address_leads_nowhere(service: Service, place: str) -> None:
    _, order = await order_in(service, "pay")
    good = path_of(service, order)
    other = order["order_id"].removeprefix("ord_")
    last = "a" if good[-1] != "a" else "b"
    for forged in (
        good[:-1] + last,
        good[:-1],
        good + "a",
        "/pay/" + good[5:].upper(),
        f"/pay/{other}",
        f"/pay/{'0' * 26}{good[-26:]}",
        "/pay/%00",
        "/pay/" + "a" * 500,
        "/pay/%FF",
        "/pay/" + good[5:] + "%ED%A0%80",
        "/pay/%D9%A0" + good[6:],
    ):
        reply = await service.client().get(forged + place)
        assert reply.status == 404, forged
        assert reply.headers["content-type"].startswith("text/html")
        assert b"There is no such payment page" in reply.body
        assert order["payment_address"].encode() not in reply.body


async def test_an_address_made_under_the_previous_key_still_opens_its_page(service: Service) -> None:
    _, order = await order_in(service, "pay")
    old = Sealer(SEALING_KEY).derive_all(pay_link.PURPOSE)
    token = pay_link.pay_token(order["order_id"], b"another key")
    assert pay_link.order_of_token(token, (*old, b"another key")) == order["order_id"]
    assert pay_link.order_of_token(token, old) is None


@pytest.mark.parametrize("stage", ["expired", "failed", "cancelled"])
async def test_an_ended_order_has_its_page_for_thirty_days(service: Service, stage: str) -> None:
    _, order = await order_in(service, stage)
    path = path_of(service, order)
    await grow_old(service, order, "29 days 23 hours")
    assert (await service.client().get(path)).status == 200
    await grow_old(service, order, "1 hour")
    for place in ("", "/status", "/receipt"):
        assert (await service.client().get(path + place)).status == 404
    assert (await service.client().call("POST", path + "/coin")).status == 404


async def test_an_open_order_has_its_page_however_old_it_is(service: Service) -> None:
    _, order = await order_in(service, "partial")
    await grow_old(service, order, "90 days")
    assert (await service.client().get(path_of(service, order))).status == 200


async def test_a_page_shows_no_account_note_or_key(service: Service) -> None:
    customer, order = await order_in(service, "paid")
    admin = await service.admin()
    path = f"/v1/billing/crypto-orders/{order['order_id']}"
    await customer.call("PATCH", path, {"customer_note": "a note of the customer's"})
    note = {"internal_note": "a note of support's"}
    await admin.call("PATCH", f"/v1/admin/crypto-orders/{order['order_id']}/internal-note", note)
    key = customer.headers["Authorization"].removeprefix("Bearer ")
    for place in ("", "/status", "/receipt", "/receipt.pdf"):
        body = (await service.client().get(path_of(service, order) + place)).body
        for secret in (str(customer.account_id), "a note of", key, "A customer"):
            assert secret.encode() not in body


async def test_every_answer_is_kept_listed_and_told_nowhere(service: Service) -> None:
    _, order = await order_in(service, "pay")
    path = path_of(service, order)
    for place, status in (("", 200), ("/status", 200), ("/receipt", 404), ("/nowhere", 404), ("x", 404)):
        reply = await service.client().get(path + place)
        assert reply.status == status
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert "noindex" in reply.headers["x-robots-tag"]
        assert reply.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        assert "set-cookie" not in reply.headers
    assert b'<meta name="robots" content="noindex' in (await service.client().get(path)).body


async def test_a_wrong_method_is_a_page_too(service: Service) -> None:
    _, order = await order_in(service, "pay")
    reply = await service.client().call("DELETE", path_of(service, order))
    assert reply.status == 405
    assert reply.headers["allow"] == "GET, HEAD"
    assert reply.headers["content-type"].startswith("text/html")
    assert (await service.client().call("HEAD", path_of(service, order))).body == b""


async def test_logs_and_metrics_never_hold_an_address(service: Service, logged: io.StringIO) -> None:
    _, order = await order_in(service, "choose")
    path = path_of(service, order)
    token = path.removeprefix("/pay/")
    client = service.client()
    for method, place in (
        ("GET", ""),
        ("GET", "?coin=ltc"),
        ("GET", "?coin=a&coin=b"),
        ("GET", "/status"),
        ("GET", "/nowhere"),
        ("GET", "/receipt"),
        ("DELETE", ""),
        ("GET", "%FF"),
        ("POST", "/coin"),
        ("GET", "x"),
    ):
        await client.call(method, path + place)
    url = service.base_url + path + "/coin"
    for coin in ("dgb", "btc"):
        async with service.session.post(url, data={"coin": coin}):
            pass
    await service.rows("ALTER TABLE order_routes RENAME TO gone")
    try:
        assert (await client.get(path)).status >= 500
    finally:
        await service.rows("ALTER TABLE gone RENAME TO order_routes")
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    routes = {line["route"] for line in lines if line["event"] == "request_answered"}
    assert {"/pay/{token}", "/pay/{token}/status", "/pay/{token}/coin"} <= routes
    mac = token[-26:]
    assert mac not in logged.getvalue()
    metrics = (await client.get("/metrics")).body.decode()
    assert 'route="/pay/{token}"' in metrics
    assert mac not in metrics


async def test_a_failure_of_ours_is_a_page_that_says_nothing_of_it(service: Service) -> None:
    _, order = await order_in(service, "pay")
    await service.rows("ALTER TABLE order_routes RENAME TO gone")
    try:
        reply = await service.client().get(path_of(service, order), Accept_Language="de")
    finally:
        await service.rows("ALTER TABLE gone RENAME TO order_routes")
    assert reply.status == 500
    assert "Bei uns ist etwas fehlgeschlagen" in reply.body.decode()
    assert b"order_routes" not in reply.body


async def test_hostile_names_are_shown_as_they_are_written(service: Service) -> None:
    hostile = '"><img src=x onerror=alert(1)>{{7*7}}</bdi>'
    for stage in ("pay", "choose", "paid"):
        _, order = await order_in(service, stage)
        await service.rows(f"UPDATE orders SET product = '{hostile}' WHERE order_id = $1", order["order_id"])
        for place in ("", "/receipt") if stage == "paid" else ("",):
            body = (await service.client().get(path_of(service, order) + place)).body.decode()
            assert "<img" not in body
            assert "&lt;img src=x onerror=alert(1)&gt;{{7*7}}" in body


@pytest.mark.parametrize("query", ["?q=%3Cscript%3E", "?coin=%22%3E%3Cscript%3E", "?lang=%3Cscript%3E"])
async def test_hostile_queries_are_shown_as_they_are_written(service: Service, query: str) -> None:
    _, order = await order_in(service, "choose")
    reply = await service.client().get(path_of(service, order) + query)
    assert reply.status == 200
    assert b"<script>" not in reply.body


@pytest.mark.parametrize("query", ["?coin=a&coin=b", "?" + "a=1&" * 100 + "q=1&q=2", "?q=%FF"])
async def test_a_query_that_cannot_be_read_is_a_page_too(service: Service, query: str) -> None:
    _, order = await order_in(service, "choose")
    reply = await service.client().get(path_of(service, order) + query + "&lang=es")
    assert reply.status == 400
    assert '<html lang="es"' in reply.body.decode()


async def test_a_language_is_kept_from_page_to_page(service: Service) -> None:
    _, order = await order_in(service, "paid")
    path = path_of(service, order)
    reply = await service.client().get(path + "?lang=ar", Accept_Language="de")
    body = reply.body.decode()
    assert '<html lang="ar" dir="rtl"' in body
    assert f'href="{path}/receipt?lang=ar"' in body
    assert '<bdi dir="ltr">79.00 USD</bdi>' in body
    german = (await service.client().get(path, Accept_Language="de")).body.decode()
    assert '<html lang="de" dir="ltr"' in german
    assert f'href="{path}/receipt"' in german
    assert "accept-language" in reply.headers["vary"]


async def test_pages_carry_nothing_inline_and_nothing_of_others(service: Service) -> None:
    for stage in ("pay", "choose", "partial", "paid"):
        _, order = await order_in(service, stage)
        body = (await service.client().get(path_of(service, order))).body.decode()
        assert " style=" not in body
        assert "<style" not in body
        assert "hx-on" not in body
        assert "<script>" not in body
        outside = [part for part in body.split('"') if part.startswith(("http:", "https:", "//"))]
        assert outside == []


async def test_polling_does_not_wait_for_a_silent_provider(service: Service) -> None:
    _, order = await order_in(service, "pay")
    await service.sandbox.post("/sandbox/faults", {"api_delay_ms": 20_000})
    try:
        async with asyncio.timeout(10):
            reply = await service.client().get(path_of(service, order) + "/status")
    finally:
        await service.sandbox.post("/sandbox/faults", {"api_delay_ms": 0})
    assert reply.status == 200
