"""Keep one process of the service running: ``keep_running.py serve|worker PID_FILE``.

It forks the process from a parent that has everything imported, and again whenever it dies. A start of
the interpreter would take a second after every kill, in which nothing could be killed.
"""

import os
import signal
import sys
import time
from pathlib import Path

from crypto_orders import processes, settings
from crypto_orders.kit.process import CannotStartError, end_with_parent

MAINS = {"serve": processes.serve, "worker": processes.work}
REFUSED_PAUSE_SECONDS = 0.2


def run_once(main: str) -> None:
    try:
        MAINS[main](settings.read(os.environ))
    except CannotStartError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(error.exit_code)
    os._exit(0)


def keep_running(main: str, pid_file: Path) -> None:
    keeper = os.getpid()
    while True:
        pid = os.fork()
        if pid == 0:
            end_with_parent(signal.SIGKILL)
            if os.getppid() != keeper:
                os._exit(1)
            run_once(main)
        fresh = pid_file.with_suffix(".new")
        fresh.write_text(str(pid))
        fresh.rename(pid_file)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            time.sleep(REFUSED_PAUSE_SECONDS)


if __name__ == "__main__":
    keep_running(sys.argv[1], Path(sys.argv[2]))
