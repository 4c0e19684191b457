"""Ties the lives of processes together: a child that ends with its parent, a parent that adopts orphans."""

import ctypes
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

# Resolved at import: between fork and exec nothing may be looked up or allocated that could be locked.
_libc = ctypes.CDLL(None)


class CannotStartError(Exception):
    """This process must not, or cannot, start: one sentence for the operator, and the code to exit with."""

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        """Say why."""
        super().__init__(sentence)
        self.exit_code = exit_code


def end_with_parent(number: signal.Signals) -> None:
    """Have Linux send this process a signal when the thread that started it ends, by kill -9 too.

    For `preexec_fn`, which runs after a change of user; such a change would clear the wish again.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of whatever descendants outlive their own parent, so that none escapes."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def exists(pid: int) -> bool:
    """Whether a process has this id, as another user's too; one that ended but was not yet collected has."""
    return Path(f"/proc/{pid}").exists()
