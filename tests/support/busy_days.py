"""Three days of two customers' orders, in every state and with what support meets, for pages to show."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from crypto_orders.kit import clock, ids
from crypto_orders.store.connection import Conn
from tests.support.seeded import Put, put_account, put_flag, put_order

STATUSES = ("pending", "confirming", "partial", "paid", "failed", "cancelled")
PRODUCTS = (("solo_manual", 7900), ("team_manual", 24900), ("api_starter", 2900))
ROUNDS = 10
BETWEEN = timedelta(hours=1, minutes=11)

LATE_PAYMENT_ID = "7000000001"
"""Of the cancelled order that money came for."""


class BusyDays(NamedTuple):
    """What was put in. `newest` is each status's last order, `late` the one with a flag."""

    customers: tuple[UUID, UUID]
    orders: list[Put]
    newest: Mapping[str, Put]
    late: Put
    late_flag: UUID


async def put_busy_days(conn: Conn, *, now: datetime | None = None) -> BusyDays:
    """Sixty orders up to ten minutes ago, the newest first; one more is cancelled, paid late and flagged."""
    now = now or clock.utc_now()
    customers = (await put_account(conn), await put_account(conn))
    orders: list[Put] = []
    for number in range(ROUNDS * len(STATUSES)):
        status = STATUSES[number % len(STATUSES)]
        product, cents = PRODUCTS[number % len(PRODUCTS)]
        at = now - timedelta(minutes=10) - number * BETWEEN
        orders.append(
            await put_order(
                conn,
                customers[number // len(STATUSES) % 2],
                at=at,
                order_id=ids.order_id(at),
                product=product,
                cents=cents,
                status=status,
                payment_id=str(5_000_000_000 + number),
                note=f"Invoice 2026-{number:03}" if number % 4 == 0 else None,
                internal_note="Called back." if number % 7 == 0 else None,
            )
        )
    at = now - timedelta(hours=2)
    late = await put_order(conn, customers[0], at=at, status="cancelled", payment_id=LATE_PAYMENT_ID)
    flag = await put_flag(
        conn, customers[0], "late_payment", order_id=late.order_id, payment_id=LATE_PAYMENT_ID, at=at
    )
    newest = {order.status: order for order in reversed(orders)}
    return BusyDays(customers, orders, newest, late, flag)
