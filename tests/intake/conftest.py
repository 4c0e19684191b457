"""Gives intake tests a running service without workers: what a worker does is not to be seen here."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from crypto_orders.store.connection import Pool
from tests.support.service import Service, running


@pytest.fixture
async def service(database_url: str, pool: Pool, tmp_path: Path) -> AsyncGenerator[Service]:
    """The web process and its sandbox, over a database of this test's own."""
    async with running(database_url, pool, tmp_path, workers=False) as service:
        yield service
