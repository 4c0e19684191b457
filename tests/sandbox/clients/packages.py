"""Find a client package as PyPI has it, although two of them share the import name ``nowpayments``.

``nowpayments`` and ``nowpayments-py`` write to the same files, so an environment that has both holds one of
them spoiled. The spoiled one is installed once more, by the lock's hashes, into a folder of its own.
"""

import base64
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

LOCK = Path(__file__).parents[3] / "requirements" / "test.lock"


def folder_of(package: str) -> Path:
    """The folder to put on PYTHONPATH so that ``import`` finds this very distribution."""
    found = distribution(package)
    if _is_intact(package):
        return Path(str(found.locate_file("")))
    folder = Path(sys.prefix) / "clients" / f"{package}-{found.version}"
    if not folder.exists():
        _install(package, folder)
    return folder


def _is_intact(package: str) -> bool:
    for file in distribution(package).files or ():
        if file.hash is not None:
            digest = hashlib.new(file.hash.mode, Path(str(file.locate())).read_bytes()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
                return False
    return True


def _install(package: str, folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    found = re.search(rf"^{package}==(?:.*\\\n)*.*\n?", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None, f"{package} is not in {LOCK}"
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        wanted = Path(place) / "requirements.txt"
        wanted.write_text(found[0], encoding="utf-8")
        options = ["--quiet", "--no-deps", "--require-hashes", "--target", f"{place}/new", "-r", str(wanted)]
        failures: list[str] = []
        for installer in _installers():
            done = subprocess.run([*installer, *options], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                break
            failures.append(done.stderr)
        else:
            raise AssertionError("\n".join(failures) or "neither pip nor uv was found")
        try:
            Path(place, "new").rename(folder)
        except OSError:
            # Another worker of the test run was quicker.
            assert folder.exists()


def _installers() -> Iterator[list[str]]:
    if importlib.util.find_spec("pip") is not None:
        yield [sys.executable, "-m", "pip", "install"]
    uv = shutil.which(os.environ.get("UV") or "uv")
    if uv is not None:
        yield [uv, "pip", "install", "--python", sys.executable]
    base = getattr(sys, "_base_executable", None)
    if base:
        yield [base, "-m", "pip", "install"]
