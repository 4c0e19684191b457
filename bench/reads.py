"""How long support waits at a million orders: look-ups, pages, searches, numbers, and the export of all.

Every figure is of whole HTTP requests against the real web process, one at a time over one connection; client,
web process and PostgreSQL share the machine.
"""

import asyncio
import contextlib
import hashlib
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode
from uuid import uuid4

import asyncpg

from bench.seed_orders import ORDERS, RETIRED_PRODUCT, seed
from crypto_orders.admin.session import COOKIE
from crypto_orders.domain import cursor
from crypto_orders.domain.cursor import Position
from crypto_orders.embedded import EmbeddedPostgres
from crypto_orders.kit import clock
from crypto_orders.store import migrate, order_lists
from crypto_orders.usecases.sign_in import TOKEN_CHARS, digest

PORT = 18_092
KEY = "ds_admin_" + "r" * 32
SESSION = "s" * TOKEN_CHARS
LIST = "/v1/admin/crypto-orders"
WARM_UPS = 3
TIMES = 12
"""How often each search is made: a plan that turns bad does so at the sixth time."""

LOOKUPS = 400
PAGES = 200
DEPTH = 0.9
EXPORTS = 3
RECEIVE_BYTES = 1 << 20

UNSAFE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_wal_size": "8GB"}
"""For filling the database alone; the measured server is started anew with its real settings."""

SEARCHES: dict[str, tuple[str, ...]] = {
    "common": ("ord", "api", "manual", "please invoice", "Für Jürgen", "seat", "thanks!", "GMBH"),
    "rare": ("48213", "seat 12", "call back before 7:00", "a b", "xxx", "cost centre 9)"),
    "only in old orders": (RETIRED_PRODUCT, "ord_01jk", "01jq"),
    "absent": ("qzzkwv", "absent words here", "no such customer gmbh", "zzzzzzzzzzzz"),
    "punctuation": ("!!!", "%%%", "___", "\\\\\\", "'''", " - ", "://", "&&&"),
    "other scripts": ("привет", "日本語", "ÜBÜ", "März"),
}
SHORT = ("a", "zz", "or", "@", "#", "ap", "le", "ü", "%", "9")


class Figure(NamedTuple):
    """One measured figure beside its target, in the same unit."""

    name: str
    median: float
    p95: float
    p99: float
    figure: float
    target: float
    unit: str
    at_most: bool = True

    @property
    def is_met(self) -> bool:
        """Whether the target is reached."""
        return self.figure <= self.target if self.at_most else self.figure >= self.target

    def line(self) -> str:
        """The figure as a line of the table."""
        spread = f"{self.median:9.1f} {self.p95:9.1f} {self.p99:9.1f}"
        sign = "<=" if self.at_most else ">="
        return (
            f"{self.name:44} {spread} {self.figure:11.1f} {sign} {self.target:8.0f} {self.unit:6}"
            f" {self.figure / self.target:6.2f} {'met' if self.is_met else 'MISSED'}"
        )


END = b"\r\n0\r\n\r\n"
"""The last chunk of a body (RFC 9112, section 7.1)."""

RECORD = b"\nord_"

HEAD = f"{'':44} {'median':>9} {'p95':>9} {'p99':>9} {'figure':>11}    {'target':>8} {'unit':6} {'ratio':>6}"


class Client:
    """One keep-alive connection to the service."""

    def __init__(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", PORT))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, path: str) -> None:
        """Send a request."""
        head = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\nCookie: {COOKIE}={SESSION}\r\n\r\n"
        self._socket.sendall(head.encode())

    def get(self, path: str) -> tuple[float, bytes]:
        """Make a request; how many milliseconds it took, and the body."""
        started = time.perf_counter()
        self.ask(path)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        if not head.startswith(b"HTTP/1.1 200") or length is None:
            raise RuntimeError(path, received[:500])
        while len(body) < int(length[1]):
            body += self._more()
        return (time.perf_counter() - started) * 1000, body

    def _more(self) -> bytes:
        received = self._socket.recv(RECEIVE_BYTES)
        if not received:
            raise ConnectionError
        return received

    def export(self) -> tuple[float, int]:
        """Take the whole CSV; how many seconds it took, and how many records it has."""
        started = time.perf_counter()
        self.ask(f"{LIST}.csv")
        records, carried = 0, b""
        while not carried.endswith(END):
            received = carried + self._more()
            # Every record begins with an id, and no note has one.
            records += received.count(RECORD) - carried.count(RECORD)
            carried = received[-len(END) :]
        return time.perf_counter() - started, records


def percentile(values: Sequence[float], part: float) -> float:
    """The value that so much of all values do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * part))]


def timed(client: Client, name: str, paths: Iterable[str], *, target_ms: float, part: float) -> Figure:
    """The times of some requests; the figure is the percentile that the target is about."""
    took = [client.get(path)[0] for path in paths]
    spread = statistics.median(took), percentile(took, 0.95), percentile(took, 0.99)
    return Figure(name, *spread, percentile(took, part), target_ms, "ms")


def repeated(client: Client, name: str, needles: Iterable[str], *, target_ms: float) -> Figure:
    """Searches, each as often as TIMES, the first time included."""
    paths = [f"{LIST}?search={quote(needle)}" for needle in needles for _ in range(TIMES)]
    return timed(client, name, paths, target_ms=target_ms, part=0.95)


POSITION = """
SELECT created_at, order_id
  FROM orders
 WHERE status = $1
 ORDER BY created_at DESC, order_id DESC
OFFSET (SELECT floor(count(*) * $2::float) FROM orders WHERE status = $1)
 LIMIT 1
"""
SAMPLE = "SELECT payment_id FROM payments TABLESAMPLE BERNOULLI (0.2) LIMIT $1"
IDS = "SELECT order_id FROM orders TABLESAMPLE BERNOULLI (0.01) LIMIT 8"


async def all_figures(conn: Any, client: Client, web: int) -> list[Figure]:
    """Everything, in the order of the table."""
    draw = random.Random(5)
    for _ in range(WARM_UPS):
        for path in (LIST, f"{LIST}/stats", f"{LIST}?search=warm", f"{LIST}?payment_id=1"):
            client.get(path)
    payments = [row["payment_id"] for row in await conn.fetch(SAMPLE, LOOKUPS)]
    ids = [row["order_id"] for row in await conn.fetch(IDS)]
    oldest = await conn.fetchval("SELECT min(created_at) FROM orders")
    window = {
        "created_after": clock.to_iso(oldest),
        "created_before": clock.to_iso(clock.utc_now()),
        "limit": 50,
    }
    first, deep = [], []
    for status in ("paid", "failed", "cancelled", "partial"):
        first.append(f"{LIST}?{urlencode({**window, 'status': status})}")
        row = await conn.fetchrow(POSITION, status, DEPTH)
        at = cursor.encode(order_lists.CURSOR_KIND, Position(row["created_at"], row["order_id"]))
        deep.append(f"{LIST}?{urlencode({**window, 'status': status, 'cursor': at})}")
    texts = {
        **SEARCHES,
        "ids and parts of them": (*ids[:3], *(i[-8:] for i in ids[3:6]), *(i[:13] for i in ids[6:])),
    }
    figures = [
        timed(
            client,
            "exact payment look-up",
            [f"{LIST}?payment_id={payment}" for payment in payments],
            target_ms=5,
            part=0.99,
        ),
        timed(
            client,
            "page of 50, status + window, first",
            draw.choices(first, k=PAGES),
            target_ms=20,
            part=0.99,
        ),
        timed(
            client,
            "page of 50, status + window, 90 % deep",
            draw.choices(deep, k=PAGES),
            target_ms=20,
            part=0.99,
        ),
        *(repeated(client, f"search, {name}", needles, target_ms=50) for name, needles in texts.items()),
        repeated(client, "search, all of these", [n for each in texts.values() for n in each], target_ms=50),
        repeated(client, "search, one or two characters", SHORT, target_ms=200),
        *(
            timed(client, name, [f"{LIST}/{name}"] * PAGES, target_ms=50, part=0.95)
            for name in ("stats", "daily", "pending-age")
        ),
    ]
    figures += _page_figures(client, first, ids)
    return [*figures, *_export_figures(web, await conn.fetchval("SELECT count(*) FROM orders"))]


def _page_figures(client: Client, lists: Sequence[str], ids: Sequence[str]) -> list[Figure]:
    """The pages that operators look at most, drawn whole."""
    gui = [path.replace(LIST, "/admin/orders") for path in lists]
    drawers = [f"/admin/orders/{order_id}/drawer" for order_id in ids]
    for path in (*gui, *drawers, "/admin"):
        client.get(path)
    return [
        timed(client, "GUI: orders page of 50", gui * (PAGES // 8), target_ms=100, part=0.95),
        timed(client, "GUI: an order's drawer", drawers * (PAGES // 16), target_ms=300, part=0.95),
        timed(client, "GUI: overview", ["/admin"] * (PAGES // 8), target_ms=300, part=0.95),
    ]


def _export_figures(web: int, orders: int) -> list[Figure]:
    rates: list[float] = []
    for _ in range(EXPORTS):
        seconds, records = Client().export()
        if records != orders:
            message = f"the export has {records} of {orders} orders"
            raise RuntimeError(message)
        rates.append(records / seconds / 1000)
    status = Path(f"/proc/{web}/status").read_text(encoding="ascii")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    megabytes = int(peak[1]) / 1024 if peak else 0.0
    spread = (statistics.median(rates), percentile(rates, 0.95), percentile(rates, 0.99))
    return [
        Figure("CSV of all orders", *spread, spread[0], 300, "k/s", at_most=False),
        Figure("memory of the web process, peak", *(megabytes,) * 3, megabytes, 100, "MB"),
    ]


@contextlib.asynccontextmanager
async def web_process(dsn: str) -> AsyncGenerator[int]:
    """The web process under measurement; its pid."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.read_server", dsn, str(PORT), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    while (await process.stdout.readline()).strip() != b"ready":
        pass
    await asyncio.sleep(0.5)
    try:
        yield process.pid
    finally:
        process.terminate()
        await process.wait()


ADMIN_KEY = """
INSERT INTO api_keys (key_sha256, key_id, mode, scopes, prefix) VALUES ($1, $2, 'admin', '{admin:read}', 'ds_admin_rrrr')
"""


OPERATOR = """
  WITH operator AS (
       INSERT INTO operators (operator_id, email, role, password_hash, created_at, password_changed_at)
       VALUES (gen_random_uuid(), 'bench@example.com', 'viewer', '$argon2id$none', now(), now())
    RETURNING operator_id
     )
INSERT INTO operator_sessions (token_sha256, session_id, operator_id, created_at, last_seen_at, expires_at)
SELECT $1, gen_random_uuid(), operator_id, now(), now(), now() + interval '12 hours' FROM operator
"""


async def fill(server: EmbeddedPostgres, orders: int) -> None:
    """Migrate and fill the service's database."""
    await migrate.migrate(server.owner_dsn, migrate.shipped(), service_role="crypto_orders")
    conn = await asyncpg.connect(server.superuser_dsn.replace("@/postgres?", "@/crypto_orders?"))
    await seed(conn, orders)
    await conn.execute(ADMIN_KEY, hashlib.sha256(KEY.encode()).digest(), uuid4())
    await conn.execute(OPERATOR, digest(SESSION))
    await conn.close()


async def measure(orders: int = ORDERS) -> list[Figure]:
    """Fill a database of this run's own and take every figure."""
    with tempfile.TemporaryDirectory(prefix="crypto-orders-bench-", dir="/var/tmp") as directory:
        Path(directory).chmod(0o711)
        with EmbeddedPostgres(Path(directory) / "postgres", options=UNSAFE) as server:
            await fill(server, orders)
        with EmbeddedPostgres(Path(directory) / "postgres") as server:
            return await measured(server.dsn)


async def measured(dsn: str) -> list[Figure]:
    """Take every figure of a database that is filled."""
    conn = await asyncpg.connect(dsn)
    async with web_process(dsn) as web:
        figures = await all_figures(conn, Client(), web)
    await conn.close()
    return figures


def main() -> None:
    """Print the table; the number of orders may be given."""
    figures = asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else ORDERS))
    print(HEAD)
    for figure in figures:
        print(figure.line())


if __name__ == "__main__":
    main()
