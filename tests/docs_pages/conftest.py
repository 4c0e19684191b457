"""Gives the tests of the published pages a running service."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from crypto_orders.store.connection import Pool
from tests.support.service import Service, running


@pytest.fixture
async def service(database_url: str, pool: Pool, tmp_path: Path) -> AsyncGenerator[Service]:
    """The service without workers, over a database of this test's own."""
    async with running(database_url, pool, tmp_path, workers=False) as service:
        yield service
