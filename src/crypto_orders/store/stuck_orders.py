"""Orders that are pending though their pay window is over, the oldest first."""

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from crypto_orders.domain import cursor
from crypto_orders.domain.cursor import Position
from crypto_orders.kit import pagination
from crypto_orders.kit.pagination import Page
from crypto_orders.store.connection import Conn
from crypto_orders.store.sweeps import CANDIDATES, NOT_AGAIN_WITHIN

CURSOR_KIND = "overdue"

COUNTED_MAX = 1_000
"""How far they are counted; from there on it is `more than`."""


class Overdue(Struct, frozen=True, kw_only=True):
    """A pending order past its window. `provider_status` is the last word about its current payment."""

    account_id: UUID
    account_name: str
    order_id: str
    product: str
    price_cents: int
    price_currency: str
    payment_id: str | None
    provider_status: str | None
    created_at: datetime
    window_ends_at: datetime
    looked_at: datetime | None


# The oldest pending orders are past their window, so the walk meets a page of them at once.
OVERDUE = """
SELECT o.account_id, a.name AS account_name, o.order_id, o.product, o.price_cents, o.price_currency,
       o.payment_id, p.provider_status, o.created_at, o.window_ends_at, o.looked_at
  FROM orders o
  JOIN accounts a ON a.account_id = o.account_id
  LEFT JOIN payments p ON p.account_id = o.account_id AND p.payment_id = o.payment_id
 WHERE o.status = 'pending' AND o.window_ends_at <= clock_timestamp()
   AND (o.created_at, o.order_id) > ($2, $3)
 ORDER BY o.created_at, o.order_id
 LIMIT $1
"""
FROM_THE_BEGINNING = Position(datetime.fromisoformat("1970-01-01T00:00:00+00:00"), "")


async def oldest_first(conn: Conn, *, limit: int, after: str | None) -> Page[Overdue]:
    """Pending orders past their window, the oldest first, behind the cursor `after`.

    Raises:
        MalformedCursor: `after` is no cursor of this list.
    """
    seen = FROM_THE_BEGINNING if after is None else cursor.decode(CURSOR_KIND, after)
    rows = await conn.fetch(OVERDUE, limit + 1, seen.created_at, seen.id)
    found = [
        Overdue(
            account_id=row["account_id"],
            account_name=row["account_name"],
            order_id=row["order_id"],
            product=row["product"],
            price_cents=row["price_cents"],
            price_currency=row["price_currency"],
            payment_id=row["payment_id"],
            provider_status=row["provider_status"],
            created_at=row["created_at"],
            window_ends_at=row["window_ends_at"],
            looked_at=row["looked_at"],
        )
        for row in rows
    ]
    return pagination.cut(
        found, limit, lambda each: cursor.encode(CURSOR_KIND, Position(each.created_at, each.order_id))
    )


COUNT = """
SELECT count(*)
  FROM (SELECT FROM orders WHERE status = 'pending' AND window_ends_at <= clock_timestamp()
         ORDER BY created_at LIMIT $1) AS overdue
"""
SWEEPABLE = f"SELECT count(*) FROM ({CANDIDATES} LIMIT $3) AS candidates"


async def count(conn: Conn) -> int:
    """How many there are, counted up to COUNTED_MAX and one more."""
    return await conn.fetchval(COUNT, COUNTED_MAX + 1)


async def count_sweepable(conn: Conn, older_than: timedelta) -> int:
    """How many a sweep of that age would look at now, counted up to COUNTED_MAX and one more."""
    return await conn.fetchval(SWEEPABLE, older_than, NOT_AGAIN_WITHIN, COUNTED_MAX + 1)
