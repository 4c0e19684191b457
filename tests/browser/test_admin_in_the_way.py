"""What gets in an operator's way: an ended session, no network, paper, long names, and small windows."""

from playwright.async_api import Page, expect

from tests.browser.conftest import OpenPage, SignIn
from tests.browser.test_admin_orders import ORDERS, drawer, started
from tests.support.browser import DESKTOP, PHONE, Guard, axe
from tests.support.busy_days import BusyDays
from tests.support.service import Service

LONG_NAME = "The Very Long Named Harbour and Shipping Laboratories Company"

HIDDEN_SIDEWAYS = """
box => ({beyond: box.scrollWidth - box.clientWidth,
         cut: [...box.querySelectorAll("td:last-child, th:last-child")].filter(
           cell => cell.getBoundingClientRect().right > box.getBoundingClientRect().right + 0.5).length})
"""

ON_PAPER = """
node => ({shown: getComputedStyle(node).fontSize, said: getComputedStyle(node, "::after").content})
"""


async def test_a_session_that_ends_takes_nothing_from_whoever_is_typing(
    service: Service, page: Page, sign_in: SignIn, guard: Guard
) -> None:
    guard.allow(401)
    ((order_id, _),) = await started(service)
    await sign_in(page, "support")
    await page.goto(f"{ORDERS}?order={order_id}")
    note = drawer(page).get_by_label("Internal note")
    await note.fill("Half a sent")
    await service.rows("DELETE FROM operator_sessions")
    told = drawer(page).get_by_role("alert")
    await expect(told).to_contain_text("Your session has ended.")
    await expect(told).to_be_in_viewport()
    await expect(told.get_by_role("link", name="Sign in again")).to_have_attribute(
        "href", f"/admin/sign-in?next=/admin/orders%3Forder%3D{order_id}"
    )
    await expect(note).to_be_focused()
    await note.press_sequentially("ence")
    await expect(note).to_have_value("Half a sentence")
    await expect(page).to_have_url(f"{service.base_url}{ORDERS}?order={order_id}")
    await axe(page)
    await drawer(page).get_by_role("button", name="Keep the note").click()
    await expect(told).to_have_count(2)
    await expect(note).to_have_value("Half a sentence")
    await expect(drawer(page).locator("#order-live")).to_contain_text("Order started")


async def test_offline_a_row_and_a_button_say_that_nobody_answered(
    service: Service, page: Page, sign_in: SignIn, guard: Guard
) -> None:
    ((order_id, _),) = await started(service)
    await sign_in(page, "support")
    await page.goto(ORDERS)
    await page.context.set_offline(offline=True)
    await page.evaluate("refreshCounts()")
    await page.get_by_role("button", name="Switch to the dark theme").click()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await page.get_by_role("link", name=order_id).click()
    await expect(page.locator("#content > .notice")).to_have_text("The service did not answer. Try again.")
    await expect(page.locator("#announcer")).to_have_text("The service did not answer. Try again.")
    await page.context.set_offline(offline=False)
    await page.get_by_role("link", name=order_id).click()
    await expect(drawer(page)).to_contain_text(order_id)
    await expect(page.locator("#content > .notice")).to_have_count(0)
    await page.context.set_offline(offline=True)
    await drawer(page).get_by_role("button", name="Ask the provider").click()
    await expect(drawer(page).locator("#unanswered")).to_be_in_viewport()
    # htmx itself tells the console of what this test brought about; nothing else may.
    guard.findings[:] = [told for told in guard.findings if "htmx:error" not in told]


async def test_on_paper_an_order_has_its_internal_note_and_full_times(
    service: Service, page: Page, sign_in: SignIn
) -> None:
    ((order_id, _),) = await started(service)
    await service.rows(
        "UPDATE orders SET internal_note = 'Called them, ticket 4711.' WHERE order_id = $1", order_id
    )
    await sign_in(page, "support")
    await page.goto(f"{ORDERS}/{order_id}")
    note = page.locator("dd").filter(has_text="Called them, ticket 4711.")
    created = page.locator(".above time")
    await expect(note).to_be_hidden()
    assert (await created.evaluate(ON_PAPER))["said"] == "none"
    await page.emulate_media(media="print")
    await expect(note).to_be_visible()
    full = await created.get_attribute("title")
    assert full is not None
    assert full.endswith(" UTC")
    assert await created.evaluate(ON_PAPER) == {"shown": "0px", "said": f'"{full}"'}


async def test_long_names_hide_nothing_of_the_orders_at_1280(
    service: Service, open_page: OpenPage, sign_in: SignIn
) -> None:
    ((order_id, payment_id),) = await started(service)
    await service.rows("UPDATE accounts SET name = $1", LONG_NAME)
    await service.rows("UPDATE orders SET product = 'agency_manual' WHERE order_id = $1", order_id)
    await service.sandbox.post(f"/sandbox/payments/{payment_id}/pay", {"amount": "0.00012345"})
    await service.becomes(order_id, "partial")
    page = await open_page(service.base_url, DESKTOP._replace(name="laptop", width=1280))
    await sign_in(page, "support")
    await page.goto(ORDERS)
    account = page.get_by_role("row", name=order_id).get_by_role("link", name=LONG_NAME)
    assert LONG_NAME in (await account.get_attribute("title") or "")
    box = page.locator(".orders .scroll")
    assert await box.evaluate(HIDDEN_SIDEWAYS) == {"beyond": 0, "cut": 0}
    await page.goto("/admin/audit")
    box = page.locator("#content .scroll")
    assert await box.evaluate(HIDDEN_SIDEWAYS) == {"beyond": 0, "cut": 0}


async def test_on_a_phone_the_chart_begins_at_its_newest_end(
    service: Service, open_page: OpenPage, sign_in: SignIn, busy_days: BusyDays
) -> None:
    assert busy_days.customers
    page = await open_page(service.base_url, PHONE)
    await sign_in(page, "viewer")
    await page.goto("/admin")
    ends = await page.locator(".chart.wide").evaluate(
        "chart => [chart.getBoundingClientRect().right, chart.parentElement.getBoundingClientRect().right]"
    )
    assert abs(ends[0] - ends[1]) < 2
