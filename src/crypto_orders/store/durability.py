"""Asks a database whether it keeps what it has acknowledged, and whether it takes writes at all."""

from crypto_orders.store.connection import Conn

# `local` waits for this server's own disk alone; the remote values wait for that and for a standby.
DURABLE_COMMITS = frozenset({"on", "local", "remote_write", "remote_apply"})

CURRENT_SETTINGS = """
SELECT current_setting('fsync')                 AS fsync,
       current_setting('full_page_writes')      AS full_page_writes,
       current_setting('synchronous_commit')    AS synchronous_commit,
       current_setting('transaction_read_only') AS read_only
"""


async def shortcomings(conn: Conn) -> tuple[str, ...]:
    """Say why acknowledged orders could be lost here, a sentence each; empty when they could not."""
    row = await conn.fetchrow(CURRENT_SETTINGS)
    if row is None:
        return ("the database does not tell its settings",)
    found: list[str] = []
    if row["fsync"] != "on":
        found.append("fsync is off: a power cut loses acknowledged orders")
    if row["full_page_writes"] != "on":
        found.append("full_page_writes is off: a power cut can damage the database")
    if row["synchronous_commit"] not in DURABLE_COMMITS:
        found.append("synchronous_commit is off: a crash loses acknowledged orders")
    if row["read_only"] != "off":
        found.append("the database takes no writes: it is a standby, or made read-only")
    return tuple(found)
