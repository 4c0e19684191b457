"""Orders as CSV over HTTP: the file, its head, its filters, and what happens when it breaks off."""

import csv
import io
from datetime import timedelta

import aiohttp
import pytest

from crypto_orders.kit import clock
from crypto_orders.store.connection import Pool
from tests.support.seeded import DAY, put_account, put_order
from tests.support.service import Service, eventually

CSV = "/v1/admin/crypto-orders.csv"
HEADER = (
    b"order_id,account_id,product,price_cents,price_currency,status,payment_id,customer_note,internal_note,"
    b"created_at,updated_at,paid_at,pay_currency,pay_amount,actually_paid\r\n"
)

ROWS = 8_000
"""Of two kilobytes each they are more than the buffers between server and client hold."""

MANY = """
INSERT INTO orders (account_id, order_id, product, price_cents, price_currency, status, version,
                    internal_note, window_ends_at, created_at, updated_at)
SELECT $1, 'ord_' || lpad(n::text, 26, '0'), 'solo_manual', 7900, 'USD', 'pending', 1,
       repeat('note ', 400), at, at, at
  FROM generate_series(1, $2::integer) AS n,
       LATERAL (SELECT $3::timestamptz + n * interval '1 second') AS t (at)
"""
EXPORTING = "FROM pg_stat_activity WHERE query LIKE 'COPY (%' AND state = 'active'"


async def test_the_file_has_its_head_even_without_orders(service: Service) -> None:
    reply = await (await service.admin()).get(CSV)
    assert reply.status == 200
    assert reply.body == HEADER
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert reply.headers["content-disposition"] == 'attachment; filename="crypto-orders.csv"'
    assert reply.headers["cache-control"] == "no-store, private"


async def test_the_file_has_the_orders_of_the_filters_newest_first(service: Service, pool: Pool) -> None:
    async with pool.acquire() as conn:
        account_id = await put_account(conn)
        puts = [
            await put_order(conn, account_id, at=DAY + timedelta(hours=n), note=f"=note, {n}")
            for n in range(4)
        ]
    admin = await service.admin()
    for query, expected in (
        ("", puts[::-1]),
        ("?limit=3", puts[:0:-1]),
        ("?search=NOTE,%202", puts[2:3]),
        (f"?account_id=acc_{account_id}&created_before=2026-05-22T02:00:00Z", puts[1::-1]),
    ):
        text = (await admin.get(CSV + query)).body.decode()
        records = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        assert [record["order_id"] for record in records] == [put.order_id for put in expected]
        assert records[0]["customer_note"] == f"'{expected[0].note}"
        assert records[0]["created_at"] == clock.to_iso(expected[0].created_at)


async def test_a_filter_that_is_none_is_refused_before_the_file(service: Service) -> None:
    admin = await service.admin()
    for query in (
        "search=ab",
        "search=",
        "limit=0",
        "limit=-1",
        "limit=x",
        "status=",
        "flag=x",
        "payment_id=%20",
    ):
        reply = await admin.get(f"{CSV}?{query}")
        assert reply.status == 400, query
        assert reply.headers["content-type"] == "application/problem+json"


async def test_a_file_that_breaks_off_is_never_taken_for_a_whole_one(service: Service, pool: Pool) -> None:
    """The database ends the statement while the client is reading."""
    async with pool.acquire() as conn:
        await conn.execute(MANY, await put_account(conn), ROWS, DAY)
    admin = await service.admin()
    url, headers = admin.origin + CSV, admin.headers
    async with service.session.get(url, headers=headers, read_bufsize=1024) as reply:
        assert reply.status == 200
        await reply.content.readexactly(len(HEADER))
        ended = await service.rows(f"SELECT pg_cancel_backend(pid) {EXPORTING}")
        assert len(ended) == 1
        with pytest.raises(aiohttp.ClientPayloadError):
            await reply.read()
    assert (await admin.get(f"{CSV}?limit=1")).status == 200


async def test_a_client_that_leaves_ends_the_export(service: Service, pool: Pool) -> None:
    async with pool.acquire() as conn:
        await conn.execute(MANY, await put_account(conn), ROWS, DAY)
    admin = await service.admin()
    for _ in range(3):
        async with service.session.get(admin.origin + CSV, headers=admin.headers, read_bufsize=1024) as reply:
            await reply.content.readexactly(len(HEADER))
            reply.close()

        async def is_over() -> bool:
            return not await service.rows(f"SELECT 1 {EXPORTING}")

        await eventually(is_over)
    text = (await admin.get(CSV)).body
    assert text.count(b"\r\n") == ROWS + 1


async def test_exports_at_once_leave_connections_for_searches(service: Service, pool: Pool) -> None:
    async with pool.acquire() as conn:
        await conn.execute(MANY, await put_account(conn), ROWS, DAY)
    admin = await service.admin()

    async def begun() -> aiohttp.ClientResponse:
        reply = await service.session.get(admin.origin + CSV, headers=admin.headers, read_bufsize=1024)
        await reply.content.readexactly(len(HEADER))
        return reply

    first, second = await begun(), await begun()
    refused = await admin.get(CSV)
    assert refused.status == 503
    assert refused.headers["retry-after"] == "10"
    assert (await admin.get("/v1/admin/crypto-orders?search=manual&limit=1")).status == 200
    for reply in (first, second):
        assert (await reply.read()).count(b"\r\n") == ROWS
    assert (await admin.get(f"{CSV}?limit=2")).status == 200
