"""What the service may do to its tables: it adds to the timeline and the audit trail, and never changes them.

The role that migrates owns the tables. The service works under another one, so that not even a hole in the
service rewrites history, prices or whose an order is.
"""

from typing import Final

from crypto_orders.store.connection import Conn

APPEND_ONLY: Final = ("audit_log", "order_events")
"""Rows that are written once and read for ever."""

READ_ONLY: Final = ("schema_migrations",)

FIXED_COLUMNS: Final = {"orders": ("account_id", "order_id", "price_cents", "price_currency")}
"""What is agreed once and for all when a row is made."""

EMPTIED: Final = ("order_deltas", "operator_sessions", "rate_buckets")
"""Working tables whose rows come and go."""

IS_OWNER = "SELECT bool_or(tableowner = $1) FROM pg_tables WHERE schemaname = 'public'"

COLUMNS = """
SELECT array_agg(quote_ident(attname) ORDER BY attnum)
  FROM pg_attribute
 WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attname <> ALL ($2::text[])
"""

MAY_REWRITE = """
SELECT array_agg(name ORDER BY name)
  FROM unnest($1::text[]) AS name
 WHERE has_table_privilege(name, 'UPDATE') OR has_table_privilege(name, 'DELETE')
"""


async def grant(conn: Conn, role: str) -> None:
    """Give the service's role what it needs, and take what it has beyond that; by the tables' owner.

    Does nothing for a role that owns the tables itself: its rights cannot be taken.
    """
    if await conn.fetchval(IS_OWNER, role):
        return
    name = await conn.fetchval("SELECT quote_ident($1)", role)
    statements = [
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {name}",
        f"GRANT USAGE ON SCHEMA public TO {name}",
        f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {name}",
        f"REVOKE UPDATE ON {', '.join((*APPEND_ONLY, *FIXED_COLUMNS))} FROM {name}",
        f"REVOKE INSERT, UPDATE ON {', '.join(READ_ONLY)} FROM {name}",
        f"GRANT DELETE ON {', '.join(EMPTIED)} TO {name}",
    ]
    for table, fixed in FIXED_COLUMNS.items():
        columns = await conn.fetchval(COLUMNS, table, list(fixed))
        statements.append(f"GRANT UPDATE ({', '.join(columns)}) ON {table} TO {name}")
    for statement in statements:
        await conn.execute(statement)


async def rewritable(conn: Conn) -> list[str]:
    """The append-only tables that the connection's role could rewrite; none, where roles are kept apart."""
    return await conn.fetchval(MAY_REWRITE, list(APPEND_ONLY)) or []
