"""The demo's supervisor, with small programs for children."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

SUPERVISE = """
import os, sys
from pathlib import Path
from crypto_orders.demo.supervisor import Child, Supervisor
from crypto_orders.kit import log
log.configure()
children = [
    Child(name=name, command=[sys.executable, "-c", program, name], environ=os.environ)
    for name, program in zip(sys.argv[2::2], sys.argv[3::2])
]
def tell():
    fresh = Path(sys.argv[1] + ".new")
    fresh.write_text(" ".join(str(child.pid) for child in children))
    fresh.rename(sys.argv[1])
supervisor = Supervisor(watch=lambda: None, changed=tell)
for child in children:
    supervisor.start(child)
tell()
supervisor.run()
supervisor.stop()
print("stopped", flush=True)
"""

SLEEPS = "import time; time.sleep(600)"

TELLS_ITS_END = """
import os, signal, sys
def end(*_):
    os.write(1, f"{sys.argv[1]} ends\\n".encode())
    os._exit(0)
signal.signal(signal.SIGTERM, end)
os.write(1, f"{sys.argv[1]} runs\\n".encode())
while True:
    signal.pause()
"""

DIES = "import sys; sys.exit(3)"

DEADLINE_SECONDS = 20.0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def supervise(pid_file: Path, *names_and_programs: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, pid_file, *names_and_programs],
        stdout=subprocess.PIPE,
        text=True,
    )


def pids(pid_file: Path) -> list[int]:
    wait_until(pid_file.exists)
    return [int(word) if word != "None" else 0 for word in pid_file.read_text().split()]


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_killed_child_is_started_again_and_its_new_process_id_is_told(tmp_path: Path) -> None:
    parent = supervise(tmp_path / "pids", "one", SLEEPS, "two", SLEEPS)
    one, two = pids(tmp_path / "pids")
    os.kill(one, signal.SIGKILL)
    wait_until(lambda: pids(tmp_path / "pids")[0] not in {0, one})
    assert pids(tmp_path / "pids")[1] == two
    parent.terminate()
    output = parent.communicate()[0]
    assert '"event":"process_died","name":"one","exit_code":-9' in output
    assert parent.returncode == 0


def test_a_child_that_dies_at_once_is_tried_again_with_growing_patience(tmp_path: Path) -> None:
    parent = supervise(tmp_path / "pids", "dies", DIES)
    assert parent.stdout is not None
    died_at = [
        datetime.fromisoformat(json.loads(line)["time"])
        for line in itertools.islice((line for line in parent.stdout if "process_died" in line), 4)
    ]
    parent.terminate()
    parent.communicate()
    pauses = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(died_at)]
    assert [pause >= least for pause, least in zip(pauses, (0.2, 0.4, 0.8), strict=True)] == [True] * 3


def test_children_stop_in_the_opposite_order(tmp_path: Path) -> None:
    parent = supervise(tmp_path / "pids", "first", TELLS_ITS_END, "second", TELLS_ITS_END)
    assert parent.stdout is not None
    assert {parent.stdout.readline().strip() for _ in range(2)} == {"first runs", "second runs"}
    parent.send_signal(signal.SIGINT)
    assert parent.communicate()[0].split("\n") == ["second ends", "first ends", "stopped", ""]


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    parent = supervise(tmp_path / "pids", "one", SLEEPS, "two", TELLS_ITS_END)
    children = pids(tmp_path / "pids")
    parent.kill()
    wait_until(lambda: all(is_gone(pid) for pid in children))
    parent.communicate()
