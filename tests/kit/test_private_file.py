"""Files that nobody else may read."""

import stat
import threading
from pathlib import Path

import pytest

from crypto_orders.kit.private_file import made_once, write_privately


def test_a_private_file_is_replaced_as_a_whole_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    path.write_text("an older and longer text that anyone may read")
    write_privately(path, "{}")
    assert path.read_text() == "{}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["ready.json"]


def test_a_failed_write_leaves_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    write_privately(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_privately(path, "new \udcff")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["ready.json"]


def test_a_secret_is_made_once_whoever_asks_first(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "key"
    numbers = iter(range(100))
    lock = threading.Lock()
    seen: list[str] = []

    def make() -> str:
        with lock:
            return str(next(numbers))

    assert made_once(path, make) == "0"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    threads = [threading.Thread(target=lambda: seen.append(made_once(path, make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["0"] * 8
