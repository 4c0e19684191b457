"""What support sees of orders: with their events, payments and flags, read in one snapshot."""

from datetime import datetime

import msgspec
from msgspec import Struct

from crypto_orders.domain.order import Event, Order
from crypto_orders.domain.payment import Payment
from crypto_orders.store import deliveries
from crypto_orders.store.connection import Conn, Row
from crypto_orders.store.deliveries import Told
from crypto_orders.store.envelopes import Shown
from crypto_orders.store.flag_lists import FLAG_COLUMNS, KeptFlag
from crypto_orders.store.orders import ORDER_COLUMNS, order_of

EVENTS = """
       (SELECT json_agg(e ORDER BY e.seq)
          FROM (SELECT seq, status, source, at, via, actor, detail
                  FROM order_events
                 WHERE account_id = o.account_id AND order_id = o.order_id) AS e) AS events"""

# Only the current payment of an order that may still be paid is ever shown to a customer.
CURRENT_PAYMENT = f"""
       (SELECT json_agg(p)
          FROM (SELECT {", ".join(Payment.__struct_fields__)}
                  FROM payments
                 WHERE account_id = o.account_id AND payment_id = o.payment_id
                   AND o.status = 'pending') AS p) AS payments"""

PAYMENTS = f"""
       (SELECT json_agg(p ORDER BY p.created_at, p.payment_id)
          FROM (SELECT {", ".join(Payment.__struct_fields__)}
                  FROM payments
                 WHERE account_id = o.account_id AND order_id = o.order_id) AS p) AS payments"""

FLAGS = f"""
       (SELECT json_agg(f ORDER BY f.opened_at, f.flag_id)
          FROM (SELECT {FLAG_COLUMNS}
                  FROM flags
                 WHERE account_id = o.account_id AND order_id = o.order_id) AS f) AS flags"""

NOW = "date_trunc('milliseconds', clock_timestamp()) AS now"

TO_CUSTOMERS = f"o.*, {NOW}, {EVENTS}, {CURRENT_PAYMENT}"
TO_SUPPORT = f"o.*, {NOW}, {EVENTS}, {PAYMENTS}, {FLAGS}"
"""The columns an order is shown with."""


def statement(page: str, shown: str, *, before: str = "") -> str:
    """The statement that shows a page of orders, so that all of it is of one moment.

    `page` selects ORDER_COLUMNS, `shown` is one of the lists of columns above, and `before` are the CTEs
    that `page` needs, each ending with a comma.
    """
    return f"""
  WITH {before}page AS MATERIALIZED (
{page}
     )
SELECT {shown}
  FROM page o
 ORDER BY o.created_at DESC, o.order_id DESC
"""


class AdminShown(Struct, frozen=True, kw_only=True):
    """An order with all its events, payments and flags, oldest first, and the moment of reading."""

    order: Order
    events: tuple[Event, ...]
    payments: tuple[Payment, ...]
    flags: tuple[KeptFlag, ...]
    now: datetime

    @property
    def payment(self) -> Payment | None:
        """The current payment."""
        return next((p for p in self.payments if p.payment_id == self.order.payment_id), None)


def shown_of(row: Row) -> Shown:
    """Read what a customer sees from a row of TO_CUSTOMERS."""
    payments = _payments(row["payments"] or "[]")
    return Shown(order_of(row), _events(row["events"] or "[]"), payments[0] if payments else None, row["now"])


def admin_shown_of(row: Row) -> AdminShown:
    """Read what support sees from a row of TO_SUPPORT."""
    return AdminShown(
        order=order_of(row),
        events=_events(row["events"] or "[]"),
        payments=_payments(row["payments"] or "[]"),
        flags=_flags(row["flags"] or "[]"),
        now=row["now"],
    )


_events = msgspec.json.Decoder(tuple[Event, ...]).decode
_payments = msgspec.json.Decoder(tuple[Payment, ...]).decode
_flags = msgspec.json.Decoder(tuple[KeptFlag, ...]).decode


class LastIpn(Struct, frozen=True):
    """The notification about an order that came in last; `payload` is its body as it came."""

    received_at: datetime
    payment_status: str | None
    payload: bytes
    times_seen: int


class Detail(Struct, frozen=True):
    """All that support sees of one order."""

    shown: AdminShown
    last_ipn: LastIpn | None
    deliveries: tuple[Told, ...]


ONE = statement(
    f"""\
SELECT {ORDER_COLUMNS}
  FROM order_routes r
  JOIN orders o ON o.account_id = r.account_id AND o.order_id = r.order_id
 WHERE r.order_id = $1""",
    TO_SUPPORT,
)

LAST_IPN = """
SELECT received_at, payment_status, body, times_seen
  FROM notifications
 WHERE order_id = $1 AND via = 'ipn'
 ORDER BY received_at DESC, notification_id DESC
 LIMIT 1
"""


async def one(conn: Conn, order_id: str) -> AdminShown | None:
    """One order of any account as support sees it, or None when there is none."""
    row = await conn.fetchrow(ONE, order_id)
    return admin_shown_of(row) if row else None


async def detail(conn: Conn, order_id: str) -> Detail | None:
    """One order of any account with all there is to it, or None when there is none."""
    shown = await one(conn, order_id)
    if shown is None:
        return None
    row = await conn.fetchrow(LAST_IPN, order_id)
    last = LastIpn(row["received_at"], row["payment_status"], row["body"], row["times_seen"]) if row else None
    return Detail(shown, last, await deliveries.of_order(conn, shown.order.account_id, order_id))
