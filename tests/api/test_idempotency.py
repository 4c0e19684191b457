"""The `Idempotency-Key` of a checkout at its edges: its form, its scope, other bodies, refusals, twins."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from crypto_orders.store.connection import Pool
from tests.support.service import Client, Reply, Service, running

CHECKOUT = "/v1/billing/crypto-checkout"
BODY = {"product": "solo_manual"}


async def sent(customer: Client, key: str, body: dict[str, Any] | None = None, **headers: str) -> Reply:
    """The answer to a checkout with a key."""
    return await customer.post(CHECKOUT, BODY if body is None else body, Idempotency_Key=key, **headers)


async def orders(service: Service) -> int:
    """How many orders there are."""
    return len(await service.rows("SELECT 1 FROM orders"))


async def test_a_key_has_1_to_255_visible_ascii_characters_after_trimming(service: Service) -> None:
    customer = await service.customer()
    longest = await sent(customer, "k" * 255)
    assert longest.status == 201
    trimmed = await sent(customer, f"  {'k' * 255}\t")
    assert (trimmed.status, trimmed.headers["Idempotent-Replayed"]) == (201, "1")
    for key in ("k" * 256, "two words", "\u00e9", "tab\tinside"):
        reply = await sent(customer, key)
        assert reply.status == 400, key
        assert reply.json["type"].rpartition("/")[2] == "validation-failed"
        assert list(reply.json["issues"]["fieldErrors"]) == ["Idempotency-Key"]
    assert await orders(service) == 1


async def test_a_blank_key_is_none(service: Service) -> None:
    customer = await service.customer()
    made = {(await sent(customer, key)).json["order_id"] for key in ("", "   ")}
    assert len(made) == 2
    assert await service.rows("SELECT 1 FROM idempotency_keys") == []


async def test_a_key_is_one_accounts_alone(service: Service) -> None:
    one, other = await service.customer(), await service.customer()
    first, second = await one.check_out("k-1"), await other.check_out("k-1")
    assert first["order_id"] != second["order_id"]


@pytest.mark.parametrize(
    ("body", "differing"),
    [
        ({"product": "team_manual"}, "product"),
        ({"product": "solo_manual", "pay_currency": "btc"}, "pay_currency"),
        ({"product": "solo_manual", "price_cents": 7900}, "price_cents"),
        (
            {"product": "no_such", "price_cents": 1, "price_currency": "EUR", "pay_currency": "eth"},
            "pay_currency, price_cents, price_currency, product",
        ),
    ],
)
async def test_what_differs_is_named_and_the_first_order_stands(
    service: Service, body: dict[str, Any], differing: str
) -> None:
    customer, admin = await service.customer(), await service.admin()
    first = await customer.check_out("k-1")
    loud = await sent(customer, "k-1", body)
    assert (loud.status, loud.json) == (201, first)
    assert loud.headers["Idempotency-Body-Mismatch"] == differing
    strict = await sent(customer, "k-1", body, Idempotency_Mode="Strict")
    assert (strict.status, strict.json["resource"]) == (409, "crypto_order")
    assert strict.json["idempotency_status"] == "mismatch"
    assert strict.json["differing_fields"] == differing.split(", ")
    same = await sent(customer, "k-1", Idempotency_Mode="strict")
    assert (same.status, same.json) == (201, first)
    assert "Idempotency-Body-Mismatch" not in same.headers
    told = (await admin.get("/v1/admin/crypto-orders/idempotency-metrics")).json
    assert (told["first_writes"], told["body_mismatches"]) == (1, 2)


async def test_a_deployment_may_refuse_other_bodies_always(
    database_url: str, pool: Pool, tmp_path: Path
) -> None:
    async with running(database_url, pool, tmp_path, workers=False, idempotency_mismatch="reject") as service:
        customer = await service.customer()
        first = await customer.check_out("k-1")
        other = await sent(customer, "k-1", {"product": "team_manual"})
        assert (other.status, other.json["idempotency_status"]) == (409, "mismatch")
        assert (await sent(customer, "k-1")).json == first


async def test_a_refused_checkout_uses_no_key_up(service: Service) -> None:
    customer = await service.customer()
    for refused in ({"product": "no_such"}, {"product": 7}, {"pay_currency": "btc"}):
        assert (await sent(customer, "k-1", refused)).status == 400
    made = await sent(customer, "k-1")
    assert made.status == 201
    assert "Idempotent-Replayed" not in made.headers


async def test_a_price_that_the_client_sends_decides_nothing(service: Service) -> None:
    customer = await service.customer()
    for claim in ({"price_cents": 1}, {"price_currency": "EUR"}, {"price_cents": 10**12}):
        reply = await customer.post(CHECKOUT, BODY | claim)
        assert reply.status == 201
        assert (reply.json["price_cents"], reply.json["price_currency"]) == (7900, "USD")


async def test_twins_at_once_share_one_order_and_its_address(service: Service) -> None:
    customer = await service.customer()
    replies = await asyncio.gather(*(sent(customer, "k-1") for _ in range(16)))
    assert {reply.status for reply in replies} == {201}
    assert len({reply.json["order_id"] for reply in replies}) == 1
    assert len({reply.json["payment_address"] for reply in replies}) == 1
    assert sorted(reply.headers.get("Idempotent-Replayed", "") for reply in replies) == [""] + ["1"] * 15
    assert len(await service.rows("SELECT 1 FROM payments")) == 1
