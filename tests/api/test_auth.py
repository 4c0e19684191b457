"""Who may call what: keys, kinds, scopes, accounts and rates, over real sockets and a real database."""

import asyncio
import io
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from crypto_orders.api import account
from crypto_orders.api.account import AccountDeps
from crypto_orders.api.auth import SCOPES, Authenticator, AuthSettings, Principal
from crypto_orders.api.problems import translate
from crypto_orders.domain.rate_limit import Policy
from crypto_orders.kit import log
from crypto_orders.kit.application import HttpApp
from crypto_orders.kit.http import Call, Endpoint, RouteGroup
from crypto_orders.store import keys
from crypto_orders.store.audit import Actor, Entry
from crypto_orders.store.connection import Pool, open_pool
from crypto_orders.usecases import accounts
from crypto_orders.usecases.accounts import KeyWanted
from crypto_orders.usecases.rate_limits import RateLimiter
from tests.kit.serving import TYPE_BASE, Reply, Served, serving
from tests.support.cluster import create_database, drop_database

ACCOUNT_HEADER = "x-crypto-orders-account"
IN_A_TEST = Entry(actor=Actor(name="test"), action="test", target=None, request={})
# Workers that share a cluster must not share a name in it.
DATABASE = f"test_auth_{os.getpid()}"
UNKNOWN_KEY = "ds_test_" + "a" * 32
# Nothing refills while a test runs, so counts are exact.
HOURLY = 1 / 3600

pytestmark = pytest.mark.asyncio(loop_scope="module")

AnyCall = Call[None, Principal, Any, Any]


async def answer(call: AnyCall) -> dict[str, object]:
    return {"key_id": str(call.principal.key_id)}


async def answer_for_account(call: AnyCall) -> dict[str, object]:
    return {"account_id": str(call.principal.account), "body": call.body}


GUARDED = {
    "/v1/billing": "read:billing",
    "/v1/buy": "admin:billing",
    "/v1/hooks": "read:webhooks",
    "/v1/own": "account_owner",
    "/v1/admin/read": "admin:read",
    "/v1/admin/write": "admin:write",
    "/v1/admin/override": "admin:override",
}


@dataclass
class Bench:
    """Two processes over one database, and the keys of their callers."""

    pool: Pool
    first: Served
    second: Served

    async def get(self, path: str, key: str | None = None, *headers: tuple[str, str]) -> Reply:
        return await self.first.request("GET", path, bearer=key, headers=headers)

    async def account(self) -> UUID:
        return (await accounts.create_account(self.pool, "A customer", "free", IN_A_TEST)).account_id

    async def key(self, account_id: UUID | None, *scopes: str, mode: Any = "test") -> accounts.NewKey:
        wanted = KeyWanted(account_id=account_id, mode=mode, brand_prefix="ds", scopes=scopes)
        return await accounts.create_key(self.pool, wanted, IN_A_TEST)

    async def customer(self, *scopes: str) -> str:
        return (await self.key(await self.account(), *scopes)).key

    async def admin(self, *scopes: str) -> str:
        return (await self.key(None, *scopes, mode="admin")).key


def application(pool: Pool, settings: AuthSettings, trusted_proxies: tuple[str, ...] = ()) -> HttpApp:
    authenticator = Authenticator(pool, RateLimiter(pool), settings, keys.find_key)
    guarded = [
        Endpoint(method="GET", path=path, handler=answer, scope=scope) for path, scope in GUARDED.items()
    ]
    guarded.append(
        Endpoint(method="POST", path="/v1/buy", handler=answer_for_account, scope="admin:billing", body=dict)
    )
    group = RouteGroup(deps=None, endpoints=guarded, authenticate=authenticator.authenticate, scopes=SCOPES)
    own = account.routes(AccountDeps(pool=pool, settings=settings), authenticator)
    return HttpApp([group, own], type_base=TYPE_BASE, translate=translate, trusted_proxies=trusted_proxies)


@asynccontextmanager
async def bench_of(
    pool: Pool, *, trusted_proxies: tuple[str, ...] = (), **changes: Any
) -> AsyncGenerator[Bench]:
    off = Policy(0, 1)
    values: dict[str, Any] = {
        "key_prefix": "ds",
        "livemode": "test",
        "account_header": ACCOUNT_HEADER,
        "customer_policy": off,
        "admin_policy": off,
        "failure_policy": off,
        **changes,
    }
    settings = AuthSettings(**values)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serving(application(pool, settings, trusted_proxies)))
        second = await stack.enter_async_context(serving(application(pool, settings, trusted_proxies)))
        yield Bench(pool, first, second)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_pool(cluster: Any) -> AsyncGenerator[Pool]:
    """One database for all of these tests: each has accounts and keys of its own."""
    await create_database(cluster.superuser_dsn, DATABASE)
    pool = await open_pool(
        cluster.dsn.replace("@/crypto_orders?", f"@/{DATABASE}?"), size=16, application_name="test"
    )
    yield pool
    pool.terminate()
    await drop_database(cluster.superuser_dsn, DATABASE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(shared_pool: Pool) -> AsyncGenerator[Bench]:
    async with bench_of(shared_pool) as bench:
        yield bench


async def test_a_missing_or_malformed_header_is_unauthorized(bench: Bench) -> None:
    known = await bench.customer()
    for value in (
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {known}",
        known,
        f"Bearer {known} x",
        f"Bearer\t{known}",
        f"Bearer {known}, Bearer {known}",
    ):
        headers = () if value is None else (("authorization", value),)
        reply = await bench.first.request("GET", "/v1/whoami", headers=headers)
        assert (reply.status, reply.slug) == (401, "unauthorized"), value
        assert reply.headers["www-authenticate"] == "Bearer"
    for name in (("key", known), ("api_key", known)):
        assert (await bench.get("/v1/whoami?{}={}".format(*name))).slug == "unauthorized"


async def test_a_bearer_that_is_no_known_key_is_invalid_whatever_its_form(bench: Bench) -> None:
    live = (await bench.key(await bench.account(), mode="live")).key
    bodies: set[bytes] = set()
    for text in (
        UNKNOWN_KEY,
        UNKNOWN_KEY[:-1],
        "garbage",
        "ds_admin_" + "b" * 32,
        live,
        "ds_test_" + "A" * 32,
        "\xe9",
    ):
        reply = await bench.get("/v1/whoami", text, ("x-request-id", "same"))
        assert (reply.status, reply.slug) == (401, "invalid-key"), text
        assert reply.headers["www-authenticate"] == "Bearer"
        bodies.add(reply.body)
    assert len(bodies) == 1


async def test_the_scheme_is_read_in_any_case(bench: Bench) -> None:
    known = await bench.customer()
    for scheme in ("bearer", "BEARER", "Bearer "):
        reply = await bench.first.request(
            "GET", "/v1/whoami", headers=(("authorization", f"{scheme} {known}"),)
        )
        assert reply.status == 200


async def test_only_the_deployments_kind_of_customer_key_is_accepted(shared_pool: Pool) -> None:
    async with bench_of(shared_pool, livemode="live") as bench:
        account_id = await bench.account()
        test, live = await bench.key(account_id), await bench.key(account_id, mode="live")
        assert (await bench.get("/v1/whoami", test.key)).slug == "invalid-key"
        assert (await bench.get("/v1/whoami", live.key)).status == 200
        assert (await bench.get("/v1/whoami", await bench.admin())).status == 200


async def test_a_brand_has_its_own_prefix(shared_pool: Pool) -> None:
    async with bench_of(shared_pool, key_prefix="acme") as bench:
        wanted = KeyWanted(account_id=await bench.account(), mode="test", brand_prefix="acme")
        made = await accounts.create_key(shared_pool, wanted, IN_A_TEST)
        assert (await bench.get("/v1/whoami", made.key)).status == 200
        assert (await bench.get("/v1/whoami", await bench.customer())).slug == "invalid-key"


async def test_a_revoked_key_is_refused_from_the_next_request_on_every_process(bench: Bench) -> None:
    made = await bench.key(await bench.account())
    for process in (bench.first, bench.second):
        assert (await process.request("GET", "/v1/whoami", bearer=made.key)).status == 200
    await accounts.revoke_key(bench.pool, made.key_id, IN_A_TEST)
    for process in (bench.second, bench.first):
        reply = await process.request("GET", "/v1/whoami", bearer=made.key)
        assert (reply.status, reply.slug) == (401, "revoked-key")
        assert reply.headers["www-authenticate"] == "Bearer"


async def test_an_expired_key_is_refused(bench: Bench) -> None:
    wanted = KeyWanted(
        account_id=await bench.account(),
        mode="test",
        brand_prefix="ds",
        expires_at=datetime.now(UTC) - timedelta(seconds=1),
    )
    expired = await accounts.create_key(bench.pool, wanted, IN_A_TEST)
    assert (await bench.get("/v1/whoami", expired.key)).slug == "expired-key"


@pytest.mark.parametrize(
    ("scopes", "opened"),
    [
        (("read:billing",), {"/v1/billing"}),
        (("admin:billing",), {"/v1/buy"}),
        (("read",), {"/v1/billing", "/v1/hooks"}),
        (("account_owner",), {"/v1/billing", "/v1/buy", "/v1/hooks", "/v1/own"}),
        (("admin:read", "admin:write"), {"/v1/admin/read", "/v1/admin/write"}),
        (("admin:override",), {"/v1/admin/override"}),
    ],
)
async def test_a_scope_opens_its_routes_and_the_others_name_what_is_missing(
    bench: Bench, scopes: tuple[str, ...], opened: set[str]
) -> None:
    is_admin = scopes[0] in {"admin:read", "admin:override"}
    key = await bench.admin(*scopes) if is_admin else await bench.customer(*scopes)
    for path, scope in GUARDED.items():
        reply = await bench.get(path, key)
        if path in opened:
            assert reply.status == 200
        else:
            assert (reply.status, reply.slug) == (403, "forbidden")
            assert reply.json["scope"] == scope
            assert scope in reply.json["detail"]


async def test_whoami_tells_customers_and_admins_apart(bench: Bench) -> None:
    account_id = await bench.account()
    customer, admin = await bench.key(account_id, "read"), await bench.key(None, mode="admin")
    assert (await bench.get("/v1/whoami", customer.key)).json == {
        "account_id": f"acc_{account_id}",
        "api_key_id": f"key_{customer.key_id}",
        "tier": "free",
        "scopes": ["read"],
    }
    shown = (await bench.get("/v1/whoami", admin.key)).json
    assert shown["account_id"] is None
    assert shown["scopes"] == ["admin:read", "admin:write"]


async def test_a_header_that_names_another_account_is_refused_before_the_body_is_read(bench: Bench) -> None:
    account_id, other = await bench.account(), await bench.account()
    key = (await bench.key(account_id)).key
    for own in (f"acc_{account_id}", str(account_id), str(account_id).upper(), " ", ""):
        reply = await bench.first.request(
            "POST", "/v1/buy", bearer=key, headers=((ACCOUNT_HEADER, own),), body=b'{"a":1}'
        )
        assert reply.status == 200, own
        assert reply.json == {"account_id": str(account_id), "body": {"a": 1}}
    for foreign in (
        f"acc_{other}",
        str(other),
        f"acc_{uuid4()}",
        "nobody",
        "acc_",
        f"acc_{account_id}, acc_{other}",
    ):
        reply = await bench.first.request(
            "POST", "/v1/buy", bearer=key, headers=((ACCOUNT_HEADER, foreign),), body=b"{ no json"
        )
        assert (reply.status, reply.slug) == (400, "bad-request"), foreign
        assert str(other) not in reply.json["detail"]
        assert "account" in reply.json["detail"]
    named = (ACCOUNT_HEADER, f"acc_{other}")
    assert (await bench.get("/v1/whoami", key, named)).status == 200
    assert (await bench.get("/v1/account/rate-limits", key, named)).slug == "bad-request"
    assert (await bench.get("/v1/admin/read", await bench.admin(), named)).slug == "bad-request"


async def test_every_answer_tells_the_rate_and_429_when_to_come_back(shared_pool: Pool) -> None:
    async with bench_of(shared_pool, customer_policy=Policy(5, HOURLY)) as bench:
        key = await bench.customer("read:billing")
        remaining = []
        for path in ("/v1/billing", "/v1/buy", "/v1/whoami", "/v1/account/rate-limits", "/v1/billing"):
            reply = await bench.get(path, key)
            assert reply.headers["ratelimit-limit"] == "5"
            assert int(reply.headers["ratelimit-reset"]) > 0
            remaining.append(reply.headers["ratelimit-remaining"])
        assert remaining == ["4", "3", "2", "1", "0"]
        for process in (bench.first, bench.second):
            reply = await process.request("GET", "/v1/billing", bearer=key)
            assert (reply.status, reply.slug) == (429, "rate-limited")
            assert reply.headers["ratelimit-remaining"] == "0"
            assert 3500 < int(reply.headers["retry-after"]) <= 3600
            assert reply.json["retry_after_seconds"] == int(reply.headers["retry-after"])
        assert (await bench.get("/v1/billing", await bench.customer("read"))).status == 200


async def test_two_processes_grant_one_keys_capacity_together(shared_pool: Pool) -> None:
    async with bench_of(shared_pool, customer_policy=Policy(30, HOURLY)) as bench:
        key = await bench.customer()
        processes = [bench.first, bench.second] * 30
        replies = await asyncio.gather(
            *(each.request("GET", "/v1/billing", bearer=key) for each in processes)
        )
        assert [reply.status for reply in replies].count(200) == 30
        assert {reply.status for reply in replies} == {200, 429}


async def test_admins_have_a_rate_of_their_own_and_0_means_none(shared_pool: Pool) -> None:
    async with bench_of(shared_pool, customer_policy=Policy(0, 1), admin_policy=Policy(300, 50)) as bench:
        assert "ratelimit-limit" not in (await bench.get("/v1/billing", await bench.customer())).headers
        assert (await bench.get("/v1/admin/read", await bench.admin())).headers["ratelimit-limit"] == "300"


async def test_rate_limits_show_the_default_and_an_override(shared_pool: Pool) -> None:
    async with bench_of(shared_pool, customer_policy=Policy(120, 20)) as bench:
        made = await bench.key(await bench.account())
        assert (await bench.get("/v1/account/rate-limits", made.key)).json == {
            "tier": "free",
            "buckets": [
                {
                    "bucket_key": f"key_{made.key_id}",
                    "capacity": 120,
                    "refill_per_second": 20.0,
                    "source": "tier_default",
                    "override_expires_at": None,
                }
            ],
        }
        until = datetime(2099, 1, 1, tzinfo=UTC)
        await accounts.override_rate(shared_pool, made.key_id, 500, 2.5, until, IN_A_TEST)
        (bucket,) = (await bench.get("/v1/account/rate-limits", made.key)).json["buckets"]
        assert (bucket["capacity"], bucket["refill_per_second"], bucket["source"]) == (500, 2.5, "override")
        assert bucket["override_expires_at"] == "2099-01-01T00:00:00.000Z"


async def test_failures_from_an_address_draw_on_one_bucket_over_all_processes(shared_pool: Pool) -> None:
    async with bench_of(
        shared_pool, failure_policy=Policy(6, HOURLY), trusted_proxies=("127.0.0.0/8",)
    ) as bench:
        good = await bench.customer()
        attacker, other = ("x-forwarded-for", "198.51.100.7"), ("x-forwarded-for", "203.0.113.9")
        slugs = []
        for process, bearer in zip(
            [bench.first, bench.second] * 4, [UNKNOWN_KEY, "x", None, good[:-1]] * 2, strict=True
        ):
            slugs.append(
                (await process.request("GET", "/v1/whoami", bearer=bearer, headers=(attacker,))).slug
            )
        assert slugs[:6] == [
            "invalid-key",
            "invalid-key",
            "unauthorized",
            "invalid-key",
            "invalid-key",
            "invalid-key",
        ]
        assert slugs[6:] == ["rate-limited", "rate-limited"]
        limited = await bench.get("/v1/whoami", UNKNOWN_KEY, attacker)
        assert int(limited.headers["retry-after"]) > 0
        assert limited.headers["ratelimit-limit"] == "6"
        assert (await bench.get("/v1/whoami", UNKNOWN_KEY, other)).slug == "invalid-key"
        # Whoever has a key is let in, from a shared address too.
        assert (await bench.get("/v1/whoami", good, attacker)).status == 200
        assert (await bench.get("/v1/whoami", good, other)).status == 200


async def test_a_malformed_key_is_never_looked_up(shared_pool: Pool) -> None:
    asked: list[bytes] = []

    async def find_and_tell(conn: Any, sha256: bytes) -> Any:
        asked.append(sha256)
        return await keys.find_key(conn, sha256)

    settings = AuthSettings(
        key_prefix="ds", livemode="test", account_header=ACCOUNT_HEADER, failure_policy=Policy(0, 1)
    )
    authenticator = Authenticator(shared_pool, RateLimiter(shared_pool), settings, find_and_tell)
    group = account.routes(AccountDeps(pool=shared_pool, settings=settings), authenticator)
    async with serving(HttpApp([group], type_base=TYPE_BASE)) as served:
        for text in ("garbage", UNKNOWN_KEY[:-1], "ds_live_" + "a" * 32, None):
            assert (await served.request("GET", "/v1/whoami", bearer=text)).status == 401
        assert asked == []
        assert (await served.request("GET", "/v1/whoami", bearer=UNKNOWN_KEY)).status == 401
        assert len(asked) == 1


async def test_no_key_is_ever_logged(bench: Bench) -> None:
    made = await bench.key(await bench.account())
    stream = io.StringIO()
    log.configure(stream=stream)
    try:
        await bench.get(f"/v1/whoami?key={made.key}", made.key)
        await bench.get(f"/v1/{made.key}", made.key[:-1])
    finally:
        log.configure(level="critical")
    assert made.key[8:] not in stream.getvalue()
    assert made.key[8:-1] not in stream.getvalue()
    assert f'"key_id":"{made.key_id}"' in stream.getvalue()
    assert f'"account_id":"{made.account_id}"' in stream.getvalue()


async def test_without_a_database_a_key_is_neither_right_nor_wrong(cluster: Any, bench: Bench) -> None:
    key = await bench.customer()
    gone = await open_pool(
        cluster.dsn.replace("@/crypto_orders?", f"@/{DATABASE}?"), size=2, application_name="test"
    )
    async with bench_of(gone) as without:
        await gone.close()
        reply = await without.get("/v1/whoami", key)
        assert (reply.status, reply.slug) == (503, "internal")
        assert int(reply.headers["retry-after"]) > 0
        assert (await without.get("/v1/whoami", "garbage")).slug == "invalid-key"
