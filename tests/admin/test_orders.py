"""The list of orders, one order's drawer and page, and what support does there, over HTTP."""

import csv
import html
import io
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crypto_orders.admin.runbook import SECTIONS
from crypto_orders.store.connection import Pool
from tests.support.operators import signed_in
from tests.support.seeded import DAY, Put, put_account, put_flag, put_order, put_payment
from tests.support.service import Customer, Reply, Service, eventually

ORDERS = "/admin/orders"
RUNBOOK = Path(__file__).parents[2] / "src/crypto_orders/docs/pages/crypto-orders-ops-runbook.md"
TEMPLATES = Path(__file__).parents[2] / "src/crypto_orders/admin/templates"
HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(1)>{{7*7}}${7*7}"""

_TAG = re.compile(r"<[^>]*>")


def words(reply: Reply) -> str:
    """What a page says, without its tags."""
    return " ".join(html.unescape(_TAG.sub(" ", reply.body.decode())).split())


def listed(reply: Reply) -> list[str]:
    """The orders in the rows of a list, in their order."""
    return re.findall(r'<tr data-order="(ord_[0-9a-z]{26})"', reply.body.decode())


def links(reply: Reply) -> list[str]:
    """Every address that a page links."""
    return [html.unescape(link) for link in re.findall(r'href="([^"]*)"', reply.body.decode())]


async def put(pool: Pool, **values: Any) -> Put:
    """An order of an account of its own."""
    async with pool.acquire() as conn:
        return await put_order(conn, await put_account(conn), **values)


async def started(service: Service, key: str = "k-1", **body: Any) -> tuple[Customer, str, str]:
    """An order that waits for its payer: its customer, its id and its payment."""
    customer = await service.customer()
    order = await customer.check_out(key, **body)
    rows = await service.rows("SELECT payment_id FROM orders WHERE order_id = $1", order["order_id"])
    return customer, order["order_id"], rows[0]["payment_id"]


async def paid_unheard(service: Service) -> tuple[str, str]:
    """An order that the provider knows to be paid, while its notifications were lost."""
    assert (await service.sandbox.post("/sandbox/faults", {"drop_ipns": 1})).status == 200
    _, order_id, payment_id = await started(service)
    assert (await service.sandbox.post(f"/sandbox/payments/{payment_id}/pay")).status == 202

    async def finished() -> bool:
        told = (await service.sandbox.get(f"/v1/payment/{payment_id}")).json
        return told["payment_status"] == "finished"

    await eventually(finished)
    return order_id, payment_id


# ------------------------------------------------------------------ the list


async def test_an_order_is_found_by_any_of_its_payments(service: Service, pool: Pool) -> None:
    wanted = await put(pool, payment_id="5077125051", status="paid")
    async with pool.acquire() as conn:
        await put_payment(conn, wanted.account_id, wanted.order_id, "5077125052", parent="5077125051")
    await put(pool, at=DAY + timedelta(hours=1))
    desk = await signed_in(service)
    for payment_id in ("5077125051", "5077125052", "%205077125051%20"):
        assert listed(await desk.get(f"{ORDERS}?payment_id={payment_id}")) == [wanted.order_id]


async def test_the_list_shows_what_support_looks_for_and_links_each_order(
    service: Service, pool: Pool
) -> None:
    order = await put(pool, status="paid", payment_id="91", cents=119_900)
    async with pool.acquire() as conn:
        await conn.execute("UPDATE payments SET actually_paid = 0.01106255 WHERE payment_id = '91'")
        await put_flag(conn, order.account_id, "overpaid", order_id=order.order_id, payment_id="91")
    desk = await signed_in(service)
    reply = await desk.get(f"{ORDERS}?status=paid")
    for text in ("1,199.00 USD", "0.01106255 BTC", "Paid", "An account", "solo_manual", "Status: paid"):
        assert text in words(reply)
    assert 'aria-label="Open flags: Overpaid"' in reply.body.decode()
    assert f"{ORDERS}?status=paid&order={order.order_id}" in links(reply)
    assert ORDERS in links(reply), "the chip takes the filter off"
    assert "HX-Request" in reply.headers["vary"]


async def test_tabs_count_all_orders_by_status_and_those_with_open_flags(
    service: Service, pool: Pool
) -> None:
    flagged = await put(pool, status="failed")
    await put(pool, status="paid")
    await put(pool)
    async with pool.acquire() as conn:
        for kind in ("late_payment", "overpaid"):
            await put_flag(conn, flagged.account_id, kind, order_id=flagged.order_id)
    desk = await signed_in(service)
    reply = await desk.get(ORDERS)
    expected = "All 3 Needs attention 1 Pending 1 Confirming 0 Partial 0 Paid 1 Failed 1 Cancelled 0"
    assert expected in words(reply)
    assert listed(await desk.get(f"{ORDERS}?flag=any")) == [flagged.order_id]
    assert listed(await desk.get(f"{ORDERS}?flag=overpaid")) == [flagged.order_id]
    assert listed(await desk.get(f"{ORDERS}?flag=stuck")) == []


async def test_pages_follow_each_other_and_lead_back(service: Service, pool: Pool) -> None:
    async with pool.acquire() as conn:
        account_id = await put_account(conn)
        puts = [await put_order(conn, account_id, at=DAY + timedelta(hours=n)) for n in range(3)]
    desk = await signed_in(service)
    first = await desk.get(f"{ORDERS}?limit=2&product=solo_manual")
    assert b'<input type="hidden" name="limit" value="2">' in first.body, "the form keeps the size of pages"
    older = next(link for link in links(first) if "cursor=" in link and "order=" not in link)
    second = await desk.get(older)
    assert listed(first) + listed(second) == [each.order_id for each in puts[::-1]]
    assert f"{ORDERS}?product=solo_manual&limit=2" in links(second), "back to the newest"
    assert f"{older}&order={puts[0].order_id}" in links(second), "a drawer opens beside this page"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("created_after=2026-05-22", 2),
        ("created_after=2026-05-23", 1),
        ("created_before=2026-05-22", 1),
        ("created_after=2026-05-22+00:30", 1),
        ("created_after=2026-05-22T00:00:00Z&created_before=2026-05-23T00:00:00%2B00:00", 1),
    ],
)
async def test_spans_take_days_and_times_in_utc(service: Service, pool: Pool, query: str, found: int) -> None:
    await put(pool)
    await put(pool, at=DAY + timedelta(hours=24))
    reply = await (await signed_in(service)).get(f"{ORDERS}?{query}")
    assert reply.status == 200
    assert len(listed(reply)) == found


async def test_a_filter_that_cannot_be_read_is_told_beside_its_field(service: Service, pool: Pool) -> None:
    await put(pool)
    desk = await signed_in(service)
    query = "created_after=yesterday&status=bought&account_id=acme&search=abc&flag=red&limit=x&cursor=y"
    reply = await desk.get(f"{ORDERS}?{query}")
    page = reply.body.decode()
    assert reply.status == 400
    assert listed(reply) == []
    for name in ("created_after", "status", "account_id", "flag"):
        assert f'aria-describedby="fault-{name}"' in page
        assert f'id="fault-{name}"' in page
    assert 'value="yesterday"' in page
    assert "Nothing was searched" in words(reply)
    swapped = await desk.get(f"{ORDERS}?created_after=2026-05-22&created_before=2026-05-21")
    assert "Must be later than From." in words(swapped)


async def test_an_empty_search_says_which_filter_hid_what(service: Service, pool: Pool) -> None:
    await put(pool, status="paid", payment_id="77")
    desk = await signed_in(service)
    reply = await desk.get(f"{ORDERS}?payment_id=77&status=failed&product=solo_manual")
    told = words(reply)
    assert "Without “Status: failed” there are orders: this filter hides them." in told
    assert "Without “Payment ID: 77” there are none either." in told
    assert "Without “Product: solo_manual” there are none either." in told
    assert f"{ORDERS}?payment_id=77&product=solo_manual" in links(reply)
    assert "/admin/inbox?payment_id=77" in links(reply)
    assert f"{ORDERS}?payment_id=775" in links(await desk.get(f"{ORDERS}?search=775"))


async def test_a_short_search_says_how_far_it_went(service: Service, pool: Pool) -> None:
    await put(pool, note="xy")
    reply = await (await signed_in(service)).get(f"{ORDERS}?search=xy")
    assert len(listed(reply)) == 1
    assert "it was looked for in the newest 20,000 orders" in words(reply)
    assert not [link for link in links(reply) if link.startswith(f"{ORDERS}.csv")]


async def test_the_export_is_what_is_on_screen_and_is_audited(service: Service, pool: Pool) -> None:
    for hour in range(3):
        await put(pool, at=DAY + timedelta(hours=hour), status="paid" if hour else "failed")
    desk = await signed_in(service)
    shown = await desk.get(f"{ORDERS}?status=paid&limit=1&created_after=2026-05-22")
    (address,) = [link for link in links(shown) if link.startswith(f"{ORDERS}.csv")]
    reply = await desk.get(address)
    assert reply.headers["content-disposition"] == 'attachment; filename="crypto-orders.csv"'
    rows = list(csv.DictReader(io.StringIO(reply.body.decode(), newline="")))
    whole = await desk.get(f"{ORDERS}?status=paid&created_after=2026-05-22")
    assert [row["order_id"] for row in rows] == listed(whole)
    assert len(rows) == 2
    kept = await service.rows(
        "SELECT actor, request::text AS request FROM audit_log WHERE action = 'export_orders'"
    )
    assert [row["actor"] for row in kept] == ["op:admin@example.com"]
    assert '"status": "paid"' in kept[0]["request"]
    assert b" download " not in shown.body, "a refusal is a page, never a file that passes for the orders"
    assert (await desk.get(f"{ORDERS}.csv?search=xy")).status == 400
    assert (await desk.get(f"{ORDERS}.csv?status=bought")).status == 400


# ------------------------------------------------------------------ one order


async def test_an_order_is_a_page_a_fragment_and_a_drawer_of_the_list(service: Service) -> None:
    _, order_id, payment_id = await started(service)
    desk = await signed_in(service)
    page, fragment = await desk.get(f"{ORDERS}/{order_id}"), await desk.get(f"{ORDERS}/{order_id}/drawer")
    assert page.body.startswith(b"<!doctype html>")
    assert not fragment.body.lstrip().startswith(b"<!doctype")
    beside = await desk.get(f"{ORDERS}?status=pending&order={order_id}")
    assert b'aria-label="Order" open>' in beside.body, "without scripts the drawer is open"
    for reply in (page, fragment, beside):
        told = words(reply)
        for text in (order_id, payment_id, "79.00 USD", "Waiting for the payer.", "Order started", "k-1"):
            assert text in told
    (address,) = {link for link in links(page) if "/pay/" in link}
    assert (await desk.get(address.removeprefix(service.base_url))).status == 200
    assert "There is no order" in words(await desk.get(f"{ORDERS}?order=ord_{'0' * 26}"))
    assert (await desk.get(f"{ORDERS}/ord_{'0' * 26}")).status == 404
    assert (await desk.get(f"{ORDERS}/nonsense")).status == 404


async def test_money_is_told_exactly_with_what_came_late(service: Service, pool: Pool) -> None:
    order = await put(pool, status="failed", payment_id="91")
    async with pool.acquire() as conn:
        await conn.execute("UPDATE payments SET actually_paid = 0.00079001 WHERE payment_id = '91'")
        await put_payment(conn, order.account_id, order.order_id, "92", parent="91")
        await conn.execute("UPDATE payments SET actually_paid = 0.00000009 WHERE payment_id = '92'")
        await put_flag(conn, order.account_id, "late_payment", order_id=order.order_id, payment_id="91")
    reply = await (await signed_in(service)).get(f"{ORDERS}/{order.order_id}")
    told = words(reply)
    assert "Expected 0.00079 BTC Received 0.0007901 BTC Arrived late 0.00079001 BTC" in told
    assert "further deposit on 91" in told
    assert "Money came after the order had ended." in told
    assert "/docs/crypto-orders-ops-runbook#flag-late_payment" in links(reply)


async def test_the_live_part_comes_only_when_something_changed(service: Service) -> None:
    _, order_id, _ = await started(service)
    desk = await signed_in(service)
    shown = await desk.get(f"{ORDERS}/{order_id}/drawer")
    (address,) = re.findall(r'hx-get="([^"]*/live[^"]*)"', shown.body.decode())
    address = html.unescape(address)
    assert (await desk.get(address, HX_Request="true", X_Background="1")).status == 204
    await service.rows("UPDATE orders SET product = 'team_manual' WHERE order_id = $1", order_id)
    changed = await desk.get(address, HX_Request="true", X_Background="1")
    assert changed.status == 200
    assert b'id="order-status" hx-swap-oob="true"' in changed.body
    assert f'<span id="received-{order_id}" hx-swap-oob="true">' in changed.body.decode()
    assert f'<span id="received-{order_id}">' in (await desk.get(ORDERS)).body.decode()
    assert b"<textarea" not in changed.body, "nothing that somebody types in is replaced"


async def test_hostile_texts_are_shown_as_texts(service: Service, pool: Pool) -> None:
    order = await put(pool, note=HOSTILE, internal_note=HOSTILE, status="paid", payment_id="91")
    async with pool.acquire() as conn:
        await conn.execute(
            "UPDATE payments SET pay_address = $1, payin_hash = $1, network = $1 WHERE payment_id = '91'",
            HOSTILE,
        )
        await conn.execute(
            "INSERT INTO notifications (notification_id, via, digest, body, matched_form, payment_id,"
            " payment_status, order_id, received_at, last_seen_at, verdict) VALUES (gen_random_uuid(), 'ipn',"
            " sha256('x'), convert_to($2, 'UTF8'), 'raw', '91', $2, $1, now(), now(), 'applied')",
            order.order_id,
            HOSTILE,
        )
        await conn.execute("UPDATE accounts SET name = left($1, 200)", HOSTILE)
    desk = await signed_in(service)
    for path in (f"{ORDERS}/{order.order_id}", f"{ORDERS}?order={order.order_id}&search={HOSTILE[:20]}"):
        page = (await desk.get(path)).body.decode()
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "{{7*7}}" in page
        assert "&lt;script&gt;" in page


# ------------------------------------------------------------------ actions


async def test_asking_the_provider_heals_a_lost_notification(service: Service) -> None:
    order_id, _ = await paid_unheard(service)
    desk = await signed_in(service, "support")
    reply = await desk.act(f"{ORDERS}/{order_id}/ask")
    told = words(reply)
    assert reply.status == 200
    assert "Applied. The provider's word moved the order." in told
    assert "Ours now The provider says Status finished (paid) finished (paid)" in told
    assert "via poll" in told
    assert await service.status_of(order_id) == "paid"
    again = await desk.act(f"{ORDERS}/{order_id}/ask")
    assert "Asked less than a minute ago." in words(again)
    assert "/docs/crypto-orders-ops-runbook#stuck-in-pending" not in links(again), "it is paid"


async def test_a_replay_that_the_provider_confirms_moves_the_order(service: Service) -> None:
    order_id, payment_id = await paid_unheard(service)
    desk = await signed_in(service, "support")
    form = {"payment_id": payment_id, "provider_status": "finished", "reason": "Lost, ticket 4711."}
    token = {"csrf": await desk.csrf(), "shown_in": "drawer"}
    reply = await desk.send(f"{ORDERS}/{order_id}/replay", {**token, **form}, HX_Request="true")
    told = words(reply)
    assert reply.status == 200
    assert not reply.body.lstrip().startswith(b"<!doctype"), "the drawer alone"
    assert "Applied." in told
    assert "You said finished (paid) finished (paid) Status finished (paid) finished (paid)" in told
    assert (
        "Pending became paid #2 By an operator's replay, confirmed by the provider: finished , payment"
        in told
    )
    assert "via operator · by op:support@example.com" in told
    assert "“Lost, ticket 4711.”" in told
    assert await service.status_of(order_id) == "paid"


async def test_a_replay_that_the_provider_denies_says_why_and_keeps_what_was_typed(
    service: Service,
) -> None:
    _, order_id, payment_id = await started(service)
    desk = await signed_in(service, "support")
    form = {"payment_id": payment_id, "provider_status": "finished", "reason": HOSTILE}
    reply = await desk.act(f"{ORDERS}/{order_id}/replay", **form)
    page = reply.body.decode()
    assert reply.status == 409
    assert "The provider says otherwise." in words(reply)
    assert "You said finished (paid) waiting (pending) differs Status waiting (pending) waiting" in words(
        reply
    )
    assert "/docs/crypto-orders-ops-runbook#override" in links(reply)
    assert HOSTILE in html.unescape(page)
    assert "<script>alert" not in page
    assert '<details class="act" id="replay" open>' in page
    assert '<option value="finished" selected>' in page
    assert await service.status_of(order_id) == "pending"
    other = await desk.act(f"{ORDERS}/{order_id}/replay", **{**form, "other_payment_id": "999"})
    assert other.status == 409
    assert "The provider does not know this payment." in words(other)


async def test_an_override_takes_the_admin_role_and_a_reason(service: Service) -> None:
    _, order_id, payment_id = await started(service)
    path = f"{ORDERS}/{order_id}/replay"
    form = {"payment_id": payment_id, "provider_status": "finished", "override": "yes"}
    support, admin = await signed_in(service, "support"), await signed_in(service, "admin")
    shown = await support.get(f"{ORDERS}/{order_id}")
    assert b'name="override" value="yes" disabled aria-describedby="override-why"' in shown.body
    assert "It takes the role admin (admin:override); yours is support." in words(shown)
    denied = await support.act(path, **form, reason="The provider's case 90210 confirms it.")
    assert denied.status == 403
    assert "It takes the role admin (admin:override)." in words(denied)
    short = await admin.act(path, **form, reason="because")
    assert short.status == 400
    assert "An override needs a reason of at least 10 characters." in words(short)
    assert await service.status_of(order_id) == "pending"
    done = await admin.act(path, **form, reason="The provider's case 90210 confirms it.")
    assert done.status == 200
    assert "override" in words(done)
    assert await service.status_of(order_id) == "paid"
    kept = await service.rows("SELECT actor, result FROM audit_log WHERE action = 'apply_ipn' ORDER BY at")
    assert [row["actor"] for row in kept] == ["op:support@example.com", *["op:admin@example.com"] * 2]


async def test_the_internal_note_is_kept_changed_and_taken_away(service: Service, pool: Pool) -> None:
    order = await put(pool, note="mine")
    desk = await signed_in(service, "support")
    path = f"{ORDERS}/{order.order_id}/note"
    reply = await desk.act(path, internal_note="Called\r\nthem.")
    assert reply.status == 200
    assert b">Called\nthem.</textarea>" in reply.body
    long = await desk.act(path, internal_note="n" * 2001)
    assert long.status == 400
    told = "This cannot be taken. The note may have at most 2000 characters; this one has 2001."
    assert told in words(long)
    assert b"n" * 2001 in long.body
    colleague = await desk.act(path, internal_note="Mine.", replaced="00" * 32)
    assert colleague.status == 409
    assert "Somebody changed the note since you read it. Your text is kept below;" in words(colleague)
    assert "keeping it again replaces theirs." in words(colleague)
    assert "Kept now: “Called them.”. Keeping yours replaces it." in words(colleague)
    (shown,) = re.findall(r'name="replaced" value="(\w+)"', colleague.body.decode())
    assert (await desk.act(path, internal_note="Mine.", replaced=shown)).status == 200
    assert "There is none now." in words(await desk.act(path, internal_note=""))
    rows = await service.rows("SELECT internal_note, customer_note FROM orders")
    assert rows == [{"internal_note": None, "customer_note": "mine"}]


async def test_a_flag_is_resolved_once_with_a_reason(service: Service, pool: Pool) -> None:
    order, other = await put(pool, status="failed"), await put(pool)
    async with pool.acquire() as conn:
        flag_id = await put_flag(conn, order.account_id, "redeposit", order_id=order.order_id)
    desk = await signed_in(service, "support")
    path = f"{ORDERS}/{order.order_id}/flags/flg_{flag_id}/resolve"
    shown = await desk.get(f"{ORDERS}/{order.order_id}")
    assert b'value="honour"' not in shown.body, "a redeposit cannot be honoured"
    nothing = await desk.act(path)
    assert nothing.status == 400
    assert "Choose how the flag is resolved." in words(nothing)
    lacking = await desk.act(path, resolution="credited", reason="Sent the fee twice.")
    assert lacking.status == 400
    assert "A credit needs the reference it was booked under." in words(lacking)
    assert b">Sent the fee twice.</textarea>" in lacking.body
    elsewhere = await desk.act(
        f"{ORDERS}/{other.order_id}/flags/flg_{flag_id}/resolve", resolution="dismissed", reason="x"
    )
    assert elsewhere.status == 404
    done = await desk.act(path, resolution="credited", reason="Sent the fee twice.", reference="CR-1")
    assert "Flag credited." in words(done)
    assert "by op:support@example.com: “Sent the fee twice.” · CR-1" in words(done)
    again = await desk.act(path, resolution="dismissed", reason="Once more.")
    assert again.status == 409
    assert "The flag is resolved already." in words(again)


async def test_a_viewer_looks_and_changes_nothing(service: Service, pool: Pool) -> None:
    order = await put(pool)
    desk = await signed_in(service, "viewer")
    shown = await desk.get(f"{ORDERS}/{order.order_id}")
    assert "Your role looks at everything and changes nothing" in words(shown)
    assert b"internal-note" not in shown.body
    for action in ("ask", "replay", "note"):
        assert (await desk.act(f"{ORDERS}/{order.order_id}/{action}")).status == 403
    assert (await desk.act("/admin/stuck/sweep", older_than_hours="1")).status == 403


async def test_the_list_leads_to_the_sweep_that_counts_first(service: Service) -> None:
    desk = await signed_in(service, "support")
    assert 'href="/admin/stuck#sweep-title"' in (await desk.get(ORDERS)).body.decode()
    assert (await desk.get(f"{ORDERS}/sweep")).status == 404


async def test_actions_on_an_order_that_is_not_there_are_not_found(service: Service) -> None:
    desk = await signed_in(service)
    for action in ("ask", "note"):
        assert (await desk.act(f"{ORDERS}/ord_{'0' * 26}/{action}")).status == 404


# ------------------------------------------------------------------ the runbook


def test_every_section_that_is_linked_stands_in_the_runbook() -> None:
    anchors = set(re.findall(r"\{#([a-z_-]+)\}", RUNBOOK.read_text()))
    linked = {
        anchor
        for template in TEMPLATES.glob("order*.html")
        for anchor in re.findall(r"/docs/crypto-orders-ops-runbook#([a-z_-]+)", template.read_text())
    }
    assert set(SECTIONS) | linked <= anchors


async def test_a_failure_of_what_a_script_sent_leaves_the_form_where_it_is(service: Service) -> None:
    desk = await signed_in(service, "viewer")
    form = {"csrf": await desk.csrf(), "internal_note": "typed for long"}
    path = f"{ORDERS}/ord_01h2xcejqtf2nbrexx3vqjhp41/note"
    refused = await desk.send(path, form, HX_Request="true")
    assert refused.status == 403
    assert refused.headers["hx-retarget"] == "#order > .within"
    assert refused.headers["hx-reswap"] == "afterbegin"
    assert "<html" not in refused.body.decode()
    assert 'role="alert"' in refused.body.decode()
    whole = await desk.send(path, form)
    assert "hx-retarget" not in whole.headers
    assert "<html" in whole.body.decode()
