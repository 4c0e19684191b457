"""Gives tests of workers a running service and a receiver of webhooks."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from crypto_orders.store import invariants
from crypto_orders.store.connection import Pool
from tests.support.receiver import Receiver, receiving
from tests.support.service import Service, running


@pytest.fixture
async def service(database_url: str, pool: Pool, tmp_path: Path) -> AsyncGenerator[Service]:
    """The whole service with its workers and its sandbox, over a database of this test's own."""
    async with running(database_url, pool, tmp_path) as service:
        yield service
    async with pool.acquire() as conn:
        assert await invariants.violations(conn, allow_insecure_webhooks=True) == []


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver]:
    """A receiver on loopback."""
    async with receiving() as receiver:
        yield receiver
