"""The two notes of an order; changing one is no event."""

from hashlib import sha256
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
   AND ($4::bytea IS NULL OR sha256(convert_to(coalesce(internal_note, ''), 'UTF8')) = $4)
RETURNING {ORDER_COLUMNS}
"""


async def set_customer_note(tx: Tx, account_id: UUID, order_id: str, note: str | None) -> Order | None:
    """Change what the customer wrote; None when there is no such order."""
    row = await tx.fetchrow(SET_CUSTOMER_NOTE, account_id, order_id, note)
    return order_of(row) if row else None


def digest(note: str | None) -> bytes:
    """What names a note by its words; an absent one is empty."""
    return sha256((note or "").encode()).digest()


async def set_internal_note(
    tx: Tx, account_id: UUID, order_id: str, note: str | None, replaced: bytes | None = None
) -> Order | None:
    """Change what support wrote; None when there is no such order.

    None, too, when the note is not the one that `replaced` is the digest of, if that is given.
    """
    row = await tx.fetchrow(SET_INTERNAL_NOTE, account_id, order_id, note, replaced)
    return order_of(row) if row else None
