"""Webhook deliveries of one worker process: how many a second, how soon, and whether bad endpoints slow good ones.

The worker is the real one, with all its jobs. It is measured end to end: fan-out, claim, request, settle. The
clients' own ceilings, taken in turn with it, send the same requests to the same receiver without a database.
Receivers, PostgreSQL and the benchmark itself share the machine.
"""

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from bench.delivery_clients import ENDPOINTS, SECRET
from crypto_orders.domain.webhook_event import PAID, WebhookEvent, webhook_body
from crypto_orders.embedded import EmbeddedPostgres
from crypto_orders.kit import clock, ids
from crypto_orders.kit.sealing import Sealer
from crypto_orders.store import migrate
from crypto_orders.usecases.webhooks import place_of_secret

PORT = 18_093
REFUSING_PORT = 18_094
"""Nobody listens there."""

ROUNDS = 3
CLIENT_SECONDS = 3.0
WARM_UP_EVENTS = 2_000
EVENTS = 10_000
"""Of one round of the throughput."""

PACED_PER_SECOND = 500
PACED_SECONDS = 6.0
TICK_SECONDS = 0.02
BAD_ENDPOINTS = 25
BAD_PER_SECOND = 100
"""Events for the bad endpoints together, while they are switched on."""

SEALING_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
GROWTH_MB_MAX = 20.0
DEADLINE_SECONDS = 120.0

HEAD = f"{'deliveries':44} {'figure':>10} {'target':>12}"


class Figure(NamedTuple):
    """One measured figure; without a target it is there to compare with."""

    name: str
    value: float
    unit: str
    target: str = ""
    is_met: bool = True

    def line(self) -> str:
        """The figure as a line of the table."""
        said = "" if not self.target else "met" if self.is_met else "MISSED"
        digits = 2 if self.unit in {"x", "s"} else 0
        return f"{self.name:44} {self.value:>10.{digits}f} {self.target:>12} {self.unit:7} {said}"


def at_least(name: str, value: float, target: float, unit: str) -> Figure:
    return Figure(name, value, unit, f">= {target:g}", value >= target)


def at_most(name: str, value: float, target: float, unit: str) -> Figure:
    return Figure(name, value, unit, f"<= {target:g}", value <= target)


INSERT_ENDPOINT = """
INSERT INTO webhook_endpoints (account_id, endpoint_id, url, events, secret_prefix, secret_sealed, last_success_at,
                               created_at, active)
VALUES ($1, $2, $3, '{crypto.order.paid}', 'whsec_AAAAAA', $4, $5, now(), $6)
"""


UNSETTLED = "SELECT EXISTS (SELECT FROM webhook_deliveries WHERE due_at IS NOT NULL)"


def account(number: int) -> UUID:
    return UUID(f"00000000-0000-4000-8000-{number:012d}")


class Endpoints:
    """Every good endpoint and every bad one has an account of its own, so that an event is one delivery."""

    def __init__(self, conn: Any) -> None:
        self._conn = conn
        self._orders = 0

    async def seed(self, bad_ports: Sequence[int]) -> None:
        # An event of the benchmark has no order behind it.
        await self._conn.execute(
            "ALTER TABLE webhook_events DROP CONSTRAINT webhook_events_account_id_order_id_fkey"
        )
        sealer = Sealer(SEALING_KEY)
        urls = [f"http://127.0.0.1:{PORT}/good/{number}" for number in range(ENDPOINTS)]
        urls += [
            f"http://127.0.0.1:{bad_ports[number % len(bad_ports)]}/{number}"
            for number in range(BAD_ENDPOINTS)
        ]
        for number, url in enumerate(urls):
            endpoint_id, is_good = ids.uuid7(), number < ENDPOINTS
            await self._conn.execute(
                "INSERT INTO accounts (account_id, name) VALUES ($1, 'bench')", account(number)
            )
            sealed = sealer.seal(SECRET.encode(), place_of_secret(endpoint_id))
            proven_at = clock.utc_now() if is_good else None
            await self._conn.execute(
                INSERT_ENDPOINT, account(number), endpoint_id, url, sealed, proven_at, is_good
            )

    async def switch_bad_ones(self, *, on: bool) -> None:
        """Pause the bad endpoints or resume them; their events are kept meanwhile."""
        numbers = [account(ENDPOINTS + number) for number in range(BAD_ENDPOINTS)]
        await self._conn.execute(
            "UPDATE webhook_endpoints SET active = $2, disabled_at = NULL, disabled_reason = NULL"
            " WHERE account_id = ANY ($1)",
            numbers,
            on,
        )

    async def tell(self, count: int, *, first: int = 0, of: int = ENDPOINTS) -> None:
        """Commit so many events, for the accounts in turn."""
        now = clock.utc_now()
        rows: list[tuple[Any, ...]] = []
        for _ in range(count):
            self._orders += 1
            order_id, event_id = f"ord_0{self._orders:025d}", ids.uuid7()
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
            whose = account(first + self._orders % of)
            rows.append((whose, event_id, order_id, PAID, webhook_body(event_id, event), now, now))
        await self._conn.copy_records_to_table(
            "webhook_events",
            records=rows,
            columns=("account_id", "event_id", "order_id", "event_type", "body", "created_at", "fan_out_at"),
        )


async def ask(path: str) -> Any:
    """Ask the good receiver: /count, or /timed and /untimed for the delays so far, which begin anew."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT, limit=1 << 26)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    answer = json.loads(await reader.readexactly(length))
    writer.close()
    return answer


async def until_count(count: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while await ask("/count") < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{await ask('/count')} of {count} deliveries came")
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(*command: str, says: bool, **environ: str) -> AsyncGenerator[tuple[int, bytes]]:
    """A process of the measurement: its id, and the line it says when it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *command,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE if says else subprocess.DEVNULL,
    )
    line = await process.stdout.readline() if process.stdout else b""
    try:
        yield process.pid, line
    finally:
        process.terminate()
        await process.wait()


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def client(name: str) -> tuple[float, float]:
    """Deliveries a second of a client alone, and the processor's microseconds for one."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.delivery_clients", name, str(PORT), str(CLIENT_SECONDS)),
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()
    per_second, microseconds = json.loads(output)
    return per_second, microseconds


async def drained(conn: Any, endpoints: Endpoints, worker: int, count: int) -> tuple[float, float]:
    """Commit events at once and time them until all are settled; a second, and microseconds of the worker."""
    await ask("/untimed")
    processor = processor_seconds(worker)
    await endpoints.tell(count)
    begun = time.perf_counter()
    await until_count(count)
    while await conn.fetchval(UNSETTLED):  # noqa: ASYNC110 - the database is another process
        await asyncio.sleep(0.005)
    seconds = time.perf_counter() - begun
    return count / seconds, (processor_seconds(worker) - processor) / count * 1e6


async def paced(endpoints: Endpoints, *, bad_too: bool) -> list[float]:
    """Commit events at a steady pace; the good ones' delays from the event's creation to the receiver."""
    await ask("/timed")
    sent, begun = 0, time.perf_counter()
    while (passed := time.perf_counter() - begun) < PACED_SECONDS:
        due = int(passed * PACED_PER_SECOND) - sent
        if due:
            await endpoints.tell(due)
            sent += due
            if bad_too:
                share = max(1, due * BAD_PER_SECOND // PACED_PER_SECOND)
                await endpoints.tell(share, first=ENDPOINTS, of=BAD_ENDPOINTS)
        await asyncio.sleep(TICK_SECONDS)
    await until_count(sent)
    return await ask("/untimed")


def p95(delays: Sequence[float]) -> float:
    return statistics.quantiles(delays, n=20)[-1]


async def measure() -> list[Figure]:
    """Every figure, in the order of the table."""
    async with contextlib.AsyncExitStack() as stack:
        directory = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="crypto-orders-bench-", dir="/var/tmp")
        )
        Path(directory).chmod(0o711)
        server = EmbeddedPostgres(Path(directory) / "postgres")
        dsn = server.start()
        stack.callback(server.stop)
        await migrate.migrate(server.owner_dsn, migrate.shipped(), service_role="crypto_orders")
        conn = await asyncpg.connect(server.owner_dsn)
        stack.push_async_callback(conn.close)
        await stack.enter_async_context(running("bench.delivery_receiver", "good", str(PORT), says=True))
        _, ports = await stack.enter_async_context(running("bench.delivery_receiver", "bad", says=True))
        endpoints = Endpoints(conn)
        await endpoints.seed([*json.loads(ports), REFUSING_PORT])
        worker, _ = await stack.enter_async_context(
            running("crypto_orders", "worker", says=False, **_environ(dsn))
        )
        await drained(conn, endpoints, worker, WARM_UP_EVENTS)
        return [*await _throughput(conn, endpoints, worker), *await _delays(endpoints, worker)]


def _environ(dsn: str) -> dict[str, str]:
    values = {
        "DATABASE_URL": dsn,
        "SANDBOX": "true",
        "NOWPAYMENTS_URL": f"http://127.0.0.1:{REFUSING_PORT}",
        "SEALING_KEY": SEALING_KEY,
        "ALLOW_INSECURE_WEBHOOKS": "true",
    }
    return {f"CRYPTO_ORDERS_{name}": value for name, value in values.items()}


async def _throughput(conn: Any, endpoints: Endpoints, worker: int) -> list[Figure]:
    ours, senders, aiohttps = [], [], []
    for _ in range(ROUNDS):
        senders.append(await client("sender"))
        aiohttps.append(await client("aiohttp"))
        ours.append(await drained(conn, endpoints, worker, EVENTS))
    per_second, microseconds = (statistics.median(each) for each in zip(*ours, strict=True))
    figures = [
        at_least("one worker, end to end", per_second, 5000, "/s"),
        Figure("one worker, processor time of one", microseconds, "us"),
    ]
    for name, taken in (("our sender alone", senders), ("aiohttp alone", aiohttps)):
        rate, cost = (statistics.median(each) for each in zip(*taken, strict=True))
        share = statistics.median(one[0] / other[0] for one, other in zip(ours, taken, strict=True))
        figures += [
            Figure(name, rate, "/s"),
            Figure(f"{name}, processor time of one", cost, "us"),
            Figure(f"one worker to {name}", share, "x"),
        ]
    return figures


async def _delays(endpoints: Endpoints, worker: int) -> list[Figure]:
    without: list[list[float]] = []
    beside: list[list[float]] = []
    before = resident_mb(worker)
    for _ in range(ROUNDS):
        await endpoints.switch_bad_ones(on=False)
        without.append(await paced(endpoints, bad_too=False))
        await endpoints.switch_bad_ones(on=True)
        beside.append(await paced(endpoints, bad_too=True))
    quiet, disturbed = (statistics.median(map(p95, each)) for each in (without, beside))
    ratio = statistics.median(p95(b) / p95(w) for b, w in zip(beside, without, strict=True))
    return [
        at_most(f"p95 delay at {PACED_PER_SECOND} events/s", quiet, 1, "s"),
        at_most(f"the same beside {BAD_ENDPOINTS} bad endpoints", disturbed, 1, "s"),
        at_most("p95 beside bad endpoints to p95 without", ratio, 2, "x"),
        at_most("memory the worker grew by meanwhile", resident_mb(worker) - before, GROWTH_MB_MAX, "MB"),
        Figure("memory of the worker", resident_mb(worker), "MB"),
    ]
