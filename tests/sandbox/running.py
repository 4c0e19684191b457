"""A sandbox served on loopback, a merchant that listens to it, and waiting on conditions."""

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import uvicorn
from aiohttp import web

from crypto_orders.domain import ipn_signature
from crypto_orders.sandbox import SandboxConfig, create_app

API_KEY = "AAAAAAA-BBBBBBB-CCCCCCC-DDDDDDD"
IPN_SECRET = "ipn secret of the sandbox"
EMAIL = "Merchant@example.com"
PASSWORD = "correct horse"
DEADLINE_SECONDS = 90.0

SERVED_BY_ITSELF = Path(__file__).with_name("serve_sandbox.py")


def sandbox_config(state_dir: Path, **changes: Any) -> SandboxConfig:
    """The configuration of a test's sandbox: the defaults, but for quicker steps."""
    values: dict[str, Any] = {
        "state_dir": state_dir,
        "api_key": API_KEY,
        "ipn_secret": IPN_SECRET,
        "email": EMAIL,
        "password": PASSWORD,
        "step_ms": 20,
    }
    return SandboxConfig(**(values | changes))


async def eventually(is_so: Callable[[], Any]) -> Any:
    """Wait until a condition holds and return what it gave; fail when it never does."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not (found := is_so()):
        assert time.monotonic() < end, "it never became so"
        await asyncio.sleep(0.01)
    return found


class Answer(NamedTuple):
    """What the sandbox answered."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        """The body with exact numbers."""
        return json.loads(self.text, parse_float=Decimal)


class Provider:
    """A client of a running sandbox."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def call(self, method: str, path: str, *, key: str | None = API_KEY, **options: Any) -> Answer:
        headers = ({"x-api-key": key} if key is not None else {}) | options.pop("headers", {})
        async with self._session.request(method, self.url + path, headers=headers, **options) as answer:
            return Answer(answer.status, await answer.text(), answer.headers)

    async def create(self, **fields: Any) -> dict[str, Any]:
        """A new payment of 29 dollars, or of what the fields say."""
        body = {"price_amount": 29, "price_currency": "usd", "pay_currency": "usdtbsc"} | fields
        answer = await self.call("POST", "/v1/payment", json=body)
        assert answer.status == 201, answer.text
        return answer.json

    async def read(self, payment_id: str | int) -> dict[str, Any]:
        answer = await self.call("GET", f"/v1/payment/{payment_id}")
        assert answer.status == 200, answer.text
        return answer.json

    async def control(self, path: str, **body: Any) -> dict[str, Any]:
        """A successful call of the controls."""
        answer = await self.call("POST", "/sandbox" + path, key=None, json=body)
        assert answer.status in {200, 202}, answer.text
        return answer.json

    async def pay(self, payment_id: str | int, **body: Any) -> dict[str, Any]:
        return await self.control(f"/payments/{payment_id}/pay", **body)

    async def ledger(self, **filters: str) -> list[dict[str, Any]]:
        answer = await self.call("GET", "/sandbox/payments", key=None, params=filters)
        assert answer.status == 200, answer.text
        return answer.json["data"]

    async def reaches(self, payment_id: str | int, status: str) -> dict[str, Any]:
        """Wait until a payment has a status, and return it as the ledger shows it."""
        end = time.monotonic() + DEADLINE_SECONDS
        while True:
            (row,) = await self.ledger(payment_id=str(payment_id))
            if row["payment_status"] == status:
                return row
            assert time.monotonic() < end, row
            await asyncio.sleep(0.01)

    async def answers(self) -> None:
        """Wait until the sandbox is up."""
        end = time.monotonic() + DEADLINE_SECONDS
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                if (await self.call("GET", "/v1/status")).status == 200:
                    return
            assert time.monotonic() < end, "the sandbox never came up"
            await asyncio.sleep(0.02)


class Notice(NamedTuple):
    """A notification as it came in."""

    body: bytes
    signature: str
    at: float

    @property
    def fields(self) -> dict[str, Any]:
        return json.loads(self.body, parse_float=Decimal)

    @property
    def status(self) -> str:
        return self.fields["payment_status"]

    @property
    def is_genuine(self) -> bool:
        """Whether the signature verifies by the service's own rules."""
        return ipn_signature.verify(self.body, self.signature, [IPN_SECRET]) is not None


class Merchant:
    """A receiver of notifications; what it answers can be changed."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/ipn"
        self.notices: list[Notice] = []
        self.answer_status = 200
        self.answers_after_seconds = 0.0

    @property
    def statuses(self) -> list[str]:
        return [notice.status for notice in self.notices]

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        (signature,) = request.headers.getall("x-nowpayments-sig")
        self.notices.append(Notice(body, signature, time.monotonic()))
        await asyncio.sleep(self.answers_after_seconds)
        return web.json_response({"received": True}, status=self.answer_status)


@contextlib.asynccontextmanager
async def listening_merchant() -> AsyncGenerator[Merchant]:
    listener = loopback_socket()
    merchant = Merchant(listener.getsockname()[1])
    app = web.Application()
    app.router.add_post("/ipn", merchant.receive)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    try:
        yield merchant
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def served(config: SandboxConfig) -> AsyncGenerator[Provider]:
    """A sandbox in the test's own event loop, and its client."""
    listener = loopback_socket()
    options = uvicorn.Config(
        create_app(config),
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    # Started and stopped by its parts: its own loop looks only ten times a second whether it is to end, and
    # takes over signals, which are pytest's here.
    server = uvicorn.Server(options)
    options.load()
    server.lifespan = options.lifespan_class(options)
    await server.startup(sockets=[listener])
    assert not server.should_exit, "the sandbox did not start"
    try:
        async with aiohttp.ClientSession() as session:
            yield Provider(f"http://127.0.0.1:{listener.getsockname()[1]}", session)
        await eventually(lambda: not server.server_state.connections)
    finally:
        await server.shutdown(sockets=[listener])


class Process:
    """A sandbox in a process of its own, which can be killed."""

    def __init__(self, config: SandboxConfig, port: int) -> None:
        self._arguments = [str(port), msgspec.json.encode(config, enc_hook=str).decode()]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, str(SERVED_BY_ITSELF), *self._arguments
        )

    async def kill(self) -> None:
        """End it as kill -9 does."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


def loopback_socket() -> socket.socket:
    """A listening socket on a free port."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(256)
    return listener


def free_port() -> int:
    """A port that was free a moment ago."""
    with loopback_socket() as listener:
        return listener.getsockname()[1]
