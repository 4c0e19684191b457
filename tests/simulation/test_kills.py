"""kill -9 at random moments under load: nothing acknowledged is lost, nothing doubled, no money unseen."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from pathlib import Path

import asyncpg
import pytest

from crypto_orders.embedded import EmbeddedPostgres
from crypto_orders.store import invariants, migrate
from tests.simulation import aftermath
from tests.simulation.load import Load
from tests.simulation.rig import Kept, Rig, eventually, running
from tests.support.cluster import SMALL, make_cluster_dir

KILLS = 25
"""Of each kind; 0 faults in as many kills bound the rate of faults at 12 % with 95 % confidence."""

BETWEEN_KILLS_SECONDS = (0.2, 0.6)

SEED = int(os.environ.get("SIMULATION_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
"""Give SIMULATION_SEED to have the same customers and the same pauses; the rest is up to the machine."""

OF_THE_SERVICE = "application_name LIKE 'crypto-orders-%' AND backend_type = 'client backend'"

# With the limits on, a checkout is a transaction of several statements; without them it is one statement.
LIMITED = {"open_orders_max": "1000000"}

FEW_CONNECTIONS = {"database_connections_max": "6"}
"""After every death of the database all of them are made anew, which is most of the work of such a run."""

Kill = Callable[[random.Random], Awaitable[None]]

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def own_server() -> Generator[EmbeddedPostgres]:
    """A PostgreSQL server that may be killed, with the schema in its database."""
    home = make_cluster_dir()
    with EmbeddedPostgres(home / "postgres", options=SMALL) as server:
        asyncio.run(migrate.migrate(server.owner_dsn, migrate.shipped(), service_role="crypto_orders"))
        yield server
    shutil.rmtree(home, ignore_errors=True)


@contextlib.asynccontextmanager
async def connected(dsn: str) -> AsyncGenerator[asyncpg.Connection]:
    connection = await _connect(dsn)
    try:
        yield connection
    finally:
        connection.terminate()


async def _connect(dsn: str) -> asyncpg.Connection:
    """Connect as soon as the server lets us."""

    async def attempt() -> asyncpg.Connection | None:
        try:
            return await asyncpg.connect(dsn, timeout=20)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return None

    return await eventually(attempt, "the database lets us in")


async def simulate(rig: Rig, dsn: str, directory: Path, kind: str, kill: Kill) -> Counter[str]:
    """Kill again and again under load, let everything settle, and compare what is left; what was met."""
    sys.stdout.write(f"{kind}: SIMULATION_SEED={SEED}\n")
    dice = random.Random(f"{SEED}/{kind}")
    load = Load(rig, SEED, directory / "customers.jsonl")
    load.start()
    for _ in range(KILLS):
        # A kill counts when the service has answered customers since the one before.
        before = load.acknowledged

        async def goes_on(before: int = before) -> bool:
            load.check()
            return load.acknowledged > before

        await eventually(goes_on, f"customers are answered\n{rig.tail()}")
        await asyncio.sleep(dice.uniform(*BETWEEN_KILLS_SECONDS))
        await kill(dice)
    await load.stop()
    async with connected(dsn) as conn:
        orphans = await aftermath.settle(rig, conn)
        found, wrong = await aftermath.judged(rig, conn, load.path)
        assert wrong == []
        assert await invariants.violations(conn) == []
    met = Counter[str](
        kills=KILLS,
        acknowledged=load.acknowledged,
        unanswered=load.unanswered,
        refused=load.refused,
        hung_up=load.hung_up,
        orders=len(found.orders),
        ledger=len(found.ledger),
        orphans_paid=orphans,
        flags=len(found.flags),
        webhook_events=len(found.webhook_events),
    )
    met.update(order["status"] for order in found.orders)
    sys.stdout.write(f"{kind}: {dict(met)}\n")
    assert met["paid"] > 0
    return met


async def test_kills_of_web_processes_lose_and_double_nothing(database_url: str, tmp_path: Path) -> None:
    async with running(database_url, tmp_path, webs=2, workers=1) as rig:
        await rig.sandbox("/faults", api_delay_ms=20)

        async def kill(dice: random.Random) -> None:
            victim = dice.choice(rig.webs)
            await eventually(lambda: rig.answers(victim), f"{victim.name} answers\n{rig.tail()}")
            victim.kill()

        met = await simulate(rig, database_url, tmp_path, "web", kill)
    assert met["unanswered"] > met["hung_up"]


async def test_kills_of_workers_lose_and_double_nothing(database_url: str, tmp_path: Path) -> None:
    """The notifications are lost, so that all orders depend on the workers."""
    async with running(database_url, tmp_path, webs=2, workers=2) as rig, connected(database_url) as conn:
        await rig.sandbox("/faults", drop_ipns=0.9)

        async def kill(dice: random.Random) -> None:
            await conn.execute("UPDATE payments SET ask_at = now() WHERE ask_at IS NOT NULL")
            victim: Kept = dice.choice(rig.workers)
            await eventually(lambda: _is_connected(conn, len(rig.workers)), f"workers work\n{rig.tail()}")
            await asyncio.sleep(dice.uniform(0, 0.2))
            victim.kill()

        await simulate(rig, database_url, tmp_path, "worker", kill)
        healed = "SELECT count(*) FROM order_events WHERE status = 'paid' AND via = 'poll'"
        assert await conn.fetchval(healed) > 0


async def _is_connected(conn: asyncpg.Connection, workers: int) -> bool:
    found = await conn.fetchval(
        "SELECT count(DISTINCT pid) FROM pg_stat_activity"
        " WHERE application_name = 'crypto-orders-worker' AND datname = current_database()"
    )
    return found >= workers


async def test_kills_of_database_backends_lose_and_double_nothing(
    own_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    """A killed backend takes the whole server through a crash and its recovery."""
    async with running(own_server.dsn, tmp_path, webs=2, workers=1, **FEW_CONNECTIONS) as rig:

        async def kill(dice: random.Random) -> None:
            async def backends() -> list[int]:
                async with connected(own_server.superuser_dsn) as conn:
                    rows = await conn.fetch(f"SELECT pid FROM pg_stat_activity WHERE {OF_THE_SERVICE}")
                return [row["pid"] for row in rows]

            victim = dice.choice(await eventually(backends, "the service is connected"))
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)

        met = await simulate(rig, own_server.dsn, tmp_path, "backend", kill)
    assert met["refused"] > 0


async def test_kills_of_the_postmaster_lose_and_double_nothing(
    own_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    changes = LIMITED | FEW_CONNECTIONS
    async with running(own_server.dsn, tmp_path, webs=2, workers=1, **changes) as rig:

        async def kill(_: random.Random) -> None:
            async def running_now() -> int | None:
                return own_server.pid()

            victim = await eventually(running_now, "the server runs")
            os.kill(victim, signal.SIGKILL)

            async def replaced() -> bool:
                return own_server.pid() not in {None, victim}

            await eventually(replaced, "the server is replaced")

        met = await simulate(rig, own_server.dsn, tmp_path, "postmaster", kill)
    assert met["refused"] > 0
