"""Run a write as one transaction: retried when PostgreSQL asks for it, never when its fate is unknown."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar, cast

import asyncpg

from crypto_orders.store.connection import ACQUIRE_TIMEOUT_SECONDS, Conn, Pool, Tx
from crypto_orders.store.failures import LOST, RETRIED, CommitUnknown, StoreUnavailable

T = TypeVar("T")

TRIES_MAX = 3
RETRY_PAUSE_SECONDS_MAX = 0.05


async def transact(pool: Pool, work: Callable[[Tx], Awaitable[T]]) -> T:
    """Run `work` in one READ COMMITTED transaction and commit it.

    Deadlocks, lock time-outs and serialization failures are retried as a whole, at most twice;
    `work` therefore has no effect outside the database.

    Raises:
        CommitUnknown: the connection was lost during COMMIT.
        StoreUnavailable: the database is away; nothing was committed.
    """
    for left in reversed(range(TRIES_MAX)):
        try:
            return await _once(pool, work)
        except RETRIED:
            if not left:
                raise
            await asyncio.sleep(random.uniform(0, RETRY_PAUSE_SECONDS_MAX))  # noqa: S311 - a pause, no secret
    raise AssertionError


async def _once(pool: Pool, work: Callable[[Tx], Awaitable[T]]) -> T:
    async with _borrowed(pool) as conn:
        try:
            await conn.execute("BEGIN")
            result = await work(cast("Tx", conn))
        except LOST as error:
            await _roll_back(conn)
            raise StoreUnavailable(type(error).__name__) from error
        except BaseException:
            await _roll_back(conn)
            raise
        await _shielded(conn.execute("COMMIT"))
        return result


@asynccontextmanager
async def _borrowed(pool: Pool) -> AsyncGenerator[Conn]:
    """Borrow a connection; the error of getting none is told apart from those of using it."""
    borrowing = pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS)
    try:
        conn = await borrowing.__aenter__()
    except (TimeoutError, *LOST) as error:
        raise StoreUnavailable(type(error).__name__) from error
    try:
        yield conn
    finally:
        # A connection that died went back by itself; giving it back must not hide what became of the work.
        with suppress(*LOST):
            await borrowing.__aexit__(None, None, None)


async def transact_single(pool: Pool, work: Callable[[Tx], Awaitable[T]]) -> T:
    """Run `work`, which executes exactly one statement, as that statement's own transaction.

    It saves two round trips; in return a connection lost after sending is always an unknown commit.

    Raises:
        CommitUnknown: the connection was lost while the statement ran.
        StoreUnavailable: no connection could be had; nothing was sent.
    """
    for left in reversed(range(TRIES_MAX)):
        try:
            async with _borrowed(pool) as conn:
                return await _shielded(work(cast("Tx", conn)))
        except RETRIED:
            if not left:
                raise
            await asyncio.sleep(random.uniform(0, RETRY_PAUSE_SECONDS_MAX))  # noqa: S311 - a pause, no secret
    raise AssertionError


async def _roll_back(conn: Conn) -> None:
    try:
        await conn.execute("ROLLBACK")
    except (asyncio.CancelledError, *LOST):
        # The connection is gone or busy; the server ends the transaction with the session.
        with suppress(asyncpg.InterfaceError):
            cast("asyncpg.Connection", conn).terminate()


async def _shielded(statement: Awaitable[T]) -> T:
    """Finish a statement that commits, whatever happens to the caller: a cancelled request cancels no COMMIT."""
    running = asyncio.ensure_future(statement)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
    except LOST as error:
        raise CommitUnknown(type(error).__name__) from error
