"""What holds on every route of the service, generated from its own API document."""

import os
import re
from collections.abc import AsyncGenerator, Iterator
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from crypto_orders.store.connection import open_pool
from tests.support.cluster import create_database, drop_database
from tests.support.service import Client, Reply, Service, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Workers that share a cluster must not share a name in it.
DATABASE = f"test_conventions_{os.getpid()}"
ABSENT_UUID = "0192aa00-0000-7000-8000-000000000000"
ABSENT_ORDER = "ord_01m81q5xrefvsarpy8cngf6r6x"
ADMIN_SCOPES = ("admin:read", "admin:write", "admin:override")
PARAMETER = re.compile(r"\{(\w+)\}")


class Operation(NamedTuple):
    """One documented method of one path."""

    method: str
    path: str
    described: dict[str, Any]

    @property
    def scope(self) -> str | None:
        """The scope its key needs, "" where any key does; None for a public route."""
        return next((next(iter(each["key"]), "") for each in self.described["security"]), None)

    @property
    def takes_json(self) -> bool:
        return "application/json" in self.described.get("requestBody", {}).get("content", {})

    def filled(self, value: str | None = None) -> str:
        """The path with absent ids in it, or with this text for each."""
        patterns = {each["name"]: each["schema"].get("pattern", "") for each in self.described["parameters"]}

        def fill(found: re.Match[str]) -> str:
            if value is not None:
                return value
            pattern = patterns[found[1]]
            if "ord_" in pattern:
                return ABSENT_ORDER
            prefix = re.match(r"\^([a-z]+)_", pattern)
            return f"{prefix[1]}_{ABSENT_UUID}" if prefix else "absent"

        return PARAMETER.sub(fill, self.path)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Service]:
    """One service for all: no test here changes what another looks at."""
    await create_database(cluster.superuser_dsn, DATABASE)
    url = cluster.dsn.replace("@/crypto_orders?", f"@/{DATABASE}?")
    pool = await open_pool(url, size=8, application_name="test")
    async with running(url, pool, tmp_path_factory.mktemp("service"), workers=False) as service:
        yield service
    pool.terminate()
    await drop_database(cluster.superuser_dsn, DATABASE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operations(service: Service) -> list[Operation]:
    document = (await service.client().get("/openapi.json")).json
    found = [
        Operation(method.upper(), path, described)
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    ]
    assert len(found) >= 10
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def customer(service: Service) -> Client:
    return await service.customer("account_owner")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(service: Service) -> Client:
    return await service.admin(*ADMIN_SCOPES)


def guarded(operations: list[Operation]) -> Iterator[Operation]:
    return (each for each in operations if each.scope is not None)


def slug_of(reply: Reply, told: object) -> str:
    """The slug of a problem, after checking everything that every problem has."""
    assert reply.headers["content-type"] == "application/problem+json", told
    problem = reply.json
    assert {"type", "title", "status", "detail", "instance"} <= problem.keys(), told
    assert problem["status"] == reply.status, told
    assert problem["instance"] == reply.headers["x-request-id"], told
    return problem["type"].rpartition("/")[2]


def key_for(operation: Operation, customer: Client, admin: Client) -> Client:
    return admin if str(operation.scope) in ADMIN_SCOPES else customer


async def test_no_guarded_route_answers_without_a_key(service: Service, operations: list[Operation]) -> None:
    for each in guarded(operations):
        reply = await service.client().call(each.method, each.filled())
        assert (reply.status, slug_of(reply, each.path)) == (401, "unauthorized"), each.path
        assert reply.headers["www-authenticate"] == "Bearer"


async def test_a_key_of_the_other_kind_lacks_the_scope(
    operations: list[Operation], customer: Client, admin: Client
) -> None:
    for each in guarded(operations):
        if not each.scope:
            continue
        other = customer if key_for(each, customer, admin) is admin else admin
        reply = await other.call(each.method, each.filled())
        assert (reply.status, slug_of(reply, each.path)) == (403, "forbidden"), each.path
        assert reply.json["scope"] == each.scope


async def test_every_answer_under_v1_is_private_named_and_anonymous(
    service: Service, operations: list[Operation]
) -> None:
    for each in operations:
        reply = await service.client().call(each.method, each.filled(), X_Request_Id="trace-1")
        assert reply.headers["x-request-id"] == "trace-1", each.path
        assert "server" not in reply.headers
        if each.path.startswith("/v1/"):
            assert reply.headers["cache-control"] == "no-store, private", each.path


async def test_every_path_tells_all_its_methods(service: Service, operations: list[Operation]) -> None:
    for path in {each.path for each in operations}:
        methods = {each.method for each in operations if each.path == path}
        wanted = methods | ({"HEAD"} if "GET" in methods else set())
        filled = next(each.filled() for each in operations if each.path == path)
        for method in ("TRACE", "OPTIONS", "PURGE"):
            reply = await service.client().call(method, filled)
            assert (reply.status, slug_of(reply, path)) == (405, "method-not-allowed"), path
            assert wanted <= set(reply.headers["allow"].split(", ")), path


async def test_nothing_answers_beside_the_declared_paths(
    service: Service, operations: list[Operation]
) -> None:
    for path in {each.filled() for each in operations}:
        for beside in (f"{path}/", f"{path}/x/y/z", f"/v1{path}", path.upper()):
            reply = await service.client().get(beside)
            assert (reply.status, slug_of(reply, beside)) == (404, "not-found"), beside


async def test_an_absent_and_a_malformed_id_are_answered_alike(
    operations: list[Operation], customer: Client, admin: Client
) -> None:
    for each in guarded(operations):
        if "{" not in each.path or each.takes_json:
            continue
        client = key_for(each, customer, admin)
        absent = await client.call(each.method, each.filled(), X_Request_Id="same")
        if absent.status != 404:
            continue
        for malformed in ("x", "%00", "%FF", "..", "'%20or%201=1--", "ord_", ABSENT_ORDER.upper(), "a" * 300):
            reply = await client.call(each.method, each.filled(malformed), X_Request_Id="same")
            assert (reply.status, reply.body) == (absent.status, absent.body), (each.path, malformed)


async def test_bodies_are_bounded_in_size_depth_and_kind(
    operations: list[Operation], customer: Client, admin: Client
) -> None:
    bodies: list[tuple[bytes, str, int, str]] = [
        (b"{", "application/json", 400, "bad-request"),
        (b'{"a":"\xff"}', "application/json", 400, "bad-request"),
        (b'{"a":1,"a":2}', "application/json", 400, "bad-request"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "application/json", 400, "bad-request"),
        (b'{"a":"' + b"x" * 65_530 + b'"}', "application/json", 413, "payload-too-large"),
        (b"{}", "text/plain", 400, "bad-request"),
        (b"{}", "application/json; charset=utf-16", 400, "bad-request"),
    ]
    for each in guarded(operations):
        if not each.takes_json:
            continue
        client = key_for(each, customer, admin)
        for body, content_type, status, slug in bodies:
            async with client.session.request(
                each.method,
                client.origin + each.filled(),
                data=body,
                headers={**client.headers, "content-type": content_type},
            ) as answer:
                reply = Reply(answer.status, await answer.read(), answer.headers)
            assert (reply.status, slug_of(reply, each.path)) == (status, slug), (each.path, body[:20])


async def test_odd_texts_are_stored_or_refused_but_never_break_anything(
    operations: list[Operation], customer: Client, admin: Client
) -> None:
    texts = [
        "' or 1=1--",
        "\x00",
        "\u202egnp.exe",
        "x" * 10_000,
        "%s{}$1",
        "\ufffe",
        "<script>",
        "\\u0000",
        "😀",
    ]
    for each in guarded(operations):
        client = key_for(each, customer, admin)
        names = [p["name"] for p in each.described["parameters"] if p["in"] == "query"]
        for text in texts:
            for name in names:
                async with client.session.request(
                    each.method, client.origin + each.filled(), params={name: text}, headers=client.headers
                ) as answer:
                    assert answer.status < 500, (each.path, name, text)
            if each.takes_json:
                schema = ("product", "pay_currency", "customer_note", "internal_note", "reason", "payment_id")
                reply = await client.call(each.method, each.filled(), dict.fromkeys(schema, text))
                assert reply.status < 500, (each.path, text)


async def test_an_account_header_of_another_is_refused_on_every_guarded_route_but_whoami(
    operations: list[Operation], customer: Client, admin: Client
) -> None:
    for each in guarded(operations):
        client = key_for(each, customer, admin)
        reply = await client.call(each.method, each.filled(), X_Crypto_Orders_Account=f"acc_{ABSENT_UUID}")
        if each.path == "/v1/whoami":
            assert reply.status == 200
        else:
            assert (reply.status, slug_of(reply, each.path)) == (400, "bad-request"), each.path
