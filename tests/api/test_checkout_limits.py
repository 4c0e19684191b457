"""How many unpaid orders an account may have, also when checkouts come at once."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from crypto_orders.store.connection import Pool
from tests.support.service import Customer, Reply, Service, running

AT_ONCE = 24


async def asked(customer: Customer, key: str) -> Reply:
    """The answer to a checkout that may be refused."""
    return await customer.post("/v1/billing/crypto-checkout", {"product": "solo_manual"}, Idempotency_Key=key)


async def stored(service: Service, customer: Customer) -> int:
    """How many orders and keys the account has; a refusal leaves neither."""
    counts = await service.rows(
        "SELECT (SELECT count(*) FROM orders WHERE account_id = $1) AS orders,"
        " (SELECT count(*) FROM idempotency_keys WHERE account_id = $1) AS keys",
        customer.account_id,
    )
    assert counts[0]["orders"] == counts[0]["keys"]
    return counts[0]["orders"]


def refusal(reply: Reply) -> tuple[Any, ...]:
    """What a refusal says."""
    return reply.status, *(reply.json.get(name) for name in ("resource", "field", "limit"))


async def test_checkouts_at_once_never_pass_the_limit_of_open_orders(service: Service) -> None:
    customer, other = await service.customer(), await service.customer()
    replies = await asyncio.gather(*(asked(customer, f"k-{n}") for n in range(AT_ONCE)))
    assert Counter(reply.status for reply in replies) == {201: 5, 409: AT_ONCE - 5}
    refused = {refusal(reply) for reply in replies if reply.status == 409}
    assert refused == {(409, "crypto_order", "open", 5)}
    assert await stored(service, customer) == 5
    assert (await asked(other, "k-0")).status == 201


async def test_at_the_limit_a_repeated_key_still_has_its_order(service: Service) -> None:
    customer = await service.customer()
    first = [await customer.check_out(f"k-{n}") for n in range(5)]
    assert (await asked(customer, "k-5")).status == 409
    again = await asked(customer, "k-3")
    assert (again.status, again.json) == (201, first[3])
    assert again.headers["Idempotent-Replayed"] == "1"
    # A refused key was not used: it starts an order once there is room.
    cancelled = await customer.post(f"/v1/billing/crypto-orders/{first[0]['order_id']}/cancel")
    assert cancelled.status == 200
    assert (await asked(customer, "k-5")).status == 201


async def test_orders_that_came_to_nothing_count_for_a_day(
    database_url: str, pool: Pool, owner_pool: Pool, tmp_path: Path
) -> None:
    limits = {"open_orders_max": "0", "unpaid_orders_per_day_max": "3"}
    async with running(database_url, pool, tmp_path, **limits) as service:
        customer = await service.customer()
        replies = await asyncio.gather(*(asked(customer, f"k-{n}") for n in range(AT_ONCE)))
        assert Counter(reply.status for reply in replies) == {201: 3, 409: AT_ONCE - 3}
        refused = {refusal(reply) for reply in replies if reply.status == 409}
        assert refused == {(409, "crypto_order", "per_day", 3)}
        made = [reply.json["order_id"] for reply in replies if reply.status == 201]

        assert (await customer.post(f"/v1/billing/crypto-orders/{made[0]}/cancel")).status == 200
        assert refusal(await asked(customer, "cancelled")) == (409, "crypto_order", "per_day", 3)

        shown = (await customer.get(f"/v1/billing/crypto-orders/{made[1]}")).json
        assert (await service.sandbox.post(f"/sandbox/payments/{shown['payment_id']}/pay")).status == 202
        await service.becomes(made[1], "paid")
        assert (await asked(customer, "one-was-paid")).status == 201
        assert (await asked(customer, "full-again")).status == 409

        async with owner_pool.acquire() as conn:
            await conn.execute(
                "UPDATE orders SET created_at = created_at - interval '24 hours' WHERE order_id = $1", made[0]
            )
        assert (await asked(customer, "a-day-later")).status == 201
        assert await stored(service, customer) == 5


async def test_a_limit_of_0_is_none(database_url: str, pool: Pool, tmp_path: Path) -> None:
    limits = {"open_orders_max": "0", "unpaid_orders_per_day_max": "0"}
    async with running(database_url, pool, tmp_path, workers=False, **limits) as service:
        customer = await service.customer()
        replies = await asyncio.gather(*(asked(customer, f"k-{n}") for n in range(AT_ONCE)))
        assert {reply.status for reply in replies} == {201}
