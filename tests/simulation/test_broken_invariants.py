"""Each invariant is broken by hand, behind the service's back, and is the one that is reported."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from crypto_orders.store import invariants
from crypto_orders.store.connection import Conn, Pool

ACCOUNT = UUID(int=7)
PAID, PENDING, FAILED = (f"ord_01h2xcejqtf2nbrexx3vqjhp4{n}" for n in (1, 2, 3))
CREATED = datetime(2026, 5, 22, 10, tzinfo=UTC)
WINDOW_END = CREATED + timedelta(hours=1)
PAID_AT = CREATED + timedelta(minutes=5)
FAILED_AT = CREATED + timedelta(hours=2)
FINISHED = UUID(int=21)

ORDERS: list[tuple[Any, ...]] = [
    (PAID, "paid", 2, "1", PAID_AT, PAID_AT),
    (PENDING, "pending", 1, "2", CREATED, None),
    (FAILED, "failed", 2, "3", FAILED_AT, None),
]
EVENTS: list[tuple[Any, ...]] = [
    (PAID, 1, "pending", "create", None, CREATED, "{}"),
    (PAID, 2, "paid", "ipn", "ipn", PAID_AT, f'{{"payment_id": "1", "notification_id": "{FINISHED}"}}'),
    (PENDING, 1, "pending", "create", None, CREATED, "{}"),
    (FAILED, 1, "pending", "create", None, CREATED, "{}"),
    (FAILED, 2, "failed", "expired", None, FAILED_AT, "{}"),
]

INSERT_ORDER = """
  WITH routed AS (INSERT INTO order_routes (order_id, account_id) VALUES ($2, $1)),
       counted AS (INSERT INTO order_deltas
                   VALUES (gen_random_uuid(), '2026-05-22', $3, 'solo_manual', 'USD', 1, 7900, 0))
INSERT INTO orders (account_id, order_id, product, price_cents, price_currency, status, version, payment_id,
                    window_ends_at, created_at, updated_at, paid_at)
VALUES ($1, $2, 'solo_manual', 7900, 'USD', $3, $4, $5, $8, $9, $6, $7)
"""
INSERT_EVENT = """
INSERT INTO order_events (account_id, order_id, seq, status, source, via, at, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
INSERT_PAYMENT = """
  WITH routed AS (INSERT INTO payment_routes (payment_id, account_id, order_id) VALUES ($3, $1, $2))
INSERT INTO payments (account_id, order_id, payment_id, origin, provider_status, best_rank, money_seen,
                      valid_until, created_at, changed_at)
VALUES ($1, $2, $3, 'minted', $4, 0, $4 = 'finished', $5, $5, $5)
"""
INSERT_NOTIFICATION = """
INSERT INTO notifications (notification_id, via, digest, body, matched_form, payment_id, payment_status,
                           verdict, received_at, last_seen_at)
VALUES ($1, 'ipn', sha256($1::uuid::text::bytea), '{}', 'raw', $2, $3, 'applied', $4, $4)
"""
INSERT_WEBHOOK = """
INSERT INTO webhook_events (account_id, event_id, order_id, event_type, body, created_at)
VALUES ($1, gen_random_uuid(), $2, $3, '{}', $4)
"""
INSERT_KEY = "INSERT INTO idempotency_keys VALUES ($1, 'key', $2, '{}', $3)"
INSERT_ATTEMPT = """
INSERT INTO provider_attempts (account_id, order_id, attempt_no, pay_currency, state, payment_id, started_at,
                               settled_at)
VALUES ($1, $2, $3, 'btc', 'minted', $4, $5, $5)
"""

INSERT_ENDPOINT = """
INSERT INTO webhook_endpoints (account_id, endpoint_id, url, events, secret_prefix, secret_sealed, created_at)
VALUES ($1, gen_random_uuid(), 'https://example.com', '{crypto.order.failed}', 'whsec_', 'sealed', $2)
"""
INSERT_DELIVERY = """
INSERT INTO webhook_deliveries (account_id, delivery_id, endpoint_id, event_id, event_type, status, due_at,
                                created_at)
SELECT account_id, gen_random_uuid(), endpoint_id, event_id, event_type, 'pending', $1, $1
  FROM webhook_endpoints JOIN webhook_events USING (account_id)
 WHERE event_type = 'crypto.order.failed'
"""


async def put_a_good_history(conn: Conn) -> None:
    """One order paid by a notification, one pending, one that expired."""
    await conn.execute("INSERT INTO accounts (account_id, name) VALUES ($1, 'An account')", ACCOUNT)
    for order in ORDERS:
        await conn.execute(INSERT_ORDER, ACCOUNT, *order, WINDOW_END, CREATED)
    for event in EVENTS:
        await conn.execute(INSERT_EVENT, ACCOUNT, *event)
    for order_id, payment_id, status in (
        (PAID, "1", "finished"),
        (PENDING, "2", "waiting"),
        (FAILED, "3", "waiting"),
    ):
        await conn.execute(INSERT_PAYMENT, ACCOUNT, order_id, payment_id, status, CREATED)
    await conn.execute(INSERT_NOTIFICATION, FINISHED, "1", "finished", PAID_AT)
    await conn.execute(INSERT_WEBHOOK, ACCOUNT, PAID, "crypto.order.paid", PAID_AT)
    await conn.execute(INSERT_WEBHOOK, ACCOUNT, FAILED, "crypto.order.failed", FAILED_AT)
    await conn.execute(INSERT_ENDPOINT, ACCOUNT, CREATED)
    await conn.execute(INSERT_DELIVERY, FAILED_AT)
    await conn.execute(INSERT_KEY, ACCOUNT, PENDING, CREATED)
    await conn.execute(INSERT_ATTEMPT, ACCOUNT, PENDING, 1, "2", CREATED)


def attempt_at(address: str) -> str:
    """An attempt that ended without an answer at an address."""
    return (
        "WITH begun AS (UPDATE webhook_deliveries"
        " SET attempts = 1, attempt_no = 1, last_attempt_at = created_at RETURNING *)"
        " INSERT INTO webhook_attempts (account_id, delivery_id, attempt_no, started_at, dialled_ip)"
        f" SELECT account_id, delivery_id, 1, created_at, '{address}' FROM begun"
    )


BREAKS: dict[str, tuple[str, ...]] = {
    "repeated-amounts": (f"UPDATE orders SET payment_paid = 99 WHERE order_id = '{PAID}'",),
    "INV-01": (
        "ALTER TABLE order_events DROP CONSTRAINT create_comes_first",
        f"UPDATE order_events SET source = 'cancel' WHERE order_id = '{PENDING}'",
    ),
    "INV-02": (f"UPDATE orders SET version = 7 WHERE order_id = '{PENDING}'",),
    "INV-03": (
        f"UPDATE order_events SET seq = 3 WHERE order_id = '{PAID}' AND seq = 2",
        f"UPDATE orders SET version = 3 WHERE order_id = '{PAID}'",
    ),
    "INV-04": (
        (
            "INSERT INTO order_events (account_id, order_id, seq, status, source, via, at, detail)"
            f" SELECT account_id, order_id, 2, 'cancelled', 'cancel', NULL, at, '{{}}' FROM order_events"
            f"  WHERE order_id = '{PENDING}'"
        ),
        (
            "INSERT INTO order_events (account_id, order_id, seq, status, source, via, at, detail)"
            f" SELECT account_id, order_id, 3, 'confirming', 'ipn', 'ipn', at, '{{}}' FROM order_events"
            f"  WHERE order_id = '{PENDING}' AND seq = 2"
        ),
        f"UPDATE orders SET status = 'confirming', version = 3 WHERE order_id = '{PENDING}'",
        "UPDATE order_deltas SET status = 'confirming' WHERE status = 'pending'",
    ),
    "INV-05": (f"DELETE FROM webhook_events WHERE order_id = '{PAID}'",),
    "INV-06": (f"UPDATE payment_routes SET order_id = '{PAID}' WHERE payment_id = '2'",),
    "INV-07": ("UPDATE notifications SET verdict = 'no_change'",),
    "INV-10": ("UPDATE payments SET money_seen = true WHERE payment_id = '3'",),
    "INV-11": ("UPDATE payments SET provider_status = 'finished' WHERE payment_id = '3'",),
    "INV-12": (
        f"UPDATE order_events SET source = 'swept' WHERE order_id = '{FAILED}' AND seq = 2",
        (
            "INSERT INTO notifications (notification_id, via, digest, body, matched_form, payment_id,"
            " payment_status, verdict, received_at, last_seen_at)"
            " SELECT gen_random_uuid(), via, sha256('another'), body, matched_form, '3', 'confirming',"
            " 'no_change', received_at, last_seen_at FROM notifications"
        ),
    ),
    "INV-13": (
        f"UPDATE orders SET window_ends_at = created_at + interval '1 year' WHERE order_id = '{FAILED}'",
    ),
    "INV-14": (
        "ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_account_id_order_id_fkey",
        "UPDATE idempotency_keys SET order_id = 'ord_01h2xcejqtf2nbrexx3vqjhp49'",
    ),
    "INV-17": ("UPDATE webhook_deliveries SET attempt_no = 1",),
    "INV-18": (attempt_at("10.1.2.3"),),
    "INV-18-loopback": (attempt_at("::ffff:127.0.0.1"),),
    "INV-19": ("UPDATE webhook_deliveries SET status = 'delivered', delivered_at = now(), due_at = NULL",),
    "INV-20": ("UPDATE webhook_deliveries SET due_at = NULL",),
    "INV-21": (
        "ALTER TABLE notifications DROP CONSTRAINT open_ones_are_tried",
        (
            "INSERT INTO notifications (notification_id, via, digest, body, matched_form, verdict,"
            " received_at, last_seen_at)"
            " SELECT gen_random_uuid(), via, sha256('another'), body, matched_form, 'waiting',"
            " received_at, last_seen_at FROM notifications"
        ),
    ),
    "INV-28": ("UPDATE order_deltas SET price_cents = 7901 WHERE status = 'paid'",),
    "routes": (f"DELETE FROM order_routes WHERE order_id = '{PENDING}'",),
    "one-minting": (
        (
            "INSERT INTO provider_attempts SELECT account_id, order_id, 2, pay_currency, state, reason, '4',"
            " started_at, settled_at FROM provider_attempts"
        ),
    ),
}


async def test_a_good_history_breaks_none(pool: Pool) -> None:
    async with pool.acquire() as conn:
        await put_a_good_history(conn)
        assert await invariants.violations(conn) == []


@pytest.mark.parametrize("name", invariants.INVARIANTS)
async def test_what_breaks_an_invariant_is_reported_as_that_one(owner_pool: Pool, name: str) -> None:
    async with owner_pool.acquire() as conn:
        await put_a_good_history(conn)
        for statement in BREAKS[name]:
            done = await conn.execute(statement)
            assert not done.endswith(" 0"), statement
        (violation,) = await invariants.violations(conn)
    assert violation.name == name
    assert violation.rule == invariants.INVARIANTS[name].rule
    assert len(violation.rows) == 1


ADDRESSES = Path(__file__).parents[1] / "data" / "not_public_addresses.txt"


async def broken_by_addresses(conn: Conn) -> list[str]:
    names = ("INV-18", "INV-18-loopback")
    return [name for name in names if await conn.fetch(invariants.INVARIANTS[name].broken_by)]


async def test_an_attempt_at_any_address_that_is_not_public_is_reported(owner_pool: Pool) -> None:
    listed = [line.split("#")[0].strip() for line in ADDRESSES.read_text().splitlines()]
    addresses = [str(ip_address(line)) for line in listed if line]
    async with owner_pool.acquire() as conn:
        await put_a_good_history(conn)
        for address in addresses:
            await conn.execute("DELETE FROM webhook_attempts")
            await conn.execute(attempt_at(address))
            assert len(await broken_by_addresses(conn)) == 1, address
        for address in ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"):
            await conn.execute("DELETE FROM webhook_attempts")
            await conn.execute(attempt_at(address))
            assert await broken_by_addresses(conn) == [], address


async def test_loopback_is_fine_where_insecure_webhooks_are_allowed(pool: Pool) -> None:
    async with pool.acquire() as conn:
        await put_a_good_history(conn)
        await conn.execute(attempt_at("127.0.0.1"))
        assert await invariants.violations(conn, allow_insecure_webhooks=True) == []
