"""The whole service on loopback for a test: web, worker jobs and sandbox, over a database of its own."""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import aiohttp
import uvicorn
from argon2 import PasswordHasher

from crypto_orders import app, settings
from crypto_orders.kit import ids, server
from crypto_orders.sandbox import SandboxConfig, create_app
from crypto_orders.settings import Settings
from crypto_orders.store.audit import Actor, Entry
from crypto_orders.store.connection import Pool
from crypto_orders.usecases import accounts
from crypto_orders.usecases.accounts import KeyWanted
from crypto_orders.usecases.passwords import Hasher

PROVIDER_KEY = "AAAAAAA-BBBBBBB-CCCCCCC-DDDDDDD"
IPN_SECRET = "ipn secret of the tests"
SEALING_KEY = base64.b64encode(bytes(range(32))).decode()
DEADLINE_SECONDS = 30.0
STEP_MS = 10
# What a hash costs is the point of one test alone.
QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
IN_A_TEST = Entry(actor=Actor(name="test"), action="test", target=None, request={})


class Reply(NamedTuple):
    """What was answered."""

    status: int
    body: bytes
    headers: Any

    @property
    def json(self) -> Any:
        """The body with exact numbers."""
        return json.loads(self.body, parse_float=Decimal) if self.body else None


async def eventually(look: Callable[[], Awaitable[Any]], *, within: float = DEADLINE_SECONDS) -> Any:
    """Wait until a look gives something true and return it; fail when it never does."""
    end = time.monotonic() + within
    while not (found := await look()):
        assert time.monotonic() < end, "it never became so"
        await asyncio.sleep(0.02)
    return found


@dataclass
class Client:
    """Speaks to one origin with one key."""

    session: aiohttp.ClientSession
    origin: str
    headers: dict[str, str]

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Make one request; header names are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        options: dict[str, Any] = {"json": body} if body is not None else {}
        async with self.session.request(
            method, self.origin + path, headers={**self.headers, **named}, **options
        ) as reply:
            return Reply(reply.status, await reply.read(), reply.headers)

    async def get(self, path: str, **headers: str) -> Reply:
        """GET a path."""
        return await self.call("GET", path, **headers)

    async def post(self, path: str, body: Any = None, **headers: str) -> Reply:
        """POST a body, or none, to a path."""
        return await self.call("POST", path, body, **headers)


@dataclass
class Service:
    """A running service, its pool for looking behind the scenes, and clients of it."""

    settings: Settings
    pool: Pool
    session: aiohttp.ClientSession
    base_url: str
    sandbox_url: str

    def client(self, key: str | None = None) -> Client:
        """A client of the service."""
        return Client(self.session, self.base_url, {"Authorization": f"Bearer {key}"} if key else {})

    @property
    def sandbox(self) -> Client:
        """A client of the sandbox, with the merchant's key."""
        return Client(self.session, self.sandbox_url, {"x-api-key": PROVIDER_KEY})

    async def customer(self, *scopes: str) -> "Customer":
        """A new account with a key."""
        account = await accounts.create_account(self.pool, "A customer", "free", IN_A_TEST)
        wanted = KeyWanted(account_id=account.account_id, mode="test", brand_prefix="ds", scopes=scopes)
        made = await accounts.create_key(self.pool, wanted, IN_A_TEST)
        return Customer(**vars(self.client(made.key)), account_id=account.account_id)

    async def admin(self, *scopes: str) -> Client:
        """A client with an admin key, of the default scopes when none are named."""
        wanted = KeyWanted(account_id=None, mode="admin", brand_prefix="ds", scopes=scopes)
        return self.client((await accounts.create_key(self.pool, wanted, IN_A_TEST)).key)

    async def status_of(self, order_id: str) -> str:
        """An order's status as stored."""
        async with self.pool.acquire() as conn:
            return await conn.fetchval("SELECT status FROM orders WHERE order_id = $1", order_id)

    async def becomes(self, order_id: str, status: str) -> None:
        """Wait until an order has a status."""

        async def is_so() -> bool:
            return await self.status_of(order_id) == status

        await eventually(is_so)

    async def rows(self, query: str, *args: object) -> list[dict[str, Any]]:
        """Look behind the scenes."""
        async with self.pool.acquire() as conn:
            return [dict(row) for row in await conn.fetch(query, *args)]

    async def flags_of(self, order_id: str) -> list[str]:
        """The kinds of an order's open flags, sorted."""
        rows = await self.rows(
            "SELECT kind FROM flags WHERE order_id = $1 AND state = 'open' ORDER BY kind", order_id
        )
        return [row["kind"] for row in rows]


@dataclass
class Customer(Client):
    """A client whose key belongs to an account."""

    account_id: UUID

    async def check_out(self, key: str | None = None, **body: Any) -> Any:
        """Start an order; the answer's JSON."""
        headers = {"Idempotency_Key": key} if key else {}
        reply = await self.post("/v1/billing/crypto-checkout", {"product": "solo_manual"} | body, **headers)
        assert reply.status == 201, reply.body
        return reply.json

    @property
    def public_id(self) -> str:
        """The account's id as the API writes it."""
        return ids.prefixed("acc", self.account_id)


@contextlib.asynccontextmanager
async def running(
    database_url: str,
    pool: Pool,
    directory: Path,
    *,
    workers: bool = True,
    hasher: Hasher | None = None,
    **changes: str,
) -> AsyncGenerator[Service]:
    """Run the service; `changes` are settings by their names in lower case."""
    web_socket, sandbox_socket = server.bind("127.0.0.1", 0), server.bind("127.0.0.1", 0)
    base_url = "http://{}:{}".format(*server.address_of(web_socket))
    sandbox_url = "http://{}:{}".format(*server.address_of(sandbox_socket))
    values = {
        "env": "demo",
        "public_url": base_url,
        "sandbox": "true",
        "nowpayments_url": sandbox_url,
        "nowpayments_api_key": PROVIDER_KEY,
        "nowpayments_ipn_secret": IPN_SECRET,
        "sealing_key": SEALING_KEY,
        "rate_limit_customer_capacity": "0",
        "rate_limit_admin_capacity": "0",
        "rate_limit_failure_capacity": "0",
        "provider_reads_per_second": "1000",
        **changes,
    }
    found = settings.read({f"CRYPTO_ORDERS_{name.upper()}": value for name, value in values.items()})
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(_sandbox(sandbox_socket, directory))
        web = await stack.enter_async_context(app.web(found, database_url, hasher=hasher or QUICK_HASHER))
        serving = server.make_server(web.app, type_base=web.type_base)
        await stack.enter_async_context(_served(serving, web_socket))
        if workers:
            stop = asyncio.Event()
            working = asyncio.create_task(app.work(found, database_url, stop))
            stack.push_async_callback(_stopped, working, stop)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Service(found, pool, session, base_url, sandbox_url)


@contextlib.asynccontextmanager
async def _sandbox(bound: Any, directory: Path) -> AsyncGenerator[None]:
    config = SandboxConfig(
        state_dir=directory / "sandbox",
        api_key=PROVIDER_KEY,
        ipn_secret=IPN_SECRET,
        email="merchant@example.com",
        password="correct horse",
        step_ms=STEP_MS,
    )
    serving = uvicorn.Server(uvicorn.Config(create_app(config), log_config=None, ws="none"))
    async with _served(serving, bound):
        yield


@contextlib.asynccontextmanager
async def _served(serving: uvicorn.Server, bound: Any) -> AsyncGenerator[None]:
    running_server = asyncio.create_task(serving._serve(sockets=[bound]))
    while not serving.started:
        assert not running_server.done(), running_server.result()
        await asyncio.sleep(0.005)
    yield
    serving.should_exit = True
    await running_server


async def _stopped(working: asyncio.Task[None], stop: asyncio.Event) -> None:
    stop.set()
    await working
