"""Receivers of webhooks for the benchmark: one process that takes everything at once, or many that behave badly."""

import asyncio
import contextlib
import json
import sys
import time
from datetime import datetime

import uvloop

from tests.sender import bad_receivers

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CREATED_AT = b'"created_at":"'
CREATED_AT_BYTES = 24

BAD = (
    bad_receivers.hang_after_request,
    bad_receivers.header_drip,
    bad_receivers.reset_after_request,
    bad_receivers.answering("HTTP/1.1 500 Oh"),
    bad_receivers.endless_body,
)
"""The sixth kind is a port where nobody listens."""


class Kept:
    """What came since the last reset: how many, and how long after their events were created."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.count = 0
        self.timed = False

    def take(self, body: bytes) -> None:
        self.count += 1
        if self.timed:
            at = body.index(CREATED_AT) + len(CREATED_AT)
            created = datetime.fromisoformat(body[at : at + CREATED_AT_BYTES].decode())
            self.delays.append(time.time() - created.timestamp())

    def told(self, path: bytes) -> bytes:
        """Answer the benchmark's own questions: the count, or the delays, which are forgotten then."""
        if path == b"/count":
            return json.dumps(self.count).encode()
        delays, self.delays, self.count, self.timed = self.delays, [], 0, path == b"/timed"
        return json.dumps(delays).encode()


class Visit(asyncio.Protocol):
    """One connection; requests come whole or in pieces, one at a time."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        head, separator, body = buffer.partition(b"\r\n\r\n")
        if not separator:
            self._buffer = buffer
            return
        if head.startswith(b"GET "):
            told = self._kept.told(head.split(b" ", 2)[1])
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(told) + told
        else:
            at = head.index(b"Content-Length: ") + 16
            if len(body) < int(head[at:].split(b"\r\n", 1)[0]):
                self._buffer = buffer
                return
            self._kept.take(body)
            answer = OK
        self._buffer = b""
        self._transport.write(answer)  # pyright: ignore[reportAttributeAccessIssue]


async def good(port: int) -> None:
    kept = Kept()
    server = await asyncio.get_running_loop().create_server(lambda: Visit(kept), "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


async def bad() -> None:
    async with contextlib.AsyncExitStack() as stack:
        ports = [(await stack.enter_async_context(bad_receivers.serving(each))).port for each in BAD]
        print(json.dumps(ports), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "good":
        uvloop.run(good(int(sys.argv[2])))
    else:
        # Python's own loop lets a behaviour write to a connection that is gone.
        asyncio.run(bad())
