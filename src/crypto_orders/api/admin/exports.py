"""Orders as a CSV file, streamed from the database to the client as fast as the client takes it."""

from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta

from crypto_orders.api.admin.order_query import OrderQuery, filters_of
from crypto_orders.api.services import ApiCall, audited
from crypto_orders.kit.download import Download
from crypto_orders.kit.http import Endpoint
from crypto_orders.usecases import exports

ROWS_MAX = 10**9
"""Beyond any table of ours; a larger limit is a mistake."""


class ExportQuery(OrderQuery, frozen=True, kw_only=True):
    """Which orders; without a limit all of them."""

    limit: Annotated[int, Meta(ge=1, le=ROWS_MAX)] | None = None


async def export_orders(call: ApiCall[None, ExportQuery]) -> Download:
    """The orders of all accounts, narrowed down, as CSV."""
    query = call.query
    given = msgspec.structs.asdict(query)
    entry = audited(
        call, "export_orders", None, **{name: value for name, value in given.items() if value is not None}
    )
    exports.check_search(query.search)
    filters = filters_of(query)
    await exports.keep_begun(call.deps.pool, entry)
    write = partial(exports.export_orders, call.deps.search_pool, filters, query.limit)
    return Download(exports.FILENAME, exports.MEDIA_TYPE, write)


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
