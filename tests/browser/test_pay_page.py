"""The payment page on a phone: every state of a payment, as a payer sees, hears and handles it."""

import os
import re
from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import Any, Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from crypto_orders.checkout.languages import CODES
from crypto_orders.store.connection import open_pool
from tests.browser.conftest import OpenPage
from tests.conftest import ClusterAddress
from tests.support.browser import (
    DEADLINE_MS,
    PHONE,
    Guard,
    axe,
    first_load_bytes,
    no_sideways_scroll,
    on_a_phone,
)
from tests.support.cluster import create_database, drop_database
from tests.support.notices import payment_of
from tests.support.payer import STAGES, control, is_asked, last_heard, order_in, path_of, time_passes
from tests.support.service import Service, running

FIRST_LOAD_BYTES_MAX = 100_000

Orders = dict[str, dict[str, Any]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(
    browser: Browser,  # noqa: ARG001 (where there is none, nothing need be started)
    cluster: ClusterAddress,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncGenerator[Service]:
    """The whole service whose checkouts leave the coin to the payer unless they name one."""
    directory = tmp_path_factory.mktemp("service")
    name = f"browser_{os.getpid()}_{directory.name}".replace("-", "_")
    database_url = cluster.dsn.replace("@/crypto_orders?", f"@/{name}?")
    await create_database(cluster.superuser_dsn, name)
    pool = await open_pool(database_url, size=8, application_name="test")
    try:
        async with running(database_url, pool, directory, default_pay_currency="") as started:
            yield started
    finally:
        pool.terminate()
        await drop_database(cluster.superuser_dsn, name)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def orders(service: Service) -> Orders:
    """An order in every stage, to be looked at only; with a memo the one to pay is the longest."""
    return {
        stage: (await order_in(service, stage, coin="xlm"))[1] for stage in STAGES if stage != "partial"
    } | {"partial": (await order_in(service, "partial"))[1]}


async def open_order(service: Service, page: Page, stage: str, coin: str = "usdttrc20") -> dict[str, Any]:
    """A new order in a stage, opened."""
    _, order = await order_in(service, stage, coin)
    await page.goto(path_of(service, order))
    return order


def plain(amount: Any) -> str:
    """An amount without idle zeros, as the page writes it."""
    return f"{Decimal(amount).normalize():f}"


async def ends_in(service: Service, order: dict[str, Any], seconds: float) -> None:
    """Have an order's pay window end soon."""
    await service.rows(
        f"UPDATE orders SET window_ends_at = clock_timestamp() + interval '{seconds} seconds'"
        " WHERE order_id = $1",
        order["order_id"],
    )


async def test_every_state_is_for_everybody_in_the_light_and_in_the_dark(
    service: Service, orders: Orders, open_page: OpenPage
) -> None:
    page = await open_page(service.base_url, PHONE)
    paid, choose = path_of(service, orders["paid"]), path_of(service, orders["choose"])
    for path in (
        *(path_of(service, order) for order in orders.values()),
        f"{paid}/receipt",
        f"{choose}?coin=usdterc20",
        f"{choose}?q=nonesuch",
        f"{paid}x",
    ):
        await look_at(page, path, "light", "dark")


async def test_right_to_left_is_for_everybody(service: Service, orders: Orders, open_page: OpenPage) -> None:
    page = await open_page(service.base_url, PHONE)
    for stage in ("pay", "choose", "partial", "paid"):
        await look_at(page, path_of(service, orders[stage]) + "?lang=ar", "dark")


async def look_at(page: Page, path: str, *themes: Literal["light", "dark"]) -> None:
    """Open a page that fits the window, and have axe look at it in some themes."""
    await page.goto(path)
    await no_sideways_scroll(page)
    for theme in themes:
        await page.emulate_media(color_scheme=theme)
        await axe(page)


@pytest.mark.parametrize("language", CODES)
async def test_every_state_fits_a_phone_in_every_language(
    service: Service, orders: Orders, open_page: OpenPage, language: str
) -> None:
    page = await open_page(service.base_url, PHONE)
    for stage, order in orders.items():
        await page.goto(f"{path_of(service, order)}?lang={language}")
        await expect(page.locator("#live")).to_have_attribute("data-stage", stage)
        await expect(page.locator("html")).to_have_attribute("lang", language)
        await expect(page.locator("html")).to_have_attribute("dir", "rtl" if language == "ar" else "ltr")
        await no_sideways_scroll(page)


@on_a_phone
async def test_a_payment_turns_paid_before_its_payers_eyes(service: Service, page: Page) -> None:
    order = await open_order(service, page, "pay")
    await expect(page.get_by_text(order["payment_address"])).to_be_visible()
    await expect(page.get_by_text("updates by itself")).to_be_visible()
    await expect(page.get_by_text("Scripts are off")).to_be_hidden()
    await page.evaluate("window.stayed = true")
    await control(service, order, "pay", confirm=False)
    await expect(page.get_by_role("heading", name="Your payment was seen")).to_be_visible()
    await expect(page.get_by_text(order["payment_address"])).to_have_count(0)
    await control(service, order, "status", payment_status="finished")
    await expect(page.get_by_role("heading", name="Paid. Thank you!")).to_be_visible()
    await expect(page.locator("#announcer")).to_have_text("Paid. Paid. Thank you!")
    await expect(page).to_have_title("Paid. Thank you! · Crypto Orders")
    await expect(page.get_by_text("updates by itself")).to_have_count(0)
    await expect(page.get_by_role("link", name="Check again")).to_have_count(0)
    assert await page.evaluate("window.stayed")
    # What is over is not asked about any more.
    await expect(page.locator("[hx-get]")).to_have_count(0)
    await page.get_by_role("link", name="Show the receipt").click()
    await expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
    await expect(page.get_by_text(await payment_of(service, order))).to_be_visible()
    await expect(page.get_by_role("button", name="Print")).to_be_visible()
    await page.emulate_media(media="print")
    await expect(page.get_by_role("button", name="Print")).to_be_hidden()
    await expect(page.get_by_role("navigation")).to_be_hidden()


@on_a_phone
async def test_a_silent_provider_is_told_of_until_it_answers(service: Service, page: Page) -> None:
    order = await open_order(service, page, "pay")
    silent = page.get_by_text("has not answered for a while")
    await service.sandbox.post("/sandbox/faults", {"api_status": 503})
    try:
        await last_heard(service, order)
        await page.reload()
        await expect(silent).to_be_hidden()
        await is_asked(service, order)
        await time_passes(service, order, "20 seconds")
        await expect(silent).to_be_visible(timeout=DEADLINE_MS)
    finally:
        await service.sandbox.post("/sandbox/faults", {"api_status": None})
    await time_passes(service, order, "1 minute")
    # It takes one look to have the question put, and another one to see the answer.
    await expect(silent).to_be_hidden(timeout=DEADLINE_MS)
    await expect(page.get_by_text(order["payment_address"])).to_be_visible()


@on_a_phone
async def test_too_little_is_told_with_what_came_and_what_was_due(service: Service, page: Page) -> None:
    order = await open_order(service, page, "pay")
    await control(service, order, "pay", amount="40.5")
    await expect(page.get_by_role("heading", name="Less than the amount due has arrived")).to_be_visible()
    sums = page.locator(".sums")
    await expect(sums).to_contain_text("40.5 USDT")
    await expect(sums).to_contain_text(f"{plain(order['pay_amount'])} USDT")
    await expect(page.get_by_text("Send nothing more")).to_be_visible()
    await expect(page.get_by_text(f"quote order {order['order_id']}")).to_be_visible()


@on_a_phone
async def test_a_coin_is_found_and_chosen_by_keyboard_alone(service: Service, page: Page) -> None:
    order = await open_order(service, page, "choose")
    search = page.get_by_role("searchbox", name="Search coins and networks")
    await search.focus()
    await page.keyboard.type("lite")
    await expect(page.locator("#coins li")).to_have_count(1)
    await expect(search).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Litecoin")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Pay with Litecoin (LTC)")).to_be_visible()
    await expect(page.get_by_text("About 0.9875 LTC at the present rate")).to_be_visible()
    button = page.get_by_role("button", name="Continue with Litecoin (LTC)")
    while not await button.evaluate("button => button === document.activeElement"):
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("#live")).to_have_attribute("data-stage", "pay")
    await expect(page.get_by_role("img", name="QR code of the payment")).to_be_visible()
    await expect(page.get_by_role("link", name="Open in a wallet")).to_have_attribute(
        "href", re.compile(r"^litecoin:\w+\?amount=0\.9875$")
    )
    assert order["payment_address"] is None


async def test_everything_works_without_scripts(service: Service, open_page: OpenPage) -> None:
    page = await open_page(service.base_url, PHONE, java_script_enabled=False)
    order = await open_order(service, page, "choose")
    await page.get_by_role("searchbox").fill("tron tether")
    await page.get_by_role("button", name="Search").click()
    await page.get_by_role("link", name="Tether USD (USDT)").click()
    await page.get_by_role("button", name="Continue with").click()
    await expect(page.locator(".address")).to_have_count(1)
    # What only a script can do is neither offered nor promised.
    await expect(page.get_by_role("button")).to_have_count(0)
    await expect(page.get_by_text("updates by itself")).to_be_hidden()
    await expect(page.get_by_role("timer")).to_be_hidden()
    # A clock that stands still would hide that the time is over: the moment itself is told.
    await expect(
        page.get_by_text(re.compile(r"^Pay before \d{4}-\d\d-\d\d \d\d:\d\d UTC\.$"))
    ).to_be_visible()
    await expect(page.get_by_text("Send nothing after this time.")).to_be_visible()
    await control(service, order, "pay")
    await service.becomes(order["order_id"], "paid")
    await page.get_by_role("link", name="Check again").click()
    await expect(page.get_by_role("heading", name="Paid. Thank you!")).to_be_visible()


@on_a_phone
async def test_amount_address_and_memo_are_copied_as_they_are(
    service: Service, orders: Orders, page: Page
) -> None:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    order = orders["pay"]
    await page.goto(path_of(service, order) + "?lang=de")
    for label, text in (
        ("Betrag", plain(order["pay_amount"])),
        ("Adresse", order["payment_address"]),
        ("Memo / Tag", order["payin_extra_id"]),
    ):
        await page.get_by_role("button", name=f"{label} kopieren").click()
        await expect(page.locator("#announcer")).to_have_text("Kopiert")
        assert await page.evaluate("navigator.clipboard.readText()") == text


@on_a_phone
async def test_the_address_goes_when_the_clock_runs_out_even_when_nobody_answers(
    service: Service, page: Page
) -> None:
    _, order = await order_in(service, "pay")
    await page.route("**/status*", lambda route: route.fulfill(status=204))
    await ends_in(service, order, 4)
    await page.goto(path_of(service, order))
    await expect(page.get_by_text(order["payment_address"])).to_be_visible()
    await expect(page.get_by_role("timer")).to_have_text(re.compile(r"00:0\d"))
    await expect(page.get_by_role("heading", name="The time to pay is over")).to_be_visible()
    await expect(page.get_by_text(order["payment_address"])).to_have_count(0)
    await expect(page.locator(".qr")).to_have_count(0)
    await axe(page)


@on_a_phone
async def test_the_server_ends_the_window_for_an_open_page(service: Service, page: Page) -> None:
    order = await open_order(service, page, "pay")
    # This page's own clock shows an hour still.
    await ends_in(service, order, 0)
    await expect(page.locator("#live")).to_have_attribute("data-stage", "over")
    await expect(page.get_by_text(order["payment_address"])).to_have_count(0)


@on_a_phone
async def test_looking_again_takes_no_focus_unless_the_place_is_gone(service: Service, page: Page) -> None:
    order = await open_order(service, page, "pay")
    button = page.get_by_role("button", name="Copy Address")
    await button.focus()
    async with page.expect_response(lambda response: "/status" in response.url) as looked:
        pass
    assert (await looked.value).status == 204
    await expect(button).to_be_focused()
    await control(service, order, "pay")
    await expect(page.locator("#live")).to_have_attribute("data-stage", "paid")
    await expect(page.locator("#live")).to_be_focused()


@on_a_phone
async def test_a_service_that_fails_for_a_while_leaves_the_page_as_it_is(
    service: Service, page: Page, guard: Guard
) -> None:
    guard.allow(503)
    order = await open_order(service, page, "pay")
    lost = page.get_by_text("The connection is lost.")
    await expect(lost).to_be_hidden()

    async def fail(route: Route) -> None:
        await route.fulfill(status=503, content_type="text/html", body="<p>gone</p>")

    await page.route("**/status*", fail)
    await expect(lost).to_be_visible()
    await expect(page.get_by_text(order["payment_address"])).to_be_visible()
    await expect(page.get_by_text("gone", exact=True)).to_have_count(0)
    await page.unroute("**/status*")
    await expect(lost).to_be_hidden()
    await page.route("**/status*", lambda route: route.abort())
    await expect(lost).to_be_visible()
    await page.unroute("**/status*")
    await control(service, order, "pay")
    await expect(page.get_by_role("heading", name="Paid. Thank you!")).to_be_visible()
    # A lost connection is what this is about, and htmx tells the console of it.
    guard.findings[:] = [found for found in guard.findings if "htmx:error: Failed to fetch" not in found]


@pytest.mark.parametrize("stage", ["pay", "choose", "paid"])
async def test_a_first_load_is_light(
    service: Service, orders: Orders, open_page: OpenPage, stage: str
) -> None:
    page = await open_page(service.base_url, PHONE)
    weight = await first_load_bytes(page, path_of(service, orders[stage]))
    assert weight < FIRST_LOAD_BYTES_MAX


@on_a_phone
async def test_what_is_touched_is_large_enough(service: Service, orders: Orders, page: Page) -> None:
    for stage in ("pay", "choose", "paid"):
        await page.goto(path_of(service, orders[stage]))
        small = await page.evaluate(
            "() => [...document.querySelectorAll('main .button, main button, main li a, footer a')]"
            ".filter(e => e.offsetParent).map(e => [e.textContent.trim(), e.getBoundingClientRect()])"
            ".filter(([, box]) => box.width < 24 || box.height < 24).map(([text]) => text)"
        )
        assert small == []
