"""What an HTTP client alone can do: the same requests without a database, by our sender or by aiohttp.

``python -m bench.delivery_clients sender|aiohttp PORT SECONDS`` prints deliveries a second and the processor
time of one in microseconds.
"""

import asyncio
import itertools
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

import aiohttp
import uvloop

from crypto_orders.domain.webhook_signature import Attempt, attempt_headers, make_secret, signing_key
from crypto_orders.domain.webhook_url import UrlPolicy
from crypto_orders.sender.webhook_sender import WebhookSender

ENDPOINTS = 64
IN_FLIGHT_EACH = 4
WARM_UP_SECONDS = 0.5
SECRET = make_secret(bytes(24))
KEYS = (signing_key(SECRET),)
BODY = json.dumps({"id": str(UUID(int=5)), "filler": "x" * 300}).encode()

Send = Callable[[int], Awaitable[None]]


def _headers() -> tuple[tuple[str, str], ...]:
    attempt = Attempt(event_id=UUID(int=5), event_type="crypto.order.paid", body=BODY, at=datetime.now(UTC))
    return attempt_headers(attempt, "X-Crypto-Orders", KEYS)


async def drive(send: Send, seconds: float) -> tuple[float, float]:
    """Keep as many attempts in flight as a worker may; deliveries a second, and microseconds of each."""
    sent = itertools.count()

    async def keep_sending(endpoint: int, until: float) -> None:
        while time.perf_counter() < until:
            await send(endpoint)
            next(sent)

    async def all_of(seconds: float) -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(
            *(keep_sending(number % ENDPOINTS, until) for number in range(ENDPOINTS * IN_FLIGHT_EACH))
        )

    await all_of(WARM_UP_SECONDS)
    before, begun, processor = next(sent), time.perf_counter(), _processor_seconds()
    await all_of(seconds)
    count = next(sent) - before - 1
    return count / (time.perf_counter() - begun), (_processor_seconds() - processor) / count * 1e6


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def by_sender(port: int, seconds: float) -> tuple[float, float]:
    async with WebhookSender(user_agent="bench/1.0", policy=UrlPolicy(allow_insecure=True)) as sender:

        async def send(endpoint: int) -> None:
            url = f"http://127.0.0.1:{port}/{endpoint}"
            result = await sender.send(str(endpoint), url, _headers(), BODY)
            assert result.delivered, result

        return await drive(send, seconds)


async def by_aiohttp(port: int, seconds: float) -> tuple[float, float]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=10)) as session:

        async def send(endpoint: int) -> None:
            url = f"http://127.0.0.1:{port}/{endpoint}"
            headers = {"Content-Type": "application/json", **dict(_headers())}
            async with session.post(url, data=BODY, headers=headers, allow_redirects=False) as reply:
                await reply.content.read(4096)
                assert reply.status == 200

        return await drive(send, seconds)


CLIENTS = {"sender": by_sender, "aiohttp": by_aiohttp}

if __name__ == "__main__":
    print(json.dumps(uvloop.run(CLIENTS[sys.argv[1]](int(sys.argv[2]), float(sys.argv[3])))))
