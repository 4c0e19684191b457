"""What the service says of a database that may lose what it acknowledged."""

import asyncpg
import pytest

from crypto_orders.store import durability


async def test_our_own_database_has_no_shortcomings(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    assert await durability.shortcomings(connection) == ()
    await connection.close()


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("synchronous_commit", "off", "synchronous_commit is off: a crash loses acknowledged orders"),
        (
            "default_transaction_read_only",
            "on",
            "the database takes no writes: it is a standby, or made read-only",
        ),
    ],
)
async def test_each_shortcoming_is_named(database_url: str, setting: str, value: str, sentence: str) -> None:
    connection = await asyncpg.connect(database_url, server_settings={setting: value})
    assert await durability.shortcomings(connection) == (sentence,)
    await connection.close()


@pytest.mark.parametrize("value", ["on", "local", "remote_write", "remote_apply"])
async def test_every_way_of_waiting_for_the_disk_is_durable(database_url: str, value: str) -> None:
    connection = await asyncpg.connect(database_url, server_settings={"synchronous_commit": value})
    assert await durability.shortcomings(connection) == ()
    await connection.close()
