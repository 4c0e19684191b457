"""The inbox of the provider's facts, and the audit trail: what came, and who did what."""

from html import escape

from crypto_orders.store.connection import Pool
from tests.admin.test_overview import words
from tests.support.operators import signed_in
from tests.support.service import Service
from tests.support.troubles import ATTACK, put_flag_of, put_notification


async def test_a_fact_is_found_by_its_payment_order_and_verdict_with_its_payload_as_text(
    service: Service,
) -> None:
    async with service.pool.acquire() as conn:
        await put_notification(conn, f'{{"payment_id": "4999", "note": "{ATTACK}"}}', claims=ATTACK)
        other = await put_notification(conn, "{}" + " " * 3000 + "the end", payment_id="990000005000")
    desk = await signed_in(service, "viewer")
    reply = await desk.get("/admin/inbox?payment_id=+4999+")
    page = reply.body.decode()
    assert "<script>alert" not in page
    assert escape(ATTACK.partition("'")[0]) in page
    told = words(reply.body)
    assert "Unmatched nobody knows it" in told
    assert "signature matched the canonical form" in told
    assert "990000005000" not in told
    assert "Nothing matches Verdict: Applied ." in words(
        (await desk.get("/admin/inbox?verdict=applied")).body
    )
    everything = (await desk.get("/admin/inbox")).body.decode()
    assert "the end" not in everything
    assert "The whole payload" in everything
    assert "the end" in (await desk.get(f"/admin/inbox/{other}")).body.decode()
    missing = "/admin/inbox/00000000-0000-7000-8000-000000000000"
    assert (await desk.get(missing)).status == 404


async def test_the_audit_trail_is_narrowed_by_actor_action_and_target(service: Service) -> None:
    async with service.pool.acquire() as conn:
        flag = await put_flag_of(conn, "unmatched")
    support = await signed_in(service, "support")
    await support.act(f"/admin/flags/{flag}/resolve", resolution="dismissed", reason=ATTACK)
    await (await signed_in(service)).act("/admin/accounts", name="Harbor Labs")
    desk = await signed_in(service, "viewer")
    reply = await desk.get(f"/admin/audit?target={flag}")
    told = words(reply.body)
    assert "op:support@example.com" in told
    assert "resolve_flag" in told
    assert "<script>alert" not in reply.body.decode()
    assert f'href="/admin/flags/{flag}"' in reply.body.decode()
    assert "create_account" not in told
    by_action = words((await desk.get("/admin/audit?action=create_account")).body)
    assert "Harbor Labs" in by_action
    [made] = await service.rows("SELECT account_id FROM accounts WHERE name = 'Harbor Labs'")
    assert f"acc_{made['account_id']} " in by_action
    by_actor = words((await desk.get("/admin/audit?actor=op%3Aviewer%40example.com")).body)
    assert "resolve_flag" not in by_actor
    assert "operator.sign_in" in by_actor


async def test_looking_for_a_verdict_that_takes_too_long_says_what_to_add(
    service: Service, owner_pool: Pool
) -> None:
    desk = await signed_in(service, "viewer")
    # What no fact has is looked for in all of them; here the first of them keeps it waiting as long.
    async with owner_pool.acquire() as conn:
        await conn.execute("BEGIN; LOCK TABLE notifications IN ACCESS EXCLUSIVE MODE")
        reply = await desk.get("/admin/inbox?verdict=applied")
        await conn.execute("ROLLBACK")
    assert reply.status == 200
    told = words(reply.body)
    assert "Looking for this verdict took too long. Name a payment or an order, too." in told
    assert b'crypto-orders-ops-runbook#refused-now"' in reply.body
