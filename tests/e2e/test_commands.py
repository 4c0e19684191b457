"""The command line as an operator meets it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from tests.conftest import ClusterAddress
from tests.support.cluster import make_cluster_dir

COMMAND = [sys.executable, "-m", "crypto_orders"]


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_ORDERS_")}
    environ |= {f"CRYPTO_ORDERS_{name}": value for name, value in settings.items()}
    return subprocess.run(
        [*COMMAND, *arguments], env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in ("migrate", "doctor"):
        assert f"  {command}" in done.stdout
    code = "import sys; from crypto_orders.__main__ import cli; print('asyncpg' in sys.modules)"
    light = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert light.stdout == "False\n"


def test_migrations_are_checked_applied_and_then_up_to_date() -> None:
    directory = make_cluster_dir()
    own = {"DATA_DIR": str(directory)}
    pending = run("migrate", "--check", **own)
    assert pending.returncode == 1
    assert pending.stdout.startswith("pending: 0001_orders.sql\n")
    assert run("migrate", **own).stdout.startswith("applied: 0001_orders.sql\n")
    assert run("migrate", "--check", **own).stdout == "up to date\n"
    shutil.rmtree(directory)


def test_a_wrong_setting_ends_in_one_sentence_and_the_code_for_it() -> None:
    done = run("migrate", PORT="eighty")
    assert done.returncode == 78
    assert done.stderr == "crypto-orders: CRYPTO_ORDERS_PORT has to be a whole number from 1 to 65535.\n"


def test_the_doctor_finds_nothing_wrong_with_a_complete_configuration(
    database_url: str, tmp_path: Path
) -> None:
    secret = tmp_path / "ipn"
    secret.write_text("canary-ipn-secret\n")
    done = run(
        "doctor",
        DATABASE_URL=database_url,
        NOWPAYMENTS_API_KEY="canary-api-key",
        NOWPAYMENTS_IPN_SECRET_FILE=str(secret),
        BRAND_NAME="Acme",
    )
    assert done.stdout.endswith("Nothing is wrong.\n")
    assert done.returncode == 0
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith("CRYPTO_"))
    assert lines["CRYPTO_ORDERS_BRAND_NAME"] == "Acme"
    assert lines["CRYPTO_ORDERS_PORT"] == "8080 (default)"
    assert lines["CRYPTO_ORDERS_DATABASE_URL"] == "***"
    ipn = "*** (from CRYPTO_ORDERS_NOWPAYMENTS_IPN_SECRET_FILE)"
    assert lines["CRYPTO_ORDERS_NOWPAYMENTS_IPN_SECRET"] == ipn
    assert "canary" not in done.stdout + done.stderr
    assert database_url.split(":")[2].split("@", maxsplit=1)[0] not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"PROT": "80"},
            "WRONG: CRYPTO_ORDERS_PROT is no setting. Did you mean CRYPTO_ORDERS_PORT?",
        ),
        (
            {"SANDBOX": "on"},
            "WRONG: CRYPTO_ORDERS_SANDBOX is on, but CRYPTO_ORDERS_NOWPAYMENTS_URL is the real provider.",
        ),
        (
            {"ENV": "production"},
            "WRONG: CRYPTO_ORDERS_SEALING_KEY is not set: secrets could not be sealed at rest.",
        ),
        ({"DATABASE_URL": "postgresql:///x?host=/nonexistent"}, "WRONG: The database cannot be reached"),
        (
            {"DATABASE_URL": "postgresql://u:hunter2/x@h:port/d"},
            "WRONG: CRYPTO_ORDERS_DATABASE_URL is not an address that PostgreSQL's clients understand.",
        ),
        ({"PORT": "x"}, "The database was not looked at: the settings come first."),
    ],
)
def test_the_doctor_names_what_is_wrong(database_url: str, settings: dict[str, str], sentence: str) -> None:
    done = run("doctor", **{"DATABASE_URL": database_url, **settings})
    assert done.returncode == 1
    assert sentence in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


async def test_the_doctor_sees_a_database_that_loses_orders(
    database_url: str, cluster: ClusterAddress
) -> None:
    database = database_url.split("?", maxsplit=1)[0].rsplit("/", 1)[1]
    connection = await asyncpg.connect(cluster.superuser_dsn)
    await connection.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    await connection.close()
    done = run("doctor", DATABASE_URL=database_url)
    assert "WRONG: synchronous_commit is off: a crash loses acknowledged orders." in done.stdout
