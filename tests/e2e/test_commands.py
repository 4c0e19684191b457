"""The command line as an operator meets it."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.conftest import ClusterAddress
from tests.support.cluster import make_cluster_dir

COMMAND = [sys.executable, "-m", "crypto_orders"]


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_ORDERS_")}
    environ |= {f"CRYPTO_ORDERS_{name}": value for name, value in settings.items()}
    return subprocess.run(
        [*COMMAND, *arguments], env=environ, capture_output=True, text=True, timeout=120, check=False
    )


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in (
        *("serve", "worker", "sandbox", "demo", "migrate", "check", "doctor", "openapi"),
        *("accounts", "keys", "products", "operators"),
    ):
        assert f"\n  {command} " in done.stdout
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


def as_json(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_accounts_keys_and_products_are_made_listed_and_revoked(database_url: str) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run(*arguments, DATABASE_URL=database_url, SANDBOX="true")

    account = as_json(command("accounts", "create", "Acme", "--tier", "gold"))
    assert (account["name"], account["tier"]) == ("Acme", "gold")
    admin = as_json(command("keys", "create", "--label", "support"))
    assert admin["scopes"] == ["admin:read", "admin:write"]
    assert admin["key"].startswith("ds_admin_")
    ends = "2099-01-01T00:00:00.000Z"
    customer = as_json(
        command(
            *("keys", "create", "--account", account["account_id"]),
            *("--scope", "read:billing", "--scope", "read:webhooks", "--expires-at", ends),
        )
    )
    assert customer["key"].startswith("ds_test_")
    assert (customer["scopes"], customer["expires_at"]) == (["read:billing", "read:webhooks"], ends)

    assert command("keys", "revoke", customer["id"]).returncode == 0
    everybodys = [json.loads(line) for line in command("keys", "list").stdout.splitlines()]
    assert [key["id"] for key in everybodys] == [customer["id"], admin["id"]]
    assert [key["revoked_at"] is None for key in everybodys] == [False, True]
    accounts = command("keys", "list", "--account", account["account_id"]).stdout.splitlines()
    assert [json.loads(line)["begins_with"] for line in accounts] == [customer["key"][:12]]
    assert customer["key"] not in "".join(accounts)

    product = as_json(command("products", "set", "extra_seat", "1500", "--currency", "EUR"))
    assert (product["price_cents"], product["price_currency"], product["active"]) == (1500, "EUR", True)
    assert as_json(command("products", "set", "extra_seat", "1500", "--no-active"))["active"] is False

    connection = await asyncpg.connect(database_url)
    actions = await connection.fetch("SELECT action FROM audit_log ORDER BY at, audit_id")
    await connection.close()
    assert [row["action"] for row in actions] == [
        *("account.create", "key.create", "key.create", "key.revoke", "product.set", "product.set")
    ]
    assert command("check").stdout == "every invariant holds\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("keys", "revoke", "key_1"), "crypto-orders: key_1 is no id of the form key_….\n"),
        (
            ("keys", "revoke", "key_00000000-0000-4000-8000-000000000000"),
            "crypto-orders: there is no such account or key.\n",
        ),
        (
            ("keys", "create", "--account", "acc_00000000-0000-4000-8000-000000000000"),
            "crypto-orders: there is no such account or key.\n",
        ),
        (
            ("keys", "create", "--scope", "root"),
            ("crypto-orders: Unknown scope 'root'; known are admin:override, admin:read, admin:write.\n"),
        ),
        (
            ("keys", "create", "--expires-at", "tomorrow"),
            "crypto-orders: tomorrow: not an ISO 8601 instant such as 2026-05-22T10:00:00.000Z.\n",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    database_url: str, arguments: tuple[str, ...], sentence: str
) -> None:
    done = run(*arguments, DATABASE_URL=database_url)
    assert (done.returncode, done.stderr) == (1, sentence)


async def test_a_broken_invariant_is_shown_with_its_rows(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    account = json.loads(run("accounts", "create", "Acme", DATABASE_URL=database_url).stdout)
    await connection.execute(
        """
        INSERT INTO orders (account_id, order_id, product, price_cents, price_currency, status, version,
                            created_at, updated_at, window_ends_at)
        SELECT $1::uuid, 'ord_01m81snwfmepmt09t680xmeame', 'solo_manual', 7900, 'USD', 'pending', 1,
               now(), now(), now() + interval '1 hour'
        """,
        account["account_id"].removeprefix("acc_"),
    )
    await connection.close()
    done = run("check", DATABASE_URL=database_url)
    assert done.returncode == 1
    assert "INV-01 is broken: An order has exactly one create event, and it is its first.\n" in done.stdout
    assert "ord_01m81snwfmepmt09t680xmeame" in done.stdout


def test_the_openapi_document_is_printed_without_a_database() -> None:
    document = as_json(run("openapi", DATABASE_URL="postgresql://nobody@/nothing?host=/nonexistent"))
    assert document["openapi"].startswith("3.1")
    assert "/v1/billing/crypto-checkout" in document["paths"]


SEALING_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

PRODUCTION = {
    "ENV": "production",
    "PUBLIC_URL": "https://orders.example.com",
    "NOWPAYMENTS_IPN_SECRET": "s1",
    "SEALING_KEY": SEALING_KEY,
    "PORT": "1",
}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"SANDBOX": "true"}, "CRYPTO_ORDERS_SANDBOX"),
        ({"NOWPAYMENTS_IPN_SECRET": ""}, "CRYPTO_ORDERS_NOWPAYMENTS_IPN_SECRET"),
        ({"SEALING_KEY": ""}, "CRYPTO_ORDERS_SEALING_KEY"),
        ({"PUBLIC_URL": "http://orders.example.com"}, "CRYPTO_ORDERS_PUBLIC_URL"),
        ({"ALLOW_INSECURE_WEBHOOKS": "true"}, "CRYPTO_ORDERS_ALLOW_INSECURE_WEBHOOKS"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "worker"])
def test_production_refuses_to_start_with_what_is_unsafe(
    command: str, change: dict[str, str], name: str
) -> None:
    done = run(command, **{**PRODUCTION, **change})
    assert done.returncode == 78
    assert done.stderr.startswith(f"crypto-orders: {name} is ")
    assert done.stderr.count("\n") == 1


async def test_production_refuses_a_database_that_loses_orders(
    database_url: str, cluster: ClusterAddress
) -> None:
    database = database_url.split("?", maxsplit=1)[0].rsplit("/", 1)[1]
    connection = await asyncpg.connect(cluster.superuser_dsn)
    await connection.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    await connection.close()
    done = run("serve", **PRODUCTION, DATABASE_URL=database_url)
    assert done.returncode == 78
    assert done.stderr == (
        "crypto-orders: CRYPTO_ORDERS_DATABASE_URL names a database without durability: "
        "synchronous_commit is off: a crash loses acknowledged orders.\n"
    )


def test_production_runs_no_sandbox_and_a_sandbox_needs_a_key() -> None:
    assert run("sandbox", **PRODUCTION).returncode == 78
    done = run("sandbox")
    assert done.returncode == 78
    assert done.stderr.startswith("crypto-orders: CRYPTO_ORDERS_NOWPAYMENTS_API_KEY is not set")


async def test_a_database_without_the_schema_is_not_served(
    database_url: str, cluster: ClusterAddress
) -> None:
    bare = database_url.split("?", maxsplit=1)[0].rsplit("/", 1)[1] + "_bare"
    connection = await asyncpg.connect(cluster.superuser_dsn)
    await connection.execute(f"CREATE DATABASE {bare} OWNER crypto_orders_owner")
    done = run("serve", DATABASE_URL=cluster.dsn.replace("@/crypto_orders?", f"@/{bare}?"))
    await connection.execute(f"DROP DATABASE {bare}")
    await connection.close()
    assert done.returncode == 1
    assert done.stderr.startswith("crypto-orders: the database lacks 0001_orders.sql")
    assert done.stderr.endswith(": run crypto-orders migrate.\n")


def test_without_any_setting_the_service_brings_its_own_database() -> None:
    directory = make_cluster_dir()
    port = free_port()
    service = start("serve", DATA_DIR=str(directory), PORT=str(port))
    try:
        wait_until(lambda: answers(port) or service.poll() is not None)
        # A command beside it works on the same database.
        account = as_json(run("accounts", "create", "Acme", DATA_DIR=str(directory)))
        key = as_json(run("keys", "create", "--account", account["account_id"], DATA_DIR=str(directory)))
        assert key["key"].startswith("ds_live_")
        worker = start("worker", DATA_DIR=str(directory))
        assert worker.stdout is not None
        wait_until(lambda: "workers_started" in worker.stdout.readline())
        for process in (worker, service):
            process.send_signal(signal.SIGTERM)
            output = process.communicate(timeout=60)[0]
            assert process.returncode == 0, output
    finally:
        service.kill()
        service.communicate()
    assert stat.S_IMODE((directory / "sealing_key").stat().st_mode) == 0o600
    shutil.rmtree(directory)


def start(*arguments: str, **settings: str) -> subprocess.Popen[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_ORDERS_")}
    environ |= {f"CRYPTO_ORDERS_{name}": value for name, value in settings.items()}
    return subprocess.Popen(
        [*COMMAND, *arguments], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
