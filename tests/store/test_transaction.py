"""A write is done once and whole, or not at all: retried, rolled back, finished when its caller has gone."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from asyncpg import UniqueViolationError

from crypto_orders.store.connection import Pool, Tx, open_pool
from crypto_orders.store.failures import StoreUnavailable
from crypto_orders.store.transaction import TRIES_MAX, transact, transact_single
from tests.conftest import ClusterAddress
from tests.support.service import eventually

ADD = "UPDATE tallies SET number = number + 1 WHERE name = $1"


@pytest.fixture
async def tallies(cluster: ClusterAddress, database_url: str) -> AsyncGenerator[Pool]:
    """Connections to a database with two tallies, each at 0."""
    name = database_url.split("?", maxsplit=1)[0].rsplit("/", 1)[1]
    pool = await open_pool(
        cluster.owner_dsn.replace("@/crypto_orders?", f"@/{name}?"), size=4, application_name="test"
    )
    async with pool.acquire() as conn:
        await conn.execute("CREATE TABLE tallies (name text PRIMARY KEY, number integer NOT NULL)")
        await conn.execute("INSERT INTO tallies VALUES ('one', 0), ('two', 0)")
    yield pool
    pool.terminate()


async def numbers(pool: Pool) -> list[int]:
    """Both tallies."""
    async with pool.acquire() as conn:
        return [row["number"] for row in await conn.fetch("SELECT number FROM tallies ORDER BY name")]


async def test_of_two_that_lock_each_other_out_both_are_done_once(tallies: Pool) -> None:
    tries = 0
    both_hold_one = asyncio.Barrier(2)

    async def add(first: str, second: str) -> None:
        async def work(tx: Tx) -> None:
            nonlocal tries
            tries += 1
            await tx.execute(ADD, first)
            if tries <= both_hold_one.parties:
                await both_hold_one.wait()
            await tx.execute(ADD, second)

        await transact(tallies, work)

    await asyncio.gather(add("one", "two"), add("two", "one"))
    assert await numbers(tallies) == [2, 2]
    assert tries == 3


async def test_what_fails_every_time_is_tried_so_often_and_leaves_nothing(tallies: Pool) -> None:
    tries = 0

    async def work(tx: Tx) -> None:
        nonlocal tries
        tries += 1
        await tx.execute(ADD, "one")
        await tx.execute("INSERT INTO tallies VALUES ('one', 9)")

    with pytest.raises(UniqueViolationError):
        await transact(tallies, work)
    assert tries == TRIES_MAX
    with pytest.raises(UniqueViolationError):
        await transact_single(tallies, lambda tx: tx.execute("INSERT INTO tallies VALUES ('one', 9)"))
    assert await numbers(tallies) == [0, 0]


async def test_an_error_in_between_takes_everything_back(tallies: Pool) -> None:
    async def work(tx: Tx) -> None:
        await tx.execute(ADD, "one")
        raise LookupError

    with pytest.raises(LookupError):
        await transact(tallies, work)
    assert await numbers(tallies) == [0, 0]


async def test_a_session_that_ends_in_between_leaves_nothing(tallies: Pool) -> None:
    async def work(tx: Tx) -> None:
        await tx.execute(ADD, "one")
        async with tallies.acquire() as conn:
            await conn.fetchval(
                "SELECT pg_terminate_backend($1)", await tx.fetchval("SELECT pg_backend_pid()")
            )
        await tx.execute(ADD, "two")

    with pytest.raises(StoreUnavailable):
        await transact(tallies, work)
    assert await numbers(tallies) == [0, 0]


async def test_a_single_statement_is_finished_though_its_caller_is_cancelled(tallies: Pool) -> None:
    async with tallies.acquire() as holder, tallies.acquire() as looker:
        await holder.execute("BEGIN")
        await holder.execute(ADD, "one")
        adding = asyncio.create_task(transact_single(tallies, lambda tx: tx.execute(ADD, "one")))

        async def waits() -> bool:
            return await looker.fetchval(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database())"
            )

        await eventually(waits)
        adding.cancel()
        done, _ = await asyncio.wait([adding], timeout=0.05)
        assert not done
        await holder.execute("COMMIT")
    with pytest.raises(asyncio.CancelledError):
        await adding
    assert await numbers(tallies) == [2, 0]
