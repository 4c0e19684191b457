"""Lists and searches of orders find exactly what the filters say, in order, at any page size."""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from crypto_orders.domain.cursor import Position
from crypto_orders.domain.errors import MalformedCursor
from crypto_orders.domain.order import FlagKind, Status
from crypto_orders.store import order_lists, search
from crypto_orders.store.connection import Conn, Pool
from crypto_orders.store.order_filters import Filters, clauses_of, older_than
from tests.support.seeded import DAY, Put, put_account, put_flag, put_order, put_payment

PRODUCTS = ("solo_manual", "team_manual", "api_starter")
STATUSES = ("pending", "paid", "failed", "cancelled", "partial")
NOTES = (
    None,
    "Please invoice ACME GmbH",
    "100% sure -- really!!!",
    "a_b\\c 'quoted' \"twice\"",
    "Für Jürgen – bitte",  # noqa: RUF001 - people write such dashes
    "ПРИВЕТ мир",
    "日本語の注文",
    "line one\nline two\ttabbed",
    "xxx zzz qqq",
    "...",
)
NEEDLES = (
    "ord_",
    "ORD_0",
    "d_01",
    "manual",
    "API_START",
    "_start",
    "please inv",
    "gmbh",
    "!!!",
    "???",
    "---",
    " -- ",
    "%",
    "%%%",
    "100%",
    "_b\\",
    "\\c '",
    '"twice"',
    "'''",
    "jürgen",
    "FÜR",
    "– b",  # noqa: RUF001
    "привет",
    "МИР",
    "日本語",
    "の注",
    "one\nline",
    "two\ttab",
    "xxx",
    "x z",
    "...",
    "absent words",
    "manual please",
    "a",
    "b",
    "so",
    "AP",
    "te",
    "or",
    "o",
    "日",
    "ü",
    "!",
)


@pytest.fixture
async def conn(pool: Pool) -> Any:
    async with pool.acquire() as conn:
        await conn.execute("SET plan_cache_mode = force_custom_plan")
        yield conn


async def some_orders(conn: Conn, count: int) -> list[Put]:
    """Orders of three accounts; many share their millisecond."""
    draw = random.Random(7)
    accounts = [await put_account(conn) for _ in range(3)]
    return [
        await put_order(
            conn,
            draw.choice(accounts),
            at=DAY + timedelta(milliseconds=draw.randrange(count // 2)),
            product=draw.choice(PRODUCTS),
            status=draw.choice(STATUSES),
            note=draw.choice(NOTES),
        )
        for _ in range(count)
    ]


def contains(put: Put, needle: str) -> bool:
    return any(needle.lower() in text.lower() for text in (put.order_id, put.product, put.note or ""))


def expected(puts: Sequence[Put], filters: Filters) -> list[str]:
    kept = [
        put
        for put in puts
        if (filters.account_id is None or put.account_id == filters.account_id)
        and (filters.product is None or put.product == filters.product)
        and (filters.status is None or put.status == filters.status)
        and (filters.created_after is None or put.created_at >= filters.created_after)
        and (filters.created_before is None or put.created_at < filters.created_before)
        and (filters.search is None or contains(put, filters.search))
    ]
    return [
        put.order_id for put in sorted(kept, key=lambda put: (put.created_at, put.order_id), reverse=True)
    ]


async def all_pages(conn: Conn, filters: Filters, limit: int) -> list[str]:
    """Every order id of a list, page by page."""
    listed: list[str] = []
    position: Position | None = None
    while True:
        found = await order_lists.for_support(conn, filters, limit=limit, after=position)
        assert len(found.page.items) <= limit
        listed += [shown.order.order_id for shown in found.page.items]
        if found.page.next_cursor is None:
            return listed
        assert len(found.page.items) == limit
        position = order_lists.position_of(found.page.next_cursor)


def random_filters(draw: random.Random, puts: Sequence[Put]) -> Filters:
    def sometimes(value: Any) -> Any:
        return value if draw.random() < 0.4 else None

    start = DAY + timedelta(milliseconds=draw.randrange(60))
    return Filters(
        account_id=sometimes(draw.choice(puts).account_id),
        product=sometimes(draw.choice(PRODUCTS)),
        status=sometimes(Status(draw.choice(STATUSES))),
        search=sometimes(draw.choice(NEEDLES)),
        created_after=sometimes(start),
        created_before=sometimes(start + timedelta(microseconds=draw.randrange(1, 90_000))),
    )


async def test_every_combination_of_filters_lists_what_it_says(conn: Conn) -> None:
    puts = await some_orders(conn, 100)
    draw = random.Random(11)
    for _ in range(60):
        filters = random_filters(draw, puts)
        listed = await all_pages(conn, filters, draw.choice((7, 200)))
        assert listed == expected(puts, filters), filters


async def test_every_needle_is_found_by_walking_and_by_gathering(conn: Conn) -> None:
    puts = await some_orders(conn, 80)
    puts.append(await put_order(conn, puts[0].account_id, product="retired_one"))
    for needle in (*NEEDLES, "TIRED"):
        filters = Filters(search=needle)
        found = expected(puts, filters)
        assert await all_pages(conn, filters, 7) == found, needle
        if not search.is_short(needle):
            products = await search.products_with(conn, needle)
            for way in (order_lists._walk_a_stretch, order_lists._gather_search):
                rows = await way(conn, filters, needle, products, None, 200)
                assert [row["order_id"] for row in rows] == found, needle


async def test_a_long_needle_is_looked_up_by_a_rare_part(conn: Conn, owner_pool: Pool) -> None:
    account_id = await put_account(conn)
    for n in range(150):
        note = "please call the customer back" + (" before noon" if n == 70 else "")
        await put_order(conn, account_id, at=DAY + timedelta(hours=n), note=note)
    async with owner_pool.acquire() as owner:
        await owner.execute("ANALYZE orders")
    assert await search.rare_part(conn, "customer back ABC DEFG") in {
        "xbackxab",
        "kxabcxde",
        "xabcxdef",
        "abcxdefg",
    }
    assert await search.rare_part(conn, "the customer back") is None
    assert await search.rare_part(conn, "Absent words") is None
    for needle in ("CUSTOMER back before n", "before noon and after", "the customer back b"):
        found = await all_pages(conn, Filters(search=needle), 50)
        assert len(found) == (0 if "after" in needle else 1)


async def test_what_one_field_ends_and_the_next_begins_is_no_match(conn: Conn) -> None:
    await put_order(conn, await put_account(conn), product="solo_manual", note="please")
    for needle in ("manual please", "manualplease", "lplea"):
        assert await all_pages(conn, Filters(search=needle), 50) == []


async def test_a_page_shows_events_payments_and_flags_of_its_orders(conn: Conn) -> None:
    account_id = await put_account(conn)
    put = await put_order(conn, account_id, status="paid", payment_id="100")
    await put_payment(conn, account_id, put.order_id, "101", parent="100")
    flag_id = await put_flag(conn, account_id, "redeposit", order_id=put.order_id, payment_id="101")
    await put_order(conn, account_id, at=DAY - timedelta(days=1))
    found = await order_lists.for_support(conn, Filters(), limit=1, after=None)
    (shown,) = found.page.items
    assert [event.status for event in shown.events] == ["pending", "paid"]
    assert [payment.payment_id for payment in shown.payments] == ["100", "101"]
    assert [flag.flag_id for flag in shown.flags] == [flag_id]
    assert shown.payment is not None
    assert shown.payment.payment_id == "100"


async def test_a_customer_sees_only_the_own_orders(conn: Conn) -> None:
    mine, other = await put_account(conn), await put_account(conn)
    puts = [await put_order(conn, mine, at=DAY + timedelta(hours=n), payment_id=f"p{n}") for n in range(5)]
    await put_order(conn, other)
    page = await order_lists.of_account(conn, Filters(account_id=mine), limit=3, after=None)
    assert [shown.order.order_id for shown in page.items] == [put.order_id for put in puts[:1:-1]]
    assert [shown.payment.payment_id for shown in page.items if shown.payment] == ["p4", "p3", "p2"]
    rest = await order_lists.of_account(
        conn, Filters(account_id=mine), limit=3, after=order_lists.position_of(page.next_cursor)
    )
    assert [shown.order.order_id for shown in rest.items] == [put.order_id for put in puts[1::-1]]
    assert rest.next_cursor is None


async def test_a_payment_finds_its_order_by_parents_and_children_alike(conn: Conn) -> None:
    account_id = await put_account(conn)
    put = await put_order(conn, account_id, payment_id="5077125051", status="paid")
    await put_payment(conn, account_id, put.order_id, "5077125052", parent="5077125051")
    await put_order(conn, account_id, payment_id="507712505")
    for payment_id in ("5077125051", "5077125052"):
        assert await all_pages(conn, Filters(payment_id=payment_id), 50) == [put.order_id]
    for filters in (
        Filters(payment_id="50771250"),
        Filters(payment_id="5077125051", status=Status.FAILED),
        Filters(payment_id="5077125051", search="absent"),
        Filters(payment_id="5077125051", flag=FlagKind.REDEPOSIT),
    ):
        assert await all_pages(conn, filters, 50) == []
    await put_flag(conn, account_id, "redeposit", order_id=put.order_id, payment_id="5077125052")
    flagged = Filters(payment_id="5077125051", flag=FlagKind.REDEPOSIT, search="SOLO", status=Status.PAID)
    assert await all_pages(conn, flagged, 50) == [put.order_id]


async def test_a_flag_filter_wants_an_open_flag_of_that_kind(conn: Conn) -> None:
    account_id = await put_account(conn)
    puts = [await put_order(conn, account_id, at=DAY + timedelta(hours=n)) for n in range(6)]
    await put_flag(conn, account_id, "stuck", order_id=puts[0].order_id, payment_id="1")
    await put_flag(conn, account_id, "stuck", order_id=puts[0].order_id, payment_id="2")
    await put_flag(conn, account_id, "stuck", order_id=puts[3].order_id, payment_id="3")
    await put_flag(conn, account_id, "stuck", order_id=puts[4].order_id, payment_id="4", resolved=True)
    await put_flag(conn, account_id, "overpaid", order_id=puts[5].order_id, payment_id="5")
    await put_flag(conn, UUID(int=0), "stuck", payment_id="6")
    flagged = [puts[3].order_id, puts[0].order_id]
    for limit in (1, 50):
        assert await all_pages(conn, Filters(flag=FlagKind.STUCK), limit) == flagged
        assert await all_pages(conn, Filters(flag=FlagKind.STUCK, search="solo"), limit) == flagged
        assert await all_pages(conn, Filters(flag=FlagKind.STUCK, search="so"), limit) == flagged
        assert await all_pages(conn, Filters(flag=FlagKind.STUCK, search="or"), limit) == flagged


async def test_a_page_goes_on_where_it_ended_whatever_happened_since(conn: Conn) -> None:
    account_id = await put_account(conn)
    puts = [await put_order(conn, account_id, at=DAY + timedelta(hours=n)) for n in range(6)]
    first = await order_lists.for_support(conn, Filters(), limit=3, after=None)
    await put_order(conn, account_id, at=DAY + timedelta(days=1))
    await conn.execute("UPDATE orders SET status = 'failed' WHERE order_id = $1", puts[3].order_id)
    position = order_lists.position_of(first.page.next_cursor)
    second = await order_lists.for_support(conn, Filters(), limit=3, after=position)
    assert [shown.order.order_id for shown in second.page.items] == [put.order_id for put in puts[2::-1]]


def test_only_the_lower_of_cursor_and_created_before_bounds_a_list() -> None:
    """Both together would walk the index from created_before to the cursor on every page."""
    position = Position(DAY, "ord_x")
    for filters, after, bound in (
        (Filters(), None, "true"),
        (Filters(), position, "(o.created_at, o.order_id) < ($1, $2)"),
        (Filters(created_before=DAY + timedelta(hours=1)), position, "(o.created_at, o.order_id) < ($1, $2)"),
        (Filters(created_before=DAY), position, "o.created_at < $1"),
        (Filters(created_before=DAY), None, "o.created_at < $1"),
    ):
        assert older_than(clauses_of(filters), filters, after) == bound


async def test_a_search_says_how_far_it_went(conn: Conn) -> None:
    for needle, scope in (
        (None, "all"),
        ("abc", "all"),
        ("ORD", "all"),
        ("ab", "newest_20000"),
        ("o", "newest_20000"),
    ):
        found = await order_lists.for_support(conn, Filters(search=needle), limit=5, after=None)
        assert found.search_scope == scope


MANY_NEWER = """
INSERT INTO orders (account_id, order_id, product, price_cents, price_currency, status, version,
                    window_ends_at, created_at, updated_at)
SELECT $1, 'ord_' || lpad(n::text, 26, '0'), 'solo_manual', 7900, 'USD', 'pending', 1, at, at, at
  FROM generate_series(1, $2::integer) AS n,
       LATERAL (SELECT $3::timestamptz + n * interval '1 second') AS t (at)
"""


async def test_a_short_needle_covers_the_newest_orders_and_beginnings_of_products(conn: Conn) -> None:
    account_id = await put_account(conn)
    old, first, second = [
        await put_order(conn, account_id, at=DAY + timedelta(hours=n), product="api_starter", note="a § sign")
        for n in range(3)
    ]
    await conn.execute(MANY_NEWER, account_id, search.RECENT_ORDERS - 2, DAY + timedelta(hours=3))
    ours = [second.order_id, first.order_id, old.order_id]
    assert await all_pages(conn, Filters(search="§"), 1) == ours[:2]
    assert await all_pages(conn, Filters(search="pi"), 50) == ours[:2]
    assert await all_pages(conn, Filters(search="Ap"), 2) == ours
    assert await all_pages(conn, Filters(search="a", created_before=DAY + timedelta(hours=3)), 2) == ours
    first_page = await order_lists.for_support(conn, Filters(search="oR"), limit=2, after=None)
    assert first_page.page.items[0].order.order_id == f"ord_{search.RECENT_ORDERS - 2:026}"


async def test_the_index_of_the_search_knows_every_needle_of_three_characters(conn: Conn) -> None:
    """A needle without trigrams would have the whole index read; these candidates are few."""
    account_id = await put_account(conn)
    for n in range(60):
        await put_order(conn, account_id, at=DAY + timedelta(hours=n), note=NOTES[n % len(NOTES)])
    await conn.execute("SET enable_seqscan = off")
    for needle in ("!?!", "- -", "日本人", "мик", "\\\\\\", "%_%", "\n\n\n", "a\tb", "£££", "<>;"):
        plan = await conn.fetchval(
            "EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) SELECT FROM orders"
            " WHERE search LIKE '%' || search_form($1::text) || '%'",
            needle,
        )
        assert '"Index Name": "orders_search"' in plan, needle
        assert '"Rows Removed by Index Recheck": 60' not in plan, needle


def test_a_needle_of_any_order_is_looked_up_by_what_is_its_own() -> None:
    assert search.indexed_part("ord_01k5zz") == "01k5zz"
    assert search.indexed_part("ORD_01K5") == "01K5"
    assert search.indexed_part("_starter") == "starter"
    assert search.indexed_part("ord_01") == "ord_01"
    assert search.indexed_part("word_game") == "word_game"


def test_a_cursor_of_another_list_is_none() -> None:
    with pytest.raises(MalformedCursor):
        order_lists.position_of("AAAA")
    assert order_lists.position_of(None) is None
