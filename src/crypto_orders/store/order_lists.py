"""Lists of orders, the newest first, in pages that cost the same at any depth.

Three ways lead to a page. A *walk* follows an index in the order of the list and stops when the page is full;
it is quick where matches are frequent. *Gathering* collects all matches by their own index and sorts them;
it is quick where they are few. A search first walks a bounded stretch and gathers when that was not enough,
so that a needle found everywhere and one found nowhere are equally cheap. Every statement here wants a
connection with `plan_cache_mode = force_custom_plan`.
"""

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from crypto_orders.domain import cursor
from crypto_orders.domain.cursor import Position
from crypto_orders.domain.order import Order
from crypto_orders.kit import pagination
from crypto_orders.kit.pagination import Page
from crypto_orders.store import search
from crypto_orders.store.connection import Conn, Row
from crypto_orders.store.envelopes import Shown
from crypto_orders.store.order_filters import Clauses, Filters, clauses_of, older_than
from crypto_orders.store.order_views import (
    TO_CUSTOMERS,
    TO_SUPPORT,
    AdminShown,
    admin_shown_of,
    shown_of,
    statement,
)
from crypto_orders.store.orders import ORDER_COLUMNS

CURSOR_KIND = "orders"

WALK_ORDERS_MAX = 5_000
"""Orders a search passes before it gathers. What is rarer than a page in so many is gathered quickly."""

Scope = Literal["all", "newest_20000"]

NEWEST: Final = "o.created_at DESC, o.order_id DESC"
KEYS: Final = "o.account_id, o.order_id, o.created_at"


class Found(Struct, frozen=True):
    """A page of orders, and how far a search for them went."""

    page: Page[AdminShown]
    search_scope: Scope


async def of_account(conn: Conn, filters: Filters, *, limit: int, after: Position | None) -> Page[Shown]:
    """A page of what a customer sees; the filters name the account."""
    rows = await _walk(conn, filters, after, limit + 1, TO_CUSTOMERS)
    return pagination.cut([shown_of(row) for row in rows], limit, lambda shown: _behind(shown.order))


async def for_support(conn: Conn, filters: Filters, *, limit: int, after: Position | None) -> Found:
    """A page of what support sees, over all accounts that the filters leave."""
    rows, scope = await _rows_for_support(conn, filters, after, limit + 1)
    page = pagination.cut([admin_shown_of(row) for row in rows], limit, lambda shown: _behind(shown.order))
    return Found(page, scope)


def position_of(text: str | None) -> Position | None:
    """The position in a cursor of these lists; MalformedCursor for any other text."""
    return None if text is None else cursor.decode(CURSOR_KIND, text)


def _behind(order: Order) -> str:
    return cursor.encode(CURSOR_KIND, Position(order.created_at, order.order_id))


async def _rows_for_support(
    conn: Conn, filters: Filters, after: Position | None, count: int
) -> tuple[Sequence[Row], Scope]:
    needle = filters.search
    scope: Scope = "newest_20000" if needle is not None and search.is_short(needle) else "all"
    if needle is None or search.is_in_every_order(needle):
        return await _filtered(conn, filters, after, count), scope
    products = await search.products_with(conn, needle)
    if search.is_short(needle):
        return await _short_search(conn, filters, needle, products, after, count), scope
    if filters.flag is None:
        rows = await _walk_a_stretch(conn, filters, needle, products, after, count)
        if len(rows) == count:
            return rows, scope
    return await _gather_search(conn, filters, needle, products, after, count), scope


async def _filtered(conn: Conn, filters: Filters, after: Position | None, count: int) -> Sequence[Row]:
    """Without a needle. Flags are few and may all lie far back, so their orders are gathered."""
    if filters.flag is None:
        return await _walk(conn, filters, after, count, TO_SUPPORT)
    c = clauses_of(filters)
    before = _gathered(c, older_than(c, filters, after))
    return await conn.fetch(statement(_newest("found", c.bind(count)), TO_SUPPORT, before=before), *c.args)


async def _walk(
    conn: Conn, filters: Filters, after: Position | None, count: int, shown: str
) -> Sequence[Row]:
    c = clauses_of(filters)
    page = f"""\
SELECT {ORDER_COLUMNS}
  FROM {c.source}{c.where(older_than(c, filters, after))}
 ORDER BY {NEWEST}
 LIMIT {c.bind(count)}"""
    return await conn.fetch(statement(page, shown), *c.args)


async def _walk_a_stretch(
    conn: Conn, filters: Filters, needle: str, products: list[str], after: Position | None, count: int
) -> Sequence[Row]:
    c = clauses_of(filters)
    page = f"""\
SELECT {ORDER_COLUMNS}
  FROM (SELECT o.*
          FROM {c.source}{c.where(older_than(c, filters, after))}
         ORDER BY {NEWEST}
         LIMIT {WALK_ORDERS_MAX}) AS o
 WHERE {search.match(c, needle, products)}
 ORDER BY {NEWEST}
 LIMIT {c.bind(count)}"""
    return await conn.fetch(statement(page, TO_SUPPORT), *c.args)


async def _gather_search(
    conn: Conn, filters: Filters, needle: str, products: list[str], after: Position | None, count: int
) -> Sequence[Row]:
    c = clauses_of(filters)
    bound, limit = older_than(c, filters, after), c.bind(count)
    part = await search.rare_part(conn, needle)
    text = _gathered(c, bound, search.match_text(c, needle, part))
    if not products:
        return await conn.fetch(statement(_newest("found", limit), TO_SUPPORT, before=text), *c.args)
    before = text + _also_sold(c, products, bound, limit)
    return await conn.fetch(statement(_newest("hits", limit), TO_SUPPORT, before=before), *c.args)


async def _short_search(
    conn: Conn, filters: Filters, needle: str, products: list[str], after: Position | None, count: int
) -> Sequence[Row]:
    """One or two characters: products that begin with them everywhere, anything in the newest orders.

    An order id never begins with them, since all begin alike. The stretch of newest orders starts at the
    top for every page, so that it ends at the same order for all of them.
    """
    c = clauses_of(filters)
    limit = c.bind(count)
    bound, top = older_than(c, filters, after), older_than(c, filters, None)
    begun = [product for product in products if product.lower().startswith(needle.lower())]
    before = f"""\
found AS MATERIALIZED (
SELECT {KEYS}
  FROM (SELECT o.*
          FROM {c.source}{c.where(top)}
         ORDER BY {NEWEST}
         LIMIT {search.RECENT_ORDERS}) AS o
 WHERE {bound} AND {search.match(c, needle, products)}
 ORDER BY {NEWEST}
 LIMIT {limit}
     ), """
    if not begun:
        return await conn.fetch(statement(_newest("found", limit), TO_SUPPORT, before=before), *c.args)
    before += _also_sold(c, begun, bound, limit)
    return await conn.fetch(statement(_newest("hits", limit), TO_SUPPORT, before=before), *c.args)


def _gathered(c: Clauses, *conditions: str) -> str:
    """All matches by whatever index has the fewest. MATERIALIZED keeps the list's limit from the planner.

    Knowing it, the planner would bet on meeting enough matches soon and follow the list's order to its end.
    """
    return f"""\
found AS MATERIALIZED (
SELECT {KEYS}
  FROM {c.source}{c.where(*conditions)}
     ), """


def _also_sold(c: Clauses, products: list[str], bound: str, limit: str) -> str:
    """The newest orders of some products beside what was found, each product by a walk of its own index."""
    return f"""\
hits AS MATERIALIZED (
SELECT * FROM found
 UNION
SELECT k.*
  FROM unnest({c.bind(products)}::text[]) AS s (sold)
 CROSS JOIN LATERAL (
       SELECT {KEYS}
         FROM {c.source}{c.where(bound, "o.product = s.sold")}
        ORDER BY {NEWEST}
        LIMIT {limit}) AS k
     ), """


def _newest(hits: str, limit: str) -> str:
    return f"""\
SELECT {ORDER_COLUMNS}
  FROM (SELECT * FROM {hits} ORDER BY created_at DESC, order_id DESC LIMIT {limit}) AS h
  JOIN orders o ON o.account_id = h.account_id AND o.order_id = h.order_id"""
