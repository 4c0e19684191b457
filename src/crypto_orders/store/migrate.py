"""Brings a database to the schema this code needs: numbered SQL files, forward only, each applied once.

Every file runs in a transaction of its own together with its row in `schema_migrations`. Runners that
start at the same time take turns at that table's lock, so each file is applied by exactly one of them.
"""

import hashlib
import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from importlib import resources
from importlib.resources.abc import Traversable
from typing import NamedTuple, Protocol, cast

import asyncpg

from crypto_orders.store import privileges
from crypto_orders.store.connection import Conn, Row

LOCK_TIMEOUT = "5s"
"""A migration that waits longer for a table would make every later query on that table wait behind it."""

STATEMENT_TIMEOUT = "30min"
"""An index over many millions of rows may take this long; anything beyond is a mistake."""

TURN_TIMEOUT = "60min"
"""How long a runner waits for the one before it."""

FILE_NAME = re.compile(r"(?P<number>[0-9]{4})_[a-z0-9_]+\.sql")

CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer     PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""

TABLE_EXISTS = "SELECT to_regclass('schema_migrations') IS NOT NULL"

APPLIED = """
  SELECT number, name, checksum
    FROM schema_migrations
ORDER BY number
"""

RECORD = """
INSERT INTO schema_migrations (number, name, checksum)
     VALUES ($1, $2, $3)
"""


class Migration(NamedTuple):
    """One SQL file: its number, its file name, its text, and the SHA-256 of that text in hexadecimal."""

    number: int
    name: str
    sql: str
    checksum: str


class MigrationError(Exception):
    """The files and the database do not fit together; the text is one sentence for a person."""


class _Connection(Conn, Protocol):
    def transaction(self) -> AbstractAsyncContextManager[object]: ...
    async def close(self) -> None: ...


def shipped() -> tuple[Migration, ...]:
    """Read the migrations that come with this version, in order."""
    return load(resources.files("crypto_orders.store").joinpath("migrations"))


def load(directory: Traversable) -> tuple[Migration, ...]:
    """Read the migrations of a directory, in order. Raises MigrationError for a hole or a strange name."""
    found: list[Migration] = []
    for file in sorted(directory.iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".sql"):
            continue
        match = FILE_NAME.fullmatch(file.name)
        if match is None:
            message = f"{file.name} is not named like 0001_words.sql"
            raise MigrationError(message)
        sql = file.read_text(encoding="utf-8")
        checksum = hashlib.sha256(sql.encode()).hexdigest()
        found.append(Migration(int(match["number"]), file.name, sql, checksum))
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        message = "the migrations are not numbered 1, 2, 3, … without a hole or a repeat"
        raise MigrationError(message)
    return tuple(found)


async def migrate(
    dsn: str,
    migrations: Sequence[Migration],
    *,
    service_role: str | None = None,
    lock_timeout: str = LOCK_TIMEOUT,
) -> tuple[str, ...]:
    """Apply what the database lacks; the names of what was applied now.

    `service_role` is given what the service needs to work with the tables, each time anew. Raises MigrationError when an applied file has changed since, and asyncpg's errors when a statement
    fails: then everything before that file is in place and nothing of the file is.
    """
    connection = await _connect(dsn)
    try:
        await _ensure_table(connection)
        applied_now: list[str] = []
        while True:
            name = await _apply_next(connection, migrations, lock_timeout)
            if name is None:
                break
            applied_now.append(name)
        if service_role is not None:
            await _grant(connection, service_role)
        return tuple(applied_now)
    finally:
        await connection.close()


async def pending(dsn: str, migrations: Sequence[Migration]) -> tuple[str, ...]:
    """Name what `migrate` would apply, changing nothing. Raises MigrationError as `migrate` does."""
    connection = await _connect(dsn)
    try:
        if not await connection.fetchval(TABLE_EXISTS):
            return tuple(migration.name for migration in migrations)
        missing = _missing(migrations, await connection.fetch(APPLIED))
        return tuple(migration.name for migration in missing)
    finally:
        await connection.close()


async def _connect(dsn: str) -> _Connection:
    # asyncpg ships no types.
    return cast("_Connection", await asyncpg.connect(dsn))  # pyright: ignore[reportUnknownMemberType]


async def _ensure_table(connection: _Connection) -> None:
    if await connection.fetchval(TABLE_EXISTS):
        return
    try:
        await connection.execute(CREATE_TABLE)
    except (asyncpg.UniqueViolationError, asyncpg.DuplicateObjectError, asyncpg.DuplicateTableError):
        # IF NOT EXISTS looks before it creates; a runner that started with us created it in between.
        await connection.execute(CREATE_TABLE)


async def _apply_next(
    connection: _Connection, migrations: Sequence[Migration], lock_timeout: str
) -> str | None:
    """Apply the first missing migration and answer its name; None when none is missing."""
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{TURN_TIMEOUT}'")
        await connection.execute("LOCK TABLE schema_migrations IN EXCLUSIVE MODE")
        missing = _missing(migrations, await connection.fetch(APPLIED))
        if not missing:
            return None
        first = missing[0]
        await connection.execute(f"SET LOCAL lock_timeout = '{lock_timeout}'")
        await connection.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
        await connection.execute(first.sql)
        await connection.execute(RECORD, first.number, first.name, first.checksum)
    return first.name


async def _grant(connection: _Connection, service_role: str) -> None:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{TURN_TIMEOUT}'")
        await connection.execute("LOCK TABLE schema_migrations IN EXCLUSIVE MODE")
        await privileges.grant(connection, service_role)


def _missing(migrations: Sequence[Migration], applied: Sequence[Row]) -> Sequence[Migration]:
    """Answer the migrations the database lacks, after checking that what it has is what we know.

    A database ahead of this code is fine: during a deployment the newer version migrates first.
    """
    for migration, row in zip(migrations, applied, strict=False):
        if row["number"] != migration.number or row["checksum"] != migration.checksum:
            message = f"{migration.name} is not what was applied to this database as {row['name']}"
            raise MigrationError(message)
    return migrations[len(applied) :]
