"""Orders as a CSV file, streamed from the database to the client as fast as the client takes it."""

import asyncio
from typing import Annotated

from msgspec import Meta
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from crypto_orders.api.admin.order_query import OrderQuery, filters_of
from crypto_orders.api.services import ApiCall
from crypto_orders.domain.errors import BadRequest, Unavailable
from crypto_orders.kit import log
from crypto_orders.kit.body import ClientGone
from crypto_orders.kit.http import Endpoint
from crypto_orders.store import exports, search
from crypto_orders.store.connection import Pool
from crypto_orders.store.order_filters import Filters

ROWS_MAX = 10**9
"""Beyond any table of ours; a larger limit is a mistake."""

EXPORTS_AT_ONCE_MAX = 2
"""Each holds two connections for as long as its client takes; the searches of support need the others."""

STALL_SECONDS_MAX = 60
"""A client that takes nothing for so long has gone, and its connection is wanted."""

RETRY_AFTER_SECONDS = 10

_log = log.get()
_slots = asyncio.Semaphore(EXPORTS_AT_ONCE_MAX)


class ExportQuery(OrderQuery, frozen=True, kw_only=True):
    """Which orders; without a limit all of them."""

    limit: Annotated[int, Meta(ge=1, le=ROWS_MAX)] | None = None


class CsvDownload(Response):
    """A CSV file under way. Nothing is answered before the database has begun to write it."""

    media_type = "text/csv; charset=utf-8"

    def __init__(self, pool: Pool, filters: Filters, limit: int | None) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({"content-disposition": 'attachment; filename="crypto-orders.csv"'})
        self._pool = pool
        self._filters = filters
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the file (ASGI). A failure midway ends the connection: a short file is never whole."""
        del scope
        copying = asyncio.create_task(self._copy(send))
        leaving = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait((copying, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not copying.done():
                raise ClientGone
            await copying
        finally:
            copying.cancel()
            leaving.cancel()
            await asyncio.gather(copying, leaving, return_exceptions=True)

    async def _copy(self, send: Send) -> None:
        if _slots.locked():
            detail = "Other exports are under way; come back when they are done."
            raise Unavailable(detail, RETRY_AFTER_SECONDS)
        bytes_sent = 0

        async def output(piece: bytes) -> None:
            nonlocal bytes_sent
            async with asyncio.timeout(STALL_SECONDS_MAX):
                if not bytes_sent:
                    start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                    await send(start)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            bytes_sent += len(piece)

        async with _slots:
            await exports.write_csv(self._pool, self._filters, limit=self._limit, output=output)
        await send({"type": "http.response.body", "body": b""})
        _log.info("crypto_orders_exported", bytes=bytes_sent)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def export_orders(call: ApiCall[None, ExportQuery]) -> CsvDownload:
    """The orders of all accounts, narrowed down, as CSV."""
    needle = call.query.search
    if needle is not None and search.is_short(needle):
        detail = f"search: Needs {search.NEEDLE_CHARS_MIN} characters or more here."
        raise BadRequest(detail)
    return CsvDownload(call.deps.search_pool, filters_of(call.query), call.query.limit)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/v1/admin/crypto-orders.csv",
        handler=export_orders,
        scope="admin:read",
        query=ExportQuery,
        media_types=("text/csv",),
        summary="Export orders as CSV",
        description="No row cap unless `limit` is given. A connection that ends early means a short file.",
        tags=("Support",),
    ),
)
