"""Makes a cluster's data directory, its passwords, and the role and database the service works in."""

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

from crypto_orders.embedded.errors import EmbeddedPostgresError
from crypto_orders.embedded.placement import Placement, hand_over

SUPERUSER = "postgres"
SERVICE_ROLE = "crypto_orders"
OWNER_ROLE = "crypto_orders_owner"
SERVICE_DATABASE = "crypto_orders"

PASSWORD_BYTES = 24

INITDB_ARGUMENTS = (
    f"--username={SUPERUSER}",
    "--auth-local=scram-sha-256",
    "--auth-host=scram-sha-256",
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--locale=C",
    "--data-checksums",
    "--no-instructions",
)

# One role owns the database and its tables, the other works with them. A failing statement here must not be
# logged: it holds a password. What the service's role owned before there were two goes to the owner.
BOOTSTRAP = """
SET log_min_error_statement = panic;
SELECT $$CREATE ROLE crypto_orders LOGIN PASSWORD '{service_password}'$$
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'crypto_orders') \\gexec
SELECT $$CREATE ROLE crypto_orders_owner LOGIN PASSWORD '{owner_password}'$$
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'crypto_orders_owner') \\gexec
SELECT 'CREATE DATABASE crypto_orders OWNER crypto_orders_owner'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'crypto_orders') \\gexec
REVOKE CONNECT ON DATABASE crypto_orders FROM PUBLIC;
GRANT CONNECT ON DATABASE crypto_orders TO crypto_orders;
\\connect crypto_orders
REASSIGN OWNED BY crypto_orders TO crypto_orders_owner;
"""


def password_of(home: Path, role: str) -> str:
    """Read a role's generated password. Raises EmbeddedPostgresError when its file is gone."""
    path = home / f"{role}.password"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        message = f"{path} is gone; without it nobody can log in to the database beside it"
        raise EmbeddedPostgresError(message) from None


def install(placement: Placement) -> None:
    """Make the data directory if there is none, whole or not at all. The caller holds the cluster's lock."""
    data = placement.data
    if not data.is_dir():
        fresh = placement.home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        for role in (SUPERUSER, SERVICE_ROLE, OWNER_ROLE):
            _write_password(placement.home / f"{role}.password")
        _initdb(placement, fresh)
        fresh.rename(data)
    if not (placement.home / f"{OWNER_ROLE}.password").exists():
        # A cluster from before there was an owner beside the service's role.
        _write_password(placement.home / f"{OWNER_ROLE}.password")
    if placement.server is not None and data.stat().st_uid != placement.server.uid:
        # Restored by root from a copy, say.
        hand_over(data, placement.server)


def bootstrap(placement: Placement, socket_dir: Path) -> None:
    """Make the service's role and database where they are missing, through a running server.

    Raises EmbeddedPostgresError when the server does not let us.
    """
    done = subprocess.run(
        [
            placement.client_programs / "psql",
            "--no-psqlrc",
            "--quiet",
            "--no-password",
            "--set=ON_ERROR_STOP=1",
            f"--host={socket_dir}",
            f"--username={SUPERUSER}",
            "--dbname=postgres",
        ],
        input=BOOTSTRAP.format(
            service_password=password_of(placement.home, SERVICE_ROLE),
            owner_password=password_of(placement.home, OWNER_ROLE),
        ),
        env={**os.environ, "PGPASSWORD": password_of(placement.home, SUPERUSER)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        message = f"the embedded database could not be prepared: {_reason(done.stderr)}"
        raise EmbeddedPostgresError(message)


def _initdb(placement: Placement, fresh: Path) -> None:
    fresh.mkdir(mode=0o700)
    account = placement.initdb_account
    if account is not None:
        os.chown(fresh, account.uid, account.gid)
    with _password_file(placement) as password_file:
        done = subprocess.run(
            [
                placement.programs / "initdb",
                f"--pgdata={fresh}",
                f"--pwfile={password_file}",
                *INITDB_ARGUMENTS,
            ],
            cwd="/",
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        message = f"no database could be made in {placement.home}: {_reason(done.stderr)}"
        raise EmbeddedPostgresError(message)
    if placement.server is not None:
        hand_over(fresh, placement.server)


@contextlib.contextmanager
def _password_file(placement: Placement) -> Generator[Path]:
    """Lend `initdb` the superuser's password in a file that its user can read and nobody else."""
    descriptor, name = tempfile.mkstemp(prefix="initdb-")
    try:
        os.write(descriptor, password_of(placement.home, SUPERUSER).encode())
        if placement.initdb_account is not None:
            os.fchown(descriptor, placement.initdb_account.uid, placement.initdb_account.gid)
        os.close(descriptor)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _write_password(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(PASSWORD_BYTES))
        file.flush()
        os.fsync(file.fileno())


def _reason(text: str) -> str:
    """Find the line of a program's complaints that says why; what follows it is tidying up."""
    lines = text.strip().splitlines()
    telling = [line for line in lines if "error:" in line or "FATAL:" in line]
    return (telling or lines or ["it gave no reason"])[0]
