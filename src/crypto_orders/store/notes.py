"""The two notes of an order; changing one is no event."""

from uuid import UUID

from crypto_orders.domain.order import Order
from crypto_orders.store.connection import Tx
from crypto_orders.store.orders import ORDER_COLUMNS, order_of

SET_CUSTOMER_NOTE = f"""
UPDATE orders o
   SET customer_note = $3, updated_at = date_trunc('milliseconds', clock_timestamp())
 WHERE account_id = $1 AND order_id = $2
RETURNING {ORDER_COLUMNS}
"""
SET_INTERNAL_NOTE = f"""
UPDATE orders o
   SET internal_note = $3, updated_at = date_trunc('milliseconds', clock_timestamp())
 WHERE account_id = $1 AND order_id = $2
RETURNING {ORDER_COLUMNS}
"""


async def set_customer_note(tx: Tx, account_id: UUID, order_id: str, note: str | None) -> Order | None:
    """Change what the customer wrote; None when there is no such order."""
    row = await tx.fetchrow(SET_CUSTOMER_NOTE, account_id, order_id, note)
    return order_of(row) if row else None


async def set_internal_note(tx: Tx, account_id: UUID, order_id: str, note: str | None) -> Order | None:
    """Change what support wrote; None when there is no such order."""
    row = await tx.fetchrow(SET_INTERNAL_NOTE, account_id, order_id, note)
    return order_of(row) if row else None
