"""What the admin API refuses to a known key is in the audit trail, once; what strangers send is not."""

import re
from typing import Any

from crypto_orders import app
from crypto_orders.kit.http import route_name
from tests.support.service import Client, Reply, Service

SECRET = "a secret in the body"
EXAMPLES = {
    "order_id": "ord_01m81snwfmepmt09t680xmeame",
    "flag_id": "flg_00000000-0000-7000-8000-000000000000",
    "webhook_id": "whk_00000000-0000-7000-8000-000000000000",
    "delivery_id": "wdl_00000000-0000-7000-8000-000000000000",
    "account_id": "acc_00000000-0000-7000-8000-000000000000",
    "key_id": "key_00000000-0000-7000-8000-000000000000",
    "product": "solo_manual",
}
WRITES = [
    (each.method, re.sub(r"\{(\w+)\}", lambda found: EXAMPLES[found[1]], route_name(each.path)))
    for each in app.API_ENDPOINTS
    if each.path.startswith("/v1/admin/") and each.method not in {"GET", "HEAD"}
]


async def sent(client: Client, method: str, path: str, body: str, **headers: str) -> Reply:
    """What is answered to a body that is sent as it is."""
    named = {**client.headers, "Content-Type": "application/json", **headers}
    async with client.session.request(method, client.origin + path, headers=named, data=body) as reply:
        return Reply(reply.status, await reply.read(), reply.headers)


async def rows_of(service: Service, reply: Reply) -> list[dict[str, Any]]:
    """What a request left in the audit trail."""
    return await service.rows(
        """SELECT actor, action, target, request::text AS request, result, detail->>'why' AS why,
                  remote_addr, audit_log::text AS whole
             FROM audit_log WHERE request_id = $1""",
        reply.headers["x-request-id"],
    )


async def test_every_malformed_action_leaves_one_row_without_its_body(service: Service) -> None:
    admin = await service.admin()
    assert len(WRITES) > 10
    for method, path in WRITES:
        reply = await sent(admin, method, path, f'{{"reason": "{SECRET}", "name": [')
        assert reply.status in {400, 404}, (method, path, reply.body)
        [row] = await rows_of(service, reply)
        assert row["actor"].startswith("key_"), path
        assert (row["result"], row["remote_addr"]) in {("refused", "127.0.0.1"), ("not_found", "127.0.0.1")}
        assert SECRET not in row["whole"], path


async def test_a_malformed_action_names_its_route_and_what_it_was_about(service: Service) -> None:
    admin, order_id = await service.admin(), EXAMPLES["order_id"]
    path = f"/v1/admin/crypto-orders/{order_id}/apply-ipn"
    [row] = await rows_of(service, await sent(admin, "POST", path, "[1"))
    assert (row["action"], row["target"]) == (
        "admin.request",
        "POST /v1/admin/crypto-orders/{order_id}/apply-ipn",
    )
    assert (row["request"], row["why"]) == (f'{{"order_id": "{order_id}"}}', "bad-request")
    too_long = await sent(admin, "POST", path, f'{{"payment_id": "{"1" * 129}", "provider_status": "x"}}')
    assert [row["why"] for row in await rows_of(service, too_long)] == ["bad-request"]
    [odd] = await rows_of(service, await sent(admin, "POST", "/v1/admin/flags/none/resolve", "{}"))
    assert (odd["target"], odd["request"]) == ("POST /v1/admin/flags/{flag_id}/resolve", "{}")
    huge = await sent(admin, "POST", path, " " * 70_000)
    assert [row["why"] for row in await rows_of(service, huge)] == ["payload-too-large"]


async def test_a_key_without_the_scope_leaves_a_denial_for_looks_and_actions(service: Service) -> None:
    reader, nobody = await service.admin("admin:read"), await service.customer()
    for method, path in WRITES:
        reply = await sent(reader, method, path, "{}")
        assert reply.status == 403
        assert [(row["result"], row["why"]) for row in await rows_of(service, reply)] == [
            ("denied", "lacks admin:write")
        ]
    look = await nobody.get("/v1/admin/audit-log")
    [row] = await service.rows(
        "SELECT result, account_id FROM audit_log WHERE request_id = $1", look.headers["x-request-id"]
    )
    assert row == {"result": "denied", "account_id": nobody.account_id}
    assert await rows_of(service, await nobody.post("/v1/billing/crypto-checkout", {})) == []


async def test_a_customers_key_cannot_fill_the_table(service: Service) -> None:
    customer = await service.customer()
    for _ in range(25):
        assert (await customer.get("/v1/admin/flags")).status == 403
    denied = await service.rows("SELECT FROM audit_log WHERE result = 'denied'")
    assert 10 <= len(denied) <= 12


async def test_who_has_no_valid_key_leaves_nothing(service: Service) -> None:
    revoked = await service.admin()
    [key] = await service.rows("SELECT key_id FROM api_keys")
    admin = await service.admin()
    assert (await admin.call("DELETE", f"/v1/admin/keys/key_{key['key_id']}")).status < 300
    before = await service.rows("SELECT FROM audit_log")
    for method, path in WRITES:
        for client in (service.client(), service.client("ds_admin_" + "a" * 32), revoked):
            assert (await sent(client, method, path, "{}")).status == 401
    assert len(await service.rows("SELECT FROM audit_log")) == len(before)


async def test_a_look_with_a_wrong_filter_is_no_action_but_an_export_is(service: Service) -> None:
    admin = await service.admin()
    assert await rows_of(service, await admin.get("/v1/admin/crypto-orders?limit=0")) == []
    done = await admin.get("/v1/admin/crypto-orders.csv?status=paid&created_after=2026-05-22T10:00:00Z")
    assert done.status == 200
    [row] = await rows_of(service, done)
    assert (row["action"], row["result"]) == ("export_orders", "begun")
    assert row["request"] == '{"status": "paid", "created_after": "2026-05-22T10:00:00Z"}'
    for query in (
        "search=ab",
        "account_id=nobody",
        "created_after=2026-05-22T10:00:00Z&created_before=2026-05-21T10:00:00Z",
    ):
        refused = await admin.get(f"/v1/admin/crypto-orders.csv?{query}")
        assert refused.status == 400
        [row] = await rows_of(service, refused)
        assert (row["action"], row["result"], row["why"]) == ("export_orders", "refused", "bad-request")


async def test_a_refusal_that_kept_its_own_row_is_not_kept_twice(service: Service) -> None:
    admin = await service.admin()
    body = {
        "payment_id": "4711",
        "provider_status": "finished",
        "override": True,
        "reason": "seen in the mail",
    }
    reply = await admin.post(f"/v1/admin/crypto-orders/{EXAMPLES['order_id']}/apply-ipn", body)
    assert reply.status == 404
    [row] = await rows_of(service, reply)
    assert (row["action"], row["result"]) == ("apply_ipn", "not_found")
