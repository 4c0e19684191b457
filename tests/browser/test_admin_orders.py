"""Support works orders in a real browser: finds one, reads it, replays, notes, resolves, exports."""

import asyncio
import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, Route, expect

from tests.browser.conftest import OpenPage, SignIn
from tests.support.browser import DESKTOP_DARK, PHONE, Guard, axe, no_sideways_scroll
from tests.support.seeded import put_flag
from tests.support.service import Service, eventually

ORDERS = "/admin/orders"


async def started(service: Service, count: int = 1) -> list[tuple[str, str]]:
    """Orders of one new account that wait for their payer, the oldest first, each with its payment."""
    customer = await service.customer()
    made: list[tuple[str, str]] = []
    for number in range(count):
        order: Any = await customer.check_out(f"k-{number}")
        rows = await service.rows("SELECT payment_id FROM orders WHERE order_id = $1", order["order_id"])
        made.append((order["order_id"], rows[0]["payment_id"]))
    return made


async def account_of(service: Service, order_id: str) -> Any:
    """Whose order it is."""
    rows = await service.rows("SELECT account_id FROM orders WHERE order_id = $1", order_id)
    return rows[0]["account_id"]


def drawer(page: Page) -> Locator:
    """The open drawer."""
    return page.get_by_role("dialog", name="Order")


async def test_an_order_is_found_by_its_payment_and_worked_by_keyboard(
    service: Service, page: Page, sign_in: SignIn
) -> None:
    made = await started(service, 3)
    (first, payment_id), _, (last, _) = made
    account_id = (await service.rows("SELECT account_id FROM orders WHERE order_id = $1", first))[0][
        "account_id"
    ]
    await sign_in(page, "support")
    await page.goto(ORDERS)
    await page.keyboard.press("/")
    await expect(page.get_by_label("Search", exact=True)).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.type(payment_id)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**{ORDERS}?payment_id={payment_id}")
    await expect(page.locator("tr[data-order]")).to_have_count(1)
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await expect(drawer(page)).to_contain_text(first)
    await expect(drawer(page)).to_contain_text("Order started")
    await page.keyboard.press("Escape")
    await expect(drawer(page)).to_have_count(0)
    await expect(page.locator(f'tr[data-order="{first}"] a[data-row]')).to_be_focused()
    await expect(page).to_have_url(f"{service.base_url}{ORDERS}?payment_id={payment_id}")

    await page.goto(f"{ORDERS}?account_id=acc_{account_id}&order={last}")
    await expect(drawer(page)).to_contain_text(last)
    await page.keyboard.press("j")
    await expect(drawer(page)).to_contain_text(made[1][0])
    await page.keyboard.press("j")
    await expect(drawer(page)).to_contain_text(first)
    await expect(page).to_have_url(re.compile(f"order={first}$"))
    await expect(page.locator("tr[aria-selected=true]")).to_have_attribute("data-order", first)
    await page.go_back()
    await expect(drawer(page)).to_contain_text(made[1][0])
    await page.reload()
    await expect(drawer(page)).to_contain_text(made[1][0])


async def test_a_dropped_notification_is_replayed_with_the_providers_answer_beside_ours(
    service: Service, page: Page, sign_in: SignIn
) -> None:
    ((order_id, payment_id),) = await started(service)
    await service.sandbox.post("/sandbox/faults", {"drop_ipns": 1})
    try:
        assert (await service.sandbox.post(f"/sandbox/payments/{payment_id}/pay")).status == 202

        async def finished() -> bool:
            told = (await service.sandbox.get(f"/v1/payment/{payment_id}")).json
            return told["payment_status"] == "finished"

        await eventually(finished)
    finally:
        await service.sandbox.post("/sandbox/faults", {"drop_ipns": 0})
    await sign_in(page, "support")
    await page.goto(f"{ORDERS}?payment_id={payment_id}&order={order_id}")
    await drawer(page).get_by_role("link", name="Replay an IPN").click()
    await expect(drawer(page).get_by_label("Payment", exact=True)).to_be_focused()
    await expect(drawer(page).get_by_role("checkbox")).to_be_disabled()
    await drawer(page).get_by_label("Status that was lost").select_option("finished")
    await drawer(page).get_by_label("Reason").fill("Lost, ticket 4711.")
    await drawer(page).get_by_role("button", name="Replay it").click()
    result = drawer(page).locator("#result")
    await expect(result).to_contain_text("Applied.")
    await expect(result).to_be_focused()
    said = result.get_by_role("row", name="Status").get_by_role("cell")
    await expect(said).to_have_text(["finished (paid)", "finished (paid)"])
    await expect(drawer(page).locator("#order-status")).to_have_text("Paid")
    await expect(page.locator(f"#status-{order_id}")).to_have_text("Paid")
    await expect(drawer(page)).to_contain_text("via operator · by op:support@example.com")
    await axe(page)


async def test_a_refusal_is_told_in_the_drawer_and_nothing_is_typed_twice(
    service: Service, page: Page, sign_in: SignIn, guard: Guard
) -> None:
    ((order_id, _),) = await started(service)
    guard.allow(409)
    await sign_in(page, "support")
    await page.goto(f"{ORDERS}?order={order_id}")
    await drawer(page).get_by_role("link", name="Replay an IPN").click()
    await drawer(page).get_by_label("Reason").fill("They say that they paid.")
    await drawer(page).get_by_role("button", name="Replay it").click()
    result = drawer(page).get_by_role("alert")
    await expect(result).to_contain_text("The provider says otherwise.")
    await expect(result.get_by_role("link", name="Runbook")).to_have_attribute(
        "href", "/docs/crypto-orders-ops-runbook#override"
    )
    await expect(drawer(page).get_by_label("Reason")).to_have_value("They say that they paid.")
    await axe(page)


async def test_an_action_is_answered_before_the_drawer_moves_on(
    service: Service, page: Page, sign_in: SignIn, guard: Guard
) -> None:
    (earlier, _), (order_id, _) = await started(service, 2)
    account_id = await account_of(service, order_id)
    await sign_in(page, "support")
    await page.goto(f"{ORDERS}?account_id=acc_{account_id}&order={order_id}")
    may_answer = asyncio.Event()

    async def hold(route: Route) -> None:
        answer = await route.fetch()
        await may_answer.wait()
        await route.fulfill(response=answer)

    await page.route(f"**{ORDERS}/{order_id}/ask", hold)
    await drawer(page).get_by_role("button", name="Ask the provider").click()
    waiting = drawer(page).get_by_text("Waiting for the answer. Then j and k move on.")
    await expect(waiting).to_be_visible()
    await axe(page)
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    await page.keyboard.press("j")
    await expect(waiting).to_be_visible()
    await expect(page).to_have_url(re.compile(f"order={order_id}$"))
    may_answer.set()
    await expect(drawer(page).locator("#result")).to_contain_text("Nothing to change.")
    await expect(drawer(page)).to_contain_text(order_id)
    await expect(waiting).to_have_count(0)
    await page.keyboard.press("j")
    await expect(drawer(page)).to_contain_text(earlier)
    # One that never reaches us holds nobody for ever.
    await page.route(f"**{ORDERS}/{earlier}/ask", lambda route: route.abort("connectionreset"))
    await drawer(page).get_by_role("button", name="Ask the provider").click()
    await expect(waiting).to_have_count(0)
    await page.keyboard.press("k")
    await expect(drawer(page)).to_contain_text(order_id)
    # The console is told of the lost request, which is this test's own doing.
    guard.findings[:] = [told for told in guard.findings if "Failed to fetch" not in told]


async def test_a_note_is_kept_and_a_flag_is_resolved(service: Service, page: Page, sign_in: SignIn) -> None:
    ((order_id, payment_id),) = await started(service)
    async with service.pool.acquire() as conn:
        account_id = await conn.fetchval("SELECT account_id FROM orders WHERE order_id = $1", order_id)
        await put_flag(conn, account_id, "redeposit", order_id=order_id, payment_id=payment_id)
    await sign_in(page, "support")
    await page.goto(f"{ORDERS}?flag=redeposit&order={order_id}")
    await expect(drawer(page)).to_contain_text("More coins arrived at a used address.")
    await drawer(page).get_by_label("Internal note").fill("Called them.")
    await drawer(page).get_by_role("button", name="Keep the note").click()
    await expect(drawer(page).get_by_role("status")).to_contain_text("The note is kept.")
    await drawer(page).get_by_text("Resolve this flag").click()
    await drawer(page).get_by_role("radio", name="Credited").check()
    flag = drawer(page).locator("form[action$=resolve]")
    await flag.get_by_label("Reason").fill("Sent the fee twice.")
    await flag.get_by_label("Reference").fill("CR-2042")
    await flag.get_by_role("button", name="Resolve the flag").click()
    await expect(drawer(page).get_by_role("status")).to_contain_text("Flag credited.")
    assert await service.flags_of(order_id) == []


async def test_a_field_that_was_made_taller_breaks_no_rule_of_the_page(
    service: Service, page: Page, sign_in: SignIn
) -> None:
    ((order_id, _),) = await started(service)
    await sign_in(page, "support")
    await page.goto(f"{ORDERS}?order={order_id}")
    # Browsers write the size that somebody drags a field to into its style.
    note = drawer(page).get_by_label("Internal note")
    await note.evaluate("field => { field.style.height = '200px' }")
    await note.fill("Called them.")
    await drawer(page).get_by_role("button", name="Keep the note").click()
    await expect(drawer(page).get_by_role("status")).to_contain_text("The note is kept.")


async def test_an_open_order_refreshes_itself_and_disturbs_nobody(
    service: Service, page: Page, sign_in: SignIn
) -> None:
    ((order_id, payment_id),) = await started(service)
    await sign_in(page, "support")
    await page.goto(f"{ORDERS}?order={order_id}")
    note = drawer(page).get_by_label("Internal note")
    await note.fill("Half a sent")
    assert (await service.sandbox.post(f"/sandbox/payments/{payment_id}/pay")).status == 202
    await expect(drawer(page).locator("#order-status")).to_have_text("Paid")
    await expect(drawer(page).locator(".timeline")).to_contain_text("became paid")
    await expect(page.locator(f"#status-{order_id}")).to_have_text("Paid")
    await expect(note).to_be_focused()
    await note.press_sequentially("ence")
    await expect(note).to_have_value("Half a sentence")


async def test_the_export_is_what_is_on_screen(
    service: Service, page: Page, sign_in: SignIn, tmp_path: Path
) -> None:
    made = await started(service, 2)
    account_id = await account_of(service, made[0][0])
    await sign_in(page, "support")
    await page.goto(f"{ORDERS}?account_id=acc_{account_id}")
    await page.get_by_role("link", name="7 days").click()
    await page.wait_for_url("**&created_after=*&created_before=*")
    shown = [await row.get_attribute("data-order") for row in await page.locator("tr[data-order]").all()]
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Export CSV").click()
    file = tmp_path / "orders.csv"
    await (await download.value).save_as(file)
    rows = list(csv.DictReader(io.StringIO(file.read_text(), newline="")))
    assert [row["order_id"] for row in rows] == shown == [order_id for order_id, _ in made[::-1]]


async def test_without_scripts_an_order_is_worked_as_well(
    service: Service, open_page: OpenPage, sign_in: SignIn
) -> None:
    ((order_id, payment_id),) = await started(service)
    page = await open_page(service.base_url, java_script_enabled=False)
    await sign_in(page, "support")
    await page.goto(f"{ORDERS}?payment_id={payment_id}")
    await page.get_by_role("link", name=order_id).click()
    await expect(drawer(page)).to_contain_text("Order started")
    await drawer(page).get_by_role("link", name="Close").click()
    await expect(drawer(page)).to_have_count(0)
    await page.get_by_role("link", name=order_id).click()
    await drawer(page).get_by_role("button", name="Ask the provider").click()
    await expect(page.locator("#result")).to_be_visible()
    await expect(page).to_have_url(f"{service.base_url}{ORDERS}/{order_id}/ask")


@pytest.mark.parametrize("page", [DESKTOP_DARK, PHONE], indirect=True, ids=str)
async def test_nothing_is_in_the_way_of_anybody(service: Service, page: Page, sign_in: SignIn) -> None:
    ((order_id, payment_id),) = await started(service)
    await service.sandbox.post(f"/sandbox/payments/{payment_id}/pay", {"amount": "0.0001"})
    await service.becomes(order_id, "partial")
    await sign_in(page, "support")
    for path in (
        ORDERS,
        f"{ORDERS}?order={order_id}",
        f"{ORDERS}/{order_id}",
        f"{ORDERS}?payment_id=1&status=paid",
        f"{ORDERS}?created_after=yesterday",
    ):
        await page.goto(path)
        await axe(page)
        await no_sideways_scroll(page)


@pytest.mark.parametrize("page", [PHONE], indirect=True, ids=str)
async def test_a_drawer_on_a_phone_is_the_whole_window(service: Service, page: Page, sign_in: SignIn) -> None:
    ((order_id, _),) = await started(service)
    await sign_in(page, "support")
    await page.goto(f"{ORDERS}?order={order_id}")
    box = await drawer(page).bounding_box()
    assert box is not None
    assert (box["x"], box["width"]) == (0, 390)
    await drawer(page).get_by_role("link", name="Close").click()
    await expect(drawer(page)).to_have_count(0)


async def test_what_is_copied_in_the_drawer_is_announced_inside_it(
    service: Service, page: Page, sign_in: SignIn
) -> None:
    ((order_id, _),) = await started(service)
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await sign_in(page, "viewer")
    await page.goto(f"{ORDERS}?order={order_id}")
    await drawer(page).get_by_role("button", name="Copy the order id", exact=True).click()
    await expect(drawer(page).locator("#announcer")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == order_id
    await page.keyboard.press("Escape")
    await expect(page.locator("#drawer[open]")).to_have_count(0)
