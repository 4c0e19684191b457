"""What a killed run of the tests left in memory is removed; what a living one still uses never is."""

import shutil
import subprocess
from pathlib import Path

from tests.support.cluster import PREFIX, make_cluster_dir


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def with_dead_server(directory: Path) -> Path:
    """Leave what a server leaves behind whose keeper is gone."""
    (directory / "postgres").mkdir(parents=True)
    (directory / "postgres" / "owner.lock").write_text(f"{dead_pid()}\n/nowhere\n")
    return directory


def test_only_what_belongs_to_nobody_is_removed() -> None:
    ours = with_dead_server(make_cluster_dir())
    abandoned = with_dead_server(ours.parent / f"{PREFIX}{dead_pid()}-abandoned")
    shutil.rmtree(make_cluster_dir())
    assert (ours.exists(), abandoned.exists()) == (True, False)
    shutil.rmtree(ours)
