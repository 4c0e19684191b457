"""Payments: reading them, whose they are, and what the provider last said of them."""

from datetime import timedelta
from uuid import UUID

from msgspec import Struct

from crypto_orders.domain.payment import Payment
from crypto_orders.store.connection import Conn, Row


def payment_of(row: Row) -> Payment:
    """Read a payment from a row of its table."""
    return Payment(**{name: row[name] for name in Payment.__struct_fields__})


class Route(Struct, frozen=True):
    """Whose payment it is."""

    account_id: UUID
    order_id: str


ROUTE = "SELECT account_id, order_id FROM payment_routes WHERE payment_id = $1"


async def route_of(conn: Conn, payment_id: str) -> Route | None:
    """The order that a payment belongs to for ever, or None when nobody knows the payment."""
    row = await conn.fetchrow(ROUTE, payment_id)
    return Route(row["account_id"], row["order_id"]) if row else None


class Snapshot(Struct, frozen=True):
    """The provider's own last answer about a payment, as JSON, and how old it is."""

    snapshot: str | None
    age: timedelta | None


SNAPSHOT = """
SELECT snapshot, clock_timestamp() - snapshot_at AS age FROM payments WHERE account_id = $1 AND payment_id = $2
"""


async def snapshot_of(conn: Conn, account_id: UUID, payment_id: str) -> Snapshot:
    """The provider's own last answer about a payment."""
    row = await conn.fetchrow(SNAPSHOT, account_id, payment_id)
    return Snapshot(row["snapshot"], row["age"]) if row else Snapshot(None, None)
