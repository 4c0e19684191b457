"""Choosing a coin on the payment page: one address for an order, whoever chooses and whatever fails."""

import asyncio
import html
import re
from typing import Any

import pytest

from tests.support.payer import end_window, order_in, path_of
from tests.support.service import Reply, Service, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def choose(service: Service, order: dict[str, Any], coin: str) -> Reply:
    """Send the form, and stay with its own answer."""
    url = service.base_url + path_of(service, order) + "/coin"
    async with service.session.post(url, data={"coin": coin}, allow_redirects=False) as reply:
        return Reply(reply.status, await reply.read(), reply.headers)


async def page_of(service: Service, order: dict[str, Any], query: str = "") -> str:
    reply = await service.client().get(path_of(service, order) + query)
    assert reply.status == 200
    return reply.body.decode()


async def made_for(service: Service, order: dict[str, Any]) -> list[dict[str, Any]]:
    """The payments that the provider made for an order."""
    return (await service.sandbox.get(f"/sandbox/payments?order_id={order['order_id']}")).json["data"]


async def attempts_of(service: Service, order: dict[str, Any]) -> list[tuple[str, str]]:
    rows = await service.rows(
        "SELECT pay_currency, state FROM provider_attempts WHERE order_id = $1 ORDER BY attempt_no",
        order["order_id"],
    )
    return [(row["pay_currency"], row["state"]) for row in rows]


async def test_a_checkout_without_a_coin_leaves_it_to_the_payer(service: Service) -> None:
    customer, order = await order_in(service, "choose")
    assert order["provider"] == "stub"
    assert order["pay_currency"] is None
    listed = await page_of(service, order)
    assert listed.index("coin=btc") < listed.index("coin=eth") < listed.index("coin=ada")
    assert "Tron (TRC-20)" in listed
    chosen = await choose(service, order, "ltc")
    assert chosen.status == 303
    assert chosen.headers["location"] == path_of(service, order)
    (made,) = await made_for(service, order)
    body = await page_of(service, order)
    assert f'data-copy="{made["pay_address"]}"' in body
    assert "litecoin:" in body
    shown = (await customer.get(f"/v1/billing/crypto-orders/{order['order_id']}")).json
    assert shown["payment"]["payment_address"] == made["pay_address"]
    assert await attempts_of(service, order) == [("ltc", "minted")]


async def test_a_chosen_coin_can_be_paid(service: Service) -> None:
    _, order = await order_in(service, "choose")
    await choose(service, order, "sol")
    (made,) = await made_for(service, order)
    await service.sandbox.post(f"/sandbox/payments/{made['payment_id']}/pay", {})
    await service.becomes(order["order_id"], "paid")


async def test_coins_are_found_by_name_ticker_and_network(service: Service) -> None:
    _, order = await order_in(service, "choose")
    found = await page_of(service, order, "?q=tether+TRON")
    assert "coin=usdttrc20" in found
    assert "coin=usdterc20" not in found
    assert "coin=btc" not in found
    assert "No coin matches &lt;b&gt;." in await page_of(service, order, "?q=%3Cb%3E")


async def test_a_coin_is_confirmed_with_what_it_costs_about(service: Service) -> None:
    _, order = await order_in(service, "choose")
    body = await page_of(service, order, "?coin=ltc")
    assert "0.9875 LTC" in body
    assert 'method="post"' in body
    assert await made_for(service, order) == []
    assert "This coin is not on offer." in await page_of(service, order, "?coin=nonesuch")


async def test_twins_make_one_address(service: Service) -> None:
    _, order = await order_in(service, "choose")
    await service.sandbox.post("/sandbox/faults", {"api_delay_ms": 300})
    try:
        coins = ["btc", "eth", "ltc", "btc", "doge"]
        answers = await asyncio.gather(*(choose(service, order, coin) for coin in coins))
    finally:
        await service.sandbox.post("/sandbox/faults", {"api_delay_ms": 0})
    assert [answer.status for answer in answers] == [303] * 5
    (made,) = await made_for(service, order)
    assert made["pay_address"] in await page_of(service, order)
    assert len(await attempts_of(service, order)) == 1


TAKEN = "was chosen for this order before, and the coin cannot be changed any more."


async def test_a_second_choice_changes_nothing_and_is_told_so(service: Service) -> None:
    _, order = await order_in(service, "pay", coin="btc")
    second = await choose(service, order, "eth")
    assert second.status == 303
    told = (await service.client().get(second.headers["location"])).body.decode()
    assert f'<bdi dir="ltr">Bitcoin (BTC)</bdi> {TAKEN}' in told
    # The notice outlives the page's next look.
    asked = html.unescape(re.findall(r'hx-get="([^"]+)"', told)[0])
    assert (await service.client().get(asked)).status == 204
    news = await service.client().get(re.sub(r"seen=[^&]*&?", "", asked))
    assert TAKEN in news.body.decode()
    same = await choose(service, order, "btc")
    assert TAKEN not in (await service.client().get(same.headers["location"])).body.decode()
    (made,) = await made_for(service, order)
    assert made["pay_currency"] == "btc"
    assert await attempts_of(service, order) == [("btc", "minted")]


@pytest.mark.parametrize("coin", ["nonesuch", "", "usd", "<script>", "BTC\x00"])
async def test_what_the_provider_does_not_list_is_not_asked_for(service: Service, coin: str) -> None:
    _, order = await order_in(service, "choose")
    answer = await choose(service, order, coin)
    assert answer.status == 400
    assert b"<script>" not in answer.body
    assert await attempts_of(service, order) == []


async def test_a_refused_coin_is_told_and_another_may_be_chosen(service: Service) -> None:
    _, order = await order_in(service, "choose")
    assert (await choose(service, order, "dgb")).status == 303
    body = await page_of(service, order)
    assert "cannot be paid with at the moment. Choose another coin." in body
    assert "coin=dgb" not in body
    again = await choose(service, order, "dgb")
    assert again.status == 409
    assert b"This order cannot be paid in" in again.body
    assert (await choose(service, order, "btc")).status == 303
    assert await attempts_of(service, order) == [("dgb", "refused"), ("btc", "minted")]
    assert 'data-stage="pay"' in await page_of(service, order)


async def test_a_price_below_the_minimum_is_told_in_plain_words(service: Service) -> None:
    admin = await service.admin()
    await admin.call(
        "PUT", "/v1/admin/products/tiny", {"price_cents": 150, "price_currency": "USD", "active": True}
    )
    customer = await service.customer()
    order = await customer.check_out(product="tiny", pay_currency="btc")
    assert order["provider"] == "stub"
    assert "below the smallest amount that can be paid in" in await page_of(service, order)
    await choose(service, order, "ltc")
    assert 'data-stage="pay"' in await page_of(service, order)


async def test_a_choice_that_surely_failed_is_tried_again(service: Service) -> None:
    _, order = await order_in(service, "choose")
    await page_of(service, order)
    await service.sandbox.post("/sandbox/faults", {"api_status": 429})
    try:
        assert (await choose(service, order, "btc")).status == 303
        body = await page_of(service, order)
    finally:
        await service.sandbox.post("/sandbox/faults", {"api_status": None})
    assert "The payment provider did not answer. Nothing has been charged" in body
    assert (await choose(service, order, "eth")).status == 303
    assert await attempts_of(service, order) == [("btc", "not_made"), ("eth", "minted")]


async def test_a_choice_of_unknown_outcome_is_not_repeated_for_20_seconds(service: Service) -> None:
    _, order = await order_in(service, "choose")
    await service.sandbox.post("/sandbox/faults", {"api_garbage": True})
    try:
        await choose(service, order, "btc")
    finally:
        await service.sandbox.post("/sandbox/faults", {"api_garbage": False})
    assert await attempts_of(service, order) == [("btc", "unknown")]
    assert 'data-stage="preparing"' in await page_of(service, order)
    assert (await choose(service, order, "eth")).status == 303
    assert await attempts_of(service, order) == [("btc", "unknown")]


async def test_a_worker_completes_what_a_crash_left_half_chosen(service: Service) -> None:
    _, order = await order_in(service, "choose")
    # As a process leaves it that is killed between its attempt and the answer, half a minute ago.
    await service.rows(
        "WITH a AS (INSERT INTO provider_attempts (account_id, order_id, attempt_no, pay_currency, state,"
        " started_at) SELECT account_id, order_id, 1, 'ltc', 'sent', now() - interval '30 seconds'"
        " FROM orders WHERE order_id = $1)"
        " UPDATE orders SET pay_currency = 'ltc', mint_due_at = now() WHERE order_id = $1",
        order["order_id"],
    )

    async def is_minted() -> bool:
        return 'data-stage="pay"' in await page_of(service, order)

    await eventually(is_minted)
    (made,) = await made_for(service, order)
    assert made["pay_currency"] == "ltc"


async def test_nothing_is_minted_after_the_window(service: Service) -> None:
    _, order = await order_in(service, "choose")
    await end_window(service, order)
    assert (await choose(service, order, "btc")).status == 303
    assert 'data-stage="over"' in await page_of(service, order)
    assert await made_for(service, order) == []


async def test_nothing_is_minted_for_a_cancelled_order(service: Service) -> None:
    customer, order = await order_in(service, "choose")
    await customer.post(f"/v1/billing/crypto-orders/{order['order_id']}/cancel")
    assert (await choose(service, order, "btc")).status == 303
    assert await made_for(service, order) == []
