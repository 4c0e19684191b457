"""Every request that a page shows is made as written, and answered as the page shows."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from crypto_orders import app
from crypto_orders.docs import library
from crypto_orders.store.connection import Pool
from tests.docs_pages.answers import Answers
from tests.docs_pages.reader import SCENES, Step, steps_of
from tests.support.documents import Session
from tests.support.service import Service, running

ROOT = Path(__file__).parents[2]
LIMITS_AS_SHIPPED = {
    "rate_limit_customer_capacity": "120",
    "rate_limit_admin_capacity": "300",
    "rate_limit_failure_capacity": "60",
}


@asynccontextmanager
async def hook() -> AsyncGenerator[str]:
    """An endpoint for webhooks; a scene reads what it got, and changes its answers, below its path."""
    status = 200

    received: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        received.append(await request.read())
        return web.Response(status=status)

    async def show(request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        if number > len(received):
            raise web.HTTPNotFound
        return web.Response(body=received[number - 1])

    async def change(request: web.Request) -> web.Response:
        nonlocal status
        status = int(request.match_info["status"])
        return web.Response()

    application = web.Application()
    application.router.add_post("/hooks/orders", answer)
    application.router.add_post("/hooks/orders/answers/{status}", change)
    application.router.add_get("/hooks/orders/received/{number}", show)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/orders"
    await runner.cleanup()


async def variables(service: Service, hook_url: str, database_url: str) -> dict[str, str]:
    """What the pages' requests speak of, and what the scenes need."""
    customer = await service.customer()
    admin, overriding = (
        await service.admin(),
        await service.admin("admin:read", "admin:write", "admin:override"),
    )

    def key_of(headers: dict[str, str]) -> str:
        return headers["Authorization"].removeprefix("Bearer ")

    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHON": sys.executable,
        "BASE": service.base_url,
        "SANDBOX": service.sandbox_url,
        "DATABASE_URL": database_url,
        "KEY": key_of(customer.headers),
        "ACCOUNT": customer.public_id,
        "ADMIN": key_of(admin.headers),
        "OVERRIDE": key_of(overriding.headers),
        "HOOK": hook_url,
    }


def check(step: Step, printed: str, answers: Answers) -> None:
    """Fail when what was printed is not what the page shows."""
    match step.kind:
        case "json":
            difference = answers.difference_of_json(step.shown, printed)
        case "text":
            difference = answers.difference_of_text(step.shown, printed)
        case "http":
            difference = answers.difference_of_head(step.shown, printed)
        case _:
            difference = None
    assert difference is None, f"{difference}\n{step.commands}\n{printed}"


@pytest.mark.parametrize("name", library.NAMES)
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
async def test_a_page_tells_what_happens(name: str, database_url: str, pool: Pool, tmp_path: Path) -> None:
    async with running(database_url, pool, tmp_path, **LIMITS_AS_SHIPPED) as service, hook() as hook_url:
        page = library.source(name, app.facts_of(service.settings))
        session = Session(tmp_path, await variables(service, hook_url, database_url))
        await asyncio.to_thread(session.run, SCENES)
        answers = Answers()
        for step in steps_of(page):
            check(step, await asyncio.to_thread(session.run, step.commands), answers)
