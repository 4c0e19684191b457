"""Orders as CSV, written by PostgreSQL itself and handed on in pieces, so that memory stays flat.

RFC 4180: fields with commas, quotes or line ends are quoted, records end with CRLF, the header comes always.
A text that a spreadsheet would take for a formula gets an apostrophe in front; numbers are never texts.
"""

from collections.abc import Awaitable, Callable
from typing import cast

import asyncpg

from crypto_orders.store import search
from crypto_orders.store.connection import Conn
from crypto_orders.store.order_filters import Filters, clauses_of, older_than

STATEMENT_TIMEOUT = "30min"
"""Ten million orders to a slow client; what takes longer has been forgotten by whoever asked."""

FORMULA_STARTS = "61,43,45,64,9,13"
"""The codes of = + - @ TAB and CR, with which a spreadsheet begins a formula or is made to."""

# Orders are read along the index, by several processes where there are some, so that nothing is sorted or
# held however many there are.
SETTINGS = f"""
BEGIN READ ONLY;
SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}';
SET LOCAL timezone = 'UTC';
SET LOCAL enable_sort = off;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0"""


def _text(column: str) -> str:
    return f"CASE WHEN ascii({column}) IN ({FORMULA_STARTS}) THEN '''' || {column} ELSE {column} END"


def _instant(column: str) -> str:
    return f"""to_char({column}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


# The project's export page names these columns in this order: new ones are only appended.
COLUMNS = {
    "order_id": "o.order_id",
    "account_id": "'acc_' || o.account_id",
    "product": _text("o.product"),
    "price_cents": "o.price_cents",
    "price_currency": "o.price_currency",
    "status": "o.status",
    "payment_id": _text("o.payment_id"),
    "customer_note": _text("o.customer_note"),
    "internal_note": _text("o.internal_note"),
    "created_at": _instant("o.created_at"),
    "updated_at": _instant("o.updated_at"),
    "paid_at": _instant("o.paid_at"),
    "pay_currency": _text("o.payment_currency"),
    "pay_amount": "o.payment_amount",
    "actually_paid": "o.payment_paid",
}
SELECTED = ",\n       ".join(f"{expression} AS {name}" for name, expression in COLUMNS.items())


async def write_csv(
    conn: Conn, filters: Filters, *, limit: int | None, output: Callable[[bytes], Awaitable[None]]
) -> None:
    """Write the orders that the filters leave, the newest first, piece by piece to `output`.

    All of it is of one moment. Without `limit` there is no bound. When anything fails or the caller goes
    away, the connection is given up, which also ends the statement.
    """
    lines = _LineEnds()
    try:
        await conn.execute(SETTINGS)
        products = await search.products_with(conn, filters.search) if filters.search else []
        text, args = _statement(filters, products, limit)
        await conn.copy_from_query(
            text, *args, output=lambda piece: output(lines.convert(piece)), format="csv", header=True
        )
        await conn.execute("COMMIT")
    except BaseException:
        cast("asyncpg.Connection", conn).terminate()
        raise


def _statement(filters: Filters, products: list[str], limit: int | None) -> tuple[str, list[object]]:
    c = clauses_of(filters)
    conditions = [older_than(c, filters, None)]
    if filters.search is not None:
        conditions.append(search.match(c, filters.search, products))
    bounded = "" if limit is None else f"\n LIMIT {c.bind(limit)}"
    before, orders = "", f"{c.source}"
    where = c.where(*conditions)
    if filters.search is not None or filters.flag is not None:
        # The limit is kept from the planner here, which would walk the whole index for a rare needle.
        before = f"""\
  WITH hits AS MATERIALIZED (
SELECT o.account_id, o.order_id
  FROM {orders}{where}
     )
"""
        orders = "hits h\n  JOIN orders o ON o.account_id = h.account_id AND o.order_id = h.order_id"
        where = ""
    text = f"""\
{before}SELECT {SELECTED}
  FROM {orders}{where}
 ORDER BY o.created_at DESC, o.order_id DESC{bounded}"""
    return text, c.args


class _LineEnds:
    """Makes the line ends between records CRLF and leaves those inside quoted fields as they are."""

    def __init__(self) -> None:
        self._quoted = False

    def convert(self, piece: bytes) -> bytes:
        """Convert the next piece, which may end anywhere."""
        if not self._quoted and b'"' not in piece:
            return piece.replace(b"\n", b"\r\n")
        # A quote within a quoted field is doubled, so every quote turns the state over.
        parts = piece.split(b'"')
        outside = slice(1 if self._quoted else 0, None, 2)
        parts[outside] = [part.replace(b"\n", b"\r\n") for part in parts[outside]]
        self._quoted ^= len(parts) % 2 == 0
        return b'"'.join(parts)
