"""The operators' screens in states that no visit alone brings about, and a second factor set up by hand."""

import pytest
from playwright.async_api import Page, expect
from pyotp.totp import TOTP

from tests.browser.conftest import PASSWORD, SignIn
from tests.support.browser import DESKTOP_DARK, PHONE, axe_findings, too_wide
from tests.support.service import Service

NEW = "new-colleague"


async def faults(page: Page) -> list[str]:
    """What is wrong with the page as it is now."""
    return [*await axe_findings(page), *(wide for wide in [await too_wide(page)] if wide)]


@pytest.mark.parametrize("page", [DESKTOP_DARK, PHONE], indirect=True, ids=str)
async def test_a_colleague_is_let_in_and_kept_out_again(page: Page, sign_in: SignIn) -> None:
    await sign_in(page, "admin")
    email = f"{NEW}-{page.viewport_size and page.viewport_size['width']}@example.com"
    await page.goto("/admin/operators")
    await page.get_by_label("E-mail address").fill(email)
    await page.get_by_label("Name").fill("A new colleague")
    await page.get_by_role("button", name="Make the operator").click()
    await expect(page.get_by_role("status")).to_contain_text("shown this one time")
    assert await faults(page) == []
    await page.get_by_role("link", name=email).click()
    await expect(page.get_by_role("heading", name=email, level=1)).to_be_visible()
    assert await faults(page) == []
    await page.get_by_role("button", name="Disable").click()
    await expect(page.get_by_role("status")).to_contain_text("cannot sign in any more")
    await expect(page.get_by_role("button", name="Enable")).to_be_visible()
    assert await faults(page) == []


async def test_a_second_factor_is_set_up_and_taken_away(
    service: Service, page: Page, sign_in: SignIn
) -> None:
    await sign_in(page, "support")
    await page.goto("/admin/account")
    await page.get_by_role("link", name="Set up a second factor").click()
    await expect(page.get_by_role("img", name="QR code of the key below")).to_be_visible()
    await page.get_by_label("2. The code that the app shows now").fill("12345")
    await page.get_by_label("3. Your password").fill(PASSWORD)
    await page.get_by_role("button", name="Turn it on").click()
    await expect(page.get_by_role("alert")).to_contain_text("not the code")
    assert await faults(page) == []
    key = await page.get_by_text("Key:").locator("bdi").inner_text()
    await page.get_by_label("2. The code that the app shows now").fill(TOTP(key.replace(" ", "")).now())
    await page.get_by_label("3. Your password").fill(PASSWORD)
    await page.get_by_role("button", name="Turn it on").click()
    await expect(page.get_by_role("status")).to_contain_text("The second factor is set up")
    assert await faults(page) == []
    remove = page.get_by_role("region", name="Second factor")
    await remove.get_by_label("Present password").fill(PASSWORD)
    await remove.get_by_label("The code that the app shows now").fill("12345")
    await page.get_by_role("button", name="Remove the second factor").click()
    await expect(page.get_by_role("alert")).to_contain_text("not the code")
    assert await faults(page) == []
    # The code that set it up is used, and the next one cannot be waited for.
    await service.rows(
        "UPDATE operators SET totp_last_step = totp_last_step - 5 WHERE totp_sealed IS NOT NULL"
    )
    await remove.get_by_label("Present password").fill(PASSWORD)
    await remove.get_by_label("The code that the app shows now").fill(TOTP(key.replace(" ", "")).now())
    await page.get_by_role("button", name="Remove the second factor").click()
    await expect(page.get_by_role("status")).to_contain_text("the password alone")
