"""The published pages can be read by everybody, searched by keyboard, and fit a phone."""

from collections.abc import Sequence

import pytest
from playwright.async_api import Page, expect

from crypto_orders.docs import library
from tests.browser.conftest import OpenPage
from tests.support.browser import (
    DESKTOP,
    DESKTOP_DARK,
    axe_findings,
    first_load_bytes,
    on_a_phone,
    too_wide,
)
from tests.support.service import Service

FIRST_LOAD_BYTES_MAX = 100_000
RUNBOOK = f"/docs/{library.RUNBOOK}"

PATHS = (
    "/docs",
    "/docs/api",
    "/docs/errors/conflict",
    "/docs/search?q=pending",
    "/docs/search?q=zebra",
    "/docs/nothing",
    *(f"/docs/{name}" for name in library.NAMES),
)

EVERY_KIND = ("/docs", "/docs/errors/conflict", "/docs/search?q=pending", "/docs/nothing", RUNBOOK)
"""Together they have every part that a published page is put together from."""


@pytest.mark.parametrize(
    ("page", "paths"),
    [(DESKTOP, PATHS), (DESKTOP_DARK, EVERY_KIND)],
    indirect=["page"],
    ids=["light", "dark"],
)
async def test_axe_finds_nothing(page: Page, paths: Sequence[str]) -> None:
    found: list[str] = []
    for path in paths:
        await page.goto(path)
        found += await axe_findings(page)
    assert not found, "\n".join(found)


@on_a_phone
async def test_nothing_sticks_out_on_a_phone(page: Page) -> None:
    found: list[str] = []
    for path in PATHS:
        await page.goto(path)
        found += [wide for wide in [await too_wide(page)] if wide]
    assert not found, "\n".join(found)


async def test_a_question_is_answered_by_keyboard_alone(page: Page) -> None:
    await page.goto("/docs")
    await page.keyboard.press("/")
    await expect(page.locator("#q")).to_be_focused()
    await page.keyboard.type("stuck in pending")
    await page.keyboard.press("Enter")
    first = page.locator(".found a").first
    await expect(first).to_have_text("My order is stuck in pending")
    await page.keyboard.press("Tab")
    while not await first.evaluate("link => link === document.activeElement"):
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**{RUNBOOK}#stuck-in-pending")
    await expect(page.locator("#stuck-in-pending")).to_be_in_viewport()


async def test_the_skip_link_leads_to_the_content(page: Page) -> None:
    await page.goto(RUNBOOK)
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()


async def test_a_request_is_copied_as_it_is_shown(page: Page) -> None:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.goto("/docs/errors#unauthorized")
    request = page.locator("#unauthorized ~ figure.request").first
    await request.locator("button.copy").click()
    await expect(page.locator("#announcer")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == 'curl -s "$BASE/v1/whoami"'


async def test_the_chosen_theme_stays(page: Page) -> None:
    await page.goto("/docs")
    await page.get_by_role("button", name="Change between light and dark").click()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await page.goto("/docs/errors")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")


@on_a_phone
async def test_a_phone_has_every_page_in_its_menu(page: Page) -> None:
    await page.goto("/docs")
    await page.locator("summary[aria-label=Pages]").click()
    menu = page.get_by_role("navigation", name="Pages, small screens")
    await menu.get_by_role("link", name="Errors").click()
    await page.wait_for_url("**/docs/errors")
    assert await axe_findings(page) == []


async def test_the_pages_work_without_scripts(service: Service, open_page: OpenPage) -> None:
    page = await open_page(service.base_url, DESKTOP_DARK, java_script_enabled=False)
    await page.goto("/docs")
    await page.locator("#q").fill("dead webhooks")
    await page.locator("#q").press("Enter")
    await page.locator(".found a").first.click()
    await expect(page.locator("#dead-webhooks")).to_be_in_viewport()


async def test_a_first_load_is_light(service: Service, open_page: OpenPage) -> None:
    weights: dict[str, int] = {}
    for path in ("/docs", "/docs/api", RUNBOOK):
        fresh = await open_page(service.base_url)
        weights[path] = await first_load_bytes(fresh, path)
    assert {path: weight for path, weight in weights.items() if weight >= FIRST_LOAD_BYTES_MAX} == {}


async def test_the_try_it_page_draws_the_operations(page: Page) -> None:
    await page.goto("/docs/try")
    await expect(page.locator(".opblock").first).to_be_visible()
