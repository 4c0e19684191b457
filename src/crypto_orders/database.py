"""Finds the database a command works on: the given one, the one a process of ours keeps, or our own."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from crypto_orders.embedded import EmbeddedPostgres, addresses_of_running
from crypto_orders.settings import Settings

DIRECTORY: Final = "postgres"
"""Where under DATA_DIR the service's own PostgreSQL lies."""


class Addresses(NamedTuple):
    """One database as the service works with it, and as the role sees it that owns its tables."""

    service: str
    owner: str

    @property
    def service_role(self) -> str | None:
        """The role that migrations give its rights to; None where the service is the owner, too."""
        if self.service == self.owner:
            return None
        user = urlsplit(self.service).username
        return unquote(user) if user else None


@contextmanager
def database(settings: Settings) -> Generator[Addresses]:
    """Lend the addresses of the database; a server that had to be started is stopped afterwards.

    Raises EmbeddedPostgresError when there is no DATABASE_URL and no server of our own can be had.
    """
    if settings.database_url is not None:
        service = settings.database_url.reveal()
        owner = settings.migration_database_url
        yield Addresses(service, owner.reveal() if owner else service)
        return
    home = settings.data_dir / DIRECTORY
    running = addresses_of_running(home)
    if running is not None:
        yield Addresses(*running)
        return
    with EmbeddedPostgres(home) as server:
        yield Addresses(server.dsn, server.owner_dsn)
