"""Export orders as CSV, a few at a time, for whoever asks: support's keys and its people."""

import asyncio
from typing import Final

from crypto_orders.domain.errors import BadRequest, Unavailable
from crypto_orders.kit import log
from crypto_orders.store import audit, exports, search
from crypto_orders.store.connection import Pool
from crypto_orders.store.exports import Output
from crypto_orders.store.order_filters import Filters
from crypto_orders.store.transaction import transact_single

FILENAME: Final = "crypto-orders.csv"
MEDIA_TYPE: Final = "text/csv; charset=utf-8"

EXPORTS_AT_ONCE_MAX: Final = 2
"""Each holds two connections for as long as its client takes; the searches of support need the others."""

RETRY_AFTER_SECONDS: Final = 10

_log = log.get()
_slots = asyncio.Semaphore(EXPORTS_AT_ONCE_MAX)


def check_search(needle: str | None) -> None:
    """BadRequest for a search that an export cannot be narrowed down by: it would not cover all orders."""
    if needle is not None and search.is_short(needle):
        detail = f"search: Needs {search.NEEDLE_CHARS_MIN} characters or more here."
        raise BadRequest(detail)


async def keep_begun(pool: Pool, entry: audit.Entry) -> None:
    """Keep that a person or a key began to export orders."""
    await transact_single(pool, lambda tx: audit.record(tx, audit.with_result(entry, "begun")))


async def export_orders(pool: Pool, filters: Filters, limit: int | None, output: Output) -> None:
    """Write the orders that the filters leave as CSV, piece by piece, to `output`.

    Raises:
        Unavailable: other exports are under way.
    """
    if _slots.locked():
        detail = "Other exports are under way; come back when they are done."
        raise Unavailable(detail, RETRY_AFTER_SECONDS)
    bytes_sent = 0

    async def count(piece: bytes) -> None:
        nonlocal bytes_sent
        await output(piece)
        bytes_sent += len(piece)

    async with _slots:
        await exports.write_csv(pool, filters, limit=limit, output=count)
    _log.info("crypto_orders_exported", bytes=bytes_sent)
