"""Starts everything on this machine, tells how to use it, and keeps it running until it is told to stop."""

import asyncio
import os
import socket
import sys
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from secrets import token_hex
from typing import Final

from crypto_orders import settings as configuration
from crypto_orders.database import Addresses
from crypto_orders.demo import guests, seed, telling
from crypto_orders.demo.supervisor import Child, Supervisor
from crypto_orders.demo.telling import Origins, Secrets
from crypto_orders.embedded import EmbeddedPostgres
from crypto_orders.kit import log
from crypto_orders.kit.private_file import made_once, write_privately
from crypto_orders.kit.process import CannotStartError
from crypto_orders.settings import FILE_SUFFIX, PREFIX
from crypto_orders.store import migrate

HOST: Final = "127.0.0.1"

START_SECONDS: Final = 180.0
"""For everything to answer; a busy small machine may need it."""

START_DEATHS_MAX: Final = 4
"""A process that died so often before it ever answered will not answer."""

PROBE_SECONDS: Final = 2.0

SEALING_KEY_BYTES: Final = 32
SECRET_BYTES: Final = 24

logger: Final = log.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What the command line asks for."""

    port: int
    sandbox_port: int
    data_dir: Path
    seed: bool
    ready_file: Path | None


def run(options: DemoOptions, environ: Mapping[str, str]) -> None:
    """Start, tell, keep running, and stop in order.

    Raises CannotStartError when something does not come up, EmbeddedPostgresError when the database does not.
    """
    log.configure(process="demo")
    Demo(options, environ).run()


class Demo:
    """One running demo."""

    def __init__(self, options: DemoOptions, environ: Mapping[str, str]) -> None:
        """Choose ports, and read or make the secrets."""
        self._options = options
        self._environ = environ
        options.data_dir.mkdir(parents=True, exist_ok=True)
        self._data_dir = options.data_dir.resolve()
        self._secrets_dir = self._data_dir / "secrets"
        web, sandbox = _free_port("web", options.port), _free_port("sandbox", options.sandbox_port)
        while sandbox == web:
            sandbox = _free_port("sandbox", 0)
        self._origins = Origins(f"http://{HOST}:{web}", f"http://{HOST}:{sandbox}")
        self._ports = {"web": web, "sandbox": sandbox}
        self._secrets = Secrets(
            ipn_secret=self._made_once("ipn_secret"), provider_api_key=self._made_once("provider_api_key")
        )
        made_once(self._secrets_dir / "sealing_key", _sealing_key)
        self._database = EmbeddedPostgres(self._data_dir / "postgres", log=sys.stdout.fileno())
        self._postgres_pid: int | None = None
        self._guests: guests.Guests | None = None
        self._operator: guests.Operator | None = None
        self._supervisor = Supervisor(watch=self._watch_database, changed=self._write_ready_file)

    def run(self) -> None:
        """Start, tell, keep running, and stop in order."""
        self._forget_ready_file()
        try:
            self._start()
            self._supervisor.run()
        finally:
            self._forget_ready_file()
            self._supervisor.stop()
            self._database.stop()

    def _start(self) -> None:
        dsn = self._database.start()
        self._postgres_pid = self._database.pid()
        write_privately(self._secrets_dir / "database_url", dsn)
        environ = self._child_environ()
        settings = configuration.read(environ)
        addresses = Addresses(dsn, self._database.owner_dsn)
        asyncio.run(migrate.migrate(addresses.owner, migrate.shipped(), service_role=addresses.service_role))
        for name, arguments in (
            (
                "sandbox",
                ("sandbox", f"--port={self._ports['sandbox']}", f"--state-dir={self._data_dir}/sandbox"),
            ),
            ("web", ("serve",)),
            ("workers", ("worker",)),
        ):
            command = [sys.executable, "-m", "crypto_orders", *arguments]
            self._supervisor.start(Child(name=name, command=command, environ=environ))
        if not self._supervisor.until(lambda: self._answers() or bool(self._hopeless()), START_SECONDS):
            if self._supervisor.stopping:
                return
            sentence = f"not everything answered within {START_SECONDS:g} seconds; the log above says why."
            raise CannotStartError(sentence)
        if self._hopeless():
            sentence = f"{self._hopeless()} keeps dying; the log above says why."
            raise CannotStartError(sentence)
        people = asyncio.run(guests.invite(dsn, self._secrets_dir / "keys", settings.key_prefix))
        operator = asyncio.run(guests.seat_operator(dsn, self._secrets_dir / "operator_password"))
        self._seed_once(dsn, settings.key_prefix)
        if self._supervisor.stopping:
            return
        self._guests, self._operator = people, operator
        self._write_ready_file()
        telling.show_box(
            self._origins, people, operator, data_dir=self._data_dir, database_home=self._database.home
        )

    def _seed_once(self, dsn: str, key_prefix: str) -> None:
        """Make the demo data at the first start with this database."""
        done = self._data_dir / "seeded"
        if not self._options.seed or done.exists():
            return
        logger.info("demo_data_started")
        keys = asyncio.run(guests.open_accounts(dsn, seed.STORIES, key_prefix))
        seed.seed(
            self._origins,
            keys,
            lambda order_id, hours: asyncio.run(guests.make_older(dsn, order_id, hours)),
            lambda: self._supervisor.stopping,
        )
        done.touch()
        logger.info("demo_data_made")

    def _child_environ(self) -> Mapping[str, str]:
        """Answer the environment of the service's processes: the user's, except for what we decide."""
        decided = {
            "ENV": "demo",
            "HOST": HOST,
            "PORT": str(self._ports["web"]),
            "PUBLIC_URL": self._origins.base_url,
            "SANDBOX": "true",
            "NOWPAYMENTS_URL": self._origins.sandbox_url,
            "DATA_DIR": str(self._data_dir),
        }
        decided |= {
            f"{name}{FILE_SUFFIX}": str(self._secrets_dir / file)
            for name, file in (
                ("DATABASE_URL", "database_url"),
                ("SEALING_KEY", "sealing_key"),
                ("NOWPAYMENTS_API_KEY", "provider_api_key"),
                ("NOWPAYMENTS_IPN_SECRET", "ipn_secret"),
            )
        }
        kept = dict(self._environ)
        for name in decided:
            for variable in (name, name.removesuffix(FILE_SUFFIX), name + FILE_SUFFIX):
                kept.pop(PREFIX + variable, None)
        return {**kept, **{PREFIX + name: value for name, value in decided.items()}}

    def _answers(self) -> bool:
        running = all(child.process is not None for child in self._supervisor.children)
        return (
            running
            and _answers(self._ports["web"], "/readyz")
            and _answers(self._ports["sandbox"], "/v1/status")
        )

    def _hopeless(self) -> str | None:
        """Name a process that dies at every start."""
        dying = (child.name for child in self._supervisor.children if child.deaths >= START_DEATHS_MAX)
        return next(dying, None)

    def _watch_database(self) -> None:
        """See to the database's keeper, and tell when the database runs under another process id."""
        if not self._database.is_kept:
            logger.error("postgres_keeper_died")
            self._database.start()
        pid = self._database.pid()
        if pid is not None and pid != self._postgres_pid:
            self._postgres_pid = pid
            self._write_ready_file()

    def _write_ready_file(self) -> None:
        if self._options.ready_file is None or self._guests is None or self._operator is None:
            return
        pids = {child.name: child.pid for child in self._supervisor.children}
        telling.write_ready_file(
            self._options.ready_file,
            origins=self._origins,
            guests=self._guests,
            operator=self._operator,
            secrets=self._secrets,
            database_url=self._database.dsn,
            pids={"postgres": self._postgres_pid, **pids},
        )

    def _forget_ready_file(self) -> None:
        if self._options.ready_file is not None:
            self._options.ready_file.unlink(missing_ok=True)

    def _made_once(self, name: str) -> str:
        return made_once(self._secrets_dir / name, lambda: token_hex(SECRET_BYTES))


def _sealing_key() -> str:
    return b64encode(os.urandom(SEALING_KEY_BYTES)).decode()


def _free_port(name: str, wanted: int) -> int:
    """Answer the wanted port, or say that it is taken and answer a free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            if wanted not in {0, found}:
                logger.warning("port_taken", name=name, wanted=wanted, taken_instead=found)
            return found
    sentence = f"there is no free port on {HOST} for the {name}."
    raise CannotStartError(sentence)


def _answers(port: int, path: str) -> bool:
    connection = HTTPConnection(HOST, port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200  # noqa: PLR2004 (OK)
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
