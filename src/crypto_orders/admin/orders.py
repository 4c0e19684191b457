"""The list of orders and its export."""

from functools import partial
from typing import Any, Final

import asyncpg
from starlette.responses import Response

from crypto_orders.admin import order_actions, order_page, order_table
from crypto_orders.admin.order_page import LiveQuery
from crypto_orders.admin.order_query import PATH, Asked, OrdersQuery, read
from crypto_orders.admin.services import AdminServices
from crypto_orders.admin.session import AdminCall, Operator, audited, page, screen
from crypto_orders.domain.errors import NotFound
from crypto_orders.domain.order import Status
from crypto_orders.kit import clock
from crypto_orders.kit.download import Download
from crypto_orders.kit.http import Endpoint
from crypto_orders.kit.problem import bad_request
from crypto_orders.store import order_lists, order_surroundings, products, search, stats
from crypto_orders.store.connection import Conn
from crypto_orders.usecases import exports

CSV_PATH: Final = f"{PATH}.csv"

TOO_SLOW: Final = "This search took too long. Narrow it down by a span of time, a status or an account."


async def list_orders(call: AdminCall[None, OrdersQuery]) -> Response:
    """A page of the list, with the drawer of one order open where the address says so."""
    asked = read(call.query)
    services = call.deps
    async with services.search_pool.acquire() as conn:
        values = await _list_values(conn, asked)
    values["view"], values["drawer_open"], status = None, False, 400 if asked.faults else 200
    if asked.order is not None:
        try:
            view = await order_page.read_view(call, asked.order)
        except NotFound:
            values["missing"] = asked.order
        else:
            values |= order_page.values_of(call, view, "drawer", back=asked.here)
            values["drawer_open"] = True
    return page(call, "orders.html", status=status, **values)


async def _list_values(conn: Conn, asked: Asked) -> dict[str, Any]:
    """What the template of the list is given; nothing is searched while a filter is faulty."""
    found, slow = None, False
    counted = await stats.stats(conn)
    flagged = await order_surroundings.flagged_count(conn)
    catalogue = await products.list_all(conn)
    if not asked.faults:
        try:
            found = await order_lists.for_support(conn, asked.filters, limit=asked.limit, after=asked.after)
        except asyncpg.QueryCanceledError:
            slow = True
    shown = list(found.page.items) if found else []
    wanted = {each.order.account_id for each in shown}
    if asked.filters.account_id is not None:
        wanted.add(asked.filters.account_id)
    names = await order_surroundings.account_names(conn, wanted)
    webhooks = await order_surroundings.webhook_states(conn, [each.order for each in shown])
    filtered = asked.filters.account_id
    by_text = {asked.given["account_id"]: names[filtered]} if filtered in names and filtered else {}
    chips = order_table.chips_of(asked, by_text)
    looks = found is not None and not shown and chips and asked.after is None
    needle = asked.filters.search
    return {
        "asked": asked,
        "now": clock.utc_now(),
        "tabs": order_table.tabs_of(asked, counted, flagged),
        "chips": chips,
        "spans": order_table.spans_of(asked, clock.utc_now()),
        "rows": [order_table.row_of(each, asked, names, webhooks) for each in shown],
        "next_address": asked.address(cursor=found.page.next_cursor)
        if found and found.page.next_cursor
        else None,
        "newest_address": order_table.newest_address(asked) if asked.cursor else None,
        "cleared_address": order_table.cleared_address(),
        "csv_address": asked.address(CSV_PATH, limit=None),
        "is_short_search": needle is not None and search.is_short(needle),
        "recent_orders": search.RECENT_ORDERS,
        "hidden": await order_table.what_hides(conn, asked, chips) if looks else [],
        "slow": TOO_SLOW if slow else None,
        "statuses": [status.value for status in Status],
        "flag_choices": order_table.flag_choices(),
        "products": [product.product for product in catalogue],
        "missing": None,
    }


async def export_orders(call: AdminCall[None, OrdersQuery]) -> Response:
    """The orders of the list as CSV: the same filters, every page."""
    asked = read(call.query)
    entry = audited(call, "export_orders", None, **asked.given)
    for name, fault in asked.faults.items():
        detail = f"{name}: {fault}"
        raise bad_request(detail)
    exports.check_search(asked.filters.search)
    await exports.keep_begun(call.deps.pool, entry)
    write = partial(exports.export_orders, call.deps.search_pool, asked.filters, None)
    return Download(exports.FILENAME, exports.MEDIA_TYPE, write)


_ORDER: Final = f"{PATH}/{{order_id:order_id}}"

ENDPOINTS: Final[tuple[Endpoint[AdminServices, Operator, Any, Any], ...]] = (
    screen(PATH, list_orders, query=OrdersQuery),
    screen(CSV_PATH, export_orders, query=OrdersQuery),
    screen(_ORDER, order_page.show_order),
    screen(f"{_ORDER}/drawer", order_page.show_drawer),
    screen(f"{_ORDER}/live", order_page.show_live, query=LiveQuery),
    *order_actions.ENDPOINTS,
)
