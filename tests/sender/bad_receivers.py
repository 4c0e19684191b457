"""Receivers on loopback that behave as badly as receivers do, and worse; real servers, one behaviour each."""

import asyncio
import contextlib
import gzip
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable

Behaviour = Callable[["Visit"], Awaitable[None]]

GZIP_BOMB = gzip.compress(bytes(20_000_000)) * 10
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Visit:
    """One connection to a receiver."""

    def __init__(
        self, receiver: "Receiver", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.receiver = receiver
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """Read one whole request and note it down."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        request = head + await self.reader.readexactly(int(fields[b"content-length"]))
        self.receiver.requests.append(request)
        self.receiver.asked.set()
        return request

    async def write(self, data: bytes) -> None:
        """Write and wait until the peer has room."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """End with a TCP reset instead of an orderly end."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Receiver:
    """A listening receiver, what it was sent, and how often it was connected to."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0
        self.asked = asyncio.Event()
        """Set once there was a request."""
        self.idle = asyncio.Event()
        """Set while no connection is open, once there was one."""
        self._open = 0

    async def visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Behave towards one connection, until it is over for either side."""
        self.connections += 1
        self._open += 1
        self.idle.clear()
        try:
            await self.behaviour(Visit(self, reader, writer))
        except (OSError, EOFError):
            pass  # The sender had enough, which is what most of these behaviours are after.
        finally:
            writer.close()
            self._open -= 1
            if self._open == 0:
                self.idle.set()


@contextlib.asynccontextmanager
async def serving(
    behaviour: Behaviour, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncGenerator[Receiver]:
    """Run a receiver on a free port of loopback."""
    receiver = Receiver(behaviour)
    visits: set[asyncio.Task[None]] = set()

    def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = asyncio.ensure_future(receiver.visited(reader, writer))
        visits.add(visit)
        visit.add_done_callback(visits.discard)
        # A visit that is cancelled before it began closes nothing itself.
        visit.add_done_callback(lambda _: writer.close())

    server = await asyncio.start_server(visited, host, 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for visit in list(visits):
            visit.cancel()
        await asyncio.gather(*visits, return_exceptions=True)


async def forever() -> None:
    """Do nothing until the test ends."""
    await asyncio.Event().wait()


async def good(visit: Visit) -> None:
    """Answer every request with 200 and keep the connection."""
    while True:
        await visit.request()
        await visit.write(OK)


async def hang_on_accept(visit: Visit) -> None:
    """Take the connection and nothing more."""
    del visit
    await forever()


async def hang_after_request(visit: Visit) -> None:
    """Read the request and say nothing until the sender hangs up."""
    await visit.request()
    await visit.reader.read()


async def close_on_accept(visit: Visit) -> None:
    """Hang up at once."""
    del visit


async def close_after_request(visit: Visit) -> None:
    """Read the request and hang up."""
    await visit.request()


async def reset_after_request(visit: Visit) -> None:
    """Read the request and reset the connection."""
    await visit.request()
    visit.reset()


async def reset_within_head(visit: Visit) -> None:
    """Begin a response head and reset the connection."""
    await visit.request()
    await visit.write(b"HTTP/1.1 200 OK\r\nContent-")
    visit.reset()


async def garbage(visit: Visit) -> None:
    """Answer with something that is not HTTP."""
    await visit.request()
    await visit.write(bytes(range(256)) * 4)
    await forever()


async def another_protocol(visit: Visit) -> None:
    """Greet like a mail server."""
    await visit.write(b"220 mail.example.com ESMTP ready\r\n")
    await forever()


async def header_drip(visit: Visit) -> None:
    """Send a head that never ends, a byte at a time."""
    await visit.request()
    await visit.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while True:
        await visit.write(b"x")
        await asyncio.sleep(0.01)


async def many_headers_drip(visit: Visit) -> None:
    """Send a head that never ends, a whole header at a time."""
    await visit.request()
    await visit.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        await visit.write(b"X-Drip: x\r\n")
        await asyncio.sleep(0.01)


async def status_line_drip(visit: Visit) -> None:
    """Begin a status line and go on with its reason for ever."""
    await visit.request()
    await visit.write(b"HTTP/1.1 200 ")
    while True:
        await visit.write(b"very " * 1000)


async def huge_header(visit: Visit) -> None:
    """Send one header of 10 MB."""
    await visit.request()
    await visit.write(b"HTTP/1.1 200 OK\r\nX-Huge: ")
    for _ in range(160):
        await visit.write(b"x" * 65_536)
    await visit.write(b"\r\nContent-Length: 0\r\n\r\n")
    await forever()


async def endless_headers(visit: Visit) -> None:
    """Send headers as fast as they are taken."""
    await visit.request()
    await visit.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        await visit.write(b"X-More: and more\r\n" * 4000)


async def endless_interim(visit: Visit) -> None:
    """Send interim responses as fast as they are taken."""
    await visit.request()
    while True:
        await visit.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000)


async def interim_drip(visit: Visit) -> None:
    """Send an interim response now and then, for ever."""
    await visit.request()
    while True:
        await visit.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await asyncio.sleep(0.05)


async def interim_then_good(visit: Visit) -> None:
    """Send the two interim responses that exist in the wild, then 200."""
    while True:
        await visit.request()
        await visit.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await visit.write(b"HTTP/1.1 103 Early Hints\r\nRetry-After: 77\r\nContent-Encoding: gzip\r\n\r\n")
        await visit.write(OK)


async def nine_interim_then_good(visit: Visit) -> None:
    """Send more interim responses than have a use, then 200."""
    await visit.request()
    await visit.write(b"HTTP/1.1 102 Processing\r\n\r\n" * 9 + OK)
    await forever()


async def switching_protocols(visit: Visit) -> None:
    """Agree to a protocol nobody asked for."""
    await visit.request()
    await visit.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nx")
    await forever()


async def endless_body(visit: Visit) -> None:
    """Answer 200 and send a body as fast as it is taken."""
    await visit.request()
    await visit.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    while True:
        await visit.write(b"endless " * 8192)


async def endless_failure_body(visit: Visit) -> None:
    """Answer 500 and send a body as fast as it is taken."""
    await visit.request()
    await visit.write(b"HTTP/1.1 500 Oh\r\n\r\n")
    while True:
        await visit.write(b"endless " * 8192)


async def endless_chunk_extension(visit: Visit) -> None:
    """Answer 200 and send one chunk whose header never ends."""
    await visit.request()
    await visit.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
    while True:
        await visit.write(b"x" * 65_536)


async def body_drip(visit: Visit) -> None:
    """Answer 500 at once and drip the body."""
    await visit.request()
    await visit.write(b"HTTP/1.1 500 Oh\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await visit.write(b"d")
        await asyncio.sleep(0.01)


async def ok_then_drip(visit: Visit) -> None:
    """Answer 200 at once and drip the body."""
    await visit.request()
    await visit.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await visit.write(b"d")
        await asyncio.sleep(0.01)


async def ok_then_reset(visit: Visit) -> None:
    """Answer 200 with a longer body than comes before the reset."""
    await visit.request()
    await visit.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial")
    await asyncio.sleep(0.02)
    visit.reset()


async def short_body(visit: Visit) -> None:
    """Answer 200 with a longer body than comes before the end."""
    await visit.request()
    await visit.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")


async def broken_chunks(visit: Visit) -> None:
    """Answer 200 with a chunked body that is none."""
    await visit.request()
    await visit.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a number\r\n")
    await forever()


async def gzip_bomb(visit: Visit) -> None:
    """Answer 200 with 200 MB of zeros packed into 200 kB, though nobody offered to unpack anything."""
    await visit.request()
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    await visit.write(head % len(GZIP_BOMB) + GZIP_BOMB)
    await forever()


async def one_more_response(visit: Visit) -> None:
    """Answer 200 and add a second response that nobody asked for."""
    while True:
        await visit.request()
        await visit.write(OK + b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")


async def one_more_response_later(visit: Visit) -> None:
    """Answer 200 and, when that was taken, say more; then wait for the sender to hang up."""
    await visit.request()
    await visit.write(OK)
    await asyncio.sleep(0.02)
    await visit.write(b"HTTP/1.1 408 Too Slow\r\nContent-Length: 0\r\n\r\n")
    await visit.reader.read()


async def http_1_0(visit: Visit) -> None:
    """Answer as servers of the nineties did: no length, the end of the connection ends the body."""
    await visit.request()
    await visit.write(b"HTTP/1.0 200 OK\r\n\r\nold school")


async def bare_line_feeds(visit: Visit) -> None:
    """Answer with line feeds alone, as a careless script does."""
    await visit.request()
    await visit.write(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok")
    await forever()


async def once_then_close(visit: Visit) -> None:
    """Answer one request as if the connection were to stay open, and close it."""
    await visit.request()
    await visit.write(OK)


def writing(*pieces: bytes) -> Behaviour:
    """Answer one request with these bytes, each piece on its own, and hang up."""

    async def write(visit: Visit) -> None:
        await visit.request()
        for piece in pieces:
            await visit.write(piece)
            await asyncio.sleep(0)

    return write


def answering(head: str, body: bytes = b"") -> Behaviour:
    """Answer every request with these lines of a head and this body."""
    response = f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def answer(visit: Visit) -> None:
        while True:
            await visit.request()
            await visit.write(response)

    return answer


def redirecting(status: int, location: str) -> Behaviour:
    """Answer every request with a redirect."""
    return answering(f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}")
