"""The embedded PostgreSQL as its users see it: settings, secrets, one owner, data kept."""

import os
import shutil
import stat
import subprocess
from collections.abc import Generator
from pathlib import Path

import asyncpg
import pytest

from crypto_orders.embedded import EmbeddedPostgres, EmbeddedPostgresError, addresses_of_running
from tests.support.cluster import SMALL, make_cluster_dir

ROLES = ("postgres", "crypto_orders", "crypto_orders_owner")


@pytest.fixture(scope="module")
def shared() -> Generator[EmbeddedPostgres]:
    directory = make_cluster_dir()
    with EmbeddedPostgres(directory / "postgres", options=SMALL) as server:
        yield server
    shutil.rmtree(directory)


@pytest.mark.parametrize("role", ["crypto_orders", "crypto_orders_owner"])
async def test_neither_the_service_nor_the_owner_is_a_superuser(shared: EmbeddedPostgres, role: str) -> None:
    dsn = {"crypto_orders": shared.dsn, "crypto_orders_owner": shared.owner_dsn}[role]
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchrow(
        "SELECT current_user::text, current_database()::text, usesuper"
        "  FROM pg_user WHERE usename = current_user"
    ) == (role, "crypto_orders", False)
    await connection.close()


async def test_the_owner_makes_what_the_migrations_need(shared: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(shared.owner_dsn)
    await connection.execute("CREATE EXTENSION pg_trgm")
    assert await connection.fetchval("SELECT 'bitcoin' % 'bitcoins'") is True
    await connection.close()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
        ("jit", "off"),
    ],
)
async def test_the_server_is_durable_private_and_plain(
    shared: EmbeddedPostgres, setting: str, value: str
) -> None:
    connection = await asyncpg.connect(shared.dsn)
    assert await connection.fetchval("SELECT current_setting($1)", setting) == value
    await connection.close()


async def test_text_sorts_by_code_point_on_every_machine(shared: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(shared.dsn)
    row = await connection.fetchrow(
        "SELECT datlocprovider::text, datlocale FROM pg_database WHERE datname = current_database()"
    )
    assert row == ("b", "C.UTF-8")
    await connection.close()


async def test_nobody_logs_in_without_the_generated_password(shared: EmbeddedPostgres) -> None:
    for dsn in (shared.dsn, shared.owner_dsn, shared.superuser_dsn):
        scheme, rest = dsn.split("//")
        role, rest = rest.split(":", 1)
        _, rest = rest.split("@", 1)
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(f"{scheme}//{role}:wrong@{rest}")


def test_passwords_and_socket_are_closed_to_others(shared: EmbeddedPostgres) -> None:
    for name in (
        "postgres.password",
        "crypto_orders.password",
        "crypto_orders_owner.password",
        "owner.lock",
        "postgres.log",
    ):
        assert stat.S_IMODE((shared.home / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((shared.home / "data").stat().st_mode) == 0o700
    socket_dir = Path(shared.dsn.split("host=")[1])
    assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
    assert len(os.fsencode(socket_dir / ".s.PGSQL.5432")) <= 107


def test_no_secret_shows_in_a_command_line(shared: EmbeddedPostgres) -> None:
    secrets = [(shared.home / f"{role}.password").read_bytes() for role in ROLES]
    for pid in (shared.pid(), shared.keeper_pid):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert not any(secret in command for secret in secrets)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_local_user_is_refused_at_the_socket(shared: EmbeddedPostgres) -> None:
    socket_dir = shared.dsn.split("host=")[1]
    code = f"import socket; socket.socket(socket.AF_UNIX).connect({socket_dir + '/.s.PGSQL.5432'!r})"
    done = subprocess.run(
        ["/usr/bin/python3", "-c", code],
        user=64999,
        group=64999,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "PermissionError" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="without root it simply runs as us")
def test_as_root_the_server_runs_under_a_user_of_its_own(shared: EmbeddedPostgres) -> None:
    owner = (shared.home / "data").stat().st_uid
    assert owner != 0
    status = Path(f"/proc/{shared.pid()}/status").read_text()
    assert f"Uid:\t{owner}\t{owner}\t{owner}\t{owner}" in status
    assert "Groups:\t \n" in status


async def test_a_second_start_keeps_the_data_and_the_passwords() -> None:
    directory = make_cluster_dir()
    with EmbeddedPostgres(directory / "postgres", options=SMALL) as server:
        connection = await asyncpg.connect(server.owner_dsn)
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        await connection.close()
        password = server.dsn.split("@")[0]
    with EmbeddedPostgres(directory / "postgres", options=SMALL) as server:
        assert server.dsn.split("@")[0] == password
        connection = await asyncpg.connect(server.owner_dsn)
        assert await connection.fetchval("SELECT answer FROM kept") == 42
        await connection.close()
    shutil.rmtree(directory)


def test_a_second_owner_is_refused_by_name(shared: EmbeddedPostgres) -> None:
    second = EmbeddedPostgres(shared.home, options=SMALL)
    sentence = f"the database in {shared.home} is in use by process {os.getpid()}"
    with pytest.raises(EmbeddedPostgresError, match=sentence):
        second.start()
    assert shared.pid() is not None


async def test_another_process_can_find_the_running_server(shared: EmbeddedPostgres) -> None:
    assert addresses_of_running(shared.home) == (shared.dsn, shared.owner_dsn)


def test_a_server_that_does_not_run_is_not_found() -> None:
    directory = make_cluster_dir()
    assert addresses_of_running(directory / "postgres") is None
    with EmbeddedPostgres(directory / "postgres", options=SMALL):
        pass
    assert addresses_of_running(directory / "postgres") is None
    shutil.rmtree(directory)


def test_a_half_made_cluster_is_made_anew() -> None:
    directory = make_cluster_dir()
    half = directory / "postgres" / "data.new"
    half.mkdir(parents=True)
    (directory / "postgres").chmod(0o711)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(directory / "postgres", options=SMALL) as server:
        assert server.pid() is not None
    assert not half.exists()
    shutil.rmtree(directory)


def test_a_server_that_cannot_start_says_where_to_look() -> None:
    directory = make_cluster_dir()
    server = EmbeddedPostgres(directory / "postgres", options={**SMALL, "shared_buffers": "nonsense"})
    sentence = f"PostgreSQL did not start in {directory}/postgres; its log says why"
    with pytest.raises(EmbeddedPostgresError, match=sentence):
        server.start()
    assert "nonsense" in (directory / "postgres" / "postgres.log").read_text()
    shutil.rmtree(directory)


def test_lost_passwords_are_named() -> None:
    directory = make_cluster_dir()
    with EmbeddedPostgres(directory / "postgres", options=SMALL) as server:
        path = server.home / "crypto_orders.password"
    path.unlink()
    with pytest.raises(EmbeddedPostgresError, match=rf"{path} is gone; without it nobody can log in"):
        server.start()
    shutil.rmtree(directory)
