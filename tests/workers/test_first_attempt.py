"""The first attempt follows the commit within a second: by what the worker waits for, not by a stopwatch."""

import asyncio

from crypto_orders.domain.webhook_url import UrlPolicy
from crypto_orders.kit.sealing import Sealer
from crypto_orders.sender.webhook_sender import WebhookSender
from crypto_orders.store.connection import Pool
from crypto_orders.usecases.deployment import Webhooks
from crypto_orders.workers.deliver_webhooks import GATHER_SECONDS, PAUSE_SECONDS, Courier
from crypto_orders.workers.jobs import webhook_jobs
from tests.support.deliveries import add_endpoint, allow_events_without_orders, tell
from tests.support.receiver import Receiver
from tests.support.service import SEALING_KEY, eventually


async def test_new_deliveries_wake_the_one_who_sends_and_nothing_waits_longer_than_the_pauses(
    pool: Pool, owner_pool: Pool, receiver: Receiver
) -> None:
    await allow_events_without_orders(owner_pool)
    policy = UrlPolicy(allow_insecure=True)
    async with WebhookSender(user_agent="test/1.0", policy=policy) as sender:
        webhooks = Webhooks(
            pool=pool, sender=sender, sealer=Sealer(SEALING_KEY), policy=policy, header_family="X-A"
        )
        async with Courier(webhooks) as courier:
            fan_out, deliver = webhook_jobs(courier)
            # An event waits for the next look for events; its delivery wakes the other job at once.
            assert fan_out.pause_seconds + deliver.pause_seconds + 2 * GATHER_SECONDS < 0.5
            assert PAUSE_SECONDS < 0.5
            assert await deliver.run() == 0
            endpoint = await add_endpoint(pool, receiver.url, proven=False)
            await tell(pool, [endpoint], 1)
            courier_waits = asyncio.create_task(deliver.run())
            await eventually(lambda: waits(courier))
            assert await fan_out.run() == 1
            assert courier._wake.is_set()
            await courier_waits
            assert await deliver.run() == 1
            await receiver.got(1)


async def waits(courier: Courier) -> bool:
    """Whether somebody waits to be woken."""
    return bool(courier._wake._waiters)
