"""Every page of the admin that needs no id can be read by everybody, fits a phone and weighs little."""

import pytest
from playwright.async_api import Page

from crypto_orders.admin.routes import ENDPOINTS
from crypto_orders.kit import ids
from tests.browser.conftest import OpenPage, SignIn
from tests.support.browser import (
    DESKTOP,
    DESKTOP_DARK,
    Guard,
    axe_findings,
    first_load_bytes,
    on_a_phone,
    too_wide,
)
from tests.support.busy_days import BusyDays
from tests.support.service import Service, eventually

FIRST_LOAD_BYTES_MAX = 100_000

SIGN_IN = "/admin/sign-in"

PARTS = {"/admin/counts", "/admin/orders.csv", "/admin/overview/tiles"}
"""What is fetched by pages, and looked at in them, or saved."""

PATHS = [
    endpoint.path
    for endpoint in ENDPOINTS
    if endpoint.method == "GET" and "text/html" in endpoint.media_types and "{" not in endpoint.path
    if endpoint.path not in {SIGN_IN, *PARTS}
]

HEAVIEST = ("/admin", "/admin/orders", "/admin/flags", "/admin/account")
"""All screens load the same files; these have the most of their own."""

ORDER_PATHS = ("/admin/orders?order={}", "/admin/orders/{}", "/admin/orders?status=paid&product=nothing")


def paths_in(days: BusyDays) -> list[str]:
    orders = [path.format(days.late.order_id) for path in ORDER_PATHS]
    return [*PATHS, f"/admin/flags/{ids.prefixed('flg', days.late_flag)}", *orders]


@pytest.mark.parametrize("page", [DESKTOP, DESKTOP_DARK], indirect=True, ids=str)
async def test_axe_finds_nothing(page: Page, sign_in: SignIn, busy_days: BusyDays) -> None:
    await page.goto(SIGN_IN)
    found = await axe_findings(page)
    await sign_in(page, "admin")
    for path in paths_in(busy_days):
        shown = await page.goto(path)
        assert shown is not None
        assert shown.status == 200, path
        found += await axe_findings(page)
    assert not found, "\n".join(found)


@on_a_phone
async def test_nothing_sticks_out_on_a_phone(page: Page, sign_in: SignIn, busy_days: BusyDays) -> None:
    await sign_in(page, "admin")
    found: list[str] = []
    for path in paths_in(busy_days):
        await page.goto(path)
        found += [wide for wide in [await too_wide(page)] if wide]
    assert not found, "\n".join(found)


async def test_what_is_not_there_is_told_on_a_page(page: Page, sign_in: SignIn) -> None:
    await sign_in(page, "viewer")
    shown = await page.goto("/admin/nowhere")
    assert shown is not None
    assert shown.status == 404
    assert await axe_findings(page) == []
    assert await too_wide(page) is None


async def test_a_first_load_is_light(
    service: Service, open_page: OpenPage, sign_in: SignIn, busy_days: BusyDays
) -> None:
    assert busy_days.orders
    page = await open_page(service.base_url)
    await sign_in(page, "admin")
    signed_in = await page.context.storage_state()
    weights = {SIGN_IN: await first_load_bytes(await open_page(service.base_url), SIGN_IN)}
    for path in HEAVIEST:
        fresh = await open_page(service.base_url, storage_state=signed_in)
        weights[path] = await first_load_bytes(fresh, path)
        await fresh.context.close()
    assert {path: weight for path, weight in weights.items() if weight >= FIRST_LOAD_BYTES_MAX} == {}


async def test_no_page_is_shown_in_a_frame(service: Service, page: Page, guard: Guard) -> None:
    await page.set_content(f"<iframe src='{service.base_url}{SIGN_IN}'></iframe>")

    async def refused() -> bool:
        return any("frame-ancestors" in finding for finding in guard.findings)

    await eventually(refused)
    guard.findings.clear()
