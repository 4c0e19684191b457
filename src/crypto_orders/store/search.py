"""Finding orders by a part of their id, product or customer's note, whatever the case.

Products are few: those that contain a needle are looked up first, and their orders found by product. The
index of the search knows an order's id and note as one text, in the form that `search_form` gives it; an
order found by it is compared again with the texts themselves, each on its own. Every statement here wants a
connection with `plan_cache_mode = force_custom_plan`: a plan made for no needle in particular reads the
whole table.
"""

from crypto_orders.store.connection import Conn, Tx
from crypto_orders.store.order_filters import Clauses

NEEDLE_CHARS_MIN = 3
"""The index knows groups of three characters; shorter needles are looked for in other ways."""

WHOLE_CHARS_MAX = 12
PART_CHARS = 8
PART_STEP = 4
"""A longer needle is looked up by a part of it: each group of three costs, and a few are enough to be rare."""

RECENT_ORDERS = 20_000
"""How many of the newest orders a short needle is looked for in, letter by letter."""

ORDER_ID_HEADS = ("ord_", "rd_", "d_", "_")
"""Ways in which a needle can begin with the end of what all order ids begin with."""


def is_short(needle: str) -> bool:
    """Whether a needle is too short for the index."""
    return len(needle) < NEEDLE_CHARS_MIN


def is_in_every_order(needle: str) -> bool:
    """Whether a needle is how every order id begins."""
    return ORDER_ID_HEADS[0].startswith(needle.lower())


# One step of the index a product, however many orders each has.
PRODUCTS = """
  WITH RECURSIVE sold (product) AS (
       (SELECT product FROM orders ORDER BY product LIMIT 1)
        UNION ALL
       SELECT (SELECT o.product FROM orders o WHERE o.product > s.product ORDER BY o.product LIMIT 1)
         FROM sold s
        WHERE s.product IS NOT NULL
     )
SELECT product
  FROM sold
 WHERE strpos(lower(product COLLATE "default"), lower($1::text COLLATE "default")) > 0
"""


async def products_with(conn: Conn, needle: str) -> list[str]:
    """Every product of an order whose name contains a needle."""
    return [row["product"] for row in await conn.fetch(PRODUCTS, needle)]


def match(c: Clauses, needle: str, products: list[str]) -> str:
    """The condition that an order `o` contains a needle, given the products that do."""
    text = match_text(c, needle)
    return f"(o.product = ANY ({c.bind(products)}::text[]) OR {text})" if products else text


def match_text(c: Clauses, needle: str, part: str | None = None) -> str:
    """The condition that an order's id or note contains a needle.

    What contains the needle also contains its form, which an index finds from three characters on. `part`
    is a part of that form to look up instead of the whole.
    """
    form = f"search_form({c.bind(indexed_part(needle))}::text)" if part is None else f"{c.bind(part)}::text"
    sought = f'lower({c.bind(needle)}::text COLLATE "default")'
    return (
        f"(o.search LIKE '%' || {form} || '%'"
        f' AND (strpos(o.order_id COLLATE "default", {sought}) > 0'
        f' OR strpos(lower(o.customer_note COLLATE "default"), {sought}) > 0))'
    )


# The planner's sample of the column tells which parts many orders have. Without a rare one nothing is gained.
RARE_PART = """
  WITH sample AS MATERIALIZED (
       SELECT unnest(s.histogram_bounds::text::text[]) AS form
         FROM pg_class c
         JOIN pg_stats s ON s.schemaname = c.relnamespace::regnamespace::text AND s.tablename = c.relname
        WHERE c.oid = 'orders'::regclass AND s.attname = 'search'
     ), parts AS (
       SELECT search_form(substr(lower($1::text COLLATE "default"), n, $2)) AS form
         FROM (SELECT generate_series(1, char_length($1) - $2, $3)
                UNION ALL
               SELECT char_length($1) - $2 + 1) AS starts (n)
     )
SELECT p.form
  FROM parts p
 WHERE NOT EXISTS (SELECT FROM sample s WHERE s.form LIKE '%' || p.form || '%')
 LIMIT 1
"""


async def rare_part(conn: Conn, needle: str) -> str | None:
    """The form of a part of a long needle that few orders have, if there is one."""
    if len(needle) <= WHOLE_CHARS_MAX:
        return None
    return await conn.fetchval(RARE_PART, needle, PART_CHARS, PART_STEP)


def indexed_part(needle: str) -> str:
    """The part of a needle that is worth looking up.

    Every order has the groups of `ord_`: leaving them out finds no less, and ten times as fast.
    """
    for head in ORDER_ID_HEADS:
        rest = needle[len(head) :]
        if needle[: len(head)].lower() == head and not is_short(rest):
            return rest
    return needle


TIDY = "SELECT tidy_orders_search()"


async def tidy(tx: Tx) -> int:
    """Move what was written lately into the index proper, so that no search reads it row by row."""
    return await tx.fetchval(TIDY)
