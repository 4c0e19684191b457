"""Finds the database a command works on: the given one, the one a process of ours keeps, or our own."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from crypto_orders.embedded import EmbeddedPostgres, address_of_running
from crypto_orders.settings import Settings

DIRECTORY: Final = "postgres"
"""Where under DATA_DIR the service's own PostgreSQL lies."""


@contextmanager
def database(settings: Settings) -> Generator[str]:
    """Lend the DSN of the database; a server that had to be started is stopped afterwards.

    Raises EmbeddedPostgresError when there is no DATABASE_URL and no server of our own can be had.
    """
    if settings.database_url is not None:
        yield settings.database_url.reveal()
        return
    home = settings.data_dir / DIRECTORY
    running = address_of_running(home)
    if running is not None:
        yield running
        return
    with EmbeddedPostgres(home) as server:
        yield server.dsn
