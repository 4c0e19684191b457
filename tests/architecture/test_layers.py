"""The import contracts of pyproject.toml hold, and each of them fails when it is broken on purpose."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "crypto_orders"

LINT = "from importlinter.cli import lint_imports_command as main; main()"


def lint(directory: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    """Check the contracts against the package that lies in `directory`."""
    chosen = [argument for contract in contracts for argument in ("--contract", contract)]
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--config", ROOT / "pyproject.toml", *chosen],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package's modules, to be spoilt."""
    ignored = shutil.ignore_patterns("__pycache__", "*.sql", "*.md", "static", "templates")
    shutil.copytree(PACKAGE, tmp_path / "crypto_orders", ignore=ignored)
    return tmp_path


def spoil(copy: Path, module: str, line: str) -> None:
    path = copy / "crypto_orders" / module
    path.parent.mkdir(exist_ok=True)
    text = path.read_text() if path.exists() else '"""Spoilt."""\n'
    path.write_text(f"{text}\n{line}\n")


def test_all_contracts_hold() -> None:
    done = lint(PACKAGE.parent)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("contract", "module", "line", "told"),
    [
        (
            "one-way",
            "store/connection.py",
            "from crypto_orders.usecases import orders",
            "crypto_orders.store is not allowed to import crypto_orders.usecases",
        ),
        (
            "one-way",
            "provider/spoilt.py",
            "from crypto_orders.store import connection",
            "crypto_orders.provider is not allowed to import crypto_orders.store",
        ),
        (
            "one-way",
            "intake/spoilt.py",
            "from crypto_orders.api import spoilt",
            "crypto_orders.intake is not allowed to import crypto_orders.api",
        ),
        ("one-way", "extra/__init__.py", "", "crypto_orders.extra"),
        (
            "pure-domain",
            "domain/order.py",
            "import random",
            "crypto_orders.domain is not allowed to import random",
        ),
        (
            "pure-domain",
            "domain/money.py",
            "import asyncpg",
            "crypto_orders.domain is not allowed to import asyncpg",
        ),
        (
            "pure-domain",
            "domain/order.py",
            "from crypto_orders.kit import log",
            "crypto_orders.domain is not allowed to import crypto_orders.kit.log",
        ),
        (
            "write-transactions",
            "api/spoilt.py",
            "from crypto_orders.store.transaction import transact",
            "crypto_orders.api.spoilt -> crypto_orders.store.transaction",
        ),
        (
            "no-cycles",
            "domain/payment.py",
            "from crypto_orders.domain import order",
            "crypto_orders.domain",
        ),
    ],
)
def test_a_contract_broken_on_purpose_is_told(
    copy: Path, contract: str, module: str, line: str, told: str
) -> None:
    for package in ("provider", "intake", "api"):
        spoil(copy, f"{package}/__init__.py", "")
    spoil(copy, "api/spoilt.py", "")
    spoil(copy, "usecases/orders.py", "")
    spoil(copy, module, line)
    done = lint(copy, contract)
    assert done.returncode == 1
    assert told in " ".join(done.stdout.split())
