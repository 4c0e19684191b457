"""The overview tells how the last day went, what waits, and whether the provider is well."""

import re
from datetime import timedelta
from html import unescape

from crypto_orders.kit import clock
from tests.support.operators import signed_in
from tests.support.seeded import put_account, put_order
from tests.support.service import Service
from tests.support.troubles import put_delivery, put_endpoint, put_flag_of

TAGS = re.compile(r"<[^>]+>")


def words(body: bytes) -> str:
    """What a page says, without its markup."""
    return " ".join(TAGS.sub(" ", body.decode()).split())


async def test_an_empty_service_has_an_overview(service: Service) -> None:
    desk = await signed_in(service, "viewer")
    reply = await desk.get("/admin")
    assert reply.status == 200
    told = words(reply.body)
    assert "Paid volume, 24 h — as a week ago" in told
    assert "No orders in the last 48 hours." in told
    assert "Oldest pending — nothing is pending" in told
    assert "none among the newest 1,000 facts" in told
    assert "Replayed share —" in told


async def test_the_tiles_compare_the_day_with_the_one_a_week_ago(service: Service) -> None:
    now = clock.utc_now()
    async with service.pool.acquire() as conn:
        account = await put_account(conn)
        for hours, cents, currency in ((1, 7900, "USD"), (2, 7900, "USD"), (3, 5000, "EUR")):
            await put_order(
                conn,
                account,
                at=now - timedelta(hours=hours),
                status="paid",
                cents=cents,
                currency=currency,
                paid_at=now - timedelta(hours=hours) + timedelta(minutes=6, seconds=12),
            )
        await put_order(conn, account, at=now - timedelta(days=7, hours=1), status="paid", cents=10000)
        await put_order(conn, account, at=now - timedelta(minutes=40))
        await put_order(conn, account, at=now - timedelta(hours=4), status="failed")
    desk = await signed_in(service, "viewer")
    reply = await desk.get("/admin")
    told = words(reply.body)
    for key, counted in (("orders", 5), ("volume", 3)):
        (link,) = re.findall(rf'href="([^"]*)" id="tile-{key}"', reply.body.decode())
        listed = (await desk.get(unescape(link))).body.decode()
        assert listed.count("<tr data-order=") == counted, "the tile leads to what it counts"
    assert "Paid volume, 24 h 158.00 USD 50.00 EUR +58.0 % vs. a week ago" in told
    assert "Orders, 24 h 5 +400.0 % vs. a week ago" in told
    assert "Time to paid, median 6 min 12 s median of 3 orders, 10 min a week ago" in told
    assert "Oldest pending 40 min" in told
    assert "Under 1 h 1" in told


async def test_the_chart_counts_by_hour_or_by_day_with_a_table_for_those_who_hear_it(
    service: Service,
) -> None:
    now = clock.utc_now()
    async with service.pool.acquire() as conn:
        account = await put_account(conn)
        for status in ("paid", "paid", "pending", "failed", "cancelled"):
            await put_order(conn, account, at=now, status=status)
    desk = await signed_in(service, "viewer")
    hour = words((await desk.get("/admin")).body)
    assert f"{now:%Y-%m-%d %H:00} 2 1 1 1" in hour
    day = await desk.get("/admin?by=day")
    assert f"{now:%Y-%m-%d} 2 1 1 1" in words(day.body)
    assert 'class="lost"' in day.body.decode()
    assert (await desk.get("/admin?by=minute")).status == 400


async def test_what_waits_for_a_person_is_counted_in_the_tiles_and_beside_the_navigation(
    service: Service,
) -> None:
    async with service.pool.acquire() as conn:
        account = await put_account(conn)
        await put_flag_of(conn, "unmatched")
        endpoint = await put_endpoint(conn, account, failures=2)
        await put_delivery(conn, endpoint)
        await put_delivery(conn, endpoint)
    desk = await signed_in(service, "viewer")
    told = words((await desk.get("/admin")).body)
    assert "Open flags 1 oldest 3 h" in told
    assert "Failing webhooks 1 2 dead letters" in told
    counts = await desk.get("/admin/counts", x_background="1")
    assert counts.json == {"flags": "1", "dlq": "2"}


async def test_flags_beyond_ten_thousand_are_more_than_that_wherever_they_are_counted(
    service: Service,
) -> None:
    async with service.pool.acquire() as conn:
        account = await put_account(conn)
        await conn.execute(
            """INSERT INTO flags (account_id, flag_id, kind, subject, order_id, state, fingerprints, evidence,
                                  opened_at, last_seen_at)
               SELECT $1, gen_random_uuid(), 'overpaid', n::text, 'ord_' || n % 7000, 'open', '{}', '[]',
                      now(), now()
                 FROM generate_series(1, 10001) AS n""",
            account,
        )
    desk = await signed_in(service, "viewer")
    assert (await desk.get("/admin/counts", x_background="1")).json == {"flags": "10,000+", "dlq": "0"}
    flags = words((await desk.get("/admin/flags")).body)
    assert "Open 10,000+" in flags
    assert "Overpaid (10,000+)" in flags
    assert "Needs attention 7,000+" in words((await desk.get("/admin/orders")).body)


async def test_the_tiles_alone_are_a_fragment_and_their_address_leads_to_the_page(service: Service) -> None:
    desk = await signed_in(service, "viewer")
    fragment = await desk.get("/admin/overview/tiles", hx_request="true", x_background="1")
    assert fragment.status == 200
    assert b"<html" not in fragment.body
    assert b'id="tile-volume"' in fragment.body
    assert (await desk.get("/admin/overview/tiles")).headers["Location"] == "/admin"


async def test_the_worst_users_of_idempotency_keys_are_named(service: Service) -> None:
    customer = await service.customer()
    await customer.check_out("one-key")
    await customer.check_out("one-key", product="solo_manual")
    body = {"product": "team_manual"}
    await customer.post("/v1/billing/crypto-checkout", body, Idempotency_Key="one-key")
    desk = await signed_in(service, "viewer")
    reply = await desk.get("/admin")
    told = words(reply.body)
    assert "First writes 1" in told
    assert "Most mismatches: A customer" in told
    assert f'href="/admin/accounts/{customer.public_id}"' in reply.body.decode()
    assert "made a payment 1" in told
