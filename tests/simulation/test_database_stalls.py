"""A database that stops answering without saying so: everybody is told to come back, and it heals by itself.

Nothing is refused or reset here, so only the service's own patience ends what waits.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from crypto_orders.store import invariants
from crypto_orders.store.connection import Pool
from tests.support.database_proxy import DatabaseProxy, proxied
from tests.support.notices import body_of, payment_of, send
from tests.support.service import Client, Customer, Reply, Service, eventually, running

CONNECTIONS = 4
HANGS_AFTER_SECONDS = 10.0
"""Whoever is not answered by then was forgotten."""

WAVES = 2
"""The first meets connections that worked a moment ago, the second has to make new ones."""

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
async def proxy(database_url: str) -> AsyncGenerator[DatabaseProxy]:
    """A proxy before the test's database."""
    async with proxied(database_url) as proxy:
        yield proxy


@pytest.fixture
async def service(proxy: DatabaseProxy, pool: Pool, tmp_path: Path) -> AsyncGenerator[Service]:
    """A service with few connections, behind the proxy, and its worker."""
    async with running(
        proxy.url,
        pool,
        tmp_path,
        database_connections_max=str(CONNECTIONS),
        open_orders_max="1000",
        unpaid_orders_per_day_max="1000",
    ) as service:
        yield service
        # What a failed test left stalled would hold up the end of everything.
        proxy.flow()


async def in_time(request: Awaitable[Reply]) -> Reply:
    """The answer to a request, or none when it hangs."""
    async with asyncio.timeout(HANGS_AFTER_SECONDS):
        return await request


def tells_to_come_back(reply: Reply) -> bool:
    return reply.status == 503 and int(reply.headers["retry-after"]) >= 1


async def requests_of_all_kinds(
    service: Service, customer: Customer, admin: Client, order: dict[str, Any], wave: int
) -> dict[str, Awaitable[Reply]]:
    """More requests than there are connections, of every kind that needs one."""
    path = f"/v1/billing/crypto-orders/{order['order_id']}"
    body = {"product": "solo_manual"}
    payment_id = order["payment_id"]
    return {
        **{
            f"checkout {n}": customer.post("/v1/billing/crypto-checkout", body, Idempotency_Key=f"{wave}/{n}")
            for n in range(CONNECTIONS)
        },
        **{f"order {n}": customer.get(path) for n in range(CONNECTIONS)},
        "cancel": customer.post(f"{path}/cancel"),
        "notification": send(service.client(), body_of(order, payment_id, "confirming")),
        "support's list": admin.get("/v1/admin/crypto-orders"),
        "payment page": service.client().get(order["checkout_url"].removeprefix(service.base_url)),
        "ready": service.client().get("/readyz"),
        "metrics": service.client().get("/metrics"),
    }


async def heals(service: Service, customer: Customer) -> None:
    """Wait until everything is answered as ever; nobody restarts anything."""

    async def works() -> bool:
        try:
            replies = await asyncio.gather(
                service.client().get("/readyz"),
                *(customer.get("/v1/billing/crypto-orders") for _ in range(2 * CONNECTIONS)),
            )
        except (aiohttp.ClientError, TimeoutError):
            return False
        return Counter(reply.status for reply in replies) == {200: 1 + 2 * CONNECTIONS}

    await eventually(works)


async def nothing_is_broken(service: Service) -> None:
    async with service.pool.acquire() as conn:
        assert await invariants.violations(conn) == []


async def test_a_stalled_database_makes_everybody_come_back_and_loses_nothing(
    proxy: DatabaseProxy, service: Service
) -> None:
    customer, admin = await service.customer(), await service.admin()
    order = await customer.check_out()
    order["payment_id"] = await payment_of(service, order)
    proxy.stall()
    for wave in range(WAVES):
        started = time.monotonic()
        asked = await requests_of_all_kinds(service, customer, admin, order, wave)
        assert (await in_time(service.client().get("/livez"))).status == 200
        replies = dict(
            zip(asked, await asyncio.gather(*(in_time(each) for each in asked.values())), strict=True)
        )
        print(f"wave {wave}: all answered after {time.monotonic() - started:.1f} s")  # noqa: T201 - never decides
        assert [what for what, reply in replies.items() if not tells_to_come_back(reply)] == []
    proxy.flow()
    await heals(service, customer)

    # Whatever of it reached the database late: a key is one order, and the notification lands once.
    for wave in range(WAVES):
        for n in range(CONNECTIONS):
            body = {"product": "solo_manual"}
            again = await customer.post("/v1/billing/crypto-checkout", body, Idempotency_Key=f"{wave}/{n}")
            assert again.status == 201
    assert len(await service.rows("SELECT FROM orders")) == 1 + WAVES * CONNECTIONS
    assert (await send(service.client(), body_of(order, order["payment_id"], "confirming"))).status == 200
    assert await service.rows("SELECT FROM notifications WHERE via = 'ipn'") == [{}]
    reply = await customer.get(f"/v1/billing/crypto-orders/{order['order_id']}")
    assert reply.json["status"] == "confirming"
    await nothing_is_broken(service)


async def test_connections_that_the_database_forgot_cost_one_request_each(
    proxy: DatabaseProxy, service: Service
) -> None:
    customer = await service.customer()
    await heals(service, customer)
    assert proxy.go_silent() >= CONNECTIONS
    statuses = Counter[int]()

    async def works() -> bool:
        replies = await asyncio.gather(
            *(in_time(customer.get("/v1/billing/crypto-orders")) for _ in range(CONNECTIONS))
        )
        assert [reply for reply in replies if reply.status != 200 and not tells_to_come_back(reply)] == []
        statuses.update(reply.status for reply in replies)
        return all(reply.status == 200 for reply in replies)

    await eventually(works)
    assert 1 <= statuses[503] <= CONNECTIONS
    await heals(service, customer)
    assert (await customer.check_out())["provider"] == "nowpayments"
    await nothing_is_broken(service)


async def test_a_pool_that_is_used_up_refuses_in_time_and_recovers(service: Service) -> None:
    """One account's lock is held, and its checkouts take up every connection that others need."""
    busy, other = await service.customer(), await service.customer()
    body = {"product": "solo_manual"}
    async with service.pool.acquire() as conn:
        await conn.execute("BEGIN")
        await conn.execute("SELECT FROM accounts WHERE account_id = $1 FOR UPDATE", busy.account_id)
        started = time.monotonic()
        checkouts = [
            asyncio.create_task(
                in_time(busy.post("/v1/billing/crypto-checkout", body, Idempotency_Key=str(n)))
            )
            for n in range(3 * CONNECTIONS)
        ]

        async def used_up() -> bool:
            waiting = await service.rows(
                "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND application_name = 'crypto-orders-web' AND datname = current_database()"
            )
            return len(waiting) == CONNECTIONS

        await eventually(used_up)
        others = await asyncio.gather(*(in_time(other.get("/v1/whoami")) for _ in range(CONNECTIONS)))
        replies = await asyncio.gather(*checkouts)
        print(f"all answered after {time.monotonic() - started:.1f} s")  # noqa: T201 - never decides
        await conn.execute("ROLLBACK")
    assert [reply for reply in replies if not tells_to_come_back(reply)] == []
    assert [reply for reply in others if reply.status != 200 and not tells_to_come_back(reply)] == []
    await heals(service, other)
    for n in range(3 * CONNECTIONS):
        again = await busy.post("/v1/billing/crypto-checkout", body, Idempotency_Key=str(n))
        assert again.status == 201
    assert len(await service.rows("SELECT FROM orders")) == 3 * CONNECTIONS
    await nothing_is_broken(service)
