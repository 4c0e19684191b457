"""The process that keeps one PostgreSQL running: starts it, restarts it, and takes it down with its launcher.

Run as `python -m crypto_orders.embedded.keeper`. One line of JSON on standard input says what to keep;
standard input then stays open for as long as the launcher lives, and its end means: stop. One line of
JSON on standard output answers; standard error is the log, of PostgreSQL too.

Three deaths are provided for. PostgreSQL dies: it is started again, after the processes it left behind
are gone. The launcher dies: PostgreSQL is stopped in order. The keeper dies: the kernel sends
PostgreSQL the same signal.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from crypto_orders.embedded import installation, postmaster
from crypto_orders.embedded.errors import EmbeddedPostgresError
from crypto_orders.embedded.placement import Placement, place
from crypto_orders.kit import log, process

TICK_SECONDS = 1.0
"""How long the keeper sleeps at most; every event it knows of wakes it earlier."""

POLL_SECONDS = 0.02
"""Between two looks at something that sends no event, such as readiness."""

LOCK_WAIT_SECONDS = 15.0
"""A predecessor whose launcher was killed needs this long at most to stop its server."""

ORPHAN_GRACE_SECONDS = 5.0
"""PostgreSQL itself gives its processes as long after a crash before it kills them."""

STOP_SECONDS = 60.0
"""For a fast shutdown with its checkpoint; after it an immediate one, which replays WAL at the next start."""

BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 2.0
STABLE_SECONDS = 30.0
"""A server that ran this long is restarted without delay again."""

logger: Final = log.get()


class Keeper:
    """One cluster, its server process, and the events that decide over it."""

    def __init__(self, placement: Placement, socket_dir: Path, options: dict[str, str]) -> None:
        """Prepare to keep the cluster at `placement`, listening in `socket_dir`, with these options."""
        self.placement = placement
        self.socket_dir = socket_dir
        self.options = options
        self.stopping = False
        self._server: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._launcher = os.getppid()
        self._wake_read, wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)

    def _ask_to_stop(self, *_: object) -> None:
        self.stopping = True

    def bring_up(self) -> None:
        """Start the server for the first time and prepare its role and database.

        Raises EmbeddedPostgresError when it ends before it answers.
        """
        installation.install(self.placement)
        self._settle_the_past()
        self._spawn()
        while not self._answers():
            if self._reap() or self.stopping:
                message = f"PostgreSQL did not start in {self.placement.home}; its log says why"
                raise EmbeddedPostgresError(message)
            self._sleep(POLL_SECONDS)
        installation.bootstrap(self.placement, self.socket_dir)

    def keep(self) -> None:
        """Restart the server whenever it dies, until the launcher ends or says stop."""
        backoff = BACKOFF_FIRST_SECONDS
        while not self.stopping:
            self._sleep(TICK_SECONDS)
            if not self._reap():
                continue
            ran_for = time.monotonic() - self._started_at
            backoff = BACKOFF_FIRST_SECONDS if ran_for > STABLE_SECONDS else backoff
            logger.error("postgres_died", ran_for_seconds=round(ran_for, 3), restart_in_seconds=backoff)
            self._end_orphans()
            self._sleep_fully(backoff)
            backoff = min(backoff * 2, BACKOFF_MAX_SECONDS)
            if not self.stopping:
                self._settle_the_past()
                self._spawn()

    def take_down(self) -> None:
        """Stop the server in order and wait until it and all its processes are gone."""
        for number in (signal.SIGINT, signal.SIGQUIT):
            if self._server is None:
                break
            self._server.send_signal(number)
            self._until(self._reap, STOP_SECONDS)
        self._end_orphans()

    def _spawn(self) -> None:
        account = self.placement.server
        command: list[str | Path] = [
            self.placement.programs / "postgres",
            "-D",
            self.placement.data,
            "-c",
            f"unix_socket_directories={self.socket_dir}",
        ]
        for name, value in self.options.items():
            command += ["-c", f"{name}={value}"]
        self._server = subprocess.Popen(
            command,
            cwd="/",
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            stderr=sys.stderr,
            start_new_session=True,
            # The keeper has one thread, so running Python between fork and exec is safe. It runs after
            # the change of user, which would clear the setting again.
            preexec_fn=partial(process.end_with_parent, signal.SIGINT),  # noqa: PLW1509
        )
        self._started_at = time.monotonic()

    def _settle_the_past(self) -> None:
        """Wait for, or end, what an earlier keeper of this directory left running."""
        pid = postmaster.running_postmaster(self.placement.data)
        if pid is not None:
            logger.warning("postgres_left_behind", pid=pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
            self._until(lambda: postmaster.running_postmaster(self.placement.data) is None, STOP_SECONDS)
        if postmaster.remove_misleading_pid_file(self.placement.data):
            logger.warning("postgres_pid_file_removed")

    def _answers(self) -> bool:
        ready = [
            self.placement.client_programs / "pg_isready",
            "--quiet",
            f"--host={self.socket_dir}",
            "--dbname=postgres",
            f"--username={installation.SUPERUSER}",
        ]
        return subprocess.run(ready, check=False).returncode == 0

    def _reap(self) -> bool:
        """Collect ended children; True when the server is not running (any more)."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if self._server is not None and pid == self._server.pid:
                self._server.returncode = os.waitstatus_to_exitcode(status)
                self._server = None
        return self._server is None

    def _end_orphans(self) -> None:
        """End what a killed postmaster left: as their reaper we inherited its processes.

        They notice its death themselves when they next wait, but one that computes may take long.
        """
        for number in (signal.SIGQUIT, signal.SIGKILL):
            orphans = _children()
            if not orphans:
                return
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            self._until(lambda: self._reap() and not _children(), ORPHAN_GRACE_SECONDS)

    def _sleep(self, seconds: float) -> None:
        """Sleep until a signal, the launcher's end or the time is up."""
        if not self.stopping:
            readable, _, _ = select.select([self._wake_read, sys.stdin.fileno()], [], [], seconds)
            self.stopping |= sys.stdin.fileno() in readable or os.getppid() != self._launcher
        else:
            select.select([self._wake_read], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 512)

    def _sleep_fully(self, seconds: float) -> None:
        self._until(lambda: self.stopping, seconds)

    def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= deadline:
                return False
            self._sleep(POLL_SECONDS)
        return True


def _wake(*_: object) -> None:
    """Let a child's end write to the wake-up pipe, which only signals with a handler do."""


def _children() -> list[int]:
    me = os.getpid()
    return [int(pid) for pid in Path(f"/proc/{me}/task/{me}/children").read_text().split()]


def own(placement: Placement, socket_dir: Path) -> int:
    """Take the cluster's lock, waiting for a predecessor that is on its way out, and tidy up after it.

    Returns the descriptor that holds it. Raises EmbeddedPostgresError when somebody keeps the cluster.
    """
    descriptor = os.open(placement.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = placement.read_owner()
            if time.monotonic() >= deadline or (owner and process.exists(owner.pid)):
                who = "another process" if owner is None else f"process {owner.pid}"
                message = f"the database in {placement.home} is in use by {who}"
                raise EmbeddedPostgresError(message) from None
            time.sleep(POLL_SECONDS)
        else:
            before = placement.read_owner()
            if before is not None and before.socket_dir != socket_dir:
                shutil.rmtree(before.socket_dir, ignore_errors=True)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getppid()}\n{socket_dir}\n".encode(), 0)
            return descriptor


def main() -> int:
    """Keep one cluster until told to stop; 0 after an orderly stop, 1 when it never came up."""
    log.configure(process="postgres", stream=sys.stderr)
    wish = json.loads(sys.stdin.buffer.raw.readline())  # type: ignore[attr-defined]
    process.adopt_orphans()
    try:
        placement = place(Path(wish["data_dir"]))
        socket_dir = Path(wish["socket_dir"])
        _lock = own(placement, socket_dir)
        keeper = Keeper(placement, socket_dir, wish["options"])
        try:
            keeper.bring_up()
            _answer({})
            keeper.keep()
        finally:
            keeper.take_down()
            shutil.rmtree(socket_dir, ignore_errors=True)
    except (EmbeddedPostgresError, OSError) as error:
        logger.exception("postgres_keeper_failed")
        _answer({"error": str(error)})
        return 1
    return 0


def _answer(answer: dict[str, str]) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
