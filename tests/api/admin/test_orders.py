"""Support lists, searches and counts orders over HTTP; customers list their own."""

from datetime import timedelta
from typing import Any

from crypto_orders.kit import clock
from crypto_orders.store.connection import Pool
from tests.support.seeded import DAY, put_account, put_flag, put_order, put_payment
from tests.support.service import Service

ORDERS = "/v1/admin/crypto-orders"
MINE = "/v1/billing/crypto-orders"

ENVELOPE = {
    "order_id",
    "account_id",
    "product",
    "price_cents",
    "price_currency",
    "payment_id",
    "status",
    "customer_note",
    "internal_note",
    "events",
    "flags",
    "payments",
    "expires_at",
    "created_at",
    "updated_at",
    "payment",
}


async def _ids(client: Any, path: str) -> list[str]:
    """The ids of every page of a list."""
    found: list[str] = []
    cursor = ""
    while True:
        reply = await client.get(path + cursor)
        assert reply.status == 200, reply.body
        found += [order["order_id"] for order in reply.json["orders"]]
        if reply.json["next_cursor"] is None:
            return found
        cursor = f"&cursor={reply.json['next_cursor']}"


async def test_support_sees_a_paid_order_with_all_there_is_to_it(service: Service) -> None:
    customer, admin = await service.customer(), await service.admin()
    order = await customer.check_out()
    payment_id = (await customer.get(f"{MINE}/{order['order_id']}")).json["payment_id"]
    await service.sandbox.post(f"/sandbox/payments/{payment_id}/pay", {})
    await service.becomes(order["order_id"], "paid")
    detail = (await admin.get(f"{ORDERS}/{order['order_id']}")).json
    assert set(detail) >= ENVELOPE | {"last_ipn", "failure"}
    assert detail["account_id"] == customer.public_id
    assert detail["failure"] is None
    assert detail["last_ipn"]["payment_status"] == "finished"
    assert str(detail["last_ipn"]["payload"]["payment_id"]) == payment_id
    (payment,) = detail["payments"]
    assert payment["provider_status"] == "finished"
    assert payment["actually_paid"] == payment["pay_amount"]
    paid = detail["events"][-1]
    assert (paid["status"], paid["source"], paid["via"]) == ("paid", "ipn", "ipn")
    assert set(paid["detail"]) == {"payment_id", "provider_status", "notification_id"}
    notifications = (await admin.get(f"/v1/admin/notifications?payment_id={payment_id}")).json["data"]
    assert paid["detail"]["notification_id"] in {each["id"] for each in notifications}
    (listed,) = (await admin.get(ORDERS)).json["orders"]
    assert set(listed) == ENVELOPE
    assert listed == {name: detail[name] for name in ENVELOPE}


async def test_a_failed_order_says_why(service: Service) -> None:
    customer, admin = await service.customer(), await service.admin()
    order = await customer.check_out()
    payment_id = (await customer.get(f"{MINE}/{order['order_id']}")).json["payment_id"]
    await service.sandbox.post(f"/sandbox/payments/{payment_id}/status", {"payment_status": "failed"})
    await service.becomes(order["order_id"], "failed")
    detail = (await admin.get(f"{ORDERS}/{order['order_id']}")).json
    assert detail["failure"] == {
        "reason": "ipn",
        "provider_status": "failed",
        "at": detail["updated_at"],
        "notification_id": detail["events"][-1]["detail"]["notification_id"],
    }


async def test_an_order_that_nobody_has_is_not_found(service: Service) -> None:
    admin = await service.admin()
    for order_id in ("ord_00000000000000000000000000", "ord_x", "x"):
        for path in (f"{ORDERS}/{order_id}", f"{ORDERS}/{order_id}/events"):
            assert (await admin.get(path)).status == 404


REFUSED = (
    "account_id=",
    "account_id=me",
    "product=",
    "status=",
    "status=done",
    "search=",
    "search=" + "x" * 201,
    "payment_id=",
    "payment_id=%20",
    "payment_id=" + "1" * 129,
    "created_after=",
    "created_after=2026-05-22",
    "created_after=2026-05-22T10:00:00",
    "created_after=2026-05-22T10:00:00Z&created_before=2026-05-22T10:00:00Z",
    "flag=",
    "flag=any",
    "limit=0",
    "limit=201",
    "limit=ten",
    "limit=",
    "cursor=",
    "cursor=AAAA",
    "cursor=" + "A" * 513,
)


async def test_a_filter_that_is_none_is_refused(service: Service) -> None:
    admin = await service.admin()
    for query in REFUSED:
        reply = await admin.get(f"{ORDERS}?{query}")
        assert reply.status == 400, query
        assert reply.json["type"].endswith("/bad-request"), query


async def test_lists_are_narrowed_down_and_paged(service: Service, pool: Pool) -> None:
    customer, admin = await service.customer(), await service.admin()
    async with pool.acquire() as conn:
        other = await put_account(conn)
        mine = [
            await put_order(
                conn,
                customer.account_id,
                at=DAY + timedelta(hours=n),
                status="paid" if n % 2 else "failed",
                payment_id=f"p{n}",
                note=f"Order number {n}",
            )
            for n in range(6)
        ]
        theirs = await put_order(conn, other, product="api_scale")
        await put_payment(conn, customer.account_id, mine[1].order_id, "child", parent="p1")
        await put_flag(conn, customer.account_id, "redeposit", order_id=mine[1].order_id, payment_id="child")
    newest = [put.order_id for put in mine[::-1]]
    at_two, at_four = (clock.to_iso(DAY + timedelta(hours=n)) for n in (2, 4))
    for query, expected in (
        ("limit=2&created_after=2026-05-22T00:00:00.001Z", newest[:5]),
        (f"limit=2&account_id={customer.public_id}", newest),
        (f"limit=4&account_id={customer.account_id}", newest),
        ("product=api_scale", [theirs.order_id]),
        ("product=no_such_product", []),
        ("limit=1&status=paid", newest[::2]),
        (f"created_after={at_two}&created_before={at_four}", newest[2:4]),
        (f"created_after={at_two.replace('Z', '+00:00')}&status=failed", [newest[1], newest[3]]),
        ("search=NUMBER%203", [newest[2]]),
        ("search=number&limit=4", newest),
        (f"search={newest[0][-9:].upper()}", [newest[0]]),
        ("payment_id=child", [mine[1].order_id]),
        ("payment_id=p1&status=failed", []),
        ("payment_id=nobody", []),
        ("flag=redeposit", [mine[1].order_id]),
        ("flag=stuck", []),
    ):
        assert await _ids(admin, f"{ORDERS}?{query}") == expected, query
    assert sorted(await _ids(admin, f"{ORDERS}?limit=2")) == sorted([*newest, theirs.order_id])
    assert await _ids(customer, f"{MINE}?limit=4") == newest
    assert await _ids(customer, f"{MINE}?limit=1&status=paid") == newest[::2]
    assert await _ids(customer, f"{MINE}?created_before={at_two}") == newest[4:]


async def test_a_customer_asks_for_pages_of_up_to_a_hundred(service: Service) -> None:
    customer = await service.customer()
    assert (await customer.get(f"{MINE}?limit=100")).json == {"orders": [], "next_cursor": None}
    for query in ("limit=101", "limit=0", "status=", "cursor=x", "created_after=now"):
        assert (await customer.get(f"{MINE}?{query}")).status == 400


async def test_a_customers_list_shows_what_the_customer_sees_of_each(service: Service) -> None:
    customer = await service.customer()
    order = await customer.check_out()
    (listed,) = (await customer.get(MINE)).json["orders"]
    assert listed == (await customer.get(f"{MINE}/{order['order_id']}")).json
    assert listed["payment"]["payment_address"] == order["payment_address"]
    assert (await (await service.customer()).get(MINE)).json["orders"] == []


async def test_a_search_answers_how_far_it_went(service: Service) -> None:
    admin = await service.admin()
    for query, scope in (("", "all"), ("?search=abc", "all"), ("?search=ab", "newest_20000")):
        assert (await admin.get(ORDERS + query)).json["search_scope"] == scope


async def test_all_orders_are_told_in_numbers(service: Service, pool: Pool) -> None:
    customer, admin = await service.customer(), await service.admin()
    now = clock.utc_now()
    async with pool.acquire() as conn:
        for cents, currency in ((7900, "USD"), (24900, "USD"), (7000, "EUR")):
            await put_order(
                conn,
                customer.account_id,
                at=now - timedelta(minutes=30),
                status="paid",
                cents=cents,
                currency=currency,
                paid_at=now - timedelta(minutes=20),
            )
        await put_order(conn, customer.account_id, at=now - timedelta(hours=2))
    assert (await admin.get(f"{ORDERS}/stats")).json == {
        "total": 4,
        "by_status": {"pending": 1, "confirming": 0, "partial": 0, "paid": 3, "failed": 0, "cancelled": 0},
        "paid_revenue_cents": {"EUR": 7000, "USD": 32800},
        "avg_time_to_paid_ms": 600_000,
        "paid_sample": 3,
        "paid_revenue_by_product": {"solo_manual:EUR": 7000, "solo_manual": 32800},
        "paid_count_by_product": {"solo_manual": 3},
    }
    daily = (await admin.get(f"{ORDERS}/daily")).json
    assert daily["days"] == 7
    assert sum(row["count"] for row in daily["rows"]) == 4
    assert set(daily["rows"][0]) == {"date", "status", "count"}
    assert (await admin.get(f"{ORDERS}/daily?days=90")).json["days"] == 90
    for days in ("0", "91", "", "week"):
        assert (await admin.get(f"{ORDERS}/daily?days={days}")).status == 400
    assert (await admin.get(f"{ORDERS}/pending-age")).json == {
        "buckets": {"under_1h": 0, "h1_to_6h": 1, "h6_to_24h": 0, "over_24h": 0},
        "pending_value_cents": {"USD": 7900},
        "total": 1,
    }


async def test_the_uses_of_idempotency_keys_are_told(service: Service) -> None:
    customer, admin = await service.customer(), await service.admin()
    await customer.check_out("k")
    await customer.check_out("k")
    await customer.check_out("k", product="team_manual")
    told = (await admin.get(f"{ORDERS}/idempotency-metrics")).json
    (account,) = told.pop("accounts")
    assert told == {"replays": 2, "first_writes": 1, "body_mismatches": 1, "since": None}
    assert account.pop("last_mismatch_at") is not None
    assert account == {
        "account_id": customer.public_id,
        "replays": 2,
        "first_writes": 1,
        "body_mismatches": 1,
    }
    since = clock.to_iso(clock.utc_now() + timedelta(hours=1))
    later = (
        await admin.get(f"{ORDERS}/idempotency-metrics?since={since}&account_id={customer.account_id}")
    ).json
    assert later == {"replays": 0, "first_writes": 0, "body_mismatches": 0, "since": since, "accounts": []}
    assert (await admin.get(f"{ORDERS}/idempotency-metrics?since=yesterday")).status == 400


async def test_lists_need_the_scope_to_read(service: Service) -> None:
    customer, writer = await service.customer(), await service.admin("admin:write")
    for path in (ORDERS, f"{ORDERS}/stats", f"{ORDERS}.csv", "/v1/admin/flags", "/v1/admin/audit-log"):
        assert (await customer.get(path)).status == 403
        assert (await writer.get(path)).status == 403


async def test_an_empty_service_has_empty_lists(service: Service) -> None:
    admin = await service.admin()
    for name in ("flags", "notifications"):
        assert (await admin.get(f"/v1/admin/{name}")).json == {"data": [], "next_cursor": None}
    products = (await admin.get("/v1/admin/products")).json["data"]
    assert [product["product"] for product in products] == [
        "agency_manual",
        "api_builder",
        "api_scale",
        "api_starter",
        "solo_manual",
        "team_manual",
    ]
    assert set(products[0]) == {"product", "price_cents", "price_currency", "active", "updated_at"}
    customer = await service.customer("read:billing")
    (account,) = (await admin.get("/v1/admin/accounts")).json["data"]
    assert account["account_id"] == customer.public_id
    (key,) = (await admin.get(f"/v1/admin/accounts/{customer.public_id}/keys")).json["data"]
    assert (key["scopes"], key["mode"], key["revoked_at"]) == (["read:billing"], "test", None)
    assert (await admin.get("/v1/admin/accounts/acc_none/keys")).status == 404
    audit = (await admin.get("/v1/admin/audit-log?limit=1")).json
    assert audit["next_cursor"] is not None
    assert audit["data"][0]["actor"] == "test"
