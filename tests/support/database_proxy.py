"""A proxy before PostgreSQL that reads the protocol, and loses, stalls or goes silent as a test tells it.

It knows which statements a transaction consists of at the moment its commit is asked for, so that a test can
choose the very commit whose outcome its client shall never learn.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102


class Commit(NamedTuple):
    """A transaction whose commit is on its way: who wants it, and its statements in order."""

    application: str
    statements: tuple[str, ...]


class Fate(Enum):
    """What becomes of a commit. The client cannot tell the two that are lost from each other."""

    PASSES = "passes"
    ANSWER_LOST = "answer lost"
    """It reaches the server, which commits; its answer never leaves."""
    REQUEST_LOST = "request lost"
    """It does not reach the server, which sees its client gone and rolls back."""


class Lost(NamedTuple):
    """A commit that was lost, and whether the server committed it."""

    commit: Commit
    fate: Fate
    committed: bool


@dataclass
class Hold:
    """A commit that waits in the proxy, and with it whoever waits for its transaction's locks."""

    match: Callable[[Commit], bool]
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Let it go on."""
        self.released.set()


class _Gone(Exception):  # noqa: N818 - it reads as what happened
    """One of the two sides has ended."""


@dataclass
class DatabaseProxy:
    """The proxy: the address to connect to, and what is to go wrong."""

    upstream: str
    url: str = ""
    decide: Callable[[Commit], Fate] = lambda _: Fate.PASSES
    lost: list[Lost] = field(default_factory=list[Lost])
    holds: list[Hold] = field(default_factory=list[Hold])
    links: set["_Link"] = field(default_factory=set["_Link"])

    def __post_init__(self) -> None:
        self.flowing = asyncio.Event()
        self.flowing.set()

    def lose_next(self, fate: Fate, match: Callable[[Commit], bool]) -> None:
        """Have the next commit that matches meet this fate, and all others pass."""

        def decide(commit: Commit) -> Fate:
            if not match(commit):
                return Fate.PASSES
            self.decide = lambda _: Fate.PASSES
            return fate

        self.decide = decide

    def hold_next(self, match: Callable[[Commit], bool]) -> Hold:
        """Have the next commit that matches wait for its release. A statement alone is a commit, too."""
        self.holds.append(hold := Hold(match))
        return hold

    async def held(self, commit: Commit) -> None:
        """Wait as long as a commit is held, if it is."""
        for hold in self.holds:
            if not hold.reached.is_set() and hold.match(commit):
                hold.reached.set()
                await hold.released.wait()
                return

    def release_all(self) -> None:
        """Let everything go on that is held: a test that failed holds up nobody's end."""
        for hold in self.holds:
            hold.release()

    def stall(self) -> None:
        """Forward nothing until `flow`, on old and new connections; none is closed."""
        self.flowing.clear()

    def flow(self) -> None:
        """Forward everything, that which waits first."""
        self.flowing.set()

    def go_silent(self) -> int:
        """Let the server forget the connections that are open, without a word to their clients; how many."""
        links = list(self.links)
        for link in links:
            link.go_silent()
        return len(links)

    async def serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join one client to the server."""
        link = _Link(self, reader, writer)
        self.links.add(link)
        try:
            with contextlib.suppress(_Gone, OSError, asyncio.IncompleteReadError):
                await link.run(self.upstream)
        finally:
            self.links.discard(link)
            link.close()


class _Link:
    """One connection of a client, and the one to the server that stands for it."""

    def __init__(
        self, proxy: DatabaseProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._client, self._to_client = reader, writer
        self._to_server: asyncio.StreamWriter | None = None
        self._application = ""
        self._parsed: dict[bytes, str] = {}
        self._statements: list[str] = []
        self._executed = self._in_transaction = self._silent = False
        self._losing: tuple[Commit, bool] | None = None

    async def run(self, upstream: str) -> None:
        await self._proxy.flowing.wait()
        server, self._to_server = await asyncio.open_unix_connection(upstream)
        if not await self._start():
            return
        pumps = [asyncio.ensure_future(self._to_the_server()), asyncio.ensure_future(self._from(server))]
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if self._silent:
                await pumps[0]
            for each in done:
                each.result()
        finally:
            for each in pumps:
                each.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    def go_silent(self) -> None:
        self._silent = True
        if self._to_server is not None:
            self._to_server.transport.abort()

    def close(self) -> None:
        for writer in (self._to_client, self._to_server):
            if writer is not None:
                writer.transport.abort()

    async def _start(self) -> bool:
        """Pass the first message, which says who connects; False for a mere request to cancel."""
        while True:
            (length,) = struct.unpack("!i", head := await self._client.readexactly(4))
            rest = await self._client.readexactly(length - 4)
            (code,) = struct.unpack("!i", rest[:4])
            if code not in {SSL_REQUEST, GSS_REQUEST}:
                break
            self._to_client.write(b"N")
        names = rest[4:].split(b"\0")
        if b"application_name" in names:
            self._application = names[names.index(b"application_name") + 1].decode()
        await self._send(self._to_server, head + rest)
        return code != CANCEL_REQUEST

    async def _to_the_server(self) -> None:
        while True:
            kind, body, whole = await _message(self._client)
            if self._silent:
                continue
            commit = self._commit_in(kind, body)
            if commit:
                await self._proxy.held(commit)
                fate = self._proxy.decide(commit)
                if fate is not Fate.PASSES:
                    await self._lose(commit, fate, whole)
            await self._send(self._to_server, whole)

    async def _from(self, server: asyncio.StreamReader) -> None:
        while True:
            kind, _, whole = await _message(server)
            if self._losing is None:
                await self._send(self._to_client, whole)
            elif kind == b"E":
                self._losing = (self._losing[0], False)
            elif kind == b"Z":
                self._proxy.lost.append(Lost(self._losing[0], Fate.ANSWER_LOST, self._losing[1]))
                self._reset()

    async def _lose(self, commit: Commit, fate: Fate, whole: bytes) -> None:
        if fate is Fate.REQUEST_LOST:
            self._proxy.lost.append(Lost(commit, fate, committed=False))
            self._reset()
        self._losing = (commit, True)
        await self._send(self._to_server, whole)
        # The other direction ends it as soon as the server has answered.
        await asyncio.Event().wait()

    def _reset(self) -> None:
        """End the client's connection as a network does: by a reset."""
        raw = self._to_client.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._to_client.transport.abort()
        raise _Gone

    def _commit_in(self, kind: bytes, body: bytes) -> Commit | None:
        """The transaction that a message commits, if it does; what a statement says is kept on the way."""
        match kind:
            case b"P":
                name, query, *_ = body.split(b"\0")
                self._parsed[name] = query.decode()
            case b"B":
                self._statements.append(self._parsed.get(body.split(b"\0")[1], ""))
            case b"E":
                self._executed = True
            case b"S" if self._executed:
                self._executed = False
                return None if self._in_transaction else self._ended()
            case b"Q":
                return self._simple(body.rstrip(b"\0").decode())
            case _:
                pass
        return None

    def _simple(self, query: str) -> Commit | None:
        if query.startswith("BEGIN"):
            self._in_transaction = True
            self._statements = [query]
        elif query in {"COMMIT", "ROLLBACK"}:
            self._in_transaction = False
            commit = self._ended()
            return commit if query == "COMMIT" else None
        return None

    def _ended(self) -> Commit:
        commit, self._statements = Commit(self._application, tuple(self._statements)), []
        return commit

    async def _send(self, writer: asyncio.StreamWriter | None, data: bytes) -> None:
        await self._proxy.flowing.wait()
        if self._silent or writer is None:
            return
        writer.write(data)
        await writer.drain()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes, bytes]:
    """One message: its kind, its body, and all of it as it came."""
    head = await reader.readexactly(5)
    (length,) = struct.unpack("!i", head[1:])
    body = await reader.readexactly(length - 4)
    return head[:1], body, head + body


@contextlib.asynccontextmanager
async def proxied(database_url: str) -> AsyncGenerator[DatabaseProxy]:
    """Run a proxy before the database of an address, which names a socket's directory."""
    parts = urlsplit(database_url)
    options = {name: values[0] for name, values in parse_qs(parts.query).items()}
    upstream = Path(options["host"]) / f".s.PGSQL.{options.get('port', '5432')}"
    proxy = DatabaseProxy(str(upstream))
    server = await asyncio.start_server(proxy.serve_one, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    proxy.url = f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{port}{parts.path}"
    try:
        yield proxy
    finally:
        server.close()
        proxy.flow()
        for link in list(proxy.links):
            link.close()
