"""Flags and stuck orders: what waits for a person, and what a person does about it."""

from datetime import timedelta
from html import escape
from urllib.parse import urlencode

from crypto_orders.kit import clock, ids
from tests.admin.test_overview import words
from tests.support.operators import signed_in
from tests.support.seeded import put_account, put_flag, put_order
from tests.support.service import Service
from tests.support.troubles import ATTACK, put_flag_of


async def test_open_flags_come_oldest_first_with_their_evidence_and_their_part_of_the_runbook(
    service: Service,
) -> None:
    now = clock.utc_now()
    async with service.pool.acquire() as conn:
        account = await put_account(conn)
        order = await put_order(conn, account, status="cancelled", payment_id="77")
        await put_flag_of(
            conn,
            "late_payment",
            account_id=account,
            order_id=order.order_id,
            payment_id="77",
            evidence={"actually_paid": "0.00131667", "pay_currency": "btc"},
            at=now - timedelta(hours=2),
        )
        await put_flag_of(conn, "unmatched", at=now - timedelta(days=2))
    desk = await signed_in(service, "viewer")
    reply = await desk.get("/admin/flags")
    told, page = words(reply.body), reply.body.decode()
    assert told.index("Unmatched notification") < told.rindex("Late payment")
    assert "A notification said “finished”, 0.00131667 BTC arrived." in told
    assert f'href="/admin/orders?order={order.order_id}"' in page
    assert 'href="/docs/crypto-orders-ops-runbook#flag-unmatched"' in page
    only = words((await desk.get("/admin/flags?kind=unmatched")).body)
    assert "0.00131667" not in only
    assert "Kind: Unmatched notification" in only
    hidden = words((await desk.get("/admin/flags?kind=overpaid")).body)
    assert "Nothing matches Kind: Overpaid ." in hidden


async def test_a_flag_without_an_order_is_dismissed_once_with_a_reason(service: Service) -> None:
    async with service.pool.acquire() as conn:
        flag = await put_flag_of(conn, "unmatched")
    desk = await signed_in(service, "support")
    assert "It belongs to no order" in words((await desk.get(f"/admin/flags/{flag}")).body)
    done = await desk.act(f"/admin/flags/{flag}/resolve", resolution="dismissed", reason="Case 88123.")
    assert (done.status, done.headers["Location"]) == (303, f"/admin/flags/{flag}?done=dismissed")
    shown = words((await desk.get(done.headers["Location"])).body)
    assert "Dismissed." in shown
    assert "by op:support@example.com" in shown
    assert "It is resolved." in shown
    again = await desk.act(f"/admin/flags/{flag}/resolve", resolution="dismissed", reason="Again.")
    assert again.status == 409
    assert "Nothing was done. The flag is resolved already." in words(again.body)


async def test_a_refusal_keeps_what_was_typed_and_leads_to_the_runbook(service: Service) -> None:
    async with service.pool.acquire() as conn:
        flag = await put_flag_of(conn, "overpaid")
    desk = await signed_in(service, "support")
    refused = await desk.act(f"/admin/flags/{flag}/resolve", resolution="credited", reason=f"Twice {ATTACK}")
    assert refused.status == 400
    page = refused.body.decode()
    assert "A credit needs the reference it was booked under." in page
    assert f"Twice {escape(ATTACK).replace('&quot;', '&#34;').replace('&#x27;', '&#39;')}</textarea>" in page
    assert "<script>alert" not in page
    assert 'value="credited" required checked' in page
    assert "crypto-orders-ops-runbook#resolve" in page
    for fields in ({"resolution": "dismissed"}, {"resolution": "burn", "reason": "x"}):
        assert (await desk.act(f"/admin/flags/{flag}/resolve", **fields)).status == 400
    honoured = await desk.act(f"/admin/flags/{flag}/resolve", resolution="honour", reason="Please.")
    assert "cannot be honoured" in words(honoured.body)


async def test_honouring_against_the_provider_takes_an_admin_who_says_so(service: Service) -> None:
    async with service.pool.acquire() as conn:
        account = await put_account(conn)
        order = await put_order(conn, account, status="cancelled", payment_id="78")
        flag_id = await put_flag(conn, account, "late_payment", order_id=order.order_id, payment_id="78")
    flag = ids.prefixed("flg", flag_id)
    support = await signed_in(service, "support")
    fields = {"resolution": "honour", "reason": "They have waited for a week."}
    refused = await support.act(f"/admin/flags/{flag}/resolve", **fields)
    assert refused.status == 403
    assert "only an admin may, and the timeline will say so" in words(refused.body)
    assert (await support.act(f"/admin/flags/{flag}/resolve", **fields, override="true")).status == 403
    admin = await signed_in(service, "admin")
    for path in (f"/admin/flags/{flag}", f"/admin/orders/{order.order_id}/flags/{flag}"):
        unticked = await admin.act(f"{path}/resolve", **fields)
        assert unticked.status == 409
        assert "tick it only with proof of the money" in words(unticked.body)
    assert await service.status_of(order.order_id) == "cancelled"
    assert "Honoured" not in words((await admin.get(f"/admin/flags/{flag}?done=honour")).body)
    assert (await admin.act(f"/admin/flags/{flag}/resolve", **fields, override="true")).status == 303
    assert await service.status_of(order.order_id) == "paid"
    assert "Honoured" in words((await admin.get(f"/admin/flags/{flag}?done=honour")).body)


async def test_an_admin_honours_against_the_provider_from_the_order(service: Service) -> None:
    async with service.pool.acquire() as conn:
        account = await put_account(conn)
        order = await put_order(conn, account, status="failed", payment_id="79")
        flag_id = await put_flag(conn, account, "late_payment", order_id=order.order_id, payment_id="79")
    path = f"/admin/orders/{order.order_id}/flags/{ids.prefixed('flg', flag_id)}/resolve"
    fields = {"resolution": "honour", "reason": "The provider's case 90210 confirms it.", "override": "yes"}
    refused = await (await signed_in(service, "support")).act(path, **fields)
    assert (refused.status, await service.status_of(order.order_id)) == (403, "failed")
    assert "Your role does not allow this." in words(refused.body)
    done = await (await signed_in(service, "admin")).act(path, **fields)
    told = words(done.body)
    assert "Flag honoured." in told
    assert "Flag honoured: Late payment" in told
    assert "Failed became paid #3 override An operator honoured the ended order and overrode the" in told
    assert await service.status_of(order.order_id) == "paid"


async def test_a_viewer_sees_why_the_controls_rest_and_can_do_nothing(service: Service) -> None:
    async with service.pool.acquire() as conn:
        flag = await put_flag_of(conn, "unmatched")
    desk = await signed_in(service, "viewer")
    page = (await desk.get(f"/admin/flags/{flag}")).body.decode()
    assert '<fieldset class="stack" disabled>' in page
    assert "Your role, viewer, looks at everything and changes nothing." in page
    assert (await desk.act(f"/admin/flags/{flag}/resolve", resolution="dismissed", reason="x")).status == 403
    assert len(await service.rows("SELECT FROM flags WHERE state = 'open'")) == 1


async def test_no_flag_of_that_id_is_a_page_that_says_so(service: Service) -> None:
    desk = await signed_in(service, "support")
    missing = "flg_00000000-0000-7000-8000-000000000000"
    assert (await desk.get(f"/admin/flags/{missing}")).status == 404
    assert (
        await desk.act(f"/admin/flags/{missing}/resolve", resolution="dismissed", reason="x")
    ).status == 404


async def test_every_page_of_a_long_list_is_reached(service: Service) -> None:
    now = clock.utc_now()
    async with service.pool.acquire() as conn:
        flags = [
            await put_flag_of(conn, "unmatched", payment_id=str(n), at=now - timedelta(hours=200 - n))
            for n in range(60)
        ]
    desk = await signed_in(service, "viewer")
    first = (await desk.get("/admin/flags")).body.decode()
    following = first.split('rel="next"')[0].rsplit('href="', 1)[1].split('"')[0].replace("&amp;", "&")
    second = (await desk.get(following)).body.decode()
    seen = [flag for page in (first, second) for flag in flags if f"/admin/flags/{flag}" in page]
    assert seen == flags
    assert "First page" in second
    assert (await desk.get("/admin/flags?cursor=nonsense")).status == 400


async def test_orders_past_their_window_are_listed_oldest_first_and_swept(service: Service) -> None:
    customer = await service.customer()
    started = await customer.check_out()
    old = clock.utc_now() - timedelta(hours=30)
    await service.rows(
        "UPDATE orders SET created_at = $1, window_ends_at = $2 RETURNING 1", old, old + timedelta(hours=1)
    )
    desk = await signed_in(service, "support")
    told = words((await desk.get("/admin/stuck")).body)
    assert started["order_id"] in told
    assert "1 pending past their window and older than 1 h" in told
    assert "0 pending past their window and older than 48 h" in words(
        (await desk.get("/admin/stuck?older_than_hours=48")).body
    )
    swept = await desk.act("/admin/stuck/sweep", older_than_hours="1")
    assert swept.status == 303
    told = words((await desk.get(swept.headers["Location"])).body)
    assert "Swept: 1 retired, 0 healed because their money had come, 0 left as they are." in told
    assert "No order is pending past its window." in told
    assert (await desk.act("/admin/stuck/sweep", older_than_hours="9999")).status == 400
    assert urlencode({"older_than_hours": 1}) in swept.headers["Location"]
