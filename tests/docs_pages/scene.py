"""What no request can bring about, for the scenes of the pages: time that passed."""

import asyncio
import os
import sys

import asyncpg

from crypto_orders.demo.guests import make_older

DUE = """
   UPDATE webhook_deliveries
      SET due_at = clock_timestamp()
    WHERE endpoint_id = $1::uuid
      AND status = 'failed'
"""
ALL_DEAD = "SELECT bool_and(status = 'dlq') FROM webhook_deliveries WHERE endpoint_id = $1::uuid"
DEADLINE_SECONDS = 60.0


async def _until_dead(dsn: str, webhook_id: str) -> None:
    """Let the waits between the attempts at an endpoint's deliveries pass at once, until none is left."""
    endpoint_id = webhook_id.removeprefix("whk_")
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await connection.fetchval(ALL_DEAD, endpoint_id):
                await connection.execute(DUE, endpoint_id)
                await asyncio.sleep(0.05)
    finally:
        await connection.close()


if __name__ == "__main__":
    dsn = os.environ["DATABASE_URL"]
    match sys.argv[1:]:
        case ["older", order_id, hours]:
            asyncio.run(make_older(dsn, order_id, int(hours)))
        case ["until_dead", webhook_id]:
            asyncio.run(_until_dead(dsn, webhook_id))
        case other:
            raise SystemExit(f"no scene: {other}")
