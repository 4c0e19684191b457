"""The overview and the queues in a real browser: by keyboard, without scripts, and readable by everybody."""

from datetime import timedelta
from typing import NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from crypto_orders.kit import clock, ids
from tests.browser.conftest import OpenPage, SignIn
from tests.support.browser import DESKTOP_DARK, PHONE, axe_findings, on_a_phone, too_wide
from tests.support.busy_days import BusyDays
from tests.support.service import Service, eventually
from tests.support.troubles import ATTACK, put_delivery, put_endpoint, put_flag_of, put_notification

LISTS = (
    "/admin",
    "/admin?by=day",
    "/admin/flags",
    "/admin/stuck",
    "/admin/webhooks",
    "/admin/webhooks/dlq",
    "/admin/inbox",
    "/admin/audit",
    "/admin/accounts",
    "/admin/products",
)

FILTERED_EMPTY = (
    "/admin/flags?kind=overpaid&state=resolved",
    "/admin/webhooks?failing=true&account=acc_00000000-0000-7000-8000-000000000000",
    "/admin/inbox?payment_id=nobody&verdict=applied",
    "/admin/audit?actor=nobody",
    "/admin/accounts?name=nobody",
)


class Troubles(NamedTuple):
    """What was put in beside the busy days."""

    unmatched: str
    endpoint: str
    account: str
    pages: tuple[str, ...]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def troubles(service: Service, busy_days: BusyDays) -> Troubles:
    """A bit of everything that support meets. The endpoint is disabled, so that nothing is really sent."""
    async with service.pool.acquire() as conn:
        account = busy_days.customers[0]
        unmatched = await put_flag_of(conn, "unmatched", at=clock.utc_now() - timedelta(days=5))
        late = ids.prefixed("flg", busy_days.late_flag)
        endpoint = await put_endpoint(
            conn, account, url="https://example.com/" + "long/" * 40, disabled="410 Gone", failures=3
        )
        for _ in range(3):
            await put_delivery(conn, endpoint, excerpt=ATTACK)
        fact = await put_notification(conn, '{"payment_id": 4999, "note": "' + "x" * 4000 + ATTACK + '"}')
        public = ids.prefixed("acc", account)
    pages = (
        *LISTS,
        f"/admin/flags/{unmatched}",
        f"/admin/flags/{late}",
        f"/admin/webhooks/{endpoint.public_id}",
        f"/admin/inbox/{fact}",
        f"/admin/accounts/{public}",
        "/admin/products/solo_manual",
    )
    return Troubles(unmatched, endpoint.public_id, public, pages)


async def looked_at(page: Page, paths: tuple[str, ...]) -> list[str]:
    """What axe finds on some pages, and what is wider than the window."""
    found: list[str] = []
    for path in paths:
        shown = await page.goto(path)
        assert shown is not None
        assert shown.status == 200, path
        found += [f"{path}: {finding}" for finding in await axe_findings(page)]
        found += [f"{path}: {wide}" for wide in [await too_wide(page)] if wide]
    return found


@on_a_phone
async def test_empty_screens_are_readable(page: Page, sign_in: SignIn) -> None:
    await sign_in(page, "viewer")
    found = await looked_at(page, LISTS)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("page", [DESKTOP_DARK, PHONE], indirect=True, ids=str)
async def test_full_screens_are_readable(page: Page, sign_in: SignIn, troubles: Troubles) -> None:
    await sign_in(page, "support")
    found = await looked_at(page, (*troubles.pages, *FILTERED_EMPTY))
    assert not found, "\n".join(found)


async def test_the_tiles_refresh_and_leave_the_focus_where_it_is(
    page: Page, sign_in: SignIn, troubles: Troubles, service: Service
) -> None:
    await sign_in(page, "viewer")
    await page.goto("/admin")
    tile = page.locator("#tile-flags")
    await expect(tile.locator(".figure")).to_have_text("2")
    await tile.focus()
    async with service.pool.acquire() as conn:
        await put_flag_of(conn, "unmatched", payment_id="refresh")
    await page.locator("#tiles").dispatch_event("refresh")
    await expect(tile.locator(".figure")).to_have_text("3")
    await expect(tile).to_be_focused()
    assert troubles.account


async def test_a_flag_is_resolved_with_the_keyboard_alone(
    page: Page, sign_in: SignIn, troubles: Troubles
) -> None:
    await sign_in(page, "support")
    await page.goto("/admin/flags")
    # `j` goes to the first row, the oldest flag.
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/admin/flags/{troubles.unmatched}")
    credited = page.get_by_role("radio", name="Credited")
    while not await credited.evaluate("node => node === document.activeElement"):
        await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Tab")
    await page.keyboard.type("Another shop's payment, case 88123.")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status").first).to_contain_text("Dismissed.")
    await expect(page.locator("main")).to_contain_text("op:support@example.com")


async def test_a_dead_delivery_is_requeued(
    page: Page, sign_in: SignIn, troubles: Troubles, service: Service
) -> None:
    await sign_in(page, "support")
    await page.goto("/admin/webhooks/dlq")
    before = await page.get_by_role("checkbox").count()
    await page.get_by_role("checkbox").first.check()
    await page.get_by_role("button", name="Requeue the ticked").click()
    await expect(page.get_by_role("status").first).to_contain_text(
        "1 kept, to be sent when the customer resumes"
    )
    await expect(page.get_by_role("checkbox")).to_have_count(before - 1)
    kept = await service.rows("SELECT status FROM webhook_deliveries WHERE status = 'pending'")
    assert len(kept) == 1
    assert troubles.endpoint


async def test_a_key_is_made_and_copied(
    service: Service, open_page: OpenPage, sign_in: SignIn, troubles: Troubles
) -> None:
    page = await open_page(service.base_url, permissions=["clipboard-read", "clipboard-write"])
    await sign_in(page, "admin")
    await page.goto(f"/admin/accounts/{troubles.account}")
    await page.get_by_label("Label").fill("for the shop")
    await page.get_by_role("button", name="Make the key").click()
    shown = await page.get_by_role("status").first.locator("bdi").inner_text()
    await page.get_by_role("button", name="Copy the key").click()

    async def copied() -> bool:
        return await page.evaluate("navigator.clipboard.readText()") == shown

    await eventually(copied)
    assert (await service.client(shown).get("/v1/webhooks")).status == 200
    assert await axe_findings(page) == []
    await page.get_by_role("row", name="for the shop").get_by_role("button", name="Revoke").click()
    await page.get_by_role("button", name="Revoke the key").click()
    await expect(page.get_by_role("status").first).to_contain_text("The key is revoked.")
    assert (await service.client(shown).get("/v1/webhooks")).status == 401


async def test_everything_works_without_scripts(
    service: Service, open_page: OpenPage, sign_in: SignIn, troubles: Troubles
) -> None:
    page = await open_page(service.base_url, java_script_enabled=False)
    await sign_in(page, "admin")
    await page.goto("/admin")
    await page.get_by_role("link", name="Failing webhooks").click()
    await page.locator("a[data-row]").first.click()
    await page.get_by_role("button", name="Count them").click()
    await expect(page.get_by_role("status").first).to_contain_text("in this period")
    await page.goto("/admin/products/team_manual")
    await page.get_by_label("Price").fill("250.00")
    await page.get_by_role("button", name="Look at the change").click()
    await expect(page.get_by_role("alert")).to_contain_text(
        "New orders cost 250.00 USD instead of 249.00 USD."
    )
    await page.get_by_role("button", name="Make the change").click()
    await expect(page.get_by_role("status").first).to_contain_text("team_manual is stored.")
    assert troubles.account


async def test_a_viewer_is_told_why_the_controls_rest(
    page: Page, sign_in: SignIn, troubles: Troubles
) -> None:
    await sign_in(page, "viewer")
    for path in (
        "/admin/stuck",
        "/admin/accounts",
        f"/admin/webhooks/{troubles.endpoint}",
        "/admin/webhooks/dlq",
    ):
        await page.goto(path)
        await expect(page.locator("main")).to_contain_text("Your role, viewer")
        await expect(page.locator("main form[method=post] button:enabled")).to_have_count(0)
    assert await axe_findings(page) == []
