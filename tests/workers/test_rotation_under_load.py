"""The sealing key changes while webhooks are delivered, and no delivery notices."""

import asyncio

import standardwebhooks

from crypto_orders import administration, settings
from crypto_orders.kit.sealing import Sealer
from crypto_orders.store.connection import Pool
from tests.support.deliveries import SECRET, add_endpoint, allow_events_without_orders, delivering, tell
from tests.support.receiver import Receiver
from tests.support.service import eventually

OLD, NEW = "aa" * 32, "bb" * 32
ENDPOINTS = 120
"""More than are sealed anew in one transaction."""

FAILED = "SELECT count(*) FROM webhook_attempts WHERE elapsed_ms IS NOT NULL AND status IS DISTINCT FROM 200"
DELIVERED = "SELECT count(*) FROM webhook_deliveries WHERE status = 'delivered'"


async def test_no_delivery_fails_while_secrets_are_sealed_under_a_new_key(
    database_url: str, pool: Pool, owner_pool: Pool, receiver: Receiver
) -> None:
    """The worker still seals with the old key, as between two deployments; it opens both."""
    await allow_events_without_orders(owner_pool)
    endpoints = [
        await add_endpoint(pool, f"{receiver.url}?n={number}", sealer=Sealer(OLD))
        for number in range(ENDPOINTS)
    ]
    found = settings.read({"CRYPTO_ORDERS_SEALING_KEY": f"{NEW},{OLD}"})
    told = 0
    rotated = asyncio.Event()

    async def keep_telling() -> None:
        nonlocal told
        while not rotated.is_set():
            told += len(await tell(pool, endpoints[:: told % 7 + 1], 1))
            await asyncio.sleep(0)

    async with delivering(pool, sealer=Sealer(f"{OLD},{NEW}")):
        telling = asyncio.create_task(keep_telling())
        await receiver.got(10)
        done = await administration.rotate_sealing_key(database_url, found)
        before = len(receiver.received)
        await receiver.got(before + 10)
        rotated.set()
        await telling

        async def all_delivered() -> bool:
            async with pool.acquire() as conn:
                return await conn.fetchval(DELIVERED) == told

        await eventually(all_delivered)
    assert (done.webhooks.endpoints, done.webhooks.unreadable) == (ENDPOINTS, ())
    async with pool.acquire() as conn:
        assert await conn.fetchval(FAILED) == 0
        sealed = {bytes(row["secret_sealed"]) for row in await conn.fetch("SELECT * FROM webhook_endpoints")}
    assert {each[:9] for each in sealed} == {Sealer(NEW).current_header}
    verifier = standardwebhooks.Webhook(SECRET)
    for received in receiver.received:
        verifier.verify(received.body, received.headers)
    assert len(receiver.received) == told
