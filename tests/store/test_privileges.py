"""What the service's role may do in its own database, and what not even a hole in the service makes it do."""

import asyncpg
import pytest

from crypto_orders.store import privileges
from crypto_orders.store.connection import Pool
from crypto_orders.usecases import rollups


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE order_events SET at = now()",
        "DELETE FROM order_events",
        "TRUNCATE order_events",
        "UPDATE audit_log SET actor = 'nobody'",
        "DELETE FROM audit_log",
        "UPDATE orders SET price_cents = 1",
        "UPDATE orders SET account_id = gen_random_uuid()",
        "DELETE FROM orders",
        "DELETE FROM payments",
        "DELETE FROM notifications",
        "INSERT INTO schema_migrations VALUES (99, '0099_none.sql', '')",
        "CREATE TABLE mine (n integer)",
        "ALTER TABLE orders ADD COLUMN n integer",
        "DROP TABLE orders",
        "SET ROLE crypto_orders_owner",
        "SET ROLE postgres",
        "COPY products TO PROGRAM 'true'",
        "COPY products FROM '/etc/passwd'",
        "SELECT pg_read_file('/etc/passwd')",
    ],
)
async def test_the_service_s_role_is_refused(pool: Pool, statement: str) -> None:
    async with pool.acquire() as conn:
        with pytest.raises(asyncpg.InsufficientPrivilegeError) as refusal:
            await conn.execute(statement)
    assert refusal.value.sqlstate == "42501"


async def test_history_is_out_of_the_service_s_reach(pool: Pool, owner_pool: Pool) -> None:
    async with pool.acquire() as conn, owner_pool.acquire() as owner:
        assert await privileges.rewritable(conn) == []
        assert await privileges.rewritable(owner) == ["audit_log", "order_events"]


async def test_a_role_that_owns_the_tables_keeps_its_rights(owner_pool: Pool) -> None:
    async with owner_pool.acquire() as owner:
        await privileges.grant(owner, "crypto_orders_owner")
        await owner.execute("UPDATE order_events SET at = at")


async def test_granting_again_takes_back_what_was_given_by_hand(pool: Pool, owner_pool: Pool) -> None:
    async with owner_pool.acquire() as owner:
        await owner.execute("GRANT ALL ON audit_log TO crypto_orders")
        await privileges.grant(owner, "crypto_orders")
    async with pool.acquire() as conn:
        assert await privileges.rewritable(conn) == []


async def test_the_service_tidies_an_index_that_it_does_not_own(pool: Pool) -> None:
    assert await rollups.tidy_search(pool) >= 0
