"""A restored backup is behind the provider: asking brings every order of it to the truth, or to a flag.

The dump and the restore are made by the commands of the operating guide, under the role that owns the tables.
"""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from crypto_orders.store import invariants, migrate
from crypto_orders.store.connection import Pool, open_pool
from tests.conftest import ClusterAddress
from tests.simulation.aftermath import PAYMENTS_ARE_DUE
from tests.support.cluster import drop_database
from tests.support.notices import body_of, payment_of, send
from tests.support.payer import control
from tests.support.service import Customer, Service, eventually, running

NO_LIMITS = {"open_orders_max": "0", "unpaid_orders_per_day_max": "0"}

EXPECTED = {
    "paid later": "paid",
    "paid before": "paid",
    "finished later": "paid",
    "short later": "partial",
    "failed later": "failed",
    "under way later": "confirming",
    "paid though cancelled": "cancelled",
    "cancelled later": "pending",
    "untouched": "pending",
}
"""What each order is in the end. A cancel that the backup has not seen is forgotten like any other wish."""

MAY_REWRITE_HISTORY = "SELECT has_table_privilege('order_events', 'UPDATE, DELETE')"

pytestmark = pytest.mark.usefixtures("quiet")


class Addresses(NamedTuple):
    """A database for the service's role and for the one that owns its tables."""

    service: str
    owner: str


@pytest.fixture
async def restored(cluster: ClusterAddress, database_url: str) -> AsyncGenerator[Addresses]:
    """Where the backup will be restored to: a name that no database has yet."""
    name = f"{name_of(database_url)}_restored"
    yield Addresses(address_of(cluster.dsn, name), address_of(cluster.owner_dsn, name))
    await drop_database(cluster.superuser_dsn, name)


def name_of(url: str) -> str:
    return url.split("?", maxsplit=1)[0].rsplit("/", 1)[1]


def address_of(dsn: str, name: str) -> str:
    return dsn.replace("@/crypto_orders?", f"@/{name}?")


async def program(cluster: ClusterAddress, name: str, *arguments: str) -> None:
    """Run one of PostgreSQL's own programs."""
    process = await asyncio.create_subprocess_exec(
        f"{cluster.programs}/{name}",
        *arguments,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


async def test_a_restored_backup_reaches_what_the_provider_knows(
    cluster: ClusterAddress, database_url: str, pool: Pool, restored: Addresses, tmp_path: Path
) -> None:
    backup = tmp_path / "crypto-orders.dump"
    async with running(database_url, pool, tmp_path, **NO_LIMITS) as service:
        customer = await service.customer()
        orders = {what: await customer.check_out() for what in EXPECTED}
        await before_the_backup(service, customer, orders)
        await program(
            cluster,
            "pg_dump",
            "--format=custom",
            f"--file={backup}",
            f"--dbname={address_of(cluster.owner_dsn, name_of(database_url))}",
        )
        await after_the_backup(service, customer, orders)
        unknown = await customer.check_out()
        unknown["payment_id"] = await payment_of(service, unknown)
        await control(service, unknown, "pay")
        await service.becomes(unknown["order_id"], "paid")

    await program(
        cluster,
        "createdb",
        f"--maintenance-db={cluster.superuser_dsn}",
        "--owner=crypto_orders_owner",
        name_of(restored.service),
    )
    await program(cluster, "pg_restore", "--exit-on-error", f"--dbname={restored.owner}", str(backup))
    await migrate.migrate(restored.owner, migrate.shipped(), service_role="crypto_orders")
    other = await open_pool(restored.service, size=4, application_name="test")
    try:
        # The sandbox goes on with the ledger that it has; it is ahead of the backup.
        async with running(restored.service, other, tmp_path, **NO_LIMITS) as service:
            behind = {what: await service.status_of(order["order_id"]) for what, order in orders.items()}
            assert behind["paid later"] == behind["short later"] == behind["failed later"] == "pending"
            await service.rows(PAYMENTS_ARE_DUE)
            for what, order in orders.items():
                await service.becomes(order["order_id"], EXPECTED[what])
            await eventually(lambda: everything_was_asked(service))
            assert await service.flags_of(orders["paid though cancelled"]["order_id"]) == ["late_payment"]
            await the_order_made_since_is_met(service, unknown)
            await every_order_is_what_the_provider_says(service)
            async with other.acquire() as conn:
                assert await invariants.violations(conn) == []
                assert not await conn.fetchval(MAY_REWRITE_HISTORY)
    finally:
        other.terminate()


async def before_the_backup(service: Service, customer: Customer, orders: dict[str, Any]) -> None:
    await control(service, orders["paid before"], "pay")
    await service.becomes(orders["paid before"]["order_id"], "paid")
    await control(service, orders["finished later"], "pay", confirm=False)
    await service.becomes(orders["finished later"]["order_id"], "confirming")
    await cancel(customer, orders["paid though cancelled"])


async def after_the_backup(service: Service, customer: Customer, orders: dict[str, Any]) -> None:
    await control(service, orders["paid later"], "pay")
    await control(service, orders["finished later"], "status", payment_status="finished")
    await control(service, orders["short later"], "pay", amount="0.00000010")
    await control(service, orders["failed later"], "status", payment_status="failed")
    await control(service, orders["under way later"], "pay", confirm=False)
    await control(service, orders["paid though cancelled"], "pay")
    await cancel(customer, orders["cancelled later"])
    for what, status in {**EXPECTED, "cancelled later": "cancelled"}.items():
        await service.becomes(orders[what]["order_id"], status)


async def cancel(customer: Customer, order: dict[str, Any]) -> None:
    reply = await customer.post(f"/v1/billing/crypto-orders/{order['order_id']}/cancel")
    assert reply.status == 200, reply.body


async def everything_was_asked(service: Service) -> bool:
    """Whether the reconciler has asked about every payment, and every answer is applied."""
    due = await service.rows("SELECT FROM payments WHERE ask_at <= now()")
    return not due and not await service.rows("SELECT FROM notifications WHERE try_at IS NOT NULL")


async def the_order_made_since_is_met(service: Service, unknown: dict[str, Any]) -> None:
    """The order is gone; the provider is asked to send its notification again, and its money gets a flag."""
    assert await service.rows("SELECT FROM orders WHERE order_id = $1", unknown["order_id"]) == []
    paid = float(unknown["pay_amount"])
    notice = body_of(unknown, unknown["payment_id"], "finished", actually_paid=paid)
    assert (await send(service.client(), notice)).json == {"received": True, "order_state": None}
    flags = await service.rows("SELECT subject, kind FROM flags WHERE order_id IS NULL")
    assert flags == [{"subject": unknown["payment_id"], "kind": "unmatched"}]


async def every_order_is_what_the_provider_says(service: Service) -> None:
    """All money of the provider's ledger is in an order that says so, or under a flag."""
    ledger = (await service.sandbox.get("/sandbox/payments")).json["data"]
    flagged = {row["subject"] for row in await service.rows("SELECT subject FROM flags")}
    status_of = {
        row["payment_id"]: row["status"]
        for row in await service.rows("SELECT payment_id, status FROM orders WHERE payment_id IS NOT NULL")
    }
    said = {"finished": "paid", "partially_paid": "partial", "confirming": "confirming", "failed": "failed"}
    for payment in ledger:
        expected = said.get(payment["payment_status"], "pending")
        assert payment["payment_id"] in flagged or status_of[payment["payment_id"]] == expected
