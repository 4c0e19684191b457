"""The handle a process holds on its own PostgreSQL: start it, learn its DSN, stop it."""

import contextlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self
from urllib.parse import quote

from crypto_orders.embedded import installation, postmaster
from crypto_orders.embedded.errors import EmbeddedPostgresError
from crypto_orders.embedded.placement import Placement, place

SOCKET_PATH_BYTES_MAX = 107
"""Linux keeps a socket's path in 108 bytes, the last of them zero."""

SOCKET_NAME = ".s.PGSQL.5432"

START_SECONDS = 120.0
"""For a first start, or the recovery after a crash with much WAL to replay."""

STOP_SECONDS = 130.0
"""More than the keeper itself allows for both kinds of shutdown."""

OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "",
        "unix_socket_permissions": "0777",  # Its directory is 0700; as root the database is another user.
        "password_encryption": "scram-sha-256",
        # What the service relies on: an acknowledged commit survives a power cut.
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        # A small machine that also runs the service.
        "max_connections": "200",
        "shared_buffers": "256MB",
        "effective_cache_size": "1GB",
        "maintenance_work_mem": "128MB",
        "max_wal_size": "2GB",
        "wal_compression": "on",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
        "jit": "off",
        "track_io_timing": "on",
        # Each transaction is short: one that idles is a bug or a dead client that holds locks.
        "idle_in_transaction_session_timeout": "60s",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %q%a ",
        "log_checkpoints": "off",
        "max_logical_replication_workers": "0",
        "log_statement": "none",
        "log_parameter_max_length_on_error": "0",
    }
)
"""Settings of every server we start, given on its command line so that they follow the code's version."""


class EmbeddedPostgres:
    """A PostgreSQL server that lives as long as this process, with its data in `data_dir`.

    A context manager, too. `dsn` logs in as the service's own role, which owns nothing; `owner_dsn` as the
    one that migrates; `superuser_dsn` is for tests and for administration.
    """

    def __init__(
        self, data_dir: Path, *, options: Mapping[str, str] | None = None, log: int | None = None
    ) -> None:
        """Say where the data lies; `options` go over `OPTIONS`.

        `log` is a file descriptor for PostgreSQL's log; without it the log is `postgres.log` beside the data.
        """
        self._asked = data_dir
        self._options = {**OPTIONS, **(options or {})}
        self._log = log
        self._placement: Placement | None = None
        self._socket_dir: Path | None = None
        self._keeper: subprocess.Popen[bytes] | None = None

    def start(self, *, timeout_seconds: float = START_SECONDS) -> str:
        """Start the server, making the cluster first if need be, and answer `dsn` once it can be used.

        Raises EmbeddedPostgresError when it does not come up in time or cannot at all, or when another
        process owns this data directory. May be called again when `is_kept` turned False: the address
        stays the same until `stop`.
        """
        self._placement = place(self._asked)
        if self._socket_dir is None:
            self._socket_dir = _make_socket_dir(self._placement)
        self._keeper = self._start_keeper(self._placement, self._socket_dir)
        error = self._first_answer(self._keeper, timeout_seconds)
        if error is not None:
            self.stop()
            raise EmbeddedPostgresError(error)
        return self.dsn

    def stop(self) -> None:
        """Stop the server in order and wait until it is gone. Does nothing when it is not running."""
        if self._keeper is not None:
            for pipe in (self._keeper.stdin, self._keeper.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            self._keeper.wait(STOP_SECONDS)
            self._keeper = None
        if self._socket_dir is not None:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
            self._socket_dir = None

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self.stop()

    @property
    def dsn(self) -> str:
        """The address of the service's database, password included, for asyncpg and libpq alike."""
        return self._address(installation.SERVICE_ROLE, installation.SERVICE_DATABASE)

    @property
    def owner_dsn(self) -> str:
        """The address of the service's database for the role that owns its tables, password included."""
        return self._address(installation.OWNER_ROLE, installation.SERVICE_DATABASE)

    @property
    def superuser_dsn(self) -> str:
        """The address of the database `postgres` for the superuser, password included."""
        return self._address(installation.SUPERUSER, "postgres")

    @property
    def home(self) -> Path:
        """The directory of data, passwords and log: the asked-for one, if the server's user may enter it."""
        return self._placed().home

    @property
    def programs(self) -> Path:
        """The directory of PostgreSQL's client programs (psql, pg_dump, pgbench)."""
        return self._placed().client_programs

    @property
    def keeper_pid(self) -> int | None:
        """The process that keeps the server running, or None."""
        return None if self._keeper is None else self._keeper.pid

    @property
    def is_kept(self) -> bool:
        """Whether the keeper is alive; when it is not, `start` may be called again."""
        return self._keeper is not None and self._keeper.poll() is None

    def pid(self) -> int | None:
        """The postmaster's process id at this moment, or None while there is none."""
        return postmaster.running_postmaster(self._placed().data)

    def _placed(self) -> Placement:
        if self._placement is None:
            message = "the embedded database has not been started"
            raise EmbeddedPostgresError(message)
        return self._placement

    def _address(self, role: str, database: str) -> str:
        if self._socket_dir is None:
            message = "the embedded database is not running"
            raise EmbeddedPostgresError(message)
        return _dsn(self._placed(), self._socket_dir, role, database)

    def _start_keeper(self, placement: Placement, socket_dir: Path) -> subprocess.Popen[bytes]:
        with contextlib.ExitStack() as stack:
            log = self._log
            if log is None:
                log = os.open(placement.home / "postgres.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                stack.callback(os.close, log)
            keeper = subprocess.Popen(
                [sys.executable, "-m", "crypto_orders.embedded.keeper"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # Ctrl-C goes to a whole process group, and the database has to outlive its clients.
                start_new_session=True,
            )
        wish = {"data_dir": str(self._asked), "socket_dir": str(socket_dir), "options": self._options}
        if keeper.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                keeper.stdin.write(json.dumps(wish).encode() + b"\n")
                keeper.stdin.flush()
        return keeper

    def _first_answer(self, keeper: subprocess.Popen[bytes], timeout_seconds: float) -> str | None:
        """Wait for the keeper's answer; what went wrong, or None."""
        if keeper.stdout is None:
            return "the keeper of the embedded database has no output"
        with selectors.DefaultSelector() as selector:
            selector.register(keeper.stdout, selectors.EVENT_READ)
            if not selector.select(timeout_seconds):
                return f"PostgreSQL did not answer within {timeout_seconds:g} seconds"
        line = keeper.stdout.readline()
        if not line:
            return "the keeper of the embedded database ended without a word"
        answer: dict[str, str] = json.loads(line)
        return answer.get("error")


def addresses_of_running(data_dir: Path) -> tuple[str, str] | None:
    """The service's and the owner's DSN in a server that another process keeps; None when none runs."""
    placement = place(data_dir)
    owner = placement.read_owner()
    if owner is None or postmaster.running_postmaster(placement.data) is None:
        return None
    service, above = (
        _dsn(placement, owner.socket_dir, role, installation.SERVICE_DATABASE)
        for role in (installation.SERVICE_ROLE, installation.OWNER_ROLE)
    )
    return service, above


def _dsn(placement: Placement, socket_dir: Path, role: str, database: str) -> str:
    password = installation.password_of(placement.home, role)
    return f"postgresql://{role}:{password}@/{database}?host={quote(str(socket_dir), safe='/')}"


def _make_socket_dir(placement: Placement) -> Path:
    """Make a directory of its own for the socket: 0700, the server's, and with a short path."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108
        if parent is None or not os.access(parent, os.W_OK):
            continue
        if placement.server is not None and parent == os.environ.get("XDG_RUNTIME_DIR"):
            # Root's own runtime directory is closed to the server's user.
            continue
        directory = Path(tempfile.mkdtemp(prefix="co-pg-", dir=parent))
        if len(os.fsencode(directory / SOCKET_NAME)) <= SOCKET_PATH_BYTES_MAX:
            if placement.server is not None:
                # Only the server may enter; root, who is us, may enter anything.
                os.chown(directory, placement.server.uid, placement.server.gid)
            return directory
        directory.rmdir()
    message = "there is no directory for the database's socket: /tmp cannot be written to"
    raise EmbeddedPostgresError(message)
