"""Send a file that is made while it is sent, so that memory stays flat whatever its size."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from crypto_orders.kit.body import ClientGone

STALL_SECONDS_MAX: Final = 60
"""A client that takes nothing for so long has gone, and what its file is made with is wanted."""

Output = Callable[[bytes], Awaitable[None]]


class Download(Response):
    """A file under way. Nothing is answered before its first piece is there.

    `write` is given what takes the pieces; what it raises before the first one becomes the answer. A failure
    midway ends the connection: a short file never passes for a whole one.
    """

    def __init__(self, filename: str, media_type: str, write: Callable[[Output], Awaitable[None]]) -> None:
        self.status_code = 200
        self.background = None
        self.media_type = media_type
        self.init_headers({"content-disposition": f'attachment; filename="{filename}"'})
        self._write = write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the file (ASGI)."""
        del scope
        writing = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not writing.done():
                raise ClientGone
            await writing
        finally:
            writing.cancel()
            leaving.cancel()
            await asyncio.gather(writing, leaving, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        has_begun = False

        async def output(piece: bytes) -> None:
            nonlocal has_begun
            async with asyncio.timeout(STALL_SECONDS_MAX):
                if not has_begun:
                    start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                    await send(start)
                    has_begun = True
                await send({"type": "http.response.body", "body": piece, "more_body": True})

        await self._write(output)
        await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
