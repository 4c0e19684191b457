"""The sessions of operators: how they begin, what they must prove, and everything that ends them."""

import re
from http.cookies import SimpleCookie
from pathlib import Path

import pytest

from crypto_orders.admin import routes, session
from crypto_orders.admin.session import local_path
from crypto_orders.kit.http import PUBLIC, route_name
from crypto_orders.store.connection import Pool
from crypto_orders.usecases import operator_accounts as accounts
from crypto_orders.usecases.passwords import Passwords
from tests.support.operators import PASSWORD, SIGN_IN, Desk, make_operator, signed_in
from tests.support.service import IN_A_TEST, QUICK_HASHER, Service, running

ACCOUNT = "/admin/account"

# Any value does where a path is refused before it is looked into.
EXAMPLES = {
    "session_id": "00000000-0000-7000-8000-000000000000",
    "operator_id": "opr_00000000-0000-7000-8000-000000000000",
    "order_id": "ord_01m81snwfmepmt09t680xmeame",
    "flag_id": "flg_00000000-0000-7000-8000-000000000000",
    "webhook_id": "whk_00000000-0000-7000-8000-000000000000",
    "delivery_id": "wdl_00000000-0000-7000-8000-000000000000",
    "notification_id": "00000000-0000-7000-8000-000000000000",
    "account_id": "acc_00000000-0000-7000-8000-000000000000",
    "key_id": "key_00000000-0000-7000-8000-000000000000",
}


def paths(method: str) -> list[str]:
    """The paths of every endpoint that needs a session, with example values."""
    declared = [e.path for e in routes.ENDPOINTS if e.method == method and e.scope != PUBLIC]
    return [
        re.sub(r"\{(\w+)\}", lambda found: EXAMPLES.get(found[1], "x"), route_name(path)) for path in declared
    ]


async def audit_of(service: Service, action: str) -> list[tuple[str, str, str | None]]:
    """Who tried an action, with what result, and why not."""
    rows = await service.rows(
        "SELECT actor, result, detail->>'why' AS why FROM audit_log WHERE action = $1 ORDER BY at, audit_id",
        action,
    )
    return [(row["actor"], row["result"], row["why"]) for row in rows]


async def test_without_a_session_every_page_leads_to_the_sign_in_page_and_shows_nothing(
    service: Service,
) -> None:
    desk = Desk(service.session, service.base_url)
    for path in paths("GET"):
        reply = await desk.get(path)
        assert (reply.status, reply.body) == (303, b""), path
        assert reply.headers["Location"].startswith(SIGN_IN)
        assert "no-store" in reply.headers["Cache-Control"]
    reply = await desk.get(f"{ACCOUNT}?a=b")
    assert reply.headers["Location"] == "/admin/sign-in?next=/admin/account%3Fa%3Db"


async def test_without_a_session_nothing_is_done(service: Service) -> None:
    desk = Desk(service.session, service.base_url)
    for path in paths("POST"):
        reply = await desk.send(path, {"csrf": "x"})
        assert (reply.status, reply.headers["Location"]) == (303, SIGN_IN), path


async def test_a_fragment_without_a_session_is_a_401_that_leads_the_whole_page_away(
    service: Service,
) -> None:
    desk = Desk(service.session, service.base_url)
    headers = {"HX_Request": "true", "HX_Current_URL": f"{service.base_url}{ACCOUNT}?a=b"}
    reply = await desk.get(ACCOUNT, **headers)
    assert reply.status == 401
    assert reply.headers["HX-Redirect"] == "/admin/sign-in?next=/admin/account%3Fa%3Db"
    reply = await desk.get(ACCOUNT, HX_Request="true", HX_Current_URL="http://[/admin")
    assert (reply.status, reply.headers["HX-Redirect"]) == (401, SIGN_IN)


async def test_what_refreshes_itself_or_is_sent_without_a_session_leads_no_page_away(
    service: Service,
) -> None:
    desk = Desk(service.session, service.base_url)
    here = f"{service.base_url}{ACCOUNT}?a=b"
    refreshed = await desk.get(ACCOUNT, HX_Request="true", X_Background="1", HX_Current_URL=here)
    sent = await desk.send(f"{ACCOUNT}/password", {}, HX_Request="true", HX_Current_URL=here)
    assert sent.headers["HX-Retarget"] == "#order > .within"
    for reply in (refreshed, sent):
        assert reply.status == 401
        assert "HX-Redirect" not in reply.headers
        told = reply.body.decode()
        assert "Your session has ended." in told
        assert '<a href="/admin/sign-in?next=/admin/account%3Fa%3Db">Sign in again</a>' in told


async def test_a_new_password_is_another_one(service: Service) -> None:
    desk = await signed_in(service)
    same = await desk.act(f"{ACCOUNT}/password", present=PASSWORD, wanted=PASSWORD, repeated=PASSWORD)
    assert same.status == 400
    why = "This is the present password: take another one."
    assert why in same.body.decode()
    assert await audit_of(service, "operator.change_password") == [("op:admin@example.com", "refused", why)]


async def test_what_was_done_is_said_once_on_its_page_and_by_no_link(service: Service) -> None:
    desk = await signed_in(service)
    for forged in (
        f"{ACCOUNT}?done=second-factor",
        "/admin/stuck?expired=500&healed=3",
        "/admin/products?done=Everything",
    ):
        assert 'class="notice good"' not in (await desk.get(forged)).body.decode(), forged
    fields = {"product": "api_tiny", "price": "9.00", "currency": "USD"}
    assert (await desk.act("/admin/products", **fields)).headers["Location"] == "/admin/products"
    assert desk.cookies[session.FLASH_COOKIE]
    others = await signed_in(service, "viewer")
    others.cookies[session.FLASH_COOKIE] = desk.cookies[session.FLASH_COOKIE]
    assert "api_tiny is stored." not in (await others.get("/admin/products")).body.decode()
    assert "api_tiny is stored." not in (await desk.get("/admin/accounts")).body.decode()
    assert "api_tiny is stored." in (await desk.get("/admin/products")).body.decode()
    assert session.FLASH_COOKIE not in desk.cookies
    assert "api_tiny is stored." not in (await desk.get("/admin/products")).body.decode()
    for broken in ("x", "x.y", "é", "bm9uZQ==.bm9uZQ=="):
        desk.cookies[session.FLASH_COOKIE] = broken
        assert (await desk.get("/admin/products")).status == 200, broken


async def test_signing_in_leads_to_the_page_that_was_wanted(service: Service) -> None:
    desk = Desk(service.session, service.base_url)
    email = await make_operator(service.pool)
    page = await desk.get("/admin/sign-in?next=/admin/account")
    assert 'name="next" value="/admin/account"' in page.body.decode()
    reply = await desk.sign_in(" Ann@Example.COM ", next="/admin/account")
    assert (reply.status, reply.headers["Location"]) == (303, "/admin/account")
    assert email in (await desk.get(ACCOUNT)).body.decode()
    assert (await desk.get("/admin/sign-in?next=/admin/account")).headers["Location"] == "/admin/account"
    assert await audit_of(service, "operator.sign_in") == [("op:ann@example.com", "signed_in", None)]
    # Without it browsers that send no Sec-Fetch-Site name the origin of a form `null` (Fetch, section 3.1).
    for shown in (page, await desk.get(ACCOUNT)):
        assert '<meta name="referrer" content="same-origin">' in shown.body.decode()
        assert shown.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("wanted", "led_to"),
    [
        ("/admin/orders?search=a%20b", "/admin/orders?search=a%20b"),
        ("/admin", "/admin"),
        ("https://evil.example/admin", "/admin"),
        ("//evil.example/admin", "/admin"),
        ("///evil.example/admin", "/admin"),
        ("/\\evil.example/admin", "/admin"),
        ("/admin\\..\\x", "/admin"),
        ("/admin/../v1/orders", "/admin"),
        ("/administrator", "/admin"),
        ("/v1/admin/orders", "/admin"),
        ("/admin/\r\nSet-Cookie: a=b", "/admin"),
        ("javascript:alert(1)", "/admin"),
        ("//[", "/admin"),
        ("http://[::1/admin", "/admin"),
        ("/admin/sign-in?next=/admin", "/admin"),
        ("/admin/" + "x" * 2000, "/admin"),
        ("", "/admin"),
        (None, "/admin"),
    ],
)
def test_one_is_led_to_pages_of_the_admin_alone(wanted: str | None, led_to: str) -> None:
    assert local_path(wanted) == led_to


async def test_what_another_site_makes_a_browser_send_is_refused(service: Service) -> None:
    desk, stranger = await signed_in(service), Desk(service.session, service.base_url)
    kind = {"Content_Type": "application/x-www-form-urlencoded"}
    credentials = f"email=admin%40example.com&password={PASSWORD.replace(' ', '+')}"
    for headers in (
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": "", "Origin": service.base_url},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {},
    ):
        reply = await desk.call("POST", "/admin/sign-out", f"csrf={await desk.csrf()}", **kind, **headers)
        assert reply.status == 403
        assert "csrf" in reply.body.decode()
        assert await desk.is_signed_in()
        # Nobody is signed in by another site either.
        assert (await stranger.call("POST", SIGN_IN, credentials, **kind, **headers)).status == 403
        assert stranger.cookies == {}
    denied = await audit_of(service, "admin.request")
    assert denied == [("op:admin@example.com", "denied", "from another site")] * 7


async def test_a_browser_that_sends_no_fetch_metadata_is_known_by_its_origin(service: Service) -> None:
    desk = await signed_in(service)
    headers = {"Origin": service.base_url, "Content_Type": "application/x-www-form-urlencoded"}
    reply = await desk.call("POST", "/admin/sign-out", f"csrf={await desk.csrf()}", **headers)
    assert reply.status == 303
    assert not await desk.is_signed_in()


async def test_a_form_without_the_token_of_its_session_is_refused(service: Service) -> None:
    desk, other = await signed_in(service), await signed_in(service, "viewer")
    for token in ("", "x", "é", "AAAA", await other.csrf(), desk.cookies["crypto_orders_admin"]):
        reply = await desk.send("/admin/sign-out", {"csrf": token})
        assert reply.status == 403
        assert "csrf" in reply.body.decode()
    assert await desk.is_signed_in()
    denied = await audit_of(service, "admin.request")
    assert denied == [("op:admin@example.com", "denied", "no token of this session")] * 6
    first, second = await desk.csrf(), await desk.csrf()
    assert first != second
    assert (await desk.send("/admin/theme", {"theme": "dark"}, X_CSRF_Token=first)).status == 303


async def test_nothing_is_changed_by_getting_a_page(service: Service) -> None:
    desk = await signed_in(service)
    for path in set(paths("POST")) - set(paths("GET")):
        reply = await desk.get(path)
        assert (reply.status, reply.headers["Allow"]) == (405, "POST"), path
    assert await desk.is_signed_in()


async def test_the_cookie_is_bound_to_this_host_over_tls(
    database_url: str, pool: Pool, tmp_path: Path
) -> None:
    await make_operator(pool)
    async with running(
        database_url, pool, tmp_path, workers=False, public_url="https://orders.example.com"
    ) as service:
        desk = Desk(service.session, service.base_url)
        reply = await desk.sign_in("ann@example.com")
        [line] = reply.headers.getall("Set-Cookie")
        [(name, morsel)] = SimpleCookie(line).items()
        assert name == "__Host-crypto_orders_admin"
        assert (morsel["secure"], morsel["httponly"], morsel["samesite"]) == (True, True, "lax")
        assert (morsel["path"], morsel["domain"], morsel["max-age"], morsel["expires"]) == ("/", "", "", "")
        page = await desk.get(ACCOUNT)
        assert page.status == 200
        assert page.headers["Strict-Transport-Security"] == "max-age=31536000"
        # A page on plain http may set the plain name; here it counts for nothing.
        desk.cookies = {"crypto_orders_admin": desk.cookies["__Host-crypto_orders_admin"]}
        assert not await desk.is_signed_in()


async def test_on_plain_loopback_http_the_cookie_is_still_kept_from_scripts(service: Service) -> None:
    await make_operator(service.pool)
    reply = await Desk(service.session, service.base_url).sign_in("ann@example.com")
    [line] = reply.headers.getall("Set-Cookie")
    [(name, morsel)] = SimpleCookie(line).items()
    assert name == "crypto_orders_admin"
    assert (morsel["secure"], morsel["httponly"], morsel["samesite"]) == ("", True, "lax")


async def test_every_page_is_sent_with_the_headers_that_keep_it_in_its_place(service: Service) -> None:
    desk = await signed_in(service)
    for path, status in ((ACCOUNT, 200), ("/admin/operators", 200), ("/admin/nowhere", 404)):
        reply = await desk.get(path)
        assert reply.status == status
        assert reply.headers["Cache-Control"] == "no-store, private"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert reply.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
        assert "Server" not in reply.headers
        assert "Strict-Transport-Security" not in reply.headers


async def test_a_token_that_was_in_the_browser_before_is_never_the_one_signed_in_with(
    service: Service,
) -> None:
    email = await make_operator(service.pool)
    desk = Desk(service.session, service.base_url, {"crypto_orders_admin": "A" * 43})
    await desk.sign_in(email)
    first = desk.cookies["crypto_orders_admin"]
    assert first != "A" * 43
    assert len(first) == 43
    await desk.sign_in(email)
    second = desk.cookies["crypto_orders_admin"]
    assert second != first
    assert await desk.is_signed_in()
    for dead in (first, "A" * 43, "", "é"):
        assert not await Desk(service.session, service.base_url, {"crypto_orders_admin": dead}).is_signed_in()
    [row] = await service.rows("SELECT count(*) AS n FROM operator_sessions WHERE revoked_at IS NULL")
    assert row["n"] == 1


async def _signs_out(desk: Desk, _: str, __: Pool) -> None:
    assert (await desk.act("/admin/sign-out")).headers["Location"] == SIGN_IN


async def _signs_out_everywhere(desk: Desk, email: str, _: Pool) -> None:
    elsewhere = Desk(desk.session, desk.origin)
    await elsewhere.sign_in(email)
    assert (await elsewhere.act("/admin/account/sign-out-everywhere")).status == 303
    assert elsewhere.cookies == {}


async def _changes_the_password_elsewhere(desk: Desk, email: str, _: Pool) -> None:
    elsewhere = Desk(desk.session, desk.origin)
    await elsewhere.sign_in(email)
    stolen = Desk(desk.session, desk.origin, dict(elsewhere.cookies))
    new = "another four words"
    reply = await elsewhere.act("/admin/account/password", present=PASSWORD, wanted=new, repeated=new)
    assert reply.headers["Location"] == ACCOUNT
    told = (await elsewhere.get(ACCOUNT)).body.decode()
    assert "Your password is changed." in told
    assert await elsewhere.is_signed_in()
    assert not await stolen.is_signed_in()
    assert (await Desk(desk.session, desk.origin).sign_in(email)).status == 401
    assert (await Desk(desk.session, desk.origin).sign_in(email, new)).status == 303


async def _ends_it_elsewhere(desk: Desk, email: str, pool: Pool) -> None:
    async with pool.acquire() as conn:
        ended = await conn.fetchval(
            "SELECT session_id FROM operator_sessions JOIN operators USING (operator_id) WHERE email = $1",
            email,
        )
    elsewhere = Desk(desk.session, desk.origin)
    await elsewhere.sign_in(email)
    assert (await elsewhere.act(f"/admin/account/sessions/{ended}/end")).status == 303
    assert await elsewhere.is_signed_in()


async def _gets_another_role(_: Desk, email: str, pool: Pool) -> None:
    await accounts.set_role(pool, email, "viewer", IN_A_TEST)


async def _is_disabled(desk: Desk, email: str, pool: Pool) -> None:
    await accounts.disable(pool, email, IN_A_TEST)
    assert (await Desk(desk.session, desk.origin).sign_in(email)).status == 401


async def _has_the_password_reset(_: Desk, email: str, pool: Pool) -> None:
    async with Passwords(QUICK_HASHER) as passwords:
        await accounts.set_password(pool, passwords, email, None, IN_A_TEST)


async def _has_the_second_factor_reset(_: Desk, email: str, pool: Pool) -> None:
    await accounts.reset_second_factor(pool, email, IN_A_TEST)


async def test_a_session_that_ended_is_over_in_every_process_at_the_next_request(
    service: Service, database_url: str, tmp_path: Path
) -> None:
    bystander = await signed_in(service)
    async with running(database_url, service.pool, tmp_path / "second", workers=False) as second:
        for ends in (
            _signs_out,
            _signs_out_everywhere,
            _changes_the_password_elsewhere,
            _ends_it_elsewhere,
            _gets_another_role,
            _is_disabled,
            _has_the_password_reset,
            _has_the_second_factor_reset,
        ):
            email = f"{ends.__name__}@example.com"
            desk = await signed_in(service, "support", email)
            there = Desk(second.session, second.base_url, dict(desk.cookies))
            assert await there.is_signed_in()
            await ends(desk, email, service.pool)
            assert not await there.is_signed_in(), email
            assert not await desk.is_signed_in(), email
    assert await bystander.is_signed_in()


async def test_a_session_ends_when_nobody_used_it_for_half_an_hour(service: Service) -> None:
    desk = await signed_in(service)
    await service.rows("UPDATE operator_sessions SET last_seen_at = last_seen_at - interval '29 minutes'")
    assert await desk.is_signed_in()
    await service.rows("UPDATE operator_sessions SET last_seen_at = last_seen_at - interval '31 minutes'")
    reply = await desk.get(ACCOUNT)
    assert (reply.status, reply.headers["Location"]) == (303, "/admin/sign-in?next=/admin/account")


async def test_a_session_ends_after_twelve_hours_however_much_it_is_used(service: Service) -> None:
    desk = await signed_in(service)
    [row] = await service.rows("SELECT expires_at - created_at AS length FROM operator_sessions")
    assert row["length"].total_seconds() == 12 * 3600
    await service.rows(
        "UPDATE operator_sessions SET created_at = created_at - length, expires_at = expires_at - length"
        "  FROM (SELECT interval '719 minutes' AS length) AS moved"
    )
    assert await desk.is_signed_in()
    await service.rows("UPDATE operator_sessions SET expires_at = expires_at - interval '2 minutes'")
    assert not await desk.is_signed_in()


async def test_a_used_session_says_so_once_a_minute_and_a_page_that_refreshes_itself_never(
    service: Service,
) -> None:
    desk = await signed_in(service)

    async def last_seen() -> object:
        return (await service.rows("SELECT last_seen_at AS at FROM operator_sessions"))[0]["at"]

    first = await last_seen()
    assert await desk.is_signed_in()
    assert await last_seen() == first
    await service.rows("UPDATE operator_sessions SET last_seen_at = last_seen_at - interval '2 minutes'")
    before = await last_seen()
    assert (await desk.get(ACCOUNT, X_Background="1")).status == 200
    assert await last_seen() == before
    assert await desk.is_signed_in()
    assert await last_seen() != before


async def test_a_role_that_does_not_allow_it_is_told_what_is_lacking_and_kept_in_the_trail(
    service: Service,
) -> None:
    desk = await signed_in(service, "viewer")
    reply = await desk.get("/admin/operators")
    assert reply.status == 403
    assert "This needs the role admin (admin:operators); yours is viewer." in reply.body.decode()
    reply = await desk.act("/admin/operators", email="eve@example.com", role="admin")
    assert reply.status == 403
    assert len(await service.rows("SELECT 1 FROM operators")) == 1
    assert await audit_of(service, "admin.request") == [
        ("op:viewer@example.com", "denied", "lacks admin:operators"),
        ("op:viewer@example.com", "denied", "lacks admin:operators"),
    ]
    targets = await service.rows("SELECT target FROM audit_log WHERE result = 'denied' ORDER BY at, audit_id")
    assert [row["target"] for row in targets] == ["GET /admin/operators", "POST /admin/operators"]


async def test_an_operators_session_opens_no_api_and_no_key_opens_a_page(service: Service) -> None:
    desk = await signed_in(service)
    assert (await desk.get("/v1/admin/crypto-orders")).status == 401
    admin = await service.admin()
    reply = await Desk(service.session, service.base_url).get(ACCOUNT, **admin.headers)
    assert reply.status == 303


async def test_the_theme_is_a_choice_that_the_server_draws(service: Service) -> None:
    desk = await signed_in(service)
    assert "data-theme" not in (await desk.get(ACCOUNT)).body.decode()
    assert (await desk.act("/admin/theme", theme="dark", next=ACCOUNT)).headers["Location"] == ACCOUNT
    assert 'data-theme="dark"' in (await desk.get(ACCOUNT)).body.decode()
    await desk.act("/admin/theme", theme="system")
    assert "theme" not in desk.cookies


def test_every_route_of_the_admin_but_the_sign_in_page_needs_a_session() -> None:
    public = {(e.method, e.path) for e in routes.ENDPOINTS if e.scope == PUBLIC}
    assert public == {("GET", session.SIGN_IN_PATH), ("POST", session.SIGN_IN_PATH)}
