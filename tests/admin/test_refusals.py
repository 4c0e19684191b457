"""Whatever the admin's screens refuse an operator is kept once, small, and says where to read on."""

from typing import Any

from crypto_orders.store.connection import Pool
from crypto_orders.usecases.access import USUAL_TRIES
from tests.admin.test_session import paths
from tests.support.operators import PASSWORD, Desk, make_operator, signed_in
from tests.support.service import Reply, Service, running

SECRET = "a secret that was typed"
BAD = {"order": "nothing", "older_than_hours": "x", "act": "burn", "theme": "none"}


async def rows_of(service: Service, reply: Reply) -> list[dict[str, Any]]:
    """What a request left in the audit trail."""
    return await service.rows(
        """SELECT actor, action, target, request, result, detail->>'why' AS why, audit_log::text AS whole
             FROM audit_log WHERE request_id = $1""",
        reply.headers["x-request-id"],
    )


async def test_every_form_that_is_refused_leaves_one_row(service: Service) -> None:
    desk = await signed_in(service)
    refused = 0
    for path in paths("POST"):
        if path.endswith(("/sign-out", "/sign-out-everywhere")):
            continue
        # An escape that is none: no form of ours can be read with it.
        broken = f"csrf={await desk.csrf()}&reason=%zz{SECRET}&password=%zz&theme=%zz&name=%zz&offer=%zz"
        kind = "application/x-www-form-urlencoded"
        reply = await desk.call("POST", path, broken, Sec_Fetch_Site="same-origin", Content_Type=kind)
        for each in (reply, await desk.act(path, **BAD)):
            if each.status >= 400:
                refused += 1
                [row] = await rows_of(service, each)
                assert row["actor"] == "op:admin@example.com", path
                assert row["result"] in {"refused", "not_found"}, path
                assert SECRET not in row["whole"], path
            else:
                assert each.status in {200, 303}, path
    assert refused > 30


async def test_a_form_with_a_bad_value_is_kept_under_the_name_of_its_action(service: Service) -> None:
    desk = await signed_in(service)
    customer = await service.customer()
    order: Any = await customer.check_out("k-1")
    path = f"/admin/orders/{order['order_id']}"
    long = "x" * 5_000
    for form, action, kept in (
        ("note", "set_internal_note", {"internal_note": long}),
        ("replay", "apply_ipn", {"payment_id": "1", "provider_status": long}),
    ):
        reply = await desk.act(f"{path}/{form}", **kept)
        assert reply.status == 400
        [row] = await rows_of(service, reply)
        assert (row["action"], row["target"], row["result"]) == (action, order["order_id"], "refused")
        assert row["why"] == "bad-request"
        assert len(row["whole"]) < 1_000
    for form_path, action in (
        ("/admin/orders/sweep", "sweep_expired"),
        ("/admin/webhooks/dlq/selected", "work_dead_letters"),
        ("/admin/webhooks/dlq/window", "work_dead_letters"),
        ("/admin/products", "put_product"),
        ("/admin/accounts", "create_account"),
        (f"/admin/accounts/{customer.public_id}/keys", "create_key"),
        ("/admin/account/password", "operator.change_password"),
    ):
        reply = await desk.act(form_path, name="", price="much", wanted="one", repeated="another")
        assert reply.status == 400, form_path
        assert [row["action"] for row in await rows_of(service, reply)] == [action], form_path


async def test_an_export_that_is_refused_is_kept_and_a_look_is_not(service: Service) -> None:
    desk = await signed_in(service)
    refused = await desk.get("/admin/orders.csv?created_after=yesterday")
    assert refused.status == 400
    [row] = await rows_of(service, refused)
    assert (row["action"], row["result"]) == ("export_orders", "refused")
    look = await desk.get("/admin/orders?created_after=yesterday")
    assert (look.status, await rows_of(service, look)) == (400, [])


async def test_of_many_sign_ins_that_are_too_many_one_is_kept(
    database_url: str, pool: Pool, tmp_path: Any
) -> None:
    limits = {"rate_limit_failure_capacity": "60"}
    async with running(database_url, pool, tmp_path, workers=False, **limits) as service:
        desk, email = Desk(service.session, service.base_url), await make_operator(pool)
        tries = USUAL_TRIES.of_an_operator_from_one_place.capacity
        for _ in range(tries):
            assert (await desk.sign_in(email, "a wrong password")).status == 401
        for _ in range(6):
            assert (await desk.sign_in(email, PASSWORD)).status == 429
        rows = await service.rows(
            """SELECT detail->>'why' AS why, count(*) AS rows FROM audit_log
                WHERE action = 'operator.sign_in' GROUP BY 1 ORDER BY 1"""
        )
        assert [tuple(row.values()) for row in rows] == [("too many attempts", 1), ("wrong password", tries)]
