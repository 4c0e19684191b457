"""What is counted in the database rather than in a process: read when the metrics are asked for."""

from prometheus_client import Gauge

from crypto_orders.kit.metrics import REGISTRY
from crypto_orders.store.connection import Conn

OLDEST_PENDING = Gauge(
    "crypto_orders_oldest_pending_seconds", "Age of the oldest pending order.", registry=REGISTRY
)
OUTBOX_AGE = Gauge(
    "crypto_orders_outbox_age_seconds", "Age of the oldest event not fanned out yet.", registry=REGISTRY
)
INBOX_AGE = Gauge(
    "crypto_orders_inbox_age_seconds", "Age of the oldest fact not settled yet.", registry=REGISTRY
)
WEBHOOKS_DEAD = Gauge(
    "crypto_orders_webhook_dlq", "Webhook deliveries in the dead-letter queue.", registry=REGISTRY
)
WEBHOOKS_WAITING = Gauge(
    "crypto_orders_webhook_waiting",
    "Webhook deliveries that wait for an attempt or its result.",
    registry=REGISTRY,
)
FLAGS_OPEN = Gauge("crypto_orders_flags_open", "Flags that wait for a person.", ("kind",), registry=REGISTRY)

AGES = """
SELECT (SELECT extract(epoch FROM clock_timestamp() - min(created_at)) FROM orders WHERE status = 'pending')
           AS oldest_pending,
       (SELECT extract(epoch FROM clock_timestamp() - min(fan_out_at)) FROM webhook_events
         WHERE fan_out_at IS NOT NULL) AS outbox,
       (SELECT extract(epoch FROM clock_timestamp() - min(received_at)) FROM notifications
         WHERE try_at IS NOT NULL) AS inbox
"""
WEBHOOKS = """
SELECT (SELECT count(*) FROM webhook_deliveries WHERE status = 'dlq') AS dead,
       (SELECT count(*) FROM webhook_deliveries WHERE due_at IS NOT NULL) AS waiting
"""
FLAGS = "SELECT kind, count(*) AS flags FROM flags WHERE state = 'open' GROUP BY kind"


async def refresh(conn: Conn) -> None:
    """Bring the gauges up to now."""
    ages = await conn.fetchrow(AGES)
    assert ages is not None  # noqa: S101 - a row of scalars always comes
    for gauge, name in ((OLDEST_PENDING, "oldest_pending"), (OUTBOX_AGE, "outbox"), (INBOX_AGE, "inbox")):
        gauge.set(float(ages[name] or 0))
    webhooks = await conn.fetchrow(WEBHOOKS)
    assert webhooks is not None  # noqa: S101 - a row of scalars always comes
    WEBHOOKS_DEAD.set(webhooks["dead"])
    WEBHOOKS_WAITING.set(webhooks["waiting"])
    FLAGS_OPEN.clear()
    for row in await conn.fetch(FLAGS):
        FLAGS_OPEN.labels(row["kind"]).set(row["flags"])
