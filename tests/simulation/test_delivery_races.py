"""Two at one delivery, or one at a delivery and one at its endpoint or key, each of them first once.

Whoever is to be first is held in the proxy before its commit, until the other one is seen waiting for it.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
from aiohttp import web

from crypto_orders.kit import ids
from crypto_orders.store import delivery_queue, invariants, keys, webhooks
from crypto_orders.store.connection import Pool, open_pool
from crypto_orders.store.delivery_queue import Slots
from crypto_orders.usecases import deliveries
from tests.support.database_proxy import Commit, DatabaseProxy, Hold, proxied
from tests.support.deliveries import Endpoint, add_endpoint, allow_events_without_orders, delivering, tell
from tests.support.service import Customer, Reply, Service, eventually, running

SLOTS = Slots(free=10, unproven=10, per_endpoint=4, running=())
LEASE_ENDS = "UPDATE webhook_deliveries SET due_at = clock_timestamp()"
WAITING = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
ABOUT_WEBHOOKS = {"INV-17", "INV-18", "INV-19", "INV-20"}

pytestmark = pytest.mark.usefixtures("quiet")


def having(*statements: str) -> Callable[[Commit], bool]:
    """Transactions with all of these statements."""
    return lambda commit: set(commit.statements) >= set(statements)


SETTLES = having(delivery_queue.SETTLE)


class PatientReceiver:
    """Keeps every request waiting until it is told what to answer to that one."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self._answers: list[asyncio.Future[int]] = []

    async def take(self, request: web.Request) -> web.Response:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        self.requests.append(
            ({name.lower(): value for name, value in request.headers.items()}, await request.read())
        )
        return web.Response(status=await answer)

    def answer(self, number: int, status: int) -> None:
        self._answers[number].set_result(status)

    async def got(self, count: int) -> None:
        async def look() -> bool:
            return len(self.requests) == count

        await eventually(look)

    def verified(self, number: int, secret: str) -> bool:
        """Whether a request is signed with a secret, by a verifier that is not ours."""
        headers, body = self.requests[number]
        try:
            standardwebhooks.Webhook(secret).verify(body, headers)
        except standardwebhooks.WebhookVerificationError:
            return False
        return True


@asynccontextmanager
async def receiving() -> AsyncGenerator[PatientReceiver]:
    receiver = PatientReceiver()
    application = web.Application()
    application.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def rows(pool: Pool, query: str, *args: object) -> list[dict[str, Any]]:
    async with pool.acquire() as conn:
        return [dict(row) for row in await conn.fetch(query, *args)]


async def somebody_waits(pool: Pool) -> None:
    """Wait until PostgreSQL says that a session waits for a lock."""

    async def look() -> bool:
        return len(await rows(pool, WAITING)) == 1

    await eventually(look)


async def reached(hold: Hold) -> None:
    async with asyncio.timeout(30):
        await hold.reached.wait()


async def becomes(pool: Pool, status: str) -> dict[str, Any]:
    """Wait until the one delivery has a status."""
    query = "SELECT status, attempts, attempt_no, last_response_status, due_at FROM webhook_deliveries"

    async def look() -> dict[str, Any] | None:
        (row,) = await rows(pool, query)
        return row if row["status"] == status else None

    return await eventually(look)


async def nothing_is_broken(pool: Pool) -> None:
    async with pool.acquire() as conn:
        found = await invariants.violations(conn, allow_insecure_webhooks=True)
    assert [each for each in found if each.name in ABOUT_WEBHOOKS] == []


# ------------------------------------------------------------------ two workers


@asynccontextmanager
async def courier(database_url: str) -> AsyncGenerator[DatabaseProxy]:
    """A worker that delivers, with connections and a proxy of its own."""
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(proxied(database_url))
        own = await open_pool(proxy.url, size=3, application_name="courier")
        stack.callback(own.terminate)
        await stack.enter_async_context(delivering(own))
        stack.callback(proxy.release_all)
        yield proxy


@pytest.mark.parametrize("first", [0, 1], ids=["the_late_one", "the_one_that_took_over"])
async def test_two_workers_at_one_delivery(
    database_url: str, pool: Pool, owner_pool: Pool, first: int
) -> None:
    """A worker is taken for dead while its receiver thinks; both get their answer in the end."""
    await allow_events_without_orders(owner_pool)
    async with receiving() as receiver, courier(database_url) as one:
        # Without a success so far it gets one attempt at a time from each worker.
        await tell(pool, [await add_endpoint(pool, receiver.url, proven=False)], 1)
        await receiver.got(1)
        async with courier(database_url) as two:
            await rows(pool, LEASE_ENDS)
            await receiver.got(2)
            hold = (one, two)[first].hold_next(SETTLES)
            receiver.answer(first, 200)
            await reached(hold)
            receiver.answer(1 - first, 200)
            await somebody_waits(pool)
            hold.release()
    delivery = await becomes(pool, "delivered")
    assert (delivery["attempts"], delivery["attempt_no"]) == (2, 2)
    (first_request, second_request) = receiver.requests
    assert first_request[0]["webhook-id"] == second_request[0]["webhook-id"]
    assert first_request[1] == second_request[1]
    attempts = await rows(pool, "SELECT attempt_no, status FROM webhook_attempts ORDER BY attempt_no")
    assert attempts == [{"attempt_no": 1, "status": 200}, {"attempt_no": 2, "status": 200}]
    await nothing_is_broken(pool)


@pytest.mark.parametrize("first", [0, 1], ids=["the_late_one", "the_one_that_took_over"])
async def test_a_late_success_wins_over_the_failure_of_who_took_over(
    database_url: str, pool: Pool, owner_pool: Pool, first: int
) -> None:
    """The receiver has it, so it is not sent again, whichever of the two is settled first."""
    await allow_events_without_orders(owner_pool)
    async with receiving() as receiver, courier(database_url) as one:
        await tell(pool, [await add_endpoint(pool, receiver.url, proven=False)], 1)
        await receiver.got(1)
        async with courier(database_url) as two:
            await rows(pool, LEASE_ENDS)
            await receiver.got(2)
            hold = (one, two)[first].hold_next(SETTLES)
            receiver.answer(first, (200, 500)[first])
            await reached(hold)
            receiver.answer(1 - first, (200, 500)[1 - first])
            await somebody_waits(pool)
            hold.release()
    assert (await becomes(pool, "delivered"))["due_at"] is None
    await nothing_is_broken(pool)


async def test_of_two_workers_that_claim_at_once_one_sends(
    database_url: str, pool: Pool, owner_pool: Pool
) -> None:
    await allow_events_without_orders(owner_pool)
    async with receiving() as receiver, proxied(database_url) as proxy:
        await tell(pool, [await add_endpoint(pool, receiver.url)], 1)
        assert await deliveries.fan_out(pool) == 1
        own = await open_pool(proxy.url, size=1, application_name="courier")
        hold = proxy.hold_next(having(delivery_queue.CLAIM))
        claiming = asyncio.create_task(deliveries.claim(own, SLOTS))
        await reached(hold)
        assert await deliveries.claim(pool, SLOTS) == []
        hold.release()
        assert len(await claiming) == 1
        own.terminate()


# ------------------------------------------------------------------ a delivery and its endpoint


class Race:
    """A service and a worker behind a proxy each, and a customer's endpoint with one request under way."""

    def __init__(
        self, service: Service, customer: Customer, receiver: PatientReceiver, made: dict[str, Any]
    ) -> None:
        self.service, self.customer, self.receiver, self.made = service, customer, receiver, made
        self.path = f"/v1/webhooks/{made['id']}"
        endpoint_id = ids.parse_prefixed("whk", made["id"])
        assert endpoint_id is not None
        self.endpoint = Endpoint(customer.account_id, endpoint_id, receiver.url)

    async def run(
        self,
        web_proxy: DatabaseProxy,
        worker_proxy: DatabaseProxy,
        changes: Callable[[Commit], bool],
        change: Callable[[], Awaitable[Reply]],
        *,
        status: int,
        change_first: bool,
    ) -> Reply:
        """Have the first request answered and the endpoint changed, in this order by force."""
        await tell(self.service.pool, [self.endpoint], 1)
        await self.receiver.got(1)
        if change_first:
            hold = web_proxy.hold_next(changes)
            changing = asyncio.ensure_future(change())
            await reached(hold)
            self.receiver.answer(0, status)
        else:
            hold = worker_proxy.hold_next(SETTLES)
            self.receiver.answer(0, status)
            await reached(hold)
            changing = asyncio.ensure_future(change())
        await somebody_waits(self.service.pool)
        hold.release()
        return await changing


@pytest.fixture
async def web_proxy(database_url: str) -> AsyncGenerator[DatabaseProxy]:
    """Before the web process's database."""
    async with proxied(database_url) as proxy:
        yield proxy


@pytest.fixture
async def race(
    web_proxy: DatabaseProxy, pool: Pool, owner_pool: Pool, tmp_path: Path
) -> AsyncGenerator[Race]:
    """A service without its own worker, and a customer with an endpoint."""
    await allow_events_without_orders(owner_pool)
    async with receiving() as receiver, running(web_proxy.url, pool, tmp_path, workers=False) as service:
        customer = await service.customer()
        added = await customer.post("/v1/webhooks", {"url": receiver.url, "events": ["crypto.order.paid"]})
        assert added.status == 201, added.body
        yield Race(service, customer, receiver, added.json)
        web_proxy.release_all()


@pytest.mark.parametrize("rotation_first", [True, False])
async def test_a_rotation_and_a_delivery(
    database_url: str, web_proxy: DatabaseProxy, race: Race, *, rotation_first: bool
) -> None:
    """What was signed before is signed with the old secret alone, what comes after with both."""
    pool, old = race.service.pool, race.made["secret"]
    async with courier(database_url) as worker_proxy:
        rotated = await race.run(
            web_proxy,
            worker_proxy,
            having(webhooks.ROTATE),
            lambda: race.customer.post(f"{race.path}/rotate-secret"),
            status=200,
            change_first=rotation_first,
        )
        assert rotated.status == 200
        await becomes(pool, "delivered")
        await tell(pool, [race.endpoint], 1)
        await race.receiver.got(2)
        race.receiver.answer(1, 200)
    new = rotated.json["secret"]
    assert [race.receiver.verified(number, old) for number in (0, 1)] == [True, True]
    assert [race.receiver.verified(number, new) for number in (0, 1)] == [False, True]
    await nothing_is_broken(pool)


@pytest.mark.parametrize("disabling_first", [True, False])
async def test_a_disabling_and_a_delivery(
    database_url: str, web_proxy: DatabaseProxy, race: Race, *, disabling_first: bool
) -> None:
    """What was refused waits for the endpoint to be active again, and is then sent by itself."""
    pool = race.service.pool
    async with courier(database_url) as worker_proxy:
        disabled = await race.run(
            web_proxy,
            worker_proxy,
            having(webhooks.UPDATE, webhooks.HOLD),
            lambda: race.customer.call("PATCH", race.path, {"active": False}),
            status=500,
            change_first=disabling_first,
        )
        assert (disabled.status, disabled.json["active"]) == (200, False)
        held = await becomes(pool, "pending")
        assert (held["attempts"], held["last_response_status"]) == (1, 500)
        await rows(pool, LEASE_ENDS)
        assert await deliveries.claim(pool, SLOTS) == []
        await nothing_is_broken(pool)
        assert (await race.customer.call("PATCH", race.path, {"active": True})).status == 200
        await race.receiver.got(2)
        race.receiver.answer(1, 200)
        await becomes(pool, "delivered")
    await nothing_is_broken(pool)


# ------------------------------------------------------------------ a key and a request


@pytest.mark.parametrize("revoked_first", [True, False])
async def test_a_revocation_and_a_request(
    web_proxy: DatabaseProxy, race: Race, *, revoked_first: bool
) -> None:
    """A request is held to what was committed when its key was looked up, and no later one gets through."""
    support, pool = await race.service.admin(), race.service.pool
    (row,) = await rows(pool, "SELECT key_id FROM api_keys WHERE account_id = $1", race.customer.account_id)
    path = f"/v1/admin/keys/{ids.prefixed('key', row['key_id'])}"
    if revoked_first:
        hold = web_proxy.hold_next(having(keys.REVOKE))
        revoking = asyncio.create_task(support.call("DELETE", path))
        await reached(hold)
        # Nobody has been told yet that it is revoked.
        assert (await race.customer.get("/v1/webhooks")).status == 200
        hold.release()
        assert (await revoking).status == 204
    else:
        hold = web_proxy.hold_next(having(keys.FIND))
        asking = asyncio.create_task(race.customer.get("/v1/webhooks"))
        await reached(hold)
        await eventually(lambda: has_looked_up(pool))
        assert (await support.call("DELETE", path)).status == 204
        hold.release()
        assert (await asking).status == 200
    refused = await race.customer.get("/v1/webhooks")
    assert (refused.status, refused.json["type"].rsplit("/", 1)[1]) == (401, "revoked-key")


async def has_looked_up(pool: Pool) -> bool:
    """Whether a session has executed the look-up of a key, and waits to be asked for its end."""
    return bool(
        await rows(
            pool,
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query = $1"
            " AND state = 'active' AND wait_event = 'ClientRead'",
            keys.FIND,
        )
    )
