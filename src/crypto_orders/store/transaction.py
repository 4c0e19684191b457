"""Run a write as one transaction: retried when PostgreSQL asks for it, never when its fate is unknown."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar, cast

from crypto_orders.store.connection import ACQUIRE_TIMEOUT_SECONDS, Conn, Pool, Tx, give_up
from crypto_orders.store.failures import LOST, RETRIED, CommitUnknown, StoreUnavailable

T = TypeVar("T")

TRIES_MAX = 3
RETRY_PAUSE_SECONDS_MAX = 0.05

RETRY_SECONDS_MAX = 2.0
"""A deadlock is found in one second and worth another try. Who has waited longer is told to come back: three
lock time-outs in a row are more than anybody waits for an answer."""

ROLL_BACK_SECONDS_MAX = 1.0
"""A server that does not confirm a rollback by then is not asked again; it ends the transaction by itself."""


async def transact(pool: Pool, work: Callable[[Tx], Awaitable[T]]) -> T:
    """Run `work` in one READ COMMITTED transaction and commit it.

    Deadlocks, lock time-outs and serialization failures are retried as a whole, at most twice and while
    they come quickly; `work` therefore has no effect outside the database.

    Raises:
        CommitUnknown: the connection was lost during COMMIT.
        StoreUnavailable: the database is away; nothing was committed.
    """
    return await _retried(lambda: _once(pool, work))


async def _retried(attempt: Callable[[], Awaitable[T]]) -> T:
    """Try again what others were faster at, a few times and not for long."""
    now = asyncio.get_running_loop().time
    deadline = now() + RETRY_SECONDS_MAX
    for left in reversed(range(TRIES_MAX)):
        try:
            return await attempt()
        except RETRIED:
            if not left or now() >= deadline:
                raise
            await asyncio.sleep(random.uniform(0, RETRY_PAUSE_SECONDS_MAX))  # noqa: S311 - a pause, no secret
    raise AssertionError


async def _once(pool: Pool, work: Callable[[Tx], Awaitable[T]]) -> T:
    async with _borrowed(pool) as conn:
        try:
            await conn.execute("BEGIN")
            result = await work(cast("Tx", conn))
        except TimeoutError as error:
            # The answer is overdue; a rollback would wait behind it.
            give_up(conn)
            raise StoreUnavailable(type(error).__name__) from error
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
    except CommitUnknown:
        # It is lost, or silent: whoever borrowed it next would wait behind what it was asked.
        give_up(conn)
        raise
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

    async def attempt() -> T:
        async with _borrowed(pool) as conn:
            return await _shielded(work(cast("Tx", conn)))

    return await _retried(attempt)


async def _roll_back(conn: Conn) -> None:
    try:
        await conn.execute("ROLLBACK", timeout=ROLL_BACK_SECONDS_MAX)
    except (asyncio.CancelledError, *LOST):
        # The connection is gone or busy; the server ends the transaction with the session.
        give_up(conn)


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
