"""Keeps child processes running: starts them, restarts the dead with patience, stops all in order.

Each child has a process group of its own, so that Ctrl-C reaches only us and we decide the order; and
Linux ends it when we are killed.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from crypto_orders.kit import log, process

BACKOFF_FIRST_SECONDS: Final = 0.2
BACKOFF_MAX_SECONDS: Final = 10.0
STABLE_SECONDS: Final = 30.0
"""A child that ran this long starts again without delay."""

STOP_SECONDS: Final = 25.0
"""More than a server allows its requests to end in (20 s); after it a child is killed."""

TICK_SECONDS: Final = 0.5

logger: Final = log.get()


@dataclass(slots=True, kw_only=True)
class Child:
    """A program to keep running: what it is and how it is doing."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    backoff_seconds: float = BACKOFF_FIRST_SECONDS
    deaths: int = 0

    @property
    def pid(self) -> int | None:
        """The process id, or None while it does not run."""
        return None if self.process is None else self.process.pid

    def start(self) -> None:
        """Start the program; its output is ours."""
        self.process = subprocess.Popen(
            self.command,
            env=dict(self.environ),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            # We have one thread, so running Python between fork and exec is safe.
            preexec_fn=partial(process.end_with_parent, signal.SIGTERM),  # noqa: PLW1509
        )
        self.started_at = time.monotonic()

    def collect(self) -> int | None:
        """Its exit code when it has ended since it was last looked at, else None."""
        if self.process is None or self.process.poll() is None:
            return None
        code = self.process.returncode
        self.process = None
        self.deaths += 1
        now = time.monotonic()
        if now - self.started_at > STABLE_SECONDS:
            self.backoff_seconds = BACKOFF_FIRST_SECONDS
        self.start_again_at = now + self.backoff_seconds
        self.backoff_seconds = min(self.backoff_seconds * 2, BACKOFF_MAX_SECONDS)
        return code

    def stop(self) -> None:
        """Ask it to end, wait, and kill it when it does not."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning("process_killed", name=self.name, waited_seconds=STOP_SECONDS)
            self.process.kill()
            self.process.wait()
        self.process = None


@dataclass(slots=True)
class Supervisor:
    """The children, in the order they start; they stop in the opposite order.

    `watch` is called often, for what is not a child of ours but needs looking after too; `changed` is
    called after a child was started again.
    """

    watch: Callable[[], None]
    changed: Callable[[], None]
    children: list[Child] = field(default_factory=list[Child])
    stopping: bool = False
    _wake: int = -1

    def __post_init__(self) -> None:
        """Take over the signals that end us and the one that tells of a child's end."""
        self._wake, wake_write = os.pipe()
        for end in (self._wake, wake_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _only_wake)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)

    def _ask_to_stop(self, *_: object) -> None:
        self.stopping = True

    def start(self, child: Child) -> None:
        """Start a further child and look after it from now on."""
        child.start()
        self.children.append(child)

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Look after the children until something holds; False when it did not in time, or we are to stop."""
        deadline = time.monotonic() + seconds
        while not self.stopping:
            if condition():
                return True
            if time.monotonic() >= deadline:
                return False
            self._sleep(TICK_SECONDS / 10)
            self._tend()
        return False

    def run(self) -> None:
        """Look after the children until a signal says stop."""
        while not self.stopping:
            self._sleep(TICK_SECONDS)
            self._tend()

    def stop(self) -> None:
        """Stop all children, the last one started first."""
        self.stopping = True
        for child in reversed(self.children):
            child.stop()

    def _tend(self) -> None:
        self.watch()
        now = time.monotonic()
        for child in self.children:
            code = child.collect()
            if code is not None:
                logger.error("process_died", name=child.name, exit_code=code)
            if child.process is None and now >= child.start_again_at and not self.stopping:
                child.start()
                logger.info("process_started_again", name=child.name, pid=child.pid)
                self.changed()

    def _sleep(self, seconds: float) -> None:
        select.select([self._wake], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 512)


def _only_wake(*_: object) -> None:
    """Let a child's end write to the wake-up pipe, which only signals with a handler do."""
