"""The operators' screen, and an operator's own account, as admins and others meet them."""

import re

from crypto_orders.kit import ids
from tests.support.operators import PASSWORD, Desk, make_operator, signed_in
from tests.support.service import Service

PATH = "/admin/operators"


async def path_of(service: Service, email: str) -> str:
    [row] = await service.rows("SELECT operator_id FROM operators WHERE email = $1", email)
    return f"{PATH}/{ids.prefixed('opr', row['operator_id'])}"


def shown_password(page: str) -> str:
    [password] = set(re.findall(r'data-copy="([a-z2-9-]{24})"', page))
    return password


async def test_an_admin_makes_an_operator_whose_password_is_shown_once(service: Service) -> None:
    desk, new = await signed_in(service), Desk(service.session, service.base_url)
    made = await desk.act(PATH, email=" Bob@Example.com", name="Bob", role="support")
    assert made.status == 200
    password = shown_password(made.body.decode())
    assert password not in (await desk.get(PATH)).body.decode()
    assert (await new.sign_in("bob@example.com", password)).status == 303
    assert "support" in (await new.get("/admin/account")).body.decode()

    again = await desk.act(PATH, email="bob@example.com", role="viewer")
    assert (again.status, "There is an operator bob@example.com already." in again.body.decode()) == (
        409,
        True,
    )
    for fields, said in (
        ({"email": "bob", "role": "viewer"}, "An e-mail address such as"),
        ({"email": "eve@example.com", "role": "owner"}, "A role is one of viewer, support, admin."),
        ({"email": "eve@example.com", "role": "viewer", "name": "x" * 101}, "at most 100 characters"),
    ):
        refused = await desk.act(PATH, **fields)
        assert (refused.status, said in refused.body.decode()) == (400, True)
    rows = await service.rows(
        "SELECT actor, target, result FROM audit_log WHERE action = 'operator.create' ORDER BY at, audit_id"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("op:admin@example.com", "bob@example.com", "created"),
        ("op:admin@example.com", "bob@example.com", "refused"),
        ("op:admin@example.com", None, "refused"),
        ("op:admin@example.com", "eve@example.com", "refused"),
        ("op:admin@example.com", "eve@example.com", "refused"),
    ]


async def test_an_admin_changes_what_others_may_do_and_lets_them_back_in(service: Service) -> None:
    desk, bob = await signed_in(service), await signed_in(service, "viewer", "bob@example.com")
    one = await path_of(service, "bob@example.com")
    assert "Disable" in (await desk.get(one)).body.decode()

    assert (await desk.act(f"{one}/role", role="support")).headers["Location"] == one
    assert "They have to sign in again." in (await desk.get(one)).body.decode()
    assert not await bob.is_signed_in()
    await bob.sign_in("bob@example.com")

    await desk.act(f"{one}/disable")
    assert not await bob.is_signed_in()
    assert (await bob.sign_in("bob@example.com")).status == 401
    await desk.act(f"{one}/enable")
    assert (await bob.sign_in("bob@example.com")).status == 303

    password = shown_password((await desk.act(f"{one}/password")).body.decode())
    assert not await bob.is_signed_in()
    assert (await bob.sign_in("bob@example.com")).status == 401
    assert (await bob.sign_in("bob@example.com", password)).status == 303

    await desk.act(f"{one}/reset-second-factor")
    assert not await bob.is_signed_in()
    rows = await service.rows(
        "SELECT action, actor FROM audit_log"
        " WHERE target = 'bob@example.com' AND action <> 'operator.sign_in' ORDER BY at, audit_id"
    )
    assert {row["actor"] for row in rows} == {"op:admin@example.com"}
    assert [row["action"].removeprefix("operator.") for row in rows] == [
        *("set_role", "disable", "enable", "set_password", "reset_second_factor")
    ]


async def test_the_last_admin_stays_one(service: Service) -> None:
    desk = await signed_in(service)
    one = await path_of(service, "admin@example.com")
    assert "This is you." in (await desk.get(one)).body.decode()
    for act, fields in (("role", {"role": "viewer"}), ("disable", {})):
        refused = await desk.act(f"{one}/{act}", **fields)
        assert refused.status == 409
        assert "the only admin who can sign in" in refused.body.decode()
    await make_operator(service.pool, "second@example.com")
    assert (await desk.act(f"{one}/role", role="viewer")).status == 303
    assert not await desk.is_signed_in()


async def test_who_is_not_an_admin_manages_nobody(service: Service) -> None:
    desk = await signed_in(service, "support")
    one = await path_of(service, "support@example.com")
    for path in (PATH, one):
        assert (await desk.get(path)).status == 403
    for act, fields in (("role", {"role": "admin"}), ("password", {}), ("disable", {}), ("enable", {})):
        assert (await desk.act(f"{one}/{act}", **fields)).status == 403
    [row] = await service.rows("SELECT role, disabled_at FROM operators")
    assert (row["role"], row["disabled_at"]) == ("support", None)


async def test_an_operator_that_is_not_there_is_a_page_that_says_so(service: Service) -> None:
    desk = await signed_in(service)
    for path in (f"{PATH}/opr_00000000-0000-7000-8000-000000000000", f"{PATH}/nobody"):
        reply = await desk.get(path)
        assert (reply.status, reply.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


async def test_what_people_call_themselves_is_shown_and_never_run(service: Service) -> None:
    desk = await signed_in(service)
    name = "<script>alert(1)</script>{{70707*70707}}\"onx='"
    assert (await desk.act(PATH, email="eve@example.com", role="viewer", name=name)).status == 200
    eve = Desk(service.session, service.base_url)
    await service.rows(
        "UPDATE operators SET password_hash = (SELECT password_hash FROM operators WHERE email = $1)",
        "admin@example.com",
    )
    await eve.send(
        "/admin/sign-in", {"email": "eve@example.com", "password": PASSWORD}, User_Agent="<b>\"x'{{1}}"
    )
    for reply in (
        await desk.get(PATH),
        await desk.get(await path_of(service, "eve@example.com")),
        await eve.get("/admin/account"),
        await eve.sign_in("<script>alert(1)</script>@example.com", "wrong"),
    ):
        page = reply.body.decode()
        assert "<script>alert" not in page
        assert "<b>" not in page
        assert "4999479849" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{70707*70707}}" in (await desk.get(PATH)).body.decode()
