"""Creates and notifications a second, side by side with pgbench executing the very same SQL on the same server.

Both run in turn in one run, so that the ratio holds when the machine's speed drifts. The load, the web
process and PostgreSQL share the machine.
"""

import asyncio
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import NamedTuple

import asyncpg

from bench import load
from bench.write_server import ADDRESS, IPN_SECRET
from crypto_orders.domain import ipn_signature
from crypto_orders.embedded import EmbeddedPostgres
from crypto_orders.store import checkouts, keys, migrate, notifications, orders

CONNECTIONS = 32
SECONDS = 5.0
ROUNDS = 3
ACCOUNTS = 200
LIMIT = 1_000
"""High enough never to be met; the counting and the lock that the limits cost are both in the figures."""

SEEDED = 60_000
PAYMENT_BASE = 6_000_000_000
PORT = 18_091


HEAD = f"{'path':<10} {'ours':>10} {'pgbench':>10} {'ratio':>7} {'target':>7} {'p99':>11} {'errors':>6}"


class Pair(NamedTuple):
    """One path measured both ways, in turn."""

    name: str
    ours: list[load.Load]
    pgbench: list[float]
    target: float

    def line(self) -> str:
        """The pair as a line of the table."""
        ours, theirs = statistics.median(o.per_second for o in self.ours), statistics.median(self.pgbench)
        p99 = statistics.median(o.p99_ms for o in self.ours)
        errors = sum(o.errors for o in self.ours)
        return (
            f"{self.name:<10} {ours:>8.0f}/s {theirs:>8.0f}/s {self.ratio:>7.2f} {self.target:>7.2f}"
            f" {p99:>8.1f} ms {errors:>6}"
        )

    @property
    def ratio(self) -> float:
        """Ours to pgbench's, the median over the rounds."""
        return statistics.median(o.per_second / p for o, p in zip(self.ours, self.pgbench, strict=True))


def key_of(account: int) -> str:
    """A test key of an account, so that pgbench can make its digest too."""
    return "ds_test_" + f"{account:032d}".translate(str.maketrans("0123456789", "abcdefghij"))


ACCOUNT_SQL = "('00000000-0000-4000-8000-' || lpad(:a::text, 12, '0'))::uuid"
ORDER_SQL = "('ord_0' || lpad(:r::text, 20, '0') || lpad(:n::text, 5, '0'))"
KEY_SQL = (
    "sha256(convert_to('ds_test_' || translate(lpad(:a::text, 32, '0'), '0123456789', 'abcdefghij'), 'UTF8'))"
)

SEED = f"""
INSERT INTO accounts (account_id, name)
SELECT ('00000000-0000-4000-8000-' || lpad(a::text, 12, '0'))::uuid, 'bench ' || a FROM generate_series(0, {2 * ACCOUNTS - 1}) a;
INSERT INTO api_keys (key_sha256, key_id, account_id, mode, scopes, prefix)
SELECT sha256(convert_to('ds_test_' || translate(lpad(a::text, 32, '0'), '0123456789', 'abcdefghij'), 'UTF8')),
       gen_random_uuid(), ('00000000-0000-4000-8000-' || lpad(a::text, 12, '0'))::uuid, 'test',
       '{{account_owner}}', 'ds_test_aaaa'
  FROM generate_series(0, {ACCOUNTS - 1}) a;
"""
SEED_ORDERS = f"""
INSERT INTO orders (account_id, order_id, product, price_cents, price_currency, status, version, payment_id,
                    pay_currency, window_ends_at, created_at, updated_at)
SELECT ('00000000-0000-4000-8000-' || lpad((i % {ACCOUNTS} + {ACCOUNTS})::text, 12, '0'))::uuid, 'ord_0' || lpad(i::text, 25, '0'),
       'solo_manual', 7900, 'USD', 'pending', 1, ({PAYMENT_BASE} + i)::text, 'btc', now() + interval '1 hour', now(), now()
  FROM generate_series(0, {SEEDED - 1}) i;
INSERT INTO order_routes SELECT order_id, account_id FROM orders ON CONFLICT DO NOTHING;
INSERT INTO order_events (account_id, order_id, seq, status, source, at, detail)
SELECT account_id, order_id, 1, 'pending', 'create', created_at, '{{}}' FROM orders WHERE order_id < 'ord_00001'
    ON CONFLICT DO NOTHING;
INSERT INTO payments (account_id, order_id, payment_id, origin, pay_address, pay_currency, pay_amount, provider_status,
                      best_rank, money_seen, valid_until, created_at, changed_at)
SELECT account_id, order_id, payment_id, 'minted', '{ADDRESS}', 'btc', 0.00079, 'waiting', 0, false,
       now() + interval '7 days', now(), now()
  FROM orders WHERE payment_id >= '{PAYMENT_BASE}' ON CONFLICT DO NOTHING;
INSERT INTO payment_routes SELECT payment_id, account_id, order_id FROM payments ON CONFLICT DO NOTHING;
ANALYZE;
"""


def with_values(statement: str, values: list[str]) -> str:
    """A statement of the store with pgbench's expressions in place of its parameters, on one line."""
    text = re.sub(r"\$(\d+)", lambda m: f"({values[int(m[1]) - 1]})", statement)
    text = re.sub(r"--[^\n]*", "", text)
    return " ".join(text.split()) + ";\n"


def create_script() -> str:
    """Everything one checkout executes: the key, the start, the recorded payment."""
    uuid, fingerprint = "gen_random_uuid()", '\'{"product": "solo_manual"}\'::jsonb'
    start = [
        ACCOUNT_SQL,
        ORDER_SQL,
        "'solo_manual'",
        "'btc'",
        "interval '60 minutes'",
        "'k' || :r::text || :n::text",
        fingerprint,
        f"{LIMIT}::integer",
        f"{LIMIT}::integer",
        "true",
        uuid,
    ]
    payment = "('7' || :r::text)"
    minted = [
        ACCOUNT_SQL,
        ORDER_SQL,
        payment,
        "1::integer",
        f"'{ADDRESS}'",
        "'btc'",
        "0.00079::numeric",
        "NULL::text",
        "NULL::text",
        "'waiting'",
        "0::smallint",
        "false",
        "NULL::numeric",
        "now() + interval '7 days'",
        "now()",
        "now()",
        "now() + interval '2 minutes'",
    ]
    return (
        f"\\set a random(0, {ACCOUNTS - 1})\n\\set r random(1, 9000000000000000000)\n\\set n random(0, 99999)\n"
        + with_values(keys.FIND, [KEY_SQL])
        + with_values(checkouts.START, start)
        + with_values(checkouts.MINTED, minted)
    )


def ipn_script(first: int) -> str:
    """Everything one notification executes: the inbox, the locked order, its payments, the whole decision."""
    payment = f"({PAYMENT_BASE} + :i::bigint)::text"
    account = (
        f"('00000000-0000-4000-8000-' || lpad((:i::bigint % {ACCOUNTS} + {ACCOUNTS})::text, 12, '0'))::uuid"
    )
    order = "('ord_0' || lpad((:i::bigint)::text, 25, '0'))"
    notice = "md5((:i::bigint)::text)::uuid"
    keep = [
        notice,
        "'ipn'",
        "sha256(convert_to((:i::bigint)::text, 'UTF8'))",
        f"convert_to('{json.dumps(json.loads(_body(0)))}', 'UTF8')",
        "'raw'",
        payment,
        "'confirming'",
        order,
        "NULL::text",
        "NULL::text",
    ]
    row = {
        "payment_id": "PAYMENT",
        "parent_payment_id": None,
        "origin": "minted",
        "pay_address": ADDRESS,
        "pay_currency": "btc",
        "pay_amount": "0.00079",
        "payin_extra_id": None,
        "network": None,
        "provider_status": "confirming",
        "best_rank": 1,
        "money_seen": True,
        "actually_paid": "0",
        "actually_paid_at_fiat": "0",
        "outcome_amount": None,
        "outcome_currency": "btc",
        "payin_hash": None,
        "payout_hash": None,
        "valid_until": "2030-01-01T00:00:00Z",
        "created_at": "2026-01-01T00:00:00Z",
        "changed_at": "2026-12-01T00:00:00Z",
        "snapshot": None,
        "ask_at": "2026-12-01T00:00:00Z",
        "is_new": False,
    }
    rows = f"replace('{json.dumps([row])}', 'PAYMENT', {payment})"
    detail = '\'{"payment_id": "6000000000", "provider_status": "confirming"}\''
    save = [
        account,
        order,
        "'confirming'",
        "2::integer",
        payment,
        "now()",
        "NULL::timestamptz",
        "NULL::timestamptz",
        "now()",
        "'ipn'::text",
        "'ipn'",
        "NULL::text",
        detail,
        "NULL::text",
        "NULL::bytea",
        rows,
        "gen_random_uuid()",
        "gen_random_uuid()",
        "gen_random_uuid()",
        notice,
        "'applied'",
        "'pending became confirming'",
        "'[]'",
        "'btc'",
        "0.00079::numeric",
        "0::numeric",
    ]
    return (
        f"\\set step :step + 1\n\\set i {first} + :client_id + {CONNECTIONS} * :step\n"
        + with_values(notifications.KEEP, keep)
        + "BEGIN;\n"
        + with_values(orders.LOCK_BY_PAYMENT, [payment])
        + with_values(orders.UNDER_LOCK, [account, order])
        + with_values(orders.SAVE, save)
        + "COMMIT;\n"
    )


def _body(number: int) -> str:
    return json.dumps(
        {
            "actually_paid": 0,
            "actually_paid_at_fiat": 0,
            "fee": {"currency": "btc", "depositFee": 0.000002, "serviceFee": 0.000003, "withdrawalFee": 0},
            "invoice_id": None,
            "order_description": "solo_manual",
            "order_id": f"ord_0{number:025d}",
            "outcome_amount": 0.00077,
            "outcome_currency": "btc",
            "parent_payment_id": None,
            "pay_address": ADDRESS,
            "pay_amount": 0.00079,
            "pay_currency": "btc",
            "payin_extra_id": None,
            "payment_extra_ids": None,
            "payment_id": PAYMENT_BASE + number,
            "payment_status": "confirming",
            "price_amount": 79,
            "price_currency": "usd",
            "purchase_id": "5012345678",
            "updated_at": 1780000000000,
        },
        separators=(",", ":"),
    )


def create_requests() -> Callable[[], bytes]:
    """Checkouts of all accounts in turn, each with a key of its own."""
    body = b'{"product":"solo_manual"}'
    state = {"n": 0}
    run = os.urandom(4).hex()

    def following() -> bytes:
        state["n"] += 1
        return (
            f"POST /v1/billing/crypto-checkout HTTP/1.1\r\nHost: b\r\nAuthorization: Bearer {key_of(state['n'] % ACCOUNTS)}\r\n"
            f"Idempotency-Key: {run}-{state['n']}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    return following


def ipn_requests(first: int, count: int) -> Callable[[], bytes]:
    """Signed notifications of so many payments, made beforehand."""
    made: list[bytes] = []
    for number in range(first, first + count):
        body = _body(number).encode()
        body = ipn_signature.canonical(body)
        head = (
            f"POST /v1/webhooks/nowpayments HTTP/1.1\r\nHost: b\r\nx-nowpayments-sig: {ipn_signature.sign(body, IPN_SECRET)}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    made.reverse()
    return made.pop


async def pgbench(server: EmbeddedPostgres, script: str, seconds: float) -> float:
    """Run a script with pgbench, prepared, and give its transactions a second."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        process = await asyncio.create_subprocess_exec(
            str(Path(server.programs) / "pgbench"),
            "-n",
            "-M",
            "prepared",
            "-c",
            str(CONNECTIONS),
            "-j",
            "2",
            "-T",
            str(int(seconds)),
            "-D",
            "step=-1",
            "-f",
            file.name,
            server.dsn,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, error = await process.communicate()
    found = re.search(rb"tps = ([0-9.]+)", out)
    failed = re.search(rb"number of failed transactions: (\d+)", out)
    if found is None or process.returncode or (failed and int(failed[1])):
        raise RuntimeError((out + error).decode()[-2000:])
    return float(found[1])


@contextlib.asynccontextmanager
async def web(dsn: str, connections: int) -> AsyncGenerator[None]:
    """The web process under measurement."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.write_server",
        dsn,
        str(PORT),
        str(LIMIT),
        str(connections),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert (await process.stdout.readline()).strip() == b"ready"
    await asyncio.sleep(0.3)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def measure() -> list[Pair]:
    """Both paths, both ways, in turn."""
    create, ipn = Pair("create", [], [], 0.55), Pair("ipn", [], [], 0.50)
    with tempfile.TemporaryDirectory(prefix="crypto-orders-bench-", dir="/var/tmp") as directory:
        Path(directory).chmod(0o711)
        server = EmbeddedPostgres(Path(directory) / "postgres")
        server.start()
        try:
            await migrate.migrate(server.owner_dsn, migrate.shipped(), service_role="crypto_orders")
            conn = await asyncpg.connect(server.owner_dsn)
            await conn.execute(SEED)
            await conn.execute(SEED_ORDERS)
            async with web(server.dsn, CONNECTIONS):
                await load.run(PORT, create_requests(), connections=CONNECTIONS, seconds=2)
                for _ in range(ROUNDS):
                    create.pgbench.append(await pgbench(server, create_script(), SECONDS))
                    create.ours.append(
                        await load.run(PORT, create_requests(), connections=CONNECTIONS, seconds=SECONDS)
                    )
                share = SEEDED // (2 * ROUNDS)
                for number in range(ROUNDS):
                    ours, theirs = 2 * number * share, (2 * number + 1) * share
                    requests = ipn_requests(ours, share)
                    ipn.pgbench.append(await pgbench(server, ipn_script(theirs), SECONDS / 2))
                    ipn.ours.append(
                        await load.run(PORT, requests, connections=CONNECTIONS, seconds=SECONDS / 2)
                    )
            await conn.close()
        finally:
            server.stop()
    return [create, ipn]
