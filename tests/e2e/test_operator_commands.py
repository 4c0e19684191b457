"""Operators from the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg

COMMAND = [sys.executable, "-m", "crypto_orders", "operators"]


def run(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_ORDERS_")}
    environ["CRYPTO_ORDERS_DATABASE_URL"] = database_url
    return subprocess.run(
        [*COMMAND, *arguments], env=environ, capture_output=True, text=True, timeout=120, check=False
    )


def shown(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


async def test_operators_are_made_changed_and_kept_out_and_refusals_are_said_in_one_sentence(
    database_url: str, tmp_path: Path
) -> None:
    ann = shown(run(database_url, "create", "Ann@Example.com", "--role", "admin", "--name", "Ann"))
    assert (ann["email"], ann["role"], ann["name"]) == ("ann@example.com", "admin", "Ann")
    assert len(ann["password"]) == 24
    file = tmp_path / "password"
    file.write_text("a password of a file\n")
    bob = shown(run(database_url, "create", "bob@example.com", "--role=viewer", f"--password-file={file}"))
    assert "password" not in bob
    assert shown(run(database_url, "set-role", "bob@example.com", "support"))["role"] == "support"
    assert shown(run(database_url, "reset-totp", "bob@example.com"))["second_factor"] is False
    assert len(shown(run(database_url, "set-password", "bob@example.com"))["password"]) == 24
    assert shown(run(database_url, "disable", "bob@example.com"))["disabled_at"] is not None
    listed = [json.loads(line) for line in run(database_url, "list").stdout.splitlines()]
    assert [(each["email"], each["disabled_at"] is None) for each in listed] == [
        ("ann@example.com", True),
        ("bob@example.com", False),
    ]
    assert shown(run(database_url, "enable", "bob@example.com"))["disabled_at"] is None

    assert refusal(run(database_url, "create", "ann@example.com", "--role=viewer")) == (
        "crypto-orders: There is an operator ann@example.com already.\n"
    )
    assert refusal(run(database_url, "create", "eve@example.com", "--role=owner")) == (
        "crypto-orders: A role is one of viewer, support, admin.\n"
    )
    assert refusal(run(database_url, "disable", "eve@example.com")) == (
        "crypto-orders: there is no such operator.\n"
    )
    assert refusal(run(database_url, "set-role", "ann@example.com", "viewer")) == (
        "crypto-orders: ann@example.com is the only admin who can sign in: make another one first.\n"
    )

    connection = await asyncpg.connect(database_url)
    hashes = [row[0] for row in await connection.fetch("SELECT password_hash FROM operators")]
    rows = await connection.fetch(
        "SELECT actor, action, target, result, request::text FROM audit_log ORDER BY at, audit_id"
    )
    await connection.close()
    assert all(text.startswith("$argon2id$v=19$m=65536,t=3,p=4$") for text in hashes)
    assert all(row["actor"].startswith("cli:") for row in rows)
    assert [(row["action"], row["target"], row["result"]) for row in rows] == [
        ("operator.create", "ann@example.com", "created"),
        ("operator.create", "bob@example.com", "created"),
        ("operator.set_role", "bob@example.com", "support"),
        ("operator.reset_second_factor", "bob@example.com", "reset"),
        ("operator.set_password", "bob@example.com", "password_set"),
        ("operator.disable", "bob@example.com", "disabled"),
        ("operator.enable", "bob@example.com", "enabled"),
        ("operator.create", "ann@example.com", "refused"),
        ("operator.create", "eve@example.com", "refused"),
        ("operator.disable", "eve@example.com", "refused"),
        ("operator.set_role", "ann@example.com", "refused"),
    ]
    assert ann["password"] not in str(rows)
