"""Gives every test that asks for one a PostgreSQL database of its own, migrated and empty.

One cluster serves a whole run: the process that starts the run keeps it, and with pytest-xdist the
workers are told its address.
"""

import itertools
import os
from collections.abc import AsyncGenerator, Iterator
from typing import Any, NamedTuple

import pytest

from crypto_orders.store.connection import Pool, open_pool
from tests.support.cluster import Cluster, create_database, drop_database

_cluster_key = pytest.StashKey[Cluster]()
_database_numbers: Iterator[int] = itertools.count(1)


class ClusterAddress(NamedTuple):
    """How to reach the run's cluster: as the service's role, the tables' owner and the superuser."""

    dsn: str
    owner_dsn: str
    superuser_dsn: str
    programs: str


def _cluster_of(config: pytest.Config) -> ClusterAddress:
    if _cluster_key not in config.stash:
        config.stash[_cluster_key] = Cluster()
    server = config.stash[_cluster_key].server
    return ClusterAddress(server.dsn, server.owner_dsn, server.superuser_dsn, str(server.programs))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand the cluster to a worker of pytest-xdist."""
    node.workerinput["cluster"] = tuple(_cluster_of(node.config))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the cluster in the process that started it."""
    if _cluster_key in config.stash:
        config.stash[_cluster_key].close()


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> ClusterAddress:
    """The run's PostgreSQL cluster. Never stop it: a test that kills servers starts its own."""
    workerinput = getattr(request.config, "workerinput", None)
    if workerinput is not None:
        return ClusterAddress(*workerinput["cluster"])
    return _cluster_of(request.config)


@pytest.fixture
async def database_url(cluster: ClusterAddress) -> AsyncGenerator[str]:
    """The address of a fresh, migrated database, dropped when the test is over."""
    name = f"test_{os.getpid()}_{next(_database_numbers)}"
    await create_database(cluster.superuser_dsn, name)
    yield cluster.dsn.replace("@/crypto_orders?", f"@/{name}?")
    await drop_database(cluster.superuser_dsn, name)


@pytest.fixture
async def owner_pool(cluster: ClusterAddress, database_url: str) -> AsyncGenerator[Pool]:
    """Connections to the same database for the role that owns its tables, to do what the service may not."""
    name = database_url.split("?", maxsplit=1)[0].rsplit("/", 1)[1]
    owner_url = cluster.owner_dsn.replace("@/crypto_orders?", f"@/{name}?")
    pool = await open_pool(owner_url, size=2, application_name="test-owner")
    yield pool
    pool.terminate()


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    """Connections to a fresh, migrated database, as the service itself opens them."""
    pool = await open_pool(database_url, size=16, application_name="test")
    yield pool
    # Whatever a failed test left borrowed goes when the database is dropped.
    pool.terminate()
