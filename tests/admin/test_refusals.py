"""Whatever the admin's screens refuse an operator is kept once, small, and says where to read on."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

from crypto_orders.admin import refusals, session
from crypto_orders.admin.order_answers import OUTCOMES, more_on
from crypto_orders.admin.runbook import SECTION_OF_SLUG, SECTIONS, PageProblem, section, section_on
from crypto_orders.domain.order import FlagKind
from crypto_orders.kit.problem import KINDS, Problem
from crypto_orders.store.connection import Pool
from crypto_orders.usecases.access import USUAL_TRIES
from tests.admin.test_session import paths
from tests.support.operators import PASSWORD, Desk, make_operator, signed_in
from tests.support.service import Reply, Service, running

ROOT = Path(refusals.__file__).parents[1]
TEMPLATES = Path(refusals.__file__).parent / "templates"
RUNBOOK = ROOT / "docs" / "pages" / "crypto-orders-ops-runbook.md"
LINK = re.compile(r'href="/docs/crypto-orders-ops-runbook#([a-z0-9_-]+)"')
SAID = re.compile(r'<(?:p|div) class="notice bad.*?</(?:p|div)>|<main class="lone">.*?</main>', re.DOTALL)
SECRET = "a secret that was typed"
BAD = {"order": "nothing", "older_than_hours": "x", "act": "burn", "theme": "none"}


async def rows_of(service: Service, reply: Reply) -> list[dict[str, Any]]:
    """What a request left in the audit trail."""
    return await service.rows(
        """SELECT actor, action, target, request, result, detail->>'why' AS why, audit_log::text AS whole
             FROM audit_log WHERE request_id = $1""",
        reply.headers["x-request-id"],
    )


@cache
def anchors() -> frozenset[str]:
    """The sections that the runbook has."""
    return frozenset(re.findall(r"\{#([a-z0-9_-]+)\}", RUNBOOK.read_text(encoding="utf-8")))


def leads_on(reply: Reply) -> bool:
    """Whether what a page says about a refusal links a section that there is."""
    said = [found[0] for found in SAID.finditer(reply.body.decode())]
    linked = [LINK.search(each) for each in said]
    return bool(said) and all(link is not None and link[1] in anchors() for link in linked)


def subclasses(kind: type[Problem]) -> list[type[Problem]]:
    """Every kind of problem below one."""
    return [each for child in kind.__subclasses__() for each in (child, *subclasses(child))]


def test_every_refusal_has_a_section_of_the_runbook_that_there_is() -> None:
    assert set(SECTIONS) <= anchors()
    assert SECTION_OF_SLUG.keys() == KINDS.keys()
    for slug in KINDS:
        assert section_on(Problem(slug, "Why.")).anchor in anchors()
    own = [each for each in subclasses(PageProblem) if each.__module__ == session.__name__]
    assert {each.__name__ for each in own} == {"SignInNeeded", "RoleLacking", "CsrfRefused"}
    assert {each.anchor for each in own} <= anchors()
    for outcome in OUTCOMES:
        assert more_on(outcome, "replay-ipn").anchor in anchors()
    for kind in FlagKind:
        assert section(f"flag-{kind.value}").anchor in anchors()


def test_every_section_that_the_code_names_for_a_refusal_is_one() -> None:
    named: set[str] = set()
    for path in Path(refusals.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {
                "refusal_of",
                "section",
                "_refused",
            }:
                named |= {
                    a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)
                }
            if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "ABOUT":
                assert isinstance(node.value, ast.Constant)
                named.add(str(node.value.value))
    assert len(named) > 10
    assert named <= set(SECTIONS)


def test_no_screen_tells_of_a_refusal_without_saying_where_to_read_on() -> None:
    told = 0
    for template in TEMPLATES.glob("*.html"):
        for found in SAID.finditer(template.read_text(encoding="utf-8")):
            told += 1
            assert LINK.search(found[0]) or "more.address" in found[0], f"{template.name}: {found[0]}"
    assert told >= 4


async def test_every_form_that_is_refused_leaves_one_row_and_says_where_to_read_on(service: Service) -> None:
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
                assert leads_on(each), path
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
        ("/admin/stuck/sweep", "sweep_expired"),
        ("/admin/webhooks/dlq/selected", "work_dead_letters"),
        ("/admin/webhooks/dlq/window", "work_dead_letters"),
        ("/admin/products", "put_product"),
        ("/admin/accounts", "create_account"),
        (f"/admin/accounts/{customer.public_id}/keys", "create_key"),
        ("/admin/account/password", "operator.change_password"),
    ):
        typed = {"name": "", "price": "much", "wanted": "one", "repeated": "another", "older_than_hours": "0"}
        reply = await desk.act(form_path, **typed)
        assert reply.status == 400, form_path
        assert [row["action"] for row in await rows_of(service, reply)] == [action], form_path


async def test_what_a_role_or_a_filter_does_not_allow_says_where_to_read_on(service: Service) -> None:
    viewer = await signed_in(service, "viewer")
    for path in paths("POST"):
        reply = await viewer.act(path)
        if reply.status == 403:
            assert leads_on(reply), path
        if reply.status in {200, 303}:
            viewer = await signed_in(service, "viewer", f"viewer{len(path)}@example.com")
        fragment = await viewer.send(path, {}, HX_Request="true")
        assert fragment.status == 403, path
        assert leads_on(fragment), path
    for path in paths("GET"):
        reply = await viewer.get(f"{path}?cursor=%zz&order=%zz&kind=%zz&done=%zz&by=%zz&next=%zz")
        assert reply.status < 500
        if reply.status >= 400:
            assert leads_on(reply), (path, reply.body)
    stranger = Desk(service.session, service.base_url)
    assert leads_on(await stranger.sign_in("ann@example.com", "a wrong password"))
    assert leads_on(await stranger.call("POST", "/admin/sign-in", "", Origin="https://evil.example"))


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
