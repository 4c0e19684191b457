"""Webhook endpoints in trouble, the dead-letter queue, and sending again."""

import re
from datetime import timedelta
from urllib.parse import urlencode

from crypto_orders.kit import clock, ids
from tests.admin.test_overview import words
from tests.support.operators import Desk, signed_in
from tests.support.seeded import put_account
from tests.support.service import Reply, Service
from tests.support.troubles import ATTACK, put_delivery, put_endpoint


async def send(desk: Desk, path: str, *fields: tuple[str, str]) -> Reply:
    """Send a form in which a name stands more than once."""
    sent = {"Sec_Fetch_Site": "same-origin", "Content_Type": "application/x-www-form-urlencoded"}
    return await desk.call("POST", path, urlencode([("csrf", await desk.csrf()), *fields]), **sent)


async def statuses(service: Service) -> list[str]:
    rows = await service.rows("SELECT status FROM webhook_deliveries ORDER BY status")
    return [row["status"] for row in rows]


async def test_endpoints_show_how_they_fare_and_the_failing_ones_alone_on_demand(service: Service) -> None:
    async with service.pool.acquire() as conn:
        account, other = await put_account(conn), await put_account(conn)
        await put_endpoint(conn, account, url="https://well.example.com/hook")
        await put_endpoint(conn, account, url="https://worse.example.com/hook", failures=3)
        await put_endpoint(conn, account, url="https://tried.example.com/hook", failed_at=clock.utc_now())
        gone = await put_endpoint(
            conn, other, url="https://gone.example.com/hook", disabled="the endpoint answered 410 Gone"
        )
        await put_delivery(conn, gone)
    desk = await signed_in(service, "viewer")
    everything = words((await desk.get("/admin/webhooks")).body)
    assert "Disabled the endpoint answered 410 Gone" in everything
    assert "well.example.com/hook Active" in everything
    assert "tried.example.com/hook Failing" in everything
    failing = words((await desk.get("/admin/webhooks?failing=true")).body)
    assert "well.example.com" not in failing
    assert "worse.example.com/hook Failing" in failing
    assert "tried.example.com/hook Failing" in failing
    assert "Failing 3" in failing
    assert "Failing webhooks 3 1 dead letter " in words((await desk.get("/admin")).body)
    mine = words((await desk.get(f"/admin/webhooks?account={ids.prefixed('acc', account)}")).body)
    assert "gone.example.com" not in mine
    assert (await desk.get("/admin/webhooks?account=nobody")).status == 400


async def test_an_endpoints_page_shows_every_attempt_and_what_strangers_wrote_as_text(
    service: Service,
) -> None:
    async with service.pool.acquire() as conn:
        endpoint = await put_endpoint(conn, await put_account(conn), url=f"https://example.com/{ATTACK}")
        delivery = await put_delivery(conn, endpoint, excerpt=ATTACK)
    desk = await signed_in(service, "viewer")
    reply = await desk.get(f"/admin/webhooks/{endpoint.public_id}")
    assert reply.status == 200
    page = reply.body.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{7*7}}" in page
    assert delivery in page
    assert "HTTP 500" in page
    none = words((await desk.get(f"/admin/webhooks/{endpoint.public_id}?status=delivered")).body)
    assert "Nothing matches Status: Delivered ." in none


async def test_a_window_is_counted_before_it_is_sent_again(service: Service) -> None:
    async with service.pool.acquire() as conn:
        endpoint = await put_endpoint(conn, await put_account(conn))
        await put_delivery(conn, endpoint)
        await put_delivery(conn, endpoint, at=clock.utc_now() - timedelta(days=3))
    desk = await signed_in(service, "support")
    path = f"/admin/webhooks/{endpoint.public_id}/replay"
    now = clock.utc_now()
    window = (
        ("since", f"{now - timedelta(days=1):%Y-%m-%dT%H:%M}"),
        ("until", f"{now + timedelta(minutes=2):%Y-%m-%dT%H:%M}"),
        ("statuses", "failed"),
        ("statuses", "dlq"),
    )
    counted = await send(desk, path, *window)
    assert counted.status == 200
    assert "1 delivery in this period. The customer's system receives each" in words(counted.body)
    confirming = counted.body.decode().split(f'action="{path}"')[2].partition("</form>")[0]
    assert re.findall(r'type="hidden" name="(?!csrf)(\w+)" value="([^"]*)"', confirming) == list(window)
    assert await statuses(service) == ["dlq", "dlq"]
    sent = await send(desk, path, *window, ("confirmed", "true"))
    assert sent.status == 303
    assert "1 delivery is queued and on its way." in words((await desk.get(sent.headers["Location"])).body)
    assert await statuses(service) == ["dlq", "pending"]
    empty = await send(desk, path, ("since", "2026-05-22T10:00"), ("until", "x"), ("statuses", "dlq"))
    assert empty.status == 400
    assert 'value="2026-05-22T10:00"' in empty.body.decode()
    assert "To: a time such as" in words(empty.body)


async def test_what_waits_for_an_endpoint_is_told_on_its_page_in_the_words_of_the_drawer(
    service: Service,
) -> None:
    later = clock.utc_now() + timedelta(minutes=4)
    async with service.pool.acquire() as conn:
        account = await put_account(conn)
        tried = await put_endpoint(conn, account, failed_at=clock.utc_now())
        await put_delivery(conn, tried, status="failed", due_at=later)
        await put_delivery(conn, tried, status="failed")
        paused = await put_endpoint(conn, account, paused=True)
        await put_delivery(conn, paused, status="pending", due_at=later)
        dead = await put_delivery(conn, paused)
        deleted = await put_endpoint(conn, account, deleted=True)
        await put_delivery(conn, deleted, status="pending")
        await put_delivery(conn, deleted)
    desk = await signed_in(service, "support")
    pages = [
        words((await desk.get(f"/admin/webhooks/{each.public_id}")).body) for each in (tried, paused, deleted)
    ]
    assert "test.ping Retrying, 1 of 6 HTTP 500" in pages[0]
    assert "test.ping Discarded HTTP 500" in pages[0]
    assert "0 delivered, 1 still to send, 0 dead letters" in pages[0]
    assert "0 delivered, 1 still to send, 1 dead letter " in pages[1]
    assert "Nothing is sent now: the endpoint is paused. What is still to send is kept" in pages[1]
    assert "test.ping Held HTTP 500 5 min ago 5 min ago 1 attempt" in pages[1], "no next attempt has a time"
    assert "test.ping Not sent HTTP 500" in pages[2]
    assert "nothing is sent to it again" in pages[2]
    assert "Send again" not in pages[2]
    assert "Send everything of a period again" not in pages[2]
    letters = words((await desk.get("/admin/webhooks/dlq")).body)
    assert letters.count("Requeue Discard") == 1
    assert "endpoint deleted Discard" in letters
    sent = await desk.act(f"/admin/webhooks/deliveries/{dead}/replay")
    told = words((await desk.get(sent.headers["Location"])).body)
    assert (
        f"{dead} is kept, and is sent when the customer resumes the endpoint: the endpoint is paused." in told
    )


async def test_dead_letters_for_a_disabled_endpoint_are_requeued_and_kept(service: Service) -> None:
    async with service.pool.acquire() as conn:
        disabled = await put_endpoint(conn, await put_account(conn), disabled="50 deliveries in a row failed")
        dead = [await put_delivery(conn, disabled) for _ in range(2)]
    desk = await signed_in(service, "support")
    done = await send(
        desk, "/admin/webhooks/dlq/selected", ("act", "requeue"), *(("selected", each) for each in dead)
    )
    told = words((await desk.get(done.headers["Location"])).body)
    assert "2 kept, to be sent when the customer resumes the endpoint." in told
    assert "sent again" not in told


async def test_one_delivery_is_sent_again_from_its_endpoints_page(service: Service) -> None:
    async with service.pool.acquire() as conn:
        endpoint = await put_endpoint(conn, await put_account(conn))
        delivery = await put_delivery(conn, endpoint, status="failed")
    desk = await signed_in(service, "support")
    sent = await desk.act(f"/admin/webhooks/deliveries/{delivery}/replay")
    assert sent.status == 303
    assert f"{delivery} is queued" in words((await desk.get(sent.headers["Location"])).body)
    assert await statuses(service) == ["pending"]


async def test_dead_letters_are_requeued_and_discarded_one_by_one_and_ticked_together(
    service: Service,
) -> None:
    async with service.pool.acquire() as conn:
        endpoint = await put_endpoint(conn, await put_account(conn))
        dead = [await put_delivery(conn, endpoint) for _ in range(4)]
    desk = await signed_in(service, "support")
    path = "/admin/webhooks/dlq/selected"
    page = (await desk.get("/admin/webhooks/dlq")).body.decode()
    assert all(delivery in page for delivery in dead)
    one = await send(desk, path, ("requeue", dead[0]), ("selected", dead[3]))
    assert "1 sent again." in words((await desk.get(one.headers["Location"])).body)
    both = await send(desk, path, ("act", "discard"), ("selected", dead[1]), ("selected", dead[2]))
    assert "2 taken off the queue." in words((await desk.get(both.headers["Location"])).body)
    assert await statuses(service) == ["dlq", "failed", "failed", "pending"]
    late = await send(desk, path, ("requeue", dead[0]))
    assert late.status == 409
    assert "The delivery is not in the dead-letter queue." in words(late.body)
    assert (await send(desk, path, ("act", "requeue"))).status == 400
    kept = await service.rows("SELECT action, result FROM audit_log WHERE target LIKE 'wdl_%' ORDER BY at")
    assert [(row["action"], row["result"]) for row in kept] == [
        ("requeue_dead_letter", "done"),
        ("discard_dead_letter", "done"),
        ("discard_dead_letter", "done"),
        ("requeue_dead_letter", "refused"),
    ]


async def test_a_window_of_dead_letters_is_counted_before_anything_is_done(service: Service) -> None:
    async with service.pool.acquire() as conn:
        endpoint = await put_endpoint(conn, await put_account(conn))
        for _ in range(3):
            await put_delivery(conn, endpoint)
    desk = await signed_in(service, "support")
    now = clock.utc_now()
    fields = {
        "since": f"{now - timedelta(days=1):%Y-%m-%dT%H:%M}",
        "until": f"{now + timedelta(minutes=2):%Y-%m-%dT%H:%M}",
        "act": "requeue",
    }
    counted = await desk.act("/admin/webhooks/dlq/window", **fields)
    assert "3 in this period. The next button sends 3." in words(counted.body)
    confirming = counted.body.decode().split('action="/admin/webhooks/dlq/window"')[2].partition("</form>")[0]
    fixed = re.findall(r'type="hidden" name="(?!csrf)(\w+)" value="([^"]*)"', confirming)
    assert dict(fixed) == fields, "the second button does what was counted, not what was typed since"
    assert await statuses(service) == ["dlq", "dlq", "dlq"]
    done = await desk.act("/admin/webhooks/dlq/window", **fields, confirmed="true")
    assert "3 sent again." in words((await desk.get(done.headers["Location"])).body)
    assert await statuses(service) == ["pending", "pending", "pending"]
    backwards = {**fields, "since": fields["until"], "until": fields["since"]}
    assert (await desk.act("/admin/webhooks/dlq/window", **backwards)).status == 400
