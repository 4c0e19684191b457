"""What an order is shown with: its timeline and its current payment, read for many orders at once."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from crypto_orders.domain.order import Event, EventDetail, Order, Source, Status, Via
from crypto_orders.domain.payment import Payment
from crypto_orders.store.connection import Conn, Row
from crypto_orders.store.payments import payment_of


class Shown(Struct, frozen=True):
    """An order with its events, oldest first, its current payment, and the database's time of reading."""

    order: Order
    events: tuple[Event, ...]
    payment: Payment | None
    now: datetime


EVENTS = """
SELECT order_id, seq, status, source, via, actor, at, detail
  FROM order_events
 WHERE account_id = $1 AND order_id = ANY ($2::text[])
 ORDER BY order_id, seq
"""
CURRENT = """
SELECT p.*, date_trunc('milliseconds', clock_timestamp()) AS now
  FROM payments p
 WHERE p.account_id = $1 AND p.payment_id = ANY ($2::text[])
"""
NOW = "SELECT date_trunc('milliseconds', clock_timestamp())"


async def show(conn: Conn, account_id: UUID, orders: Sequence[Order]) -> list[Shown]:
    """One account's orders, in the order given, with what they are shown with."""
    if not orders:
        return []
    events: defaultdict[str, list[Event]] = defaultdict(list)
    for row in await conn.fetch(EVENTS, account_id, [o.order_id for o in orders]):
        events[row["order_id"]].append(event_of(row))
    wanted = [o.payment_id for o in orders if o.payment_id and o.expires_at]
    rows = await conn.fetch(CURRENT, account_id, wanted) if wanted else ()
    payments = {row["payment_id"]: payment_of(row) for row in rows}
    now = rows[0]["now"] if rows else await conn.fetchval(NOW)
    return [Shown(o, tuple(events[o.order_id]), payments.get(o.payment_id or ""), now) for o in orders]


async def show_one(conn: Conn, order: Order) -> Shown:
    """One order with what it is shown with."""
    return (await show(conn, order.account_id, [order]))[0]


def event_of(row: Row) -> Event:
    """Read an event from a row of its table."""
    return Event(
        seq=row["seq"],
        status=Status(row["status"]),
        source=Source(row["source"]),
        at=row["at"],
        via=Via(row["via"]) if row["via"] else None,
        actor=row["actor"],
        detail=msgspec.json.decode(row["detail"], type=EventDetail),
    )
