"""Accounts with their keys, and the products: made, changed and taken away with eyes open."""

import html
import re

from tests.admin.test_overview import words
from tests.admin.test_webhook_queues import send
from tests.support.operators import signed_in
from tests.support.service import Service
from tests.support.troubles import ATTACK

KEY = re.compile(r'data-copy="(ds_test_[a-z2-7]{32})"')


async def test_an_account_is_made_found_by_a_part_of_its_name_and_shown(service: Service) -> None:
    desk = await signed_in(service)
    for name in ("Harbor Labs", "Blue Harbour", "Ünïted & Söns"):
        assert (await desk.act("/admin/accounts", name=name)).status == 303
    found = words((await desk.get("/admin/accounts?name=harbo")).body)
    assert "Harbor Labs" in found
    assert "Blue Harbour" in found
    assert "Ünïted" not in found
    assert "Ünïted" in html.unescape(words((await desk.get("/admin/accounts?name=ünï")).body))
    assert "Harbor Labs" in words((await desk.get("/admin/accounts?name=ha")).body)
    assert "Nothing matches Name: nobody ." in words((await desk.get("/admin/accounts?name=nobody")).body)
    empty = await desk.act("/admin/accounts", name=" ", tier="gold")
    assert empty.status == 400
    assert 'value="gold"' in empty.body.decode()


async def test_a_key_is_shown_once_works_and_is_revoked_after_a_second_question(service: Service) -> None:
    desk = await signed_in(service)
    made = await desk.act("/admin/accounts", name=ATTACK)
    path = made.headers["Location"].partition("?")[0]
    reply = await send(
        desk, f"{path}/keys", ("scopes", "read:billing"), ("scopes", "read:webhooks"), ("label", ATTACK)
    )
    assert reply.status == 200
    page = reply.body.decode()
    found = KEY.search(page)
    assert found is not None
    assert "<script>alert" not in page
    assert found[1] not in (await desk.get(path)).body.decode()
    customer = service.client(found[1])
    assert (await customer.get("/v1/account/me")).status in {200, 404}
    assert (await customer.get("/v1/webhooks")).status == 200
    (key,) = await service.rows("SELECT key_id, scopes FROM api_keys WHERE label IS NOT NULL")
    assert key["scopes"] == ["read:billing", "read:webhooks"]
    revoke = f"{path}/keys/key_{key['key_id']}/revoke"
    asked = await desk.act(revoke)
    assert asked.status == 200
    assert "From the next request on it opens nothing" in words(asked.body)
    assert (await customer.get("/v1/webhooks")).status == 200
    other = (await desk.act("/admin/accounts", name="Other")).headers["Location"].partition("?")[0]
    elsewhere = f"{other}/keys/key_{key['key_id']}/revoke"
    assert (await desk.act(elsewhere, confirmed="true")).status == 404, "the key is not that account's"
    assert (await customer.get("/v1/webhooks")).status == 200
    assert (await desk.act(revoke, confirmed="true")).status == 303
    assert (await customer.get("/v1/webhooks")).status == 401


async def test_a_key_that_cannot_be_made_keeps_what_was_typed(service: Service) -> None:
    desk = await signed_in(service)
    made = await desk.act("/admin/accounts", name="Harbor Labs")
    path = made.headers["Location"].partition("?")[0]
    unknown = await send(desk, f"{path}/keys", ("scopes", "everything"), ("label", "for the shop"))
    assert unknown.status == 400
    assert "Unknown scope" in words(unknown.body)
    assert 'value="for the shop"' in unknown.body.decode()
    assert (await desk.act(f"{path}/keys", label="x")).status == 400
    assert (await send(desk, f"{path}/keys", ("scopes", "read"), ("expires", "soon"))).status == 400
    nobody = "/admin/accounts/acc_00000000-0000-4000-8000-000000000000"
    assert (await desk.get(nobody)).status == 404
    assert (await send(desk, f"{nobody}/keys", ("scopes", "read"))).status == 404


async def test_a_price_is_changed_after_it_was_told_that_open_orders_keep_theirs(service: Service) -> None:
    customer = await service.customer()
    await customer.check_out()
    desk = await signed_in(service)
    fields = {"price": "89.50", "currency": "USD", "active": "true"}
    asked = await desk.act("/admin/products/solo_manual", **fields)
    told = words(asked.body)
    assert "New orders cost 89.50 USD instead of 79.00 USD." in told
    assert "1 open orders keep the price they began with" in told
    assert (await service.rows("SELECT price_cents FROM products WHERE product = 'solo_manual'"))[0][
        "price_cents"
    ] == 7900
    done = await desk.act("/admin/products/solo_manual", **fields, confirmed="true")
    assert done.headers["Location"] == "/admin/products"
    shown = words((await desk.get("/admin/products")).body)
    assert "solo_manual is stored." in shown
    assert "89.50 USD" in shown
    gone = await desk.act("/admin/products/solo_manual", price="89.50", currency="USD", confirmed="true")
    assert gone.status == 303
    assert (await customer.post("/v1/billing/crypto-checkout", {"product": "solo_manual"})).status == 400
    for price in ("0", "-1", "1.5", "1,50", "9" * 12, "\uff11"):
        assert (await desk.act("/admin/products/solo_manual", price=price, currency="USD")).status == 400


async def test_a_product_is_added_once(service: Service) -> None:
    desk = await signed_in(service)
    fields = {"product": "api_tiny", "price": "9", "currency": "eur"}
    assert (await desk.act("/admin/products", **fields)).status == 303
    assert "9.00 EUR" in words((await desk.get("/admin/products")).body)
    again = await desk.act("/admin/products", **fields)
    assert again.status == 400
    assert "There is a product api_tiny already" in words(again.body)
    assert (await desk.act("/admin/products", product="Big One", price="9")).status == 400


async def test_support_and_viewers_look_at_the_catalogue_and_change_nothing(service: Service) -> None:
    admin = await signed_in(service)
    made = await admin.act("/admin/accounts", name="Harbor Labs")
    path = made.headers["Location"]
    assert (await send(admin, f"{path}/keys", ("scopes", "read"), ("label", "shop"))).status == 200
    (key,) = await service.rows("SELECT key_id FROM api_keys WHERE label = 'shop'")
    for role in ("support", "viewer"):
        desk = await signed_in(service, role)
        for screen in ("/admin/accounts", path, "/admin/products", "/admin/products/solo_manual"):
            shown = await desk.get(screen)
            assert shown.status == 200
            assert f"Your role, {role}," in words(shown.body)
            assert "This needs admin." in words(shown.body)
            assert '<fieldset class="stack" disabled>' in shown.body.decode()
        price = {"price": "1.00", "currency": "USD", "active": "true", "confirmed": "true"}
        tried = (
            await desk.act("/admin/accounts", name="Another"),
            await send(desk, f"{path}/keys", ("scopes", "read")),
            await desk.act(f"{path}/keys/key_{key['key_id']}/revoke", confirmed="true"),
            await desk.act("/admin/products", product="api_tiny", price="1.00"),
            await desk.act("/admin/products/solo_manual", **price),
        )
        assert [reply.status for reply in tried] == [403] * 5
        assert "This needs the role admin (admin:catalogue)" in words(tried[0].body)
    assert await service.rows("SELECT 1 FROM products WHERE price_cents = 100") == []
    assert await service.rows("SELECT 1 FROM api_keys WHERE revoked_at IS NOT NULL") == []
    assert await service.rows("SELECT 1 FROM accounts WHERE name = 'Another'") == []
