"""Webhook endpoints and events without orders behind them, and a courier that delivers them in a test."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple
from uuid import UUID, uuid4

from crypto_orders.domain import webhook_signature
from crypto_orders.domain.webhook_event import PAID, WebhookEvent, webhook_body
from crypto_orders.domain.webhook_url import UrlPolicy
from crypto_orders.kit import clock, ids
from crypto_orders.kit.sealing import Sealer
from crypto_orders.sender.webhook_sender import SenderLimits, WebhookSender
from crypto_orders.store.connection import Pool
from crypto_orders.usecases.deployment import Webhooks
from crypto_orders.usecases.webhooks import place_of_secret
from crypto_orders.workers.deliver_webhooks import Courier
from crypto_orders.workers.jobs import webhook_jobs
from crypto_orders.workers.loop import run_jobs
from tests.support.service import SEALING_KEY

SECRET = webhook_signature.make_secret(bytes(range(24)))
_numbers = itertools.count(1)

INSERT_ENDPOINT = """
  WITH owner AS (INSERT INTO accounts (account_id, name) VALUES ($1, 'A customer'))
INSERT INTO webhook_endpoints (account_id, endpoint_id, url, events, secret_prefix, secret_sealed,
                               last_success_at, created_at)
VALUES ($1, $2, $3, '{crypto.order.paid}', 'whsec_AAECAw', $4, $5, now())
"""
INSERT_EVENT = """
INSERT INTO webhook_events (account_id, event_id, order_id, event_type, body, created_at, fan_out_at)
VALUES ($1, $2, $3, 'crypto.order.paid', $4, $5, $5)
"""


class Endpoint(NamedTuple):
    """An endpoint, the only one of its account."""

    account_id: UUID
    endpoint_id: UUID
    url: str


class Event(NamedTuple):
    """An event as it was committed."""

    endpoint: Endpoint
    event_id: str
    body: bytes


async def allow_events_without_orders(owner_pool: Pool) -> None:
    """Let go of the orders that events belong to; the owner of the tables may."""
    async with owner_pool.acquire() as conn:
        await conn.execute(
            "ALTER TABLE webhook_events DROP CONSTRAINT webhook_events_account_id_order_id_fkey"
        )


async def add_endpoint(
    pool: Pool, url: str, *, proven: bool = True, sealer: Sealer | None = None
) -> Endpoint:
    """Add an endpoint with an account of its own; a proven one had a success."""
    endpoint = Endpoint(uuid4(), ids.uuid7(), url)
    sealed = (sealer or Sealer(SEALING_KEY)).seal(SECRET.encode(), place_of_secret(endpoint.endpoint_id))
    async with pool.acquire() as conn:
        await conn.execute(INSERT_ENDPOINT, *endpoint, sealed, clock.utc_now() if proven else None)
    return endpoint


async def tell(pool: Pool, endpoints: Sequence[Endpoint], each: int) -> list[Event]:
    """Commit so many events for each endpoint."""
    told: list[Event] = []
    async with pool.acquire() as conn:
        for endpoint in list(endpoints) * each:
            order_id, event_id, now = f"ord_0{next(_numbers):025d}", ids.uuid7(), clock.utc_now()
            event = WebhookEvent(
                event_type=PAID,
                order_id=order_id,
                product="solo_manual",
                price_cents=7900,
                price_currency="USD",
                payment_id="5000000001",
                reason="ipn",
                at=now,
            )
            body = webhook_body(event_id, event)
            await conn.execute(INSERT_EVENT, endpoint.account_id, event_id, order_id, body, now)
            told.append(Event(endpoint, str(event_id), body))
    return told


@contextlib.asynccontextmanager
async def delivering(
    pool: Pool, *, sealer: Sealer | None = None, limits: SenderLimits | None = None
) -> AsyncGenerator[Courier]:
    """Deliver webhooks in this process with the jobs of a worker."""
    policy = UrlPolicy(allow_insecure=True)
    async with WebhookSender(user_agent="test/1.0", policy=policy, limits=limits) as sender:
        webhooks = Webhooks(
            pool=pool,
            sender=sender,
            sealer=sealer or Sealer(SEALING_KEY),
            policy=policy,
            header_family="X-Crypto-Orders",
        )
        async with Courier(webhooks) as courier:
            stop = asyncio.Event()
            working = asyncio.create_task(run_jobs(webhook_jobs(courier), stop))
            try:
                yield courier
            finally:
                stop.set()
                await working
