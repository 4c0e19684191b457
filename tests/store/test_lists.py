"""The other lists of support: flags, the inbox, the audit trail, accounts, keys, idempotency keys."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from crypto_orders.domain.errors import MalformedCursor
from crypto_orders.domain.order import FlagKind, Verdict
from crypto_orders.kit.pagination import Page
from crypto_orders.store import account_lists, audit_lists, flag_lists, idempotency_metrics, inbox_lists
from crypto_orders.store.connection import Conn, Pool
from crypto_orders.store.idempotency_metrics import AccountUse
from tests.support.seeded import DAY, put_account, put_flag, put_order

NOTIFICATION = """
INSERT INTO notifications (notification_id, via, digest, body, matched_form, payment_id, payment_status,
                           order_id, verdict, received_at, last_seen_at, try_at)
VALUES ($1, 'ipn', sha256($2), $2, 'raw', $3, 'waiting', $4, $5, $6::timestamptz, $6,
        CASE WHEN $5 IN ('received', 'waiting') THEN $6::timestamptz END)
"""
AUDIT = """
INSERT INTO audit_log (audit_id, at, actor, action, target, request, result, detail)
VALUES ($1, $2, 'key_x', 'sweep', $3, '{"limit": 5}', 'done', '{}')
"""
KEY = """
INSERT INTO api_keys (key_sha256, key_id, account_id, mode, scopes, prefix, created_at)
VALUES (sha256($1), $2, $3, 'test', '{read}', 'ds_test_abcd', $4)
"""
FIRST_WRITE = """
INSERT INTO idempotency_keys (account_id, idempotency_key, order_id, fingerprint, created_at)
VALUES ($1, $2, $3, '{}', $4)
"""
REPLAY = """
INSERT INTO idempotency_replays (
       account_id, replay_id, idempotency_key, order_id, differing_fields, answered, at)
VALUES ($1, gen_random_uuid(), 'k', 'ord_x', $2, $3, $4)
"""


@pytest.fixture
async def conn(pool: Pool) -> Any:
    async with pool.acquire() as conn:
        yield conn


async def all_of(page_behind: Callable[[str | None], Awaitable[Page[Any]]], id_name: str) -> list[UUID]:
    """Every id of a list, page by page."""
    listed: list[UUID] = []
    after = None
    while True:
        page = await page_behind(after)
        listed += [getattr(item, id_name) for item in page.items]
        if page.next_cursor is None:
            return listed
        after = page.next_cursor


async def test_flags_come_with_the_oldest_open_first(conn: Conn) -> None:
    account_id = await put_account(conn)
    opened = [
        await put_flag(conn, account_id, kind, payment_id=str(n), at=DAY + timedelta(hours=hours))
        for n, (kind, hours) in enumerate((("stuck", 3), ("overpaid", 1), ("stuck", 2)))
    ]
    resolved = await put_flag(conn, account_id, "stuck", at=DAY, payment_id="9", resolved=True)
    orderless = await put_flag(conn, UUID(int=0), "unmatched", at=DAY + timedelta(hours=9))

    async def listed(kind: FlagKind | None = None, state: Any = None) -> list[UUID]:
        return await all_of(
            lambda after: flag_lists.oldest_open_first(conn, kind=kind, state=state, limit=2, after=after),
            "flag_id",
        )

    assert await listed() == [opened[1], opened[2], opened[0], orderless, resolved]
    assert await listed(FlagKind.STUCK) == [opened[2], opened[0], resolved]
    assert await listed(FlagKind.STUCK, "open") == [opened[2], opened[0]]
    assert await listed(None, "resolved") == [resolved]
    assert await listed(FlagKind.REDEPOSIT) == []
    found = await flag_lists.get(conn, orderless)
    assert found is not None
    assert found.account is None
    assert await flag_lists.get(conn, uuid4()) is None


async def test_the_inbox_is_read_by_payment_order_and_verdict(conn: Conn) -> None:
    async def put(payment_id: str, order_id: str | None, verdict: str, hours: int) -> UUID:
        notification_id = uuid4()
        body = b'{"payment_id":%s,"n":%d}' % (payment_id.encode(), hours)
        at = DAY + timedelta(hours=hours)
        await conn.execute(NOTIFICATION, notification_id, body, payment_id, order_id, verdict, at)
        return notification_id

    first = await put("1", "ord_a", "applied", 1)
    second = await put("1", "ord_a", "no_change", 2)
    third = await put("2", None, "unmatched", 3)
    fourth = await put("3", "ord_a", "received", 4)

    async def listed(**equal: Any) -> list[UUID]:
        wanted: dict[str, Any] = {"payment_id": None, "order_id": None, "verdict": None, **equal}
        return await all_of(
            lambda after: inbox_lists.newest(conn, limit=2, after=after, **wanted), "notification_id"
        )

    assert await listed() == [fourth, third, second, first]
    assert await listed(payment_id="1") == [second, first]
    assert await listed(order_id="ord_a") == [fourth, second, first]
    assert await listed(verdict=Verdict.UNMATCHED) == [third]
    assert await listed(order_id="ord_a", verdict=Verdict.APPLIED) == [first]
    assert await listed(verdict=Verdict.RECEIVED) == [fourth]
    page = await inbox_lists.newest(conn, payment_id="2", order_id=None, verdict=None, limit=9, after=None)
    assert page.items[0].body == b'{"payment_id":2,"n":3}'


async def test_the_audit_trail_is_read_newest_first(conn: Conn) -> None:
    rows = [uuid4() for _ in range(5)]
    for n, audit_id in enumerate(rows):
        await conn.execute(AUDIT, audit_id, DAY + timedelta(hours=n), "ord_a" if n % 2 else None)

    async def listed(target: str | None) -> list[UUID]:
        return await all_of(
            lambda after: audit_lists.newest(conn, target=target, limit=2, after=after), "audit_id"
        )

    assert await listed(None) == rows[::-1]
    assert await listed("ord_a") == [rows[3], rows[1]]
    page = await audit_lists.newest(conn, target=None, limit=1, after=None)
    assert page.items[0].request == {"limit": 5}


async def test_accounts_and_their_keys_are_listed_newest_first(conn: Conn) -> None:
    accounts = [await put_account(conn) for _ in range(3)]
    await conn.execute("UPDATE accounts SET created_at = $1", DAY)
    listed = await all_of(lambda after: account_lists.newest(conn, limit=2, after=after), "account_id")
    assert listed == sorted(accounts, reverse=True)
    keys = [uuid4() for _ in range(3)]
    for n, key_id in enumerate(keys):
        await conn.execute(KEY, bytes([n]), key_id, accounts[0], DAY + timedelta(hours=n))
    assert (
        await all_of(
            lambda after: account_lists.newest_keys(conn, accounts[0], limit=2, after=after), "key_id"
        )
        == keys[::-1]
    )
    assert (await account_lists.newest_keys(conn, accounts[1], limit=2, after=None)).items == []


async def test_a_cursor_is_good_for_the_list_that_gave_it_alone(conn: Conn) -> None:
    for _ in range(2):
        await put_account(conn)
    given = (await account_lists.newest(conn, limit=1, after=None)).next_cursor
    assert given is not None
    with pytest.raises(MalformedCursor):
        await audit_lists.newest(conn, target=None, limit=1, after=given)
    with pytest.raises(MalformedCursor):
        await flag_lists.oldest_open_first(conn, kind=None, state=None, limit=1, after=given)


async def test_every_use_of_an_idempotency_key_is_counted(conn: Conn) -> None:
    calm, wild = await put_account(conn), await put_account(conn)
    for account_id, keys in ((calm, 3), (wild, 1)):
        put = await put_order(conn, account_id)
        for n in range(keys):
            await conn.execute(FIRST_WRITE, account_id, f"k{n}", put.order_id, DAY + timedelta(hours=n))
    late = DAY + timedelta(hours=5)
    for account_id, differing, answered, at in (
        (calm, [], True, DAY),
        (calm, [], True, late),
        (wild, ["product"], True, DAY),
        (wild, ["product", "pay_currency"], False, late),
    ):
        await conn.execute(REPLAY, account_id, differing, answered, at)

    of_wild = AccountUse(account_id=wild, replays=1, first_writes=1, body_mismatches=2, last_mismatch_at=late)
    of_calm = AccountUse(account_id=calm, replays=2, first_writes=3, body_mismatches=0, last_mismatch_at=None)
    use = await idempotency_metrics.metrics(conn, account_id=None, since=None)
    assert (use.first_writes, use.replays, use.body_mismatches) == (4, 3, 2)
    assert use.accounts == (of_wild, of_calm)
    one = await idempotency_metrics.metrics(conn, account_id=calm, since=None)
    assert (one.accounts, one.replays) == ((of_calm,), 2)
    since = await idempotency_metrics.metrics(conn, account_id=None, since=DAY + timedelta(hours=1))
    assert (since.first_writes, since.replays, since.body_mismatches) == (2, 1, 1)
    day = DAY - timedelta(hours=1)
    newest = await idempotency_metrics.of_newest(conn, day, most=2)
    assert (newest.first_writes, newest.replays, newest.capped) == (2, 1, True)
    whole = await idempotency_metrics.of_newest(conn, day, most=100)
    assert (whole.first_writes, whole.replays, whole.accounts, whole.capped) == (4, 3, use.accounts, False)
    nobody = await idempotency_metrics.metrics(conn, account_id=uuid4(), since=None)
    assert (nobody.first_writes, nobody.replays, nobody.accounts) == (0, 0, ())
