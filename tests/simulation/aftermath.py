"""What follows the last kill: the faults end, time passes for what waits, and the evidence is gathered."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg

from tests.simulation.checker import Evidence, findings
from tests.simulation.load import read_log
from tests.simulation.rig import Rig, eventually

WALKING = {"confirming", "confirmed", "sending"}

ORPHANS_PAID_MAX = 10
ROUNDS_MAX = 10

# A create call whose process died is repeated 20 s later, and the payments of a dead worker are another's
# after a minute. Nobody here wants to wait for that.
TIME_PASSES = """
UPDATE provider_attempts SET started_at = started_at - interval '1 minute' WHERE state IN ('sent', 'unknown');
UPDATE orders SET mint_due_at = now() WHERE mint_due_at IS NOT NULL;
"""
FACTS_ARE_DUE = "UPDATE notifications SET try_at = now() WHERE try_at > now()"
PAYMENTS_ARE_DUE = "UPDATE payments SET ask_at = now(), ask_lease_until = NULL WHERE ask_at IS NOT NULL"
LEFT_TO_MINT = "SELECT count(*) FROM orders WHERE mint_due_at IS NOT NULL"
LEFT_TO_ASK = "SELECT count(*) FROM payments WHERE ask_at <= now()"
LEFT_TO_APPLY = "SELECT count(*) FROM notifications WHERE try_at IS NOT NULL"

TABLES = {
    "orders": "SELECT order_id, status, payment_id, price_cents FROM orders",
    "keys": "SELECT idempotency_key, order_id FROM idempotency_keys",
    "events": "SELECT order_id, seq, status, source FROM order_events",
    "payments": "SELECT payment_id, order_id FROM payments",
    "flags": "SELECT subject, kind, state FROM flags",
    "webhook_events": "SELECT order_id, event_type FROM webhook_events",
}


async def settle(rig: Rig, conn: asyncpg.Connection) -> int:
    """End the faults and wait until all money has arrived; how many payments nobody knew of were paid."""
    await rig.sandbox("/faults", drop_ipns=0, api_delay_ms=0, duplicate_ipns=0)
    await rig.all_answer()
    await conn.execute(TIME_PASSES)
    await eventually(lambda: _none(conn, LEFT_TO_MINT), "every create call is completed")
    orphans = await _pay_orphans(rig, conn)
    await eventually(lambda: _stands_still(rig), "every payment has arrived")
    return orphans


async def catch_up(rig: Rig, conn: asyncpg.Connection) -> None:
    """Have the workers ask about every payment and apply every fact, and wait until they have."""
    await conn.execute(PAYMENTS_ARE_DUE)
    await eventually(lambda: _none(conn, LEFT_TO_ASK), f"all payments were asked about\n{rig.tail()}")

    async def applied() -> bool:
        await conn.execute(FACTS_ARE_DUE)
        return await _none(conn, LEFT_TO_APPLY)

    await eventually(applied, f"every fact is applied\n{rig.tail()}")


async def judged(rig: Rig, conn: asyncpg.Connection, log: Path) -> tuple[Evidence, list[str]]:
    """The evidence and all that is wrong with it, once the last late notification is in.

    The provider repeats what was refused while something was down; what is lost stays lost meanwhile.
    """
    for _ in range(ROUNDS_MAX):
        await catch_up(rig, conn)
        gathered = await evidence(rig, conn, log)
        wrong = findings(gathered)
        if not wrong:
            break
        await asyncio.sleep(1)
    return gathered, wrong


async def _none(conn: asyncpg.Connection, count: str) -> bool:
    return await conn.fetchval(count) == 0


async def _stands_still(rig: Rig) -> bool:
    return not any(payment["payment_status"] in WALKING for payment in await rig.ledger())


async def _pay_orphans(rig: Rig, conn: asyncpg.Connection) -> int:
    """Pay payments that the provider made and whose answer died with a process: a payer may know them."""
    known = {row["payment_id"] for row in await conn.fetch("SELECT payment_id FROM payments")}
    orphans = [p for p in await rig.ledger() if str(p["payment_id"]) not in known]
    untouched = [p["payment_id"] for p in orphans if p["payment_status"] == "waiting"][:ORPHANS_PAID_MAX]
    for payment_id in untouched:
        assert await rig.sandbox(f"/payments/{payment_id}/pay") == 202
    if untouched:

        async def met() -> bool:
            rows = await conn.fetch(
                "SELECT FROM payments WHERE payment_id = ANY($1)", [str(one) for one in untouched]
            )
            return len(rows) == len(untouched)

        await eventually(met, "payments that nobody knew are met by their notifications")
    return len(untouched)


async def evidence(rig: Rig, conn: asyncpg.Connection, log: Path) -> Evidence:
    """The customers' log, the provider's ledger and one snapshot of the database."""
    tables: dict[str, Any] = {}
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        for name, query in TABLES.items():
            tables[name] = [dict(row) for row in await conn.fetch(query)]
    return Evidence(log=read_log(log), ledger=await rig.ledger(), **tables)
