"""A webhook receiver on loopback that keeps what it gets and answers as it is told."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import NamedTuple

from aiohttp import web

from tests.support.service import eventually


class Received(NamedTuple):
    """One request as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def webhook_id(self) -> str:
        """The id of the event."""
        return self.headers["webhook-id"]


@dataclass
class Receiver:
    """What came, and what is answered: a status and headers, or nothing at all while it hangs."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    hangs: bool = False
    received: list[Received] = field(default_factory=list[Received])
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        """Keep a request and answer it."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(headers, await request.read()))
        if self.hangs:
            await self.released.wait()
        return web.Response(status=self.status, headers=self.headers, text="as told")

    async def got(self, count: int) -> list[Received]:
        """Wait until so many requests came, and return all."""

        async def look() -> list[Received] | None:
            return self.received if len(self.received) >= count else None

        return await eventually(look)


@contextlib.asynccontextmanager
async def receiving() -> AsyncGenerator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/hook", receiver.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"http://127.0.0.1:{port}/hook"
    try:
        yield receiver
    finally:
        receiver.released.set()
        await runner.cleanup()
