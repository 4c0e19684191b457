"""The command that seals secrets under a new key, as an operator runs it."""

import os
import subprocess
import sys
from uuid import uuid4

from crypto_orders.kit.sealing import Sealer
from crypto_orders.store.connection import Pool
from crypto_orders.usecases.webhooks import place_of_secret

OLD, NEW = "aa" * 32, "bb" * 32


def rotate(**settings: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_ORDERS_")}
    environ |= {f"CRYPTO_ORDERS_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "crypto_orders", "rotate-sealing-key"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)


async def test_secrets_move_to_the_new_key_and_unreadable_ones_are_named(
    database_url: str, pool: Pool
) -> None:
    account_id, endpoint_id = uuid4(), uuid4()
    sealed = Sealer(OLD).seal(b"a secret", place_of_secret(endpoint_id))
    async with pool.acquire() as conn:
        await conn.execute("INSERT INTO accounts (account_id, name) VALUES ($1, 'A customer')", account_id)
        await conn.execute(
            "INSERT INTO webhook_endpoints (account_id, endpoint_id, url, events, secret_prefix,"
            " secret_sealed, created_at)"
            " VALUES ($1, $2, 'https://example.com/', '{crypto.order.paid}', 'a', $3, now())",
            account_id,
            endpoint_id,
            sealed,
        )
    lost = rotate(DATABASE_URL=database_url, SEALING_KEY=NEW)
    assert lost.returncode == 1
    assert f"whk_{endpoint_id}" in lost.stdout
    assert rotate(DATABASE_URL=database_url).returncode == 78
    done = rotate(DATABASE_URL=database_url, SEALING_KEY=f"{NEW},{OLD}")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "webhook endpoints sealed anew: 1")
    async with pool.acquire() as conn:
        kept = await conn.fetchval("SELECT secret_sealed FROM webhook_endpoints")
    assert Sealer(NEW).open(kept, place_of_secret(endpoint_id)) == b"a secret"
