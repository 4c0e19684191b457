"""Tells a postmaster of ours from a stale or recycled process id, by what Linux says of the process."""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

from crypto_orders.kit import process

SHARED_MEMORY_TABLE = Path("/proc/sysvipc/shm")

PID_LINE = 0
SHARED_MEMORY_LINE = 6
"""Line 7 of postmaster.pid holds the key and the id of the System V block every backend stays attached to."""

SHMID_COLUMN = 1
ATTACHED_COLUMN = 6


class PidFile(NamedTuple):
    """What `postmaster.pid` says: the postmaster's process id, and its System V block once there is one."""

    pid: int
    shared_memory_id: int | None


def read_pid_file(data: Path) -> PidFile | None:
    """Read `postmaster.pid`; None when there is none, or none that can be understood."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid = int(lines[PID_LINE])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    shared_memory_id = None
    if len(lines) > SHARED_MEMORY_LINE:
        with contextlib.suppress(IndexError, ValueError):
            shared_memory_id = int(lines[SHARED_MEMORY_LINE].split()[1])
    return PidFile(pid, shared_memory_id)


def is_our_postmaster(pid: int, data: Path) -> bool:
    """Tell whether this process is a postmaster of this data directory, and not a recycled process id."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        # A process that ends while it is read answers ESRCH instead of ENOENT.
        return False
    runs_postgres = os.path.basename(command[0]) == b"postgres"  # noqa: PTH119 (bytes, not a path)
    return runs_postgres and command[1:3] == [b"-D", os.fsencode(data)]


def running_postmaster(data: Path) -> int | None:
    """Answer the process id of the postmaster that runs on this data directory, or None."""
    found = read_pid_file(data)
    if found is not None and is_our_postmaster(found.pid, data):
        return found.pid
    return None


def has_attached_backends(found: PidFile) -> bool:
    """Tell whether any process still holds the shared memory of the postmaster that wrote this pid file."""
    if found.shared_memory_id is None:
        return False
    wanted = str(found.shared_memory_id)
    for line in SHARED_MEMORY_TABLE.read_text().splitlines()[1:]:
        columns = line.split()
        if columns[SHMID_COLUMN] == wanted:
            return int(columns[ATTACHED_COLUMN]) > 0
    return False


def remove_misleading_pid_file(data: Path) -> bool:
    """Remove a pid file whose process id now belongs to some other program; True when it was removed.

    PostgreSQL itself sees to a pid file whose process is gone. It must refuse to start when the id is
    taken, though, because it cannot know by whom. Backends that outlived their postmaster keep the file.
    """
    found = read_pid_file(data)
    if found is None or not process.exists(found.pid) or is_our_postmaster(found.pid, data):
        return False
    if has_attached_backends(found):
        return False
    (data / "postmaster.pid").unlink(missing_ok=True)
    return True
