"""Open pools of PostgreSQL connections, under time-outs, and name what reads and writes are given."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any, Protocol, cast

import asyncpg

STATEMENT_TIMEOUT_MS = 4_000
"""No request may wait longer for one statement; the longest of ours takes milliseconds."""

ANSWER_TIMEOUT_SECONDS = 4.5
"""An answer is waited for this long and no longer. The server's own time-outs come first while its words still
arrive; behind a network that swallows them nothing else would ever end the wait."""

LOCK_TIMEOUT_MS = 3_000
"""An order's lock is held for milliseconds; three seconds mean that something is stuck."""

IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
"""No network call happens inside a transaction, so an idle one belongs to a dead client."""

CONNECT_TIMEOUT_SECONDS = 5

ACQUIRE_TIMEOUT_SECONDS = 3
"""A request that finds no connection in this time is refused, so that queues stay short. A request that waits
twice for one, and once for a lock, is still answered within ten seconds."""

CLOSE_TIMEOUT_SECONDS = 2
"""A server that does not answer is not said good-bye to."""

MAX_INACTIVE_SECONDS = 300


class Row(Protocol):
    """One row of a result; columns by name."""

    def __getitem__(self, key: str | int) -> Any: ...  # noqa: ANN401 - columns are of any type


class Conn(Protocol):
    """A connection that reads are given; what asyncpg offers, as far as it is used."""

    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> Sequence[Row]: ...
    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Row | None: ...
    async def fetchval(self, query: str, *args: object, timeout: float | None = None) -> Any: ...  # noqa: ANN401 - columns are of any type
    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str: ...
    async def copy_from_query(
        self,
        query: str,
        *args: object,
        output: Callable[[bytes], Awaitable[None]],
        format: str,
        header: bool = False,
        timeout: float | None = None,
    ) -> str: ...


class Tx(Conn, Protocol):
    """A connection inside a transaction; only `store.transaction` makes one."""

    is_in_transaction_of_ours: bool


class Pool(Protocol):
    """Connections to borrow. A borrowed one goes back by itself at the end of the block."""

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Conn]: ...
    async def close(self) -> None: ...
    def terminate(self) -> None: ...


async def open_pool(
    database_url: str,
    *,
    size: int,
    application_name: str,
    settings: dict[str, str] | None = None,
) -> Pool:
    """Open a pool of up to `size` connections; every statement of it runs under the module's time-outs.

    Whoever executes what may take longer names a `timeout` of his own, and the server's in `settings`.

    Raises:
        OSError or asyncpg.PostgresError: the server cannot be reached or refuses.
    """
    pool = await asyncpg.create_pool(  # pyright: ignore[reportUnknownMemberType] - asyncpg ships no types
        database_url,
        min_size=min(2, size),
        max_size=size,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=ANSWER_TIMEOUT_SECONDS,
        max_inactive_connection_lifetime=MAX_INACTIVE_SECONDS,
        reset=_leave_as_is,
        server_settings={
            "application_name": application_name,
            "statement_timeout": str(STATEMENT_TIMEOUT_MS),
            "lock_timeout": str(LOCK_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
            "jit": "off",
            **(settings or {}),
        },
    )
    return _BoundedPool(cast("Pool", pool))


class _BoundedPool:
    """A pool whose queue is short: who gets no connection in time meets a TimeoutError."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def acquire(
        self, *, timeout: float | None = ACQUIRE_TIMEOUT_SECONDS
    ) -> AbstractAsyncContextManager[Conn]:
        return _Borrowing(self._pool.acquire(timeout=timeout))

    async def close(self) -> None:
        # When time is up the driver gives up what it was closing.
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await self._pool.close()

    def terminate(self) -> None:
        self._pool.terminate()


class _Borrowing(AbstractAsyncContextManager[Conn]):
    """A connection for the length of a block. One that did not answer in time serves nobody else."""

    __slots__ = ("_borrowing", "_conn")

    def __init__(self, borrowing: AbstractAsyncContextManager[Conn]) -> None:
        self._borrowing = borrowing

    async def __aenter__(self) -> Conn:
        self._conn = await self._borrowing.__aenter__()
        return self._conn

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if isinstance(error, TimeoutError):
            give_up(self._conn)
        return await self._borrowing.__aexit__(kind, error, trace)


def give_up(conn: Conn) -> None:
    """End a connection at once, without a word to the server, which ends what it was doing with the session."""
    # One that has gone back to its pool is no longer ours to end.
    with suppress(asyncpg.InterfaceError):
        cast("asyncpg.Connection", conn).terminate()


async def _leave_as_is(connection: object) -> None:
    """Nothing of ours changes a session beyond its transaction, so there is nothing to reset."""
