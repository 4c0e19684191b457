"""Gives tests guarded pages of a real browser, and a running service to look at."""

import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from argon2 import PasswordHasher
from playwright.async_api import Browser, Page, async_playwright

from crypto_orders.domain.operator import ROLES
from crypto_orders.store.connection import open_pool
from crypto_orders.usecases import operator_accounts
from crypto_orders.usecases.operator_accounts import Wanted
from crypto_orders.usecases.passwords import Passwords
from tests.conftest import ClusterAddress
from tests.support.browser import DESKTOP, Guard, Look, chromium_path, launch, open_window
from tests.support.busy_days import BusyDays, put_busy_days
from tests.support.cluster import create_database, drop_database
from tests.support.service import IN_A_TEST, Service, running

HERE = Path(__file__).parent

BROWSERS_MAX = 2
"""So many workers of a run start a browser: each is a handful of processes."""

OpenPage = Callable[..., Awaitable[Page]]
SignIn = Callable[[Page, str], Awaitable[None]]

PASSWORD = "horse battery staple"
"""Of every operator of these tests."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Give the tests of this folder the loop that their browser lives in, and a run few browsers."""
    ours = [item for item in items if HERE in item.path.parents]
    modules = sorted({item.path for item in ours})
    for item in ours:
        item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
        item.add_marker(pytest.mark.xdist_group(f"browser-{modules.index(item.path) % BROWSERS_MAX}"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncGenerator[Browser]:
    """The system's Chromium, started once."""
    path = chromium_path()
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium, as root.")
    async with async_playwright() as playwright:
        started = await launch(playwright, path)
        yield started
        await started.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(
    browser: Browser,  # noqa: ARG001 (where there is none, nothing need be started)
    cluster: ClusterAddress,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncGenerator[Service]:
    """The whole service with its workers and its sandbox, over a database of this module's own.

    Its life is a module's, because it stands still while another folder's tests run in loops of their own.
    """
    directory = tmp_path_factory.mktemp("service")
    name = f"browser_{os.getpid()}_{directory.name}".replace("-", "_")
    database_url = cluster.dsn.replace("@/crypto_orders?", f"@/{name}?")
    await create_database(cluster.superuser_dsn, name)
    pool = await open_pool(database_url, size=8, application_name="test")
    try:
        async with running(database_url, pool, directory) as started:
            yield started
    finally:
        pool.terminate()
        await drop_database(cluster.superuser_dsn, name)


@pytest.fixture
def guard() -> Guard:
    """What this test's pages did that no page may do; the test fails when there is anything."""
    return Guard()


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, guard: Guard) -> AsyncGenerator[OpenPage]:
    """What opens guarded pages, each with a profile of its own: an origin, a look and options are given.

    Further options are those of Playwright's contexts, such as `java_script_enabled=False`.
    """
    async with contextlib.AsyncExitStack() as stack:

        async def open_one(origin: str, look: Look = DESKTOP, **options: Any) -> Page:
            window = await open_window(browser, look, origin, **options)
            stack.push_async_callback(window.close)
            await guard.watch(window, origin)
            return await window.new_page()

        yield open_one
    guard.assert_nothing_found()


@pytest_asyncio.fixture(loop_scope="session")
async def page(request: pytest.FixtureRequest, open_page: OpenPage, service: Service) -> Page:
    """A guarded page of the service: a desktop's in the light, or what the test's parameters say."""
    return await open_page(service.base_url, getattr(request, "param", DESKTOP))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def busy_days(service: Service) -> BusyDays:
    """Orders in every state, put into the module's service once."""
    async with service.pool.acquire() as conn:
        return await put_busy_days(conn)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def operators(service: Service) -> Mapping[str, str]:
    """An operator of each role: their addresses by role."""
    # What hashing costs is tested elsewhere.
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    emails = {role: f"{role}@example.com" for role in ROLES}
    async with Passwords(cheap) as passwords:
        for role, email in emails.items():
            wanted = Wanted(email=email, role=role, name=role.title(), password=PASSWORD)
            await operator_accounts.create(service.pool, passwords, wanted, IN_A_TEST)
    return emails


@pytest.fixture
def sign_in(operators: Mapping[str, str]) -> SignIn:
    """What signs a page in as people do, with a page and a role; the page ends on the overview."""

    async def sign_one_in(page: Page, role: str) -> None:
        await page.goto("/admin/sign-in")
        await page.locator("input[name=email]").fill(operators[role])
        await page.locator("input[name=password]").fill(PASSWORD)
        await page.locator("input[name=password]").press("Enter")
        await page.wait_for_url(lambda url: "/admin/sign-in" not in url)

    return sign_one_in
