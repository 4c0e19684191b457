"""Orders as CSV, written by PostgreSQL itself and handed on in pieces, so that memory stays flat.

RFC 4180: fields with commas, quotes or line ends are quoted, records end with CRLF, the header comes always.
A text that a spreadsheet would take for a formula gets an apostrophe in front; numbers are never texts.

A large export is cut into slices of time that two connections write side by side, of one snapshot. The pieces
of a slice wait until those of the slices before it are out, so the file is the same as from one connection.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from typing import cast

import asyncpg
from msgspec.structs import replace

from crypto_orders.store import search
from crypto_orders.store.connection import Conn, Pool
from crypto_orders.store.order_filters import Filters, clauses_of, older_than

Output = Callable[[bytes], Awaitable[None]]

EXPORT_SECONDS_MAX = 3600
"""Ten million orders to a slow client; what takes longer has been forgotten by whoever asked."""

SLICE_ORDERS = 20_000
"""About how many orders a slice has: some megabytes, so that little has to wait for its turn."""

AHEAD_BYTES_MAX = 8 * 1024 * 1024
"""What may be held of slices ahead of their turn; then their connection waits."""

BLOCK_BYTES = 256 * 1024
"""Handed on at once: large enough that the handing on costs little, small beside a process's memory."""

FORMULA_STARTS = "61,43,45,64,9,13"
"""The codes of = + - @ TAB and CR, with which a spreadsheet begins a formula or is made to."""

NO_FORMULA_START = "ascii({0}) > 64 OR ascii({0}) BETWEEN 46 AND 60"
"""Letters and digits, among others: most texts are known to be harmless by one comparison."""

# Orders are read along the index, so that nothing is sorted or held however many there are. Helpers of the
# server would spend more on keeping the order between them than they save. A connection whose slice has to
# wait for its turn is idle for as long as the client takes.
BEGIN = f"""
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL statement_timeout = '{EXPORT_SECONDS_MAX}s';
SET LOCAL idle_in_transaction_session_timeout = '{EXPORT_SECONDS_MAX}s';
SET LOCAL timezone = 'UTC';
SET LOCAL enable_sort = off;
SET LOCAL max_parallel_workers_per_gather = 0"""


def _text(column: str) -> str:
    harmless = NO_FORMULA_START.format(column)
    return (
        f"CASE WHEN {harmless} THEN {column}"
        f" WHEN ascii({column}) IN ({FORMULA_STARTS}) THEN '''' || {column} ELSE {column} END"
    )


def _instant(column: str) -> str:
    return f"""to_char({column}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


# The project's export page names these columns in this order: new ones are only appended.
COLUMNS = {
    "order_id": "o.order_id",
    "account_id": "'acc_' || o.account_id",
    "product": _text("o.product"),
    "price_cents": "o.price_cents",
    "price_currency": "o.price_currency",
    "status": "o.status",
    "payment_id": _text("o.payment_id"),
    "customer_note": _text("o.customer_note"),
    "internal_note": _text("o.internal_note"),
    "created_at": _instant("o.created_at"),
    "updated_at": _instant("o.updated_at"),
    "paid_at": _instant("o.paid_at"),
    "pay_currency": _text("o.payment_currency"),
    "pay_amount": "o.payment_amount",
    "actually_paid": "o.payment_paid",
}
SELECTED = ",\n       ".join(f"{expression} AS {name}" for name, expression in COLUMNS.items())


async def write_csv(pool: Pool, filters: Filters, *, limit: int | None, output: Output) -> None:
    """Write the orders that the filters leave, the newest first, piece by piece to `output`.

    All of it is of one moment. Without `limit` there is no bound. When anything fails or the caller goes
    away, the connections are given up, which also ends their statements.
    """
    async with AsyncExitStack() as borrowed:
        connections = [await borrowed.enter_async_context(pool.acquire())]
        try:
            await connections[0].execute(BEGIN)
            slices = [filters] if limit is not None else await _slices(connections[0], filters)
            if len(slices) > 1:
                connections.append(await borrowed.enter_async_context(pool.acquire()))
                await _share_snapshot(*connections)
            async with asyncio.timeout(EXPORT_SECONDS_MAX):
                await _write_slices(connections, slices, limit, output)
            for conn in connections:
                await conn.execute("COMMIT")
        except BaseException:
            for conn in connections:
                cast("asyncpg.Connection", conn).terminate()
            raise


async def _share_snapshot(first: Conn, second: Conn) -> None:
    snapshot = await first.fetchval("SELECT pg_export_snapshot()")
    await second.execute(f"{BEGIN}; SET TRANSACTION SNAPSHOT '{snapshot}'")


async def _write_slices(
    connections: Sequence[Conn], slices: Sequence[Filters], limit: int | None, output: Output
) -> None:
    turns = _Turns(output)

    async def write(conn: Conn, first: int) -> None:
        for number in range(first, len(slices), len(connections)):
            await _copy(conn, slices[number], limit, partial(turns.put, number), header=number == 0)
            await turns.end(number)

    writing = [asyncio.create_task(write(conn, first)) for first, conn in enumerate(connections)]
    try:
        await asyncio.gather(*writing)
    finally:
        for each in writing:
            each.cancel()
        await asyncio.gather(*writing, return_exceptions=True)


async def _copy(conn: Conn, filters: Filters, limit: int | None, output: Output, *, header: bool) -> None:
    products = await search.products_with(conn, filters.search) if filters.search else []
    text, args = _statement(filters, products, limit)
    blocks = _Blocks(output)
    await conn.copy_from_query(
        text, *args, output=blocks.take, format="csv", header=header, timeout=EXPORT_SECONDS_MAX
    )
    await blocks.flush()


def _statement(filters: Filters, products: list[str], limit: int | None) -> tuple[str, list[object]]:
    c = clauses_of(filters)
    conditions = [older_than(c, filters, None)]
    if filters.search is not None:
        conditions.append(search.match(c, filters.search, products))
    bounded = "" if limit is None else f"\n LIMIT {c.bind(limit)}"
    before, orders, where = "", c.source, c.where(*conditions)
    if filters.search is not None or filters.flag is not None:
        # The limit is kept from the planner here, which would walk the whole index for a rare needle.
        before = f"""\
  WITH hits AS MATERIALIZED (
SELECT o.account_id, o.order_id
  FROM {orders}{where}
     )
"""
        orders = "hits h\n  JOIN orders o ON o.account_id = h.account_id AND o.order_id = h.order_id"
        where = ""
    text = f"""\
{before}SELECT {SELECTED}
  FROM {orders}{where}
 ORDER BY o.created_at DESC, o.order_id DESC{bounded}"""
    return text, c.args


# What the planner knows of the table: about how many rows, and times with as many orders between any two.
KNOWN = """
SELECT c.reltuples::float8 AS orders, s.histogram_bounds::text::timestamptz[] AS bounds
  FROM pg_class c
  LEFT JOIN pg_stats s ON s.schemaname = c.relnamespace::regnamespace::text AND s.tablename = c.relname
                      AND s.attname = 'created_at'
 WHERE c.oid = 'orders'::regclass
"""


async def _slices(conn: Conn, filters: Filters) -> list[Filters]:
    """The filters, cut into slices of time of about as many orders each, the newest first.

    What finds its orders by other means than their time is left whole.
    """
    if filters.search is not None or filters.payment_id is not None or filters.flag is not None:
        return [filters]
    known = await conn.fetchrow(KNOWN)
    if known is None or known["bounds"] is None:
        return [filters]
    return sliced(filters, cuts_between(known["bounds"], int(known["orders"]) // SLICE_ORDERS))


def sliced(filters: Filters, cuts: Sequence[datetime]) -> list[Filters]:
    """The filters as slices between ascending times, the newest first; all of them make the whole."""
    start, end = filters.created_after, filters.created_before
    inside = [cut for cut in cuts if (start is None or cut > start) and (end is None or cut < end)]
    return [
        replace(filters, created_after=since, created_before=until)
        for since, until in reversed(list(zip([start, *inside], [*inside, end], strict=True)))
    ]


def cuts_between(bounds: Sequence[datetime], slices: int) -> list[datetime]:
    """The times that cut a table into so many slices, given times with as many orders between any two.

    Between two of those the orders are taken to be spread evenly. Times ascend, none comes twice.
    """
    cuts: list[datetime] = []
    for number in range(1, slices):
        whole, part = divmod(number * (len(bounds) - 1), slices)
        cut = bounds[whole]
        if part:
            cut += (bounds[whole + 1] - bounds[whole]) * part / slices
        if not cuts or cut > cuts[-1]:
            cuts.append(cut)
    return cuts


class _Turns:
    """Lets the slices out one after another. What is ahead of its turn is held, and waits when it is much."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._turn = 0
        self._ended: set[int] = set()
        self._held: defaultdict[int, list[bytes]] = defaultdict(list)
        self._held_bytes = 0
        self._letting_out = asyncio.Lock()
        self._passed_on = asyncio.Condition()

    async def put(self, number: int, piece: bytes) -> None:
        """Take the next piece of a slice."""
        if number != self._turn:
            if self._held_bytes < AHEAD_BYTES_MAX:
                self._held[number].append(piece)
                self._held_bytes += len(piece)
                return
            async with self._passed_on:
                await self._passed_on.wait_for(lambda: self._turn == number)
        async with self._letting_out:
            await self._let_out(number)
            await self._output(piece)

    async def end(self, number: int) -> None:
        """A slice is complete. Whose turn ends lets out all that is complete behind it."""
        self._ended.add(number)
        while self._turn in self._ended:
            async with self._letting_out:
                if self._turn in self._ended:
                    await self._let_out(self._turn)
                    self._turn += 1
            async with self._passed_on:
                self._passed_on.notify_all()

    async def _let_out(self, number: int) -> None:
        for piece in self._held.pop(number, ()):
            self._held_bytes -= len(piece)
            await self._output(piece)


class _Blocks:
    """Gathers the server's pieces of a few kilobytes, since handing one on costs as much as a large one."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._lines = _LineEnds()
        self._held: list[bytes] = []
        self._bytes = 0

    async def take(self, piece: bytes) -> None:
        """Take the next piece, and hand on what is held when it is enough."""
        self._held.append(piece)
        self._bytes += len(piece)
        if self._bytes >= BLOCK_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Hand on what is held, if anything is."""
        if self._held:
            block = self._lines.convert(b"".join(self._held))
            self._held, self._bytes = [], 0
            await self._output(block)


class _LineEnds:
    """Makes the line ends between records CRLF and leaves those inside quoted fields as they are."""

    def __init__(self) -> None:
        self._quoted = False

    def convert(self, piece: bytes) -> bytes:
        """Convert the next piece, which may end anywhere."""
        if not self._quoted and b'"' not in piece:
            return piece.replace(b"\n", b"\r\n")
        # A quote within a quoted field is doubled, so every quote turns the state over.
        parts = piece.split(b'"')
        outside = slice(1 if self._quoted else 0, None, 2)
        parts[outside] = [part.replace(b"\n", b"\r\n") for part in parts[outside]]
        self._quoted ^= len(parts) % 2 == 0
        return b'"'.join(parts)
