"""A closed-loop HTTP load: so many connections, each sending its next request when its last one is answered."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple


class Load(NamedTuple):
    """What a load came to: answered requests a second, and latencies in milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


class _Connection(asyncio.Protocol):
    """One keep-alive connection; answers are read by their content-length alone."""

    def __init__(self, next_request: Callable[[], bytes], until: float, latencies: list[float]) -> None:
        self._next, self._until, self._latencies = next_request, until, latencies
        self._buffer, self._sent_at = b"", 0.0
        self.errors = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.errors += 1
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(body) < length:
            return
        now = time.perf_counter()
        self._latencies.append(now - self._sent_at)
        if head[9:10] != b"2":
            self.errors += 1
        self._buffer = b""
        if now >= self._until:
            self.done.set_result(None)
            self._transport.close()
        else:
            self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._next())  # pyright: ignore[reportAttributeAccessIssue]


async def run(port: int, next_request: Callable[[], bytes], *, connections: int, seconds: float) -> Load:
    """Load one port of this machine."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    started = time.perf_counter()
    until = started + seconds
    made = [
        (
            await loop.create_connection(
                lambda: _Connection(next_request, until, latencies), "127.0.0.1", port
            )
        )[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(c.done for c in made))
    elapsed = time.perf_counter() - started
    ranked = sorted(latencies)
    return Load(
        per_second=len(latencies) / elapsed,
        p50_ms=ranked[len(ranked) // 2] * 1000,
        p99_ms=ranked[int(len(ranked) * 0.99)] * 1000,
        errors=sum(c.errors for c in made),
    )
