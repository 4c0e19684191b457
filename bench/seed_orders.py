"""Fills a database with a million orders as a busy service would have them after two years.

Rows are made here and sent by COPY, with the indexes taken away for the while and built again at the end.
The same seed always makes the same rows, apart from the moment they are counted back from.
"""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from crypto_orders.kit import clock
from crypto_orders.store.stats import FOLD, FOLD_DELTAS_MAX

SEED = 20260522
ORDERS = 1_000_000
ACCOUNTS = 4_000
SPAN = timedelta(days=730)
BATCH = 50_000

CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
PAIRS = [high + low for high in CROCKFORD for low in CROCKFORD]

PRODUCTS = {
    "solo_manual": (7900, 30),
    "team_manual": (24900, 18),
    "agency_manual": (69900, 5),
    "api_starter": (14900, 25),
    "api_builder": (49900, 12),
    "api_scale": (149900, 3),
}
RETIRED_PRODUCT, RETIRED_CENTS = "legacy_manual", 5900
"""Sold in the first fifth of the time alone: many matches, and all of them old."""

STATUSES = {"paid": 57, "failed": 29, "cancelled": 9, "partial": 1, "pending": 4}
COINS = {"btc": 40, "usdttrc20": 30, "eth": 15, "ltc": 10, "xmr": 5}
FLAG_KINDS = ("late_payment", "overpaid", "redeposit", "amount_mismatch", "stuck")

NOTES = (
    "PO {n} - please invoice {a} {b} GmbH",
    "renewal for team {a}, seat {s}",
    "Ref: INV-2025/{n} (cost centre {s})",
    "{a} {b} {c}",
    "asked by {a}@{b}.example; call back before {s}:00",
    "order for {a} & {b}... {c}, thanks!",
    "Für Jürgen: {a} {b} – bitte bis {s}. März",
)
SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "va")


class Seeded(NamedTuple):
    """What a measurement needs to know of the seeded rows."""

    big_account: UUID
    now: datetime


async def seed(connection: "asyncpg.Connection[Any]", orders: int = ORDERS) -> Seeded:
    """Fill an empty, migrated database; takes a superuser's connection, since foreign keys are not checked."""
    draw = random.Random(SEED)
    now = clock.utc_now()
    accounts = [UUID(int=draw.getrandbits(128), version=4) for _ in range(ACCOUNTS)]
    await connection.execute("SET session_replication_role = replica")
    await connection.execute("SET synchronous_commit = off")
    await connection.execute("SET maintenance_work_mem = '512MB'")
    rebuild = [*await _drop_keys(connection), *await _drop_indexes(connection)]
    await connection.copy_records_to_table(
        "accounts",
        records=[(a, f"account {i}") for i, a in enumerate(accounts)],
        columns=("account_id", "name"),
    )
    rows = _orders(draw, accounts, now, orders)
    while batch := [row for row, _ in zip(rows, range(BATCH), strict=False)]:
        await connection.copy_records_to_table("orders", records=batch, columns=ORDER_COLUMNS)
    for statement in FURTHER_ROWS:
        await connection.execute(statement)
    while await connection.fetchval(FOLD, FOLD_DELTAS_MAX):
        pass
    for definition in rebuild:
        await connection.execute(definition)
    await connection.execute("VACUUM ANALYZE")
    return Seeded(accounts[0], now)


ORDER_COLUMNS = (
    "account_id order_id product price_cents price_currency status version payment_id customer_note "
    "internal_note pay_currency payment_currency payment_amount payment_paid window_ends_at created_at updated_at "
    "paid_at"
).split()


def _orders(
    draw: random.Random, accounts: list[UUID], now: datetime, count: int
) -> Iterator[tuple[Any, ...]]:
    """Orders in the order of their creation, oldest first; business grew all the time."""
    words = ["".join(draw.choices(SYLLABLES, k=draw.randint(2, 4))) for _ in range(3_000)]
    word_weights = list(accumulate(1 / (rank + 5) for rank in range(len(words))))
    account_weights = list(accumulate(1 / (rank + 1) for rank in range(len(accounts))))
    products, statuses, coins = _wheel(PRODUCTS), _wheel(STATUSES), _wheel(COINS)
    for number in range(count):
        part = (number + draw.random()) / count
        created_at = clock.whole_milliseconds(now - SPAN * (1 - part**0.8))
        product, cents = draw.choice(products), 0
        if part < 0.2 and draw.random() < 0.25:
            product, cents = RETIRED_PRODUCT, RETIRED_CENTS
        status = draw.choice(statuses)
        minted = status != "cancelled" or draw.random() < 0.7
        a, b, c = draw.choices(words, cum_weights=word_weights, k=3)
        note = None
        if draw.random() < 0.45:
            note = draw.choice(NOTES).format(
                n=draw.randint(10_000, 99_999), s=draw.randint(1, 28), a=a, b=b, c=c
            )
        cents = cents or PRODUCTS[product][0]
        coin = draw.choice(coins)
        amount = round(Decimal(cents) / 6_500_000, 8)
        paid = {"paid": amount, "partial": round(amount / 2, 8)}.get(status)
        paid_at = created_at + timedelta(seconds=draw.randint(200, 3000)) if status == "paid" else None
        yield (
            draw.choices(accounts, cum_weights=account_weights)[0],
            _order_id(draw, created_at),
            product,
            cents,
            "EUR" if draw.random() < 0.1 else "USD",
            status,
            {"pending": 1, "paid": 3}.get(status, 2),
            str(5_000_000_000 + number * 7) if minted else None,
            note,
            "called the customer" if draw.random() < 0.02 else None,
            coin,
            coin if minted else None,
            amount if minted else None,
            paid,
            created_at + timedelta(minutes=60),
            created_at,
            paid_at or created_at + timedelta(minutes=25),
            paid_at,
        )


def _wheel(weights: Any) -> list[str]:
    wheel: list[str] = []
    for name, weight in weights.items():
        wheel += [name] * (weight[1] if isinstance(weight, tuple) else weight)
    return wheel


def _order_id(draw: random.Random, at: datetime) -> str:
    number = clock.to_milliseconds(at) << 80 | 0x7 << 76 | draw.getrandbits(76) & ~(0b11 << 62) | 0b10 << 62
    return "ord_" + "".join(PAIRS[(number >> shift) & 0x3FF] for shift in range(120, -1, -10))


FURTHER_ROWS = (
    """
INSERT INTO order_routes (order_id, account_id)
     SELECT order_id, account_id
       FROM orders
""",
    """
INSERT INTO payments (account_id, order_id, payment_id, origin, pay_address, pay_currency, pay_amount,
                      provider_status, best_rank, money_seen, actually_paid, valid_until, created_at, changed_at)
     SELECT account_id, order_id, payment_id, 'minted', 'addr' || md5(payment_id), payment_currency,
            payment_amount,
            CASE status WHEN 'paid' THEN 'finished' WHEN 'partial' THEN 'partially_paid' ELSE 'waiting' END,
            CASE status WHEN 'paid' THEN 6 WHEN 'partial' THEN 5 ELSE 0 END,
            status IN ('paid', 'partial'), payment_paid,
            created_at + interval '7 days', created_at, updated_at
       FROM orders
      WHERE payment_id IS NOT NULL
""",
    """
INSERT INTO payment_routes (payment_id, account_id, order_id)
     SELECT payment_id, account_id, order_id
       FROM payments
""",
    """
INSERT INTO order_events (account_id, order_id, seq, status, source, via, at, detail)
     SELECT account_id, order_id, 1, 'pending', 'create', NULL, created_at, '{}'
       FROM orders
""",
    """
INSERT INTO order_events (account_id, order_id, seq, status, source, via, at, detail)
     SELECT account_id, order_id, version, status, 'ipn', 'ipn', updated_at, '{}'
       FROM orders
      WHERE version > 1
""",
    f"""
INSERT INTO flags (account_id, flag_id, kind, subject, payment_id, order_id, state, fingerprints, evidence,
                   opened_at, last_seen_at)
     SELECT account_id, gen_random_uuid(),
            ('{{{",".join(FLAG_KINDS)}}}'::text[])[1 + abs(hashtext(payment_id)) % {len(FLAG_KINDS)}],
            payment_id, payment_id, order_id, 'open', '{{}}', '[]', updated_at, updated_at
       FROM orders
      WHERE payment_id IS NOT NULL AND abs(hashtext(order_id)) % 500 = 0
""",
    """
INSERT INTO order_deltas (delta_id, created_on, status, product, price_currency, orders, price_cents, paid_ms)
     SELECT gen_random_uuid(), (created_at AT TIME ZONE 'UTC')::date, status, product, price_currency,
            count(*), sum(price_cents),
            coalesce(sum(extract(epoch FROM paid_at - created_at) * 1000), 0)
       FROM orders
   GROUP BY 2, 3, 4, 5
""",
)


KEYS = """
SELECT conrelid::regclass::text AS name, conname AS key, pg_get_constraintdef(oid) AS definition
  FROM pg_constraint
 WHERE contype = 'p' AND conrelid = ANY ('{order_events,order_routes,payments,payment_routes}'::regclass[])
"""
INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
  FROM pg_index
 WHERE indrelid = ANY ('{orders,payments,flags}'::regclass[])
   AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""


async def _drop_keys(connection: "asyncpg.Connection[Any]") -> list[str]:
    """Drop the keys of the large tables that none refers to, and answer how to make them again."""
    found = await connection.fetch(KEYS)
    for row in found:
        await connection.execute(f"ALTER TABLE {row['name']} DROP CONSTRAINT {row['key']}")
    return [f"ALTER TABLE {row['name']} ADD CONSTRAINT {row['key']} {row['definition']}" for row in found]


async def _drop_indexes(connection: "asyncpg.Connection[Any]") -> list[str]:
    """Drop what is no constraint's own and answer how to build it again."""
    found = await connection.fetch(INDEXES)
    for row in found:
        await connection.execute(f"DROP INDEX {row['name']}")
    return [row["definition"] for row in found]
