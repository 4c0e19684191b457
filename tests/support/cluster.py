"""One throw-away PostgreSQL cluster for a run of the tests, with a migrated database to copy from."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

import asyncpg

from crypto_orders.embedded import EmbeddedPostgres
from crypto_orders.kit import process
from crypto_orders.store import migrate

TEMPLATE = "crypto_orders_template"

SMALL = {"shared_buffers": "16MB"}
"""Options for the servers that tests start for themselves."""

PREFIX = "crypto-orders-test-"

HOMES = ("postgres", "data/postgres")
"""Where below such a directory a cluster lies: a test's own, or a demo's."""

MEMORY_DIR = Path("/dev/shm")  # noqa: S108 (only a place to make a private directory in)

MEMORY_BYTES_MIN = 2 * 1024**3
"""A run keeps a few databases of 10 MB each beside the write-ahead log."""


def make_cluster_dir() -> Path:
    """A new directory for a cluster; in memory where there is plenty, as each test makes a database."""
    parent = None
    if MEMORY_DIR.is_dir() and os.access(MEMORY_DIR, os.W_OK):
        room = os.statvfs(MEMORY_DIR)
        if room.f_bavail * room.f_frsize >= MEMORY_BYTES_MIN:
            parent = MEMORY_DIR
    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
    _remove_abandoned(directory.parent)
    # As root the server is another user, who has to be able to pass through.
    directory.chmod(0o711)
    return directory


def _remove_abandoned(parent: Path) -> None:
    """Remove what runs that were killed left behind: it may be memory.

    A directory belongs to the process in its name: a test that lives may have stopped its server for now.
    """
    locks = [lock for home in HOMES for lock in parent.glob(f"{PREFIX}*/{home}/owner.lock")]
    for lock in locks:
        directory = parent / lock.relative_to(parent).parts[0]
        maker = directory.name.removeprefix(PREFIX).partition("-")[0]
        if maker.isdecimal() and process.exists(int(maker)):
            continue
        with contextlib.suppress(OSError), lock.open() as file:
            owner = file.readline().strip()
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if owner and not process.exists(int(owner)):
                shutil.rmtree(directory, ignore_errors=True)


class Cluster:
    """A running cluster whose databases are copies of one migrated template."""

    def __init__(self) -> None:
        """Start the cluster and migrate the template."""
        self.directory = make_cluster_dir()
        self.server = EmbeddedPostgres(self.directory / "postgres")
        self.server.start()
        try:
            asyncio.run(self._make_template())
        except BaseException:
            self.close()
            raise

    async def _make_template(self) -> None:
        connection = await asyncpg.connect(self.server.superuser_dsn)
        try:
            await connection.execute(f"CREATE DATABASE {TEMPLATE} OWNER crypto_orders_owner")
        finally:
            await connection.close()
        await migrate.migrate(self.template_dsn, migrate.shipped(), service_role="crypto_orders")

    @property
    def template_dsn(self) -> str:
        """The address of the migrated database, for the role that owns its tables."""
        return self.server.owner_dsn.replace("@/crypto_orders?", f"@/{TEMPLATE}?")

    def close(self) -> None:
        """Stop the cluster and delete it."""
        self.server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


async def create_database(superuser_dsn: str, name: str) -> None:
    """Make a database that is a copy of the migrated template."""
    connection = await asyncpg.connect(superuser_dsn)
    try:
        await connection.execute(
            f"CREATE DATABASE {name} OWNER crypto_orders_owner TEMPLATE {TEMPLATE} STRATEGY FILE_COPY"
        )
    finally:
        await connection.close()


async def drop_database(superuser_dsn: str, name: str) -> None:
    """Drop a database, disconnecting whoever still uses it."""
    connection = await asyncpg.connect(superuser_dsn)
    try:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()
