"""A provider on loopback that does what it is told to, request by request: a real server, bytes by hand."""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec

from crypto_orders.provider import Call, CreatePayment, ProviderClient

API_KEY = "ABCDEFG-1234567-ABCDEFG-1234567"

Behaviour = Callable[["Visit"], Awaitable[None]]


class Request(msgspec.Struct, frozen=True):
    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Visit:
    """One request as it came, and the connection to answer it on."""

    def __init__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self._writer = writer

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        head = f"HTTP/1.1 {status} x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        await self.write(head.encode() + body)

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        """End with a TCP reset instead of an orderly end."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


class Provider:
    """Answers each request by the next behaviour; the last one stays."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self.behaviours = list(behaviours)
        self.requests: list[Request] = []
        self.asked = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:-2])
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = Request(head[0], headers, body)
                self.requests.append(request)
                self.asked.set()
                behaviour = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
                await behaviour(Visit(request, writer))
        writer.close()


@contextlib.asynccontextmanager
async def provider(*behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Provider]:
    """Run a provider that behaves so."""
    made = Provider(*behaviours)
    serving: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await made.serve(reader, writer)
        serving.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    made.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
    try:
        yield made
    finally:
        server.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


class Watch:
    """A client's observer that remembers."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __call__(self, call: Call) -> None:
        self.calls.append(call)


class Clock:
    """A clock that runs when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def client(url: str, **options: Any) -> ProviderClient:
    return ProviderClient(url, API_KEY, **options)


# Behaviours -------------------------------------------------------------------------------------------------


def answers(status: int, document: object) -> Behaviour:
    """Answer with a document as JSON."""
    return says(status, json.dumps(document).encode())


def says(status: int, body: bytes, content_type: str = "application/json") -> Behaviour:
    """Answer with these bytes."""

    async def behave(visit: Visit) -> None:
        await visit.answer(status, body, content_type)

    return behave


def writes(*pieces: bytes) -> Behaviour:
    """Write raw bytes and close."""

    async def behave(visit: Visit) -> None:
        for piece in pieces:
            await visit.write(piece)
        visit.close()

    return behave


async def is_silent(_: Visit) -> None:
    """Take the request and say nothing for ever."""
    await asyncio.Event().wait()


async def hangs_up(visit: Visit) -> None:
    visit.close()


async def resets(visit: Visit) -> None:
    visit.reset()


async def drips_head(visit: Visit) -> None:
    await visit.write(b"HTTP/1.1 201 Created\r\n")
    while True:
        await visit.write(b"X-Drip: 1\r\n")
        await asyncio.sleep(0.05)


async def drips_body(visit: Visit) -> None:
    await visit.write(
        b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    )
    while True:
        await visit.write(b" ")
        await asyncio.sleep(0.05)


async def never_ends(visit: Visit) -> None:
    await visit.write(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await visit.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


async def informs_for_ever(visit: Visit) -> None:
    while True:
        await visit.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await asyncio.sleep(0.01)


# Documents --------------------------------------------------------------------------------------------------

ASKED = CreatePayment(
    order_id="ord_01",
    price_cents=7900,
    price_currency="USD",
    pay_currency="BTC",
    ipn_callback_url="https://shop.example/v1/webhooks/nowpayments",
    order_description="solo_manual",
)


def payment(**fields: object) -> dict[str, object]:
    """Return the answer to a create call for :data:`ASKED`, with some fields otherwise."""
    return {
        "payment_id": "5977953151",
        "payment_status": "waiting",
        "pay_address": "bc1qxyz",
        "price_amount": 79,
        "price_currency": "usd",
        "pay_amount": 0.00123456,
        "pay_currency": "btc",
        "order_id": "ord_01",
        "created_at": "2026-05-22T10:00:00.000Z",
        "valid_until": "2026-05-29T10:00:00.000Z",
        **fields,
    }


def error(status: int, code: str | None, message: str) -> dict[str, object]:
    """Return an error in the provider's own form."""
    return {"status": False, "statusCode": status, "code": code, "message": message}
