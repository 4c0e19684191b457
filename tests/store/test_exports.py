"""The CSV of orders: its columns, its quoting, its line ends, and what a spreadsheet must not run."""

import asyncio
import csv
import io
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_orders.domain.order import FlagKind, Status
from crypto_orders.store import exports
from crypto_orders.store.connection import Conn, Pool
from crypto_orders.store.order_filters import Filters
from tests.support.seeded import DAY, put_account, put_flag, put_order, put_payment

HEADER = (
    "order_id,account_id,product,price_cents,price_currency,status,payment_id,customer_note,internal_note,"
    "created_at,updated_at,paid_at,pay_currency,pay_amount,actually_paid"
)


async def exported(pool: Pool, filters: Filters | None = None, limit: int | None = None) -> str:
    pieces: list[bytes] = []

    async def output(piece: bytes) -> None:
        pieces.append(piece)

    await exports.write_csv(pool, filters or Filters(), limit=limit, output=output)
    return b"".join(pieces).decode()


async def records(
    pool: Pool, filters: Filters | None = None, limit: int | None = None
) -> list[dict[str, str]]:
    text = await exported(pool, filters, limit)
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.fixture
async def conn(pool: Pool) -> Any:
    async with pool.acquire() as conn:
        yield conn


async def test_without_orders_there_is_the_header_alone(pool: Pool) -> None:
    assert await exported(pool) == HEADER + "\r\n"


async def test_an_order_is_one_record_of_literal_values(pool: Pool, conn: Conn) -> None:
    account_id = await put_account(conn)
    order_id = "ord_01krte3d80g4a8kwh5gt8dxn1m"
    await put_order(
        conn,
        account_id,
        order_id=order_id,
        at=DAY + timedelta(milliseconds=120),
        status="paid",
        payment_id="5077125051",
        note="one, two",
        paid_at=DAY + timedelta(minutes=3),
    )
    await conn.execute("UPDATE orders SET payment_amount = 0.00079000, payment_paid = 0.00000008")
    assert await exported(pool) == (
        f"{HEADER}\r\n"
        f'{order_id},acc_{account_id},solo_manual,7900,USD,paid,5077125051,"one, two",,'
        "2026-05-22T00:00:00.120Z,2026-05-22T00:03:00.000Z,2026-05-22T00:03:00.000Z,"
        "btc,0.00079000,0.00000008\r\n"
    )


async def test_what_is_not_there_is_empty(pool: Pool, conn: Conn) -> None:
    await put_order(conn, await put_account(conn))
    (record,) = await records(pool)
    assert [name for name, value in record.items() if value == ""] == [
        "payment_id",
        "customer_note",
        "internal_note",
        "paid_at",
        "pay_currency",
        "pay_amount",
        "actually_paid",
    ]


@pytest.mark.parametrize(
    ("note", "cell"),
    [
        ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("'=1", "'=1"),
        (" =1", " =1"),
        ("a=1", "a=1"),
        ('say "yes"', 'say "yes"'),
        ("one\ntwo", "one\ntwo"),
        ("one\r\ntwo\n", "one\r\ntwo\n"),
        ('"\n"\n', '"\n"\n'),
        ("\\.", "\\."),
        ("a,b;c", "a,b;c"),
        ("日本 – é", "日本 – é"),  # noqa: RUF001 - any text is a note
    ],
)
async def test_a_text_arrives_as_it_is_and_never_as_a_formula(
    pool: Pool, conn: Conn, note: str, cell: str
) -> None:
    account_id = await put_account(conn)
    await put_order(conn, account_id, note=note, internal_note=note, payment_id="-5")
    await put_order(conn, account_id, at=DAY - timedelta(days=1), note="another")
    first, second = await records(pool)
    assert (first["customer_note"], first["internal_note"], first["payment_id"]) == (cell, cell, "'-5")
    assert second["customer_note"] == "another"
    assert (await exported(pool)).count("\r\n") >= 3


async def test_all_filters_and_the_limit_apply(pool: Pool, conn: Conn) -> None:
    account_id, other = await put_account(conn), await put_account(conn)
    puts = [
        await put_order(conn, account_id, at=DAY + timedelta(hours=n), status="paid", note=f"note {n}")
        for n in range(5)
    ]
    await put_order(conn, other, status="failed")
    await put_payment(conn, account_id, puts[2].order_id, "child", parent="x", paid=Decimal(1))
    await put_flag(conn, account_id, "redeposit", order_id=puts[2].order_id)
    ids = [put.order_id for put in puts]
    for filters, limit, expected in (
        (Filters(account_id=account_id), None, ids[::-1]),
        (Filters(status=Status.PAID), 2, ids[:2:-1]),
        (Filters(search="NOTE 3"), None, [ids[3]]),
        (Filters(search="note"), 3, ids[:1:-1]),
        (Filters(payment_id="child"), None, [ids[2]]),
        (Filters(flag=FlagKind.REDEPOSIT), None, [ids[2]]),
        (Filters(flag=FlagKind.REDEPOSIT, search="note 3"), None, []),
        (
            Filters(created_after=DAY + timedelta(hours=1), created_before=DAY + timedelta(hours=3)),
            None,
            [ids[2], ids[1]],
        ),
    ):
        assert [record["order_id"] for record in await records(pool, filters, limit)] == expected


async def test_an_export_that_fails_gives_its_connections_up(pool: Pool, conn: Conn) -> None:
    await put_order(conn, await put_account(conn))

    async def output(_: bytes) -> None:
        message = "the client is gone"
        raise ConnectionResetError(message)

    with pytest.raises(ConnectionResetError):
        await exports.write_csv(pool, Filters(), limit=None, output=output)
    left = await conn.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
    )
    assert left == 0
    assert len(await records(pool)) == 1


MANY = """
INSERT INTO orders (account_id, order_id, product, price_cents, price_currency, status, version,
                    internal_note, window_ends_at, created_at, updated_at)
SELECT $1, 'ord_' || lpad(n::text, 26, '0'), 'solo_manual', 7900, 'USD', 'pending', 1,
       CASE WHEN n % 3 = 0 THEN E'a "note"\n' || n END, at, at, at
  FROM generate_series(1, 3000) AS n,
       LATERAL (SELECT $2::timestamptz + (n % 700) * interval '1 second') AS t (at)
"""


async def exported_in_slices(pool: Pool, conn: Conn, slices: list[Filters]) -> bytes:
    """The same export by two connections, with every order changing after it began."""
    pieces: list[bytes] = []

    async def output(piece: bytes) -> None:
        pieces.append(piece)

    async with pool.acquire() as first, pool.acquire() as second:
        await first.execute(exports.BEGIN)
        await exports._share_snapshot(first, second)
        await conn.execute("UPDATE orders SET product = 'another'")
        await exports._write_slices((first, second), slices, None, output)
        await first.execute("COMMIT")
        await second.execute("COMMIT")
    await conn.execute("UPDATE orders SET product = 'solo_manual'")
    return b"".join(pieces)


async def test_slices_side_by_side_make_the_same_file(pool: Pool, owner_pool: Pool, conn: Conn) -> None:
    await conn.execute(MANY, await put_account(conn), DAY)
    async with owner_pool.acquire() as owner:
        await owner.execute("ANALYZE orders")
    known = await conn.fetchrow(exports.KNOWN)
    assert known is not None
    early = Filters(created_before=DAY + timedelta(seconds=300), status=Status.PENDING)
    for filters in (Filters(), early):
        whole = (await exported(pool, filters)).encode()
        for count in (2, 7, 40):
            slices = exports.sliced(filters, exports.cuts_between(known["bounds"], count))
            assert len(slices) == count if filters == Filters() else 1 <= len(slices) < count
            assert await exported_in_slices(pool, conn, slices) == whole


async def test_a_table_that_nobody_analyzed_is_one_slice(conn: Conn) -> None:
    await put_order(conn, await put_account(conn))
    assert await exports._slices(conn, Filters()) == [Filters()]


instants = st.integers(0, 10**15).map(lambda microseconds: DAY + timedelta(microseconds=microseconds))


@given(st.lists(instants, min_size=2, max_size=20).map(sorted), st.integers(-1, 60))
def test_cuts_ascend_within_the_bounds(bounds: list[datetime], slices: int) -> None:
    cuts = exports.cuts_between(bounds, slices)
    assert cuts == sorted(set(cuts))
    assert len(cuts) <= max(0, slices - 1)
    assert all(bounds[0] <= cut <= bounds[-1] for cut in cuts)


async def test_slices_come_out_in_turn_whoever_is_first() -> None:
    out: list[bytes] = []

    async def output(piece: bytes) -> None:
        out.append(piece)

    turns = exports._Turns(output)
    large = bytes(exports.AHEAD_BYTES_MAX // 2)

    async def write(number: int, pieces: list[bytes]) -> None:
        for piece in pieces:
            await turns.put(number, piece)
        await turns.end(number)

    third = asyncio.create_task(write(2, [b"3"]))
    second = asyncio.create_task(write(1, [large, large, b"2c", b"2d"]))
    for _ in range(20):
        await asyncio.sleep(0)
    assert out == []
    assert third.done()
    assert not second.done()
    await write(0, [b"1a", b"1b"])
    await asyncio.gather(second, third)
    assert out == [b"1a", b"1b", large, large, b"2c", b"2d", b"3"]


cells = st.text(st.sampled_from('a,"\n\r;é'), max_size=6)


@given(st.lists(st.tuples(cells, cells), max_size=6), st.data())
def test_line_ends_become_crlf_between_records_alone_wherever_the_pieces_end(
    rows: list[tuple[str, str]], data: st.DataObject
) -> None:
    def written(line_end: str) -> bytes:
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows(rows)
        return out.getvalue().encode()

    whole = written("\n")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    ends = exports._LineEnds()
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert b"".join(ends.convert(piece) for piece in pieces) == written("\r\n")
