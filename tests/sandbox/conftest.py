"""A sandbox and a merchant for every test that asks for them."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.sandbox.running import Merchant, Provider, listening_merchant, sandbox_config, served


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncGenerator[Provider]:
    """A running sandbox with the default behaviour."""
    async with served(sandbox_config(tmp_path / "state")) as provider:
        yield provider


@pytest.fixture
async def merchant() -> AsyncGenerator[Merchant]:
    """A merchant that listens and answers 200."""
    async with listening_merchant() as merchant:
        yield merchant
