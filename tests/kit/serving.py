"""Serves an application on loopback and talks to it, by bytes where it matters."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

from starlette.types import ASGIApp

from crypto_orders.kit.protocol import Limits
from crypto_orders.kit.server import Server, address_of, bind, make_server

TYPE_BASE = "https://shop.example/docs/errors"
# Far above what anything here takes, so that a loaded machine fails nothing.
DEADLINE_SECONDS = 20.0


class Reply(NamedTuple):
    """One answer, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def slug(self) -> str:
        """The slug of a problem, after checking that it has the shape of one."""
        assert self.headers["content-type"] == "application/problem+json"
        problem = self.json
        assert {"type", "title", "status", "detail", "instance"} <= problem.keys()
        assert problem["status"] == self.status
        assert problem["instance"] == self.headers["x-request-id"]
        base, _, slug = problem["type"].rpartition("/")
        assert base == TYPE_BASE
        return slug


class Connection:
    """One TCP connection, spoken by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        # A server that has had enough closes; what it said before is still to be read.
        with suppress(ConnectionError):
            await self._writer.drain()

    async def reply(self, *, head_only: bool = False) -> Reply:
        """The next answer on the connection."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            head = await self._reader.readuntil(b"\r\n\r\n")
            status_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
            pairs = [line.split(": ", 1) for line in lines]
            headers = dict(pairs)
            assert len(headers) == len(pairs), "a header was sent twice"
            body = b"" if head_only else await self._body(headers)
            return Reply(int(status_line.split()[1]), headers, body)

    async def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                body += await self._reader.readexactly(size)
                await self._reader.readexactly(2)
            await self._reader.readexactly(2)
            return body
        return await self._reader.readexactly(int(headers.get("content-length", "0")))

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            try:
                return await self._reader.read(-1)
            except ConnectionError:
                return b""

    def finish(self) -> None:
        """Say that nothing more will be sent."""
        with suppress(OSError):
            self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()


class Served:
    """A running server."""

    # What the application's handlers were given, for tests that look behind the answers.
    deps: Any = None

    def __init__(self, host: str, port: int, server: Server) -> None:
        self.host = host
        self.port = port
        self._server = server
        self._connections: list[Connection] = []

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def connect(self) -> Connection:
        connection = Connection(*await asyncio.open_connection(self.host, self.port))
        self._connections.append(connection)
        return connection

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Sequence[tuple[str, str]] = (),
        bearer: str | None = None,
    ) -> Reply:
        """One request on a connection of its own."""
        lines = [f"{method} {path} HTTP/1.1", "host: test", *(f"{name}: {value}" for name, value in headers)]
        if bearer is not None:
            lines.append(f"authorization: Bearer {bearer}")
        if body is not None:
            lines.append(f"content-length: {len(body)}")
        connection = await self.connect()
        await connection.send("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))
        reply = await connection.reply(head_only=method == "HEAD")
        connection.close()
        return reply

    def stop(self) -> None:
        """Tell the server to stop, as a signal would."""
        self._server.should_exit = True

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@asynccontextmanager
async def serving(app: ASGIApp, limits: Limits | None = None) -> AsyncGenerator[Served]:
    """The application behind the real server on a free port."""
    bound = bind("127.0.0.1", 0)
    host, port = address_of(bound)
    server = make_server(app, type_base=TYPE_BASE, limits=limits)
    running = asyncio.create_task(server.serve(sockets=[bound]))
    served = Served(host, port, server)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag and no event
                await asyncio.sleep(0.005)
        yield served
    finally:
        served.close()
        served.stop()
        await running
        bound.close()
