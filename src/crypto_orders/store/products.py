"""The catalogue: what is sold, for how much; a price never comes from a client."""

from datetime import datetime

from msgspec import Struct

from crypto_orders.store.connection import Conn, Row, Tx


class Product(Struct, frozen=True):
    """One product. `price_cents` is in integer cents of `price_currency`."""

    product: str
    price_cents: int
    price_currency: str
    active: bool
    updated_at: datetime


COLUMNS = "product, price_cents, price_currency, active, updated_at"
GET = f"SELECT {COLUMNS} FROM products WHERE product = $1 AND active"
LIST = f"SELECT {COLUMNS} FROM products ORDER BY product"
PUT = f"""
INSERT INTO products (product, price_cents, price_currency, active)
VALUES ($1, $2, $3, $4)
    ON CONFLICT (product) DO UPDATE
   SET price_cents = EXCLUDED.price_cents, price_currency = EXCLUDED.price_currency, active = EXCLUDED.active,
       updated_at = date_trunc('milliseconds', clock_timestamp())
RETURNING {COLUMNS}
"""


async def get(conn: Conn, product: str) -> Product | None:
    """A product that can be bought, or None."""
    row = await conn.fetchrow(GET, product)
    return _product(row) if row else None


async def list_all(conn: Conn) -> list[Product]:
    """The whole catalogue by name, what is no longer sold included."""
    return [_product(row) for row in await conn.fetch(LIST)]


async def put(tx: Tx, product: str, price_cents: int, price_currency: str, *, active: bool) -> Product:
    """Add or change a product; orders keep the price they were started with."""
    row = await tx.fetchrow(PUT, product, price_cents, price_currency, active)
    assert row is not None  # noqa: S101 - RETURNING of an upsert always gives its row
    return _product(row)


def _product(row: Row) -> Product:
    return Product(
        row["product"], row["price_cents"], row["price_currency"], row["active"], row["updated_at"]
    )
