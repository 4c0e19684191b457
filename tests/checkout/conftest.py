"""Gives tests of the payment page a running service, one for each module."""

import os
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from crypto_orders.store.connection import open_pool
from tests.conftest import ClusterAddress
from tests.support.cluster import create_database, drop_database
from tests.support.service import Service, running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    cluster: ClusterAddress, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Service]:
    """The whole service whose checkouts leave the coin to the payer unless they name one.

    A test looks behind its scenes, and shifts things there, as the owner of the tables.
    """
    directory = tmp_path_factory.mktemp("service")
    name = f"checkout_{os.getpid()}_{directory.name}".replace("-", "_")
    database_url = cluster.dsn.replace("@/crypto_orders?", f"@/{name}?")
    await create_database(cluster.superuser_dsn, name)
    owner_url = cluster.owner_dsn.replace("@/crypto_orders?", f"@/{name}?")
    pool = await open_pool(owner_url, size=8, application_name="test")
    try:
        async with running(database_url, pool, directory, default_pay_currency="") as started:
            yield started
    finally:
        pool.terminate()
        await drop_database(cluster.superuser_dsn, name)
