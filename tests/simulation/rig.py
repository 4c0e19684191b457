"""Processes of the service on one database, beside a sandbox: started, kept running, and killed at will."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from crypto_orders.store.audit import Actor, Entry
from crypto_orders.store.connection import open_pool
from crypto_orders.usecases import accounts
from crypto_orders.usecases.accounts import KeyWanted
from tests.support.service import IPN_SECRET, PROVIDER_KEY, SEALING_KEY

KEEPER = Path(__file__).with_name("keep_running.py")
SANDBOX = Path(__file__).parents[1] / "sandbox" / "serve_sandbox.py"

DEADLINE_SECONDS = 180.0
"""For anything to become so, on a machine that is busy with other things too."""


async def eventually(look: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Wait until a look gives something true and return it; fail when it never does."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := await look()):
        assert time.monotonic() < deadline, f"it never became so: {what}"
        await asyncio.sleep(0.02)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Kept:
    """A process of the service that is started again whenever it dies."""

    name: str
    keeper: subprocess.Popen[bytes]
    pid_file: Path
    origin: str = ""

    @property
    def pid(self) -> int | None:
        return int(self.pid_file.read_text()) if self.pid_file.exists() else None

    def kill(self) -> None:
        """Kill -9 the process that runs now."""
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@dataclass
class Rig:
    """The running processes, the keys to speak to them with, and a session to speak over."""

    session: aiohttp.ClientSession
    webs: tuple[Kept, ...]
    workers: tuple[Kept, ...]
    sandbox_url: str
    account_id: str
    customer_key: str
    admin_key: str
    log: Path

    async def get(self, origin: str, path: str) -> Any:
        """GET JSON as support."""
        headers = {"Authorization": f"Bearer {self.admin_key}"}
        async with self.session.get(origin + path, headers=headers) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json()

    async def sandbox(self, path: str, **body: Any) -> int:
        """Tell the sandbox something; the status of its answer."""
        async with self.session.post(f"{self.sandbox_url}/sandbox{path}", json=body) as reply:
            await reply.read()
            return reply.status

    async def ledger(self) -> list[dict[str, Any]]:
        """Every payment as the provider's side knows it."""
        async with self.session.get(f"{self.sandbox_url}/sandbox/payments") as reply:
            assert reply.status == 200
            return (await reply.json())["data"]

    async def answers(self, kept: Kept) -> bool:
        """Whether a web process answers and its database too."""
        try:
            async with self.session.get(f"{kept.origin}/readyz") as reply:
                return reply.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def all_answer(self) -> None:
        for web in self.webs:
            await eventually(lambda web=web: self.answers(web), f"{web.name} answers\n{self.tail()}")

    def tail(self) -> str:
        """The end of what the processes said."""
        return "\n".join(self.log.read_text().splitlines()[-30:])


@contextlib.asynccontextmanager
async def running(
    database_url: str, directory: Path, *, webs: int = 2, workers: int = 0, **changes: str
) -> AsyncGenerator[Rig]:
    """Run web processes, workers and a sandbox; `changes` are settings by their names in lower case."""
    sandbox_port = free_port()
    environ = _environ(database_url, f"http://127.0.0.1:{sandbox_port}", changes)
    log = directory / "processes.log"
    async with contextlib.AsyncExitStack() as stack:
        output = stack.enter_context(log.open("ab"))
        stack.enter_context(_sandbox(sandbox_port, directory, output))
        started = [
            stack.enter_context(_kept("serve", f"web{n}", environ, directory, output)) for n in range(webs)
        ]
        # What a worker mints is reported to a web process, as everything is in production.
        reached = {**environ, "CRYPTO_ORDERS_PUBLIC_URL": started[0].origin}
        working = [
            stack.enter_context(_kept("worker", f"worker{n}", reached, directory, output))
            for n in range(workers)
        ]
        account_id, customer_key, admin_key = await _invited(database_url)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(total=60),
            )
        )
        rig = Rig(
            session,
            tuple(started),
            tuple(working),
            f"http://127.0.0.1:{sandbox_port}",
            account_id,
            customer_key,
            admin_key,
            log,
        )
        await rig.all_answer()
        await eventually(lambda: _is_there(rig), "the sandbox answers")
        yield rig


@contextlib.contextmanager
def worker_alone(database_url: str, directory: Path) -> Any:
    """Keep one worker running, with neither a web process nor a provider beside it."""
    environ = _environ(database_url, f"http://127.0.0.1:{free_port()}", {})
    with (
        (directory / "processes.log").open("ab") as output,
        _kept("worker", "worker", environ, directory, output) as kept,
    ):
        yield kept


def _environ(database_url: str, sandbox_url: str, changes: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_ORDERS_")}
    values = {
        "env": "demo",
        "database_url": database_url,
        "sandbox": "true",
        "nowpayments_url": sandbox_url,
        "nowpayments_api_key": PROVIDER_KEY,
        "nowpayments_ipn_secret": IPN_SECRET,
        "sealing_key": SEALING_KEY,
        "open_orders_max": "0",
        "unpaid_orders_per_day_max": "0",
        "rate_limit_customer_capacity": "0",
        "rate_limit_admin_capacity": "0",
        "rate_limit_failure_capacity": "0",
        "provider_reads_per_second": "1000",
        **changes,
    }
    return {**kept, **{f"CRYPTO_ORDERS_{name.upper()}": value for name, value in values.items()}}


@contextlib.contextmanager
def _kept(main: str, name: str, environ: dict[str, str], directory: Path, output: Any) -> Any:
    port = free_port()
    pid_file = directory / f"{name}.pid"
    keeper = subprocess.Popen(
        [sys.executable, str(KEEPER), main, str(pid_file)],
        env={**environ, "CRYPTO_ORDERS_PORT": str(port)},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    )
    try:
        yield Kept(name, keeper, pid_file, f"http://127.0.0.1:{port}")
    finally:
        # Linux ends the process with its keeper.
        keeper.kill()
        keeper.wait()


@contextlib.contextmanager
def _sandbox(port: int, directory: Path, output: Any) -> Any:
    config = {
        "state_dir": str(directory / "sandbox"),
        "api_key": PROVIDER_KEY,
        "ipn_secret": IPN_SECRET,
        "email": "merchant@example.com",
        "password": "correct horse",
        "step_ms": 40,
        "ipn_timeout_seconds": 10.0,
        "ipn_retry_interval_seconds": 1.0,
        "ipn_retry_count": 200,
    }
    process = subprocess.Popen(
        [sys.executable, str(SANDBOX), str(port), json.dumps(config)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def _is_there(rig: Rig) -> bool:
    try:
        return await rig.ledger() == []
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _invited(database_url: str) -> tuple[str, str, str]:
    """A new account, a key of it, and a key of support."""
    entry = Entry(actor=Actor(name="test"), action="test", target=None, request={})
    pool = await open_pool(database_url, size=2, application_name="test")
    try:
        account = await accounts.create_account(pool, "A customer", "free", entry)
        made = [
            await accounts.create_key(
                pool, KeyWanted(account_id=account_id, mode=mode, brand_prefix="ds"), entry
            )
            for account_id, mode in ((account.account_id, "test"), (None, "admin"))
        ]
        return str(account.account_id), made[0].key, made[1].key
    finally:
        await pool.close()
