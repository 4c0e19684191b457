"""A worker's own counters can be scraped where a port is set, by this machine or with the token."""

import asyncio

import aiohttp

from crypto_orders import app, settings
from crypto_orders.kit import server
from tests.support.service import SEALING_KEY, eventually


async def test_a_worker_tells_what_it_counts_on_its_own_port(database_url: str) -> None:
    bound = server.bind("127.0.0.1", 0)
    origin = "http://{}:{}".format(*server.address_of(bound))
    found = settings.read(
        {"CRYPTO_ORDERS_SEALING_KEY": SEALING_KEY, "CRYPTO_ORDERS_METRICS_TOKEN": "a token"}
    )
    stop = asyncio.Event()
    working = asyncio.create_task(app.work(found, database_url, stop, bound))
    async with aiohttp.ClientSession() as session:

        async def status_of(path: str, **headers: str) -> int:
            async with session.get(origin + path, headers=headers) as reply:
                return reply.status

        async def lives() -> bool:
            try:
                return await status_of("/livez") == 200
            except aiohttp.ClientError:
                return False

        await eventually(lives)
        assert await status_of("/readyz") == 200
        assert await status_of("/metrics") == 401
        assert await status_of("/v1/billing/crypto-orders") == 404
        async with session.get(f"{origin}/metrics", headers={"Authorization": "Bearer a token"}) as reply:
            assert reply.status == 200
            told = await reply.text()
    assert "crypto_orders_worker_runs_total{" in told
    assert "crypto_orders_webhook_attempts_total" in told
    stop.set()
    await working
