"""The migration runner, against databases that hold nothing yet."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import asyncpg
import pytest

from crypto_orders.store import migrate
from tests.conftest import ClusterAddress
from tests.support import schema


@pytest.fixture
async def empty_database(cluster: ClusterAddress, request: pytest.FixtureRequest) -> AsyncGenerator[str]:
    name = f"empty_{abs(hash(request.node.nodeid))}"
    connection = await asyncpg.connect(cluster.superuser_dsn)
    await connection.execute(f"CREATE DATABASE {name} OWNER crypto_orders_owner")
    yield cluster.owner_dsn.replace("@/crypto_orders?", f"@/{name}?")
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


def write(directory: Path, **files: str) -> tuple[migrate.Migration, ...]:
    for name, sql in files.items():
        (directory / f"{name.removeprefix('m')}.sql").write_text(sql)
    return migrate.load(directory)


async def query(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_files_are_applied_in_order_and_once(empty_database: str, tmp_path: Path) -> None:
    two = write(
        tmp_path,
        m0001_things="CREATE TABLE things (a int); CREATE INDEX ON things (a);",
        m0002_more="ALTER TABLE things ADD b int;",
    )
    assert await migrate.pending(empty_database, two) == ("0001_things.sql", "0002_more.sql")
    assert await migrate.migrate(empty_database, two[:1]) == ("0001_things.sql",)
    assert await migrate.pending(empty_database, two) == ("0002_more.sql",)
    assert await migrate.migrate(empty_database, two) == ("0002_more.sql",)
    assert await migrate.migrate(empty_database, two) == ()
    assert await migrate.pending(empty_database, two) == ()


async def test_a_file_changed_after_it_was_applied_is_refused(empty_database: str, tmp_path: Path) -> None:
    before = write(tmp_path, m0001_things="CREATE TABLE things (a int);")
    await migrate.migrate(empty_database, before)
    after = write(tmp_path, m0001_things="CREATE TABLE things (a bigint);")
    sentence = "0001_things.sql is not what was applied to this database as 0001_things.sql"
    with pytest.raises(migrate.MigrationError, match=sentence):
        await migrate.migrate(empty_database, after)
    with pytest.raises(migrate.MigrationError, match=sentence):
        await migrate.pending(empty_database, after)


async def test_a_file_that_fails_leaves_nothing_of_itself(empty_database: str, tmp_path: Path) -> None:
    migrations = write(
        tmp_path,
        m0001_things="CREATE TABLE things (a int);",
        m0002_broken="CREATE TABLE half (a int); SELECT 1 / 0;",
    )
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate.migrate(empty_database, migrations)
    assert await query(empty_database, "SELECT to_regclass('half')") is None
    assert await migrate.pending(empty_database, migrations) == ("0002_broken.sql",)


async def test_runners_that_start_together_apply_each_file_once(empty_database: str, tmp_path: Path) -> None:
    migrations = write(
        tmp_path,
        **{f"m{number:04d}_step": f"CREATE TABLE step_{number} (a int);" for number in range(1, 9)},
    )
    applied = await asyncio.gather(*(migrate.migrate(empty_database, migrations) for _ in range(8)))
    assert sorted(name for names in applied for name in names) == [
        f"{number:04d}_step.sql" for number in range(1, 9)
    ]


async def test_a_table_in_use_fails_the_migration_instead_of_blocking_its_readers(
    empty_database: str, tmp_path: Path
) -> None:
    first = write(tmp_path, m0001_things="CREATE TABLE things (a int);")
    await migrate.migrate(empty_database, first)
    both = write(tmp_path, m0002_wider="ALTER TABLE things ADD b int;")
    reader = await asyncpg.connect(empty_database)
    async with reader.transaction():
        await reader.fetch("SELECT a FROM things")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await migrate.migrate(empty_database, both, lock_timeout="100ms")
    await reader.close()
    assert await migrate.migrate(empty_database, both) == ("0002_wider.sql",)


async def test_a_database_ahead_of_this_version_is_left_alone(empty_database: str, tmp_path: Path) -> None:
    newer = write(tmp_path, m0001_things="CREATE TABLE things (a int);", m0002_more="SELECT 1;")
    await migrate.migrate(empty_database, newer)
    assert await migrate.migrate(empty_database, newer[:1]) == ()
    assert await migrate.pending(empty_database, newer[:1]) == ()


@pytest.mark.parametrize("names", [("0002_b",), ("0001_a", "0003_c"), ("0001_a", "0001_b")])
def test_files_are_numbered_without_hole_or_repeat(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(migrate.MigrationError, match="not numbered 1, 2, 3"):
        write(tmp_path, **{f"m{name}": "SELECT 1" for name in names})


def test_a_strangely_named_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(migrate.MigrationError, match=r"1_a\.sql is not named like 0001_words\.sql"):
        write(tmp_path, m1_a="SELECT 1")


async def test_the_shipped_migrations_fill_an_empty_database(empty_database: str) -> None:
    shipped = migrate.shipped()
    assert await migrate.migrate(empty_database, shipped) == tuple(migration.name for migration in shipped)
    assert await migrate.migrate(empty_database, shipped) == ()


def test_all_migrations_together_are_the_schema_that_is_written_down(
    database_url: str, cluster: ClusterAddress
) -> None:
    assert schema.dump(database_url, cluster.programs) == schema.SCHEMA.read_text(), "run: make schema"


async def test_the_schema_that_is_written_down_can_be_run(
    empty_database: str, cluster: ClusterAddress
) -> None:
    connection = await asyncpg.connect(empty_database)
    await connection.execute(schema.SCHEMA.read_text())
    await connection.close()
    assert without_brackets(schema.dump(empty_database, cluster.programs)) == without_brackets(
        schema.SCHEMA.read_text()
    )


def without_brackets(sql: str) -> str:
    """PostgreSQL writes a condition that it has written before with fewer brackets."""
    return sql.replace("(", "").replace(")", "")
