"""Every statement of the store is understood by PostgreSQL against the schema of the migrations."""

import importlib
import pkgutil
import re

import pytest

from crypto_orders import store
from crypto_orders.store.connection import Pool

STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")


def statements() -> dict[str, str]:
    """Every constant of the store's modules that is a statement, by its name."""
    found: dict[str, str] = {}
    for module in pkgutil.iter_modules(store.__path__):
        if module.ispkg:
            continue
        loaded = importlib.import_module(f"{store.__name__}.{module.name}")
        for name, value in vars(loaded).items():
            if name.isupper() and isinstance(value, str) and STATEMENT.match(value):
                found[f"{module.name}.{name}"] = value
    return found


STATEMENTS = statements()


def test_the_store_has_statements() -> None:
    assert len(STATEMENTS) > 40


@pytest.mark.xdist_group("statements")
async def test_every_statement_is_understood(pool: Pool) -> None:
    refused: dict[str, str] = {}
    async with pool.acquire() as conn:
        for name, text in STATEMENTS.items():
            try:
                await conn.prepare(text)  # pyright: ignore[reportAttributeAccessIssue] - the driver has it
            except Exception as error:  # noqa: BLE001 - every refusal is told at once
                refused[name] = str(error)
    assert refused == {}
