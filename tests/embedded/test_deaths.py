"""The embedded PostgreSQL under kill -9 of each of its processes: it comes back, or goes away, in order."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import asyncpg
import pytest

from crypto_orders.embedded import EmbeddedPostgres
from crypto_orders.embedded.postmaster import is_our_postmaster
from tests.support.cluster import SMALL, make_cluster_dir

DEADLINE_SECONDS = 20.0

LAUNCHER = """
import sys, time
from pathlib import Path
from crypto_orders.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), options={"shared_buffers": "16MB"})
server.start()
print(server.keeper_pid, server.pid(), server.dsn, flush=True)
time.sleep(600)
"""

BUSY = "SELECT count(*) FROM generate_series(1, 1000000000000)"


def is_removed(directory: Path) -> bool:
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


@pytest.fixture
def home() -> Generator[Path]:
    directory = make_cluster_dir()
    yield directory / "postgres"
    # What was killed may still be clearing away files of its own.
    wait_until(lambda: is_removed(directory))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def connect(dsn: str) -> asyncpg.Connection:
    """Connect as soon as the server lets us."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            with contextlib.suppress(OSError, asyncpg.PostgresError):
                return await asyncpg.connect(dsn)
            await asyncio.sleep(0.01)


async def keep_a_backend_busy(dsn: str) -> tuple[int, "asyncio.Task[None]"]:
    """Start a query that computes without ever waiting; its process, and the task that ends with it."""
    connection = await connect(dsn)
    pid: int = await connection.fetchval("SELECT pg_backend_pid()")

    async def run() -> None:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.execute(BUSY)

    return pid, asyncio.create_task(run())


def postmasters_of(home: Path) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if is_our_postmaster(pid, home / "data")]


async def test_a_killed_postmaster_is_replaced_and_no_commit_is_lost(home: Path) -> None:
    with EmbeddedPostgres(home, options=SMALL) as server:
        connection = await connect(server.owner_dsn)
        await connection.execute("CREATE TABLE kills (number int PRIMARY KEY)")
        for number in range(3):
            connection = await connect(server.owner_dsn)
            await connection.execute("INSERT INTO kills VALUES ($1)", number)
            victim = server.pid()
            assert victim is not None
            os.kill(victim, signal.SIGKILL)
            connection.terminate()
            wait_until(lambda victim=victim: server.pid() not in {None, victim})
            assert len(postmasters_of(home)) == 1
        connection = await connect(server.owner_dsn)
        assert await connection.fetchval("SELECT count(*) FROM kills") == 3
        await connection.close()


async def test_a_backend_that_computes_on_does_not_keep_a_killed_server_down(home: Path) -> None:
    with EmbeddedPostgres(home, options=SMALL) as server:
        backend, task = await keep_a_backend_busy(server.owner_dsn)
        victim = server.pid()
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: server.pid() not in {None, victim})
        connection = await connect(server.owner_dsn)
        await connection.close()
        assert is_gone(backend)
        await task


async def test_a_killed_backend_takes_the_server_through_recovery_only(home: Path) -> None:
    with EmbeddedPostgres(home, options=SMALL) as server:
        before = server.pid()
        connection = await connect(server.owner_dsn)
        os.kill(await connection.fetchval("SELECT pg_backend_pid()"), signal.SIGKILL)
        connection.terminate()
        connection = await connect(server.owner_dsn)
        await connection.close()
        assert server.pid() == before


async def start_elsewhere(home: Path) -> tuple[subprocess.Popen[str], int, int, str]:
    """Start a server from another process: that process, the keeper, the postmaster, and the address."""
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, home], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    keeper, postmaster, dsn = launcher.stdout.readline().split()
    return launcher, int(keeper), int(postmaster), dsn


@pytest.mark.parametrize("victim", ["launcher", "keeper", "both"])
async def test_the_server_goes_with_whoever_keeps_it(home: Path, victim: str) -> None:
    launcher, keeper, postmaster, dsn = await start_elsewhere(home)
    backend, task = await keep_a_backend_busy(dsn)
    for pid in {"launcher": [launcher.pid], "keeper": [keeper], "both": [launcher.pid, keeper]}[victim]:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_gone(postmaster) and is_gone(backend) and is_gone(keeper))
    await task
    launcher.kill()
    launcher.wait()
    socket_dir = Path(dsn.split("host=")[1])
    assert socket_dir.exists() == (victim != "launcher")
    shutil.rmtree(socket_dir, ignore_errors=True)


@pytest.mark.parametrize("with_postmaster", [False, True])
async def test_a_start_right_after_everything_was_killed_works(home: Path, with_postmaster: bool) -> None:
    launcher, keeper, postmaster, dsn = await start_elsewhere(home)
    backend, task = await keep_a_backend_busy(dsn)
    for pid in (keeper, launcher.pid, *([postmaster] if with_postmaster else [])):
        os.kill(pid, signal.SIGKILL)
    launcher.wait()
    with EmbeddedPostgres(home, options=SMALL) as server:
        connection = await connect(server.owner_dsn)
        await connection.close()
        assert is_gone(postmaster)
        assert is_gone(backend)
        # What the dead could not clear away is cleared away for them.
        assert not Path(dsn.split("host=")[1]).exists()
        assert postmasters_of(home) == [server.pid()]
    await task


async def test_a_killed_keeper_can_be_replaced_under_the_same_address(home: Path) -> None:
    with EmbeddedPostgres(home, options=SMALL) as server:
        dsn = server.dsn
        assert server.keeper_pid is not None
        os.kill(server.keeper_pid, signal.SIGKILL)
        wait_until(lambda: not server.is_kept)
        assert server.start() == dsn
        connection = await connect(dsn)
        await connection.close()


def test_a_pid_file_with_somebody_elses_process_id_is_seen_through(home: Path) -> None:
    server = EmbeddedPostgres(home, options=SMALL)
    server.start()
    pid_file = (home / "data" / "postmaster.pid").read_text().splitlines()
    server.stop()
    # The process id has been given to a process of the server's own user, as after a reboot.
    owner = (home / "data").stat()
    stranger = subprocess.Popen(
        ["sleep", "600"],
        user=owner.st_uid if os.geteuid() == 0 else None,
        cwd="/",
    )
    pid_file[0] = str(stranger.pid)
    (home / "data" / "postmaster.pid").write_text("\n".join(pid_file) + "\n")
    with server:
        assert server.pid() not in {None, stranger.pid}
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


async def test_a_server_that_cannot_start_again_is_tried_until_it_can(home: Path) -> None:
    with EmbeddedPostgres(home, options=SMALL) as server:
        victim = server.pid()
        assert victim is not None
        control = home / "data" / "global" / "pg_control"
        control.rename(control.with_name("pg_control.away"))
        os.kill(victim, signal.SIGKILL)
        log = home / "postgres.log"
        wait_until(lambda: log.read_text().count('"event":"postgres_died"') >= 3)
        control.with_name("pg_control.away").rename(control)
        connection = await connect(server.owner_dsn)
        await connection.close()
