"""What must hold in every committed snapshot, each as a query that finds the rows that break it."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from crypto_orders.domain.networks import ALLOWED_IPV6, REFUSED_IPV4, REFUSED_IPV6
from crypto_orders.store.connection import Conn

ROWS_SHOWN_MAX = 20
"""Enough to see what went wrong; the count says how much."""


# The address of an attempt; an IPv4 address inside an IPv6 one is that address.
DIALLED = """
        SELECT a.account_id, a.delivery_id, a.attempt_no, a.dialled_ip,
               CASE WHEN a.dialled_ip <<= '::ffff:0:0/96'
                    THEN substring(host(a.dialled_ip) FROM 8)::inet ELSE a.dialled_ip END AS ip
          FROM webhook_attempts a
         WHERE a.dialled_ip IS NOT NULL"""
LOOPBACK = "'{127.0.0.0/8,::1/128}'::inet[]"
REFUSED = "'{" + ",".join(str(network) for network in (*REFUSED_IPV4, *REFUSED_IPV6)) + "}'::inet[]"


class Violation(Struct, frozen=True):
    """An invariant that does not hold, with some of the rows that show it."""

    name: str
    rule: str
    rows: tuple[str, ...]


class Invariant(Struct, frozen=True):
    """A rule in words, and the query whose rows break it."""

    rule: str
    broken_by: str


INVARIANTS: Mapping[str, Invariant] = {
    "INV-01": Invariant(
        "An order has exactly one create event, and it is its first.",
        """
        SELECT o.account_id, o.order_id, count(e.seq) AS create_events
          FROM orders o
          LEFT JOIN order_events e ON e.account_id = o.account_id AND e.order_id = o.order_id AND e.source = 'create'
         GROUP BY o.account_id, o.order_id
        HAVING count(e.seq) <> 1 OR bool_or(e.seq <> 1)
        """,
    ),
    "INV-02": Invariant(
        "An order's status is its last event's, and its version that event's seq.",
        """
        SELECT o.account_id, o.order_id, o.status, o.version, e.status AS event_status, e.seq
          FROM orders o
          LEFT JOIN LATERAL (SELECT seq, status FROM order_events e
                              WHERE e.account_id = o.account_id AND e.order_id = o.order_id
                              ORDER BY seq DESC LIMIT 1) e ON true
         WHERE (o.status, o.version) IS DISTINCT FROM (e.status, e.seq)
        """,
    ),
    "INV-03": Invariant(
        "The events of an order are numbered from 1 without gaps.",
        """
        SELECT account_id, order_id, count(*) AS events, max(seq) AS last_seq
          FROM order_events
         GROUP BY account_id, order_id
        HAVING count(*) <> max(seq) OR min(seq) <> 1
        """,
    ),
    "INV-04": Invariant(
        "Every step is one of the transition table; only an operator's honour leaves a terminal state.",
        """
        SELECT account_id, order_id, seq, from_status, status
          FROM (SELECT e.*, lag(e.status) OVER (PARTITION BY e.account_id, e.order_id ORDER BY e.seq) AS from_status
                  FROM order_events e) AS step
         WHERE seq > 1
           AND (from_status, status) NOT IN (
                   ('pending', 'confirming'), ('pending', 'partial'), ('pending', 'paid'), ('pending', 'failed'),
                   ('pending', 'cancelled'), ('confirming', 'partial'), ('confirming', 'paid'),
                   ('confirming', 'failed'), ('partial', 'paid'), ('partial', 'failed'))
           AND NOT (from_status IN ('failed', 'cancelled') AND status = 'paid'
                    AND via = 'operator' AND detail ? 'honour')
        """,
    ),
    "INV-05": Invariant(
        "Becoming paid or failed by the provider's word, expiry or sweep has exactly one webhook event.",
        """
        SELECT e.account_id, e.order_id, e.status, w.event_id
          FROM (SELECT * FROM order_events WHERE status IN ('paid', 'failed')) e
          FULL JOIN (SELECT * FROM webhook_events WHERE order_id IS NOT NULL) w
                 ON w.account_id = e.account_id AND w.order_id = e.order_id
                AND w.event_type = 'crypto.order.' || e.status AND w.created_at = e.at
         WHERE e.order_id IS NULL OR w.event_id IS NULL
        """,
    ),
    "INV-06": Invariant(
        "A payment belongs to one order for ever: its route is that order's, and every route has its payment.",
        """
        SELECT payment_id, p.order_id, r.order_id AS routed_to
          FROM payments p
          FULL JOIN payment_routes r USING (payment_id)
         WHERE (p.account_id, p.order_id) IS DISTINCT FROM (r.account_id, r.order_id)
        """,
    ),
    "INV-07": Invariant(
        "A paid order has an applied word of the provider, or an operator's with actor and reason.",
        """
        SELECT o.account_id, o.order_id, o.payment_id
          FROM orders o
         WHERE o.status = 'paid'
           AND NOT EXISTS (
                   SELECT FROM order_events e
                     LEFT JOIN notifications n ON n.notification_id = (e.detail ->> 'notification_id')::uuid
                    WHERE e.account_id = o.account_id AND e.order_id = o.order_id AND e.status = 'paid'
                      AND e.detail ->> 'payment_id' = o.payment_id
                      AND (n.verdict = 'applied' AND n.payment_status = 'finished'
                           OR e.via = 'operator' AND e.actor IS NOT NULL AND e.detail ? 'reason'))
        """,
    ),
    "INV-10": Invariant(
        "Money seen is visible: in a confirming, partial or paid order, or as a flag.",
        """
        SELECT p.account_id, p.order_id, p.payment_id, p.provider_status, o.status
          FROM payments p
          JOIN orders o USING (account_id, order_id)
         WHERE p.money_seen
           AND NOT (o.status IN ('confirming', 'partial') AND p.parent_payment_id IS NULL)
           AND NOT (o.status = 'paid' AND o.payment_id = p.payment_id)
           AND NOT EXISTS (SELECT FROM flags f WHERE f.account_id = p.account_id AND f.subject = p.payment_id)
           AND NOT EXISTS (SELECT FROM notifications n WHERE n.payment_id = p.payment_id AND n.try_at IS NOT NULL)
        """,
    ),
    "INV-11": Invariant(
        "A finished payment of a failed or cancelled order has raised a flag.",
        """
        SELECT p.account_id, p.order_id, p.payment_id
          FROM payments p
          JOIN orders o USING (account_id, order_id)
         WHERE o.status IN ('failed', 'cancelled') AND p.provider_status = 'finished'
           AND NOT EXISTS (SELECT FROM flags f WHERE f.account_id = p.account_id AND f.subject = p.payment_id)
        """,
    ),
    "INV-12": Invariant(
        "No order was swept while a stored fact showed its money.",
        """
        SELECT e.account_id, e.order_id, n.notification_id, n.received_at, e.at
          FROM order_events e
          JOIN payments p ON p.account_id = e.account_id AND p.order_id = e.order_id
          JOIN notifications n ON n.payment_id = p.payment_id AND n.received_at < e.at
         WHERE e.source = 'swept'
           AND n.payment_status IN ('confirming', 'confirmed', 'sending', 'spending', 'partially_paid', 'finished')
        """,
    ),
    "INV-13": Invariant(
        "No order was swept or expired before its pay window had ended.",
        """
        SELECT e.account_id, e.order_id, e.at, o.window_ends_at
          FROM order_events e
          JOIN orders o USING (account_id, order_id)
         WHERE e.source IN ('swept', 'expired') AND e.at < o.window_ends_at
        """,
    ),
    "INV-14": Invariant(
        "An idempotency key stands for an order of its own account.",
        """
        SELECT k.account_id, k.idempotency_key, k.order_id
          FROM idempotency_keys k
          LEFT JOIN orders o USING (account_id, order_id)
         WHERE o.order_id IS NULL
        """,
    ),
    "INV-21": Invariant(
        "A fact that waits has a time at which it is tried again.",
        "SELECT notification_id FROM notifications WHERE verdict IN ('received', 'waiting') AND try_at IS NULL",
    ),
    "INV-28": Invariant(
        "The roll-ups are the sums of the orders they count.",
        """
        SELECT created_on, status, product, price_currency, counted.*, summed.*
          FROM (SELECT (created_at AT TIME ZONE 'UTC')::date AS created_on, status, product, price_currency,
                       count(*) AS orders, sum(price_cents) AS price_cents
                  FROM orders GROUP BY 1, 2, 3, 4) AS counted
          FULL JOIN (SELECT created_on, status, product, price_currency,
                            sum(orders) AS orders, sum(price_cents) AS price_cents
                       FROM (SELECT created_on, status, product, price_currency, orders, price_cents FROM order_totals
                              UNION ALL
                             SELECT created_on, status, product, price_currency, orders, price_cents FROM order_deltas)
                            AS parts
                      GROUP BY 1, 2, 3, 4
                     HAVING sum(orders) <> 0) AS summed
               USING (created_on, status, product, price_currency)
         WHERE (counted.orders, counted.price_cents) IS DISTINCT FROM (summed.orders, summed.price_cents)
        """,
    ),
    "INV-17": Invariant(
        "The attempts at a delivery are numbered from 1 without gaps, and their times never go back.",
        """
        SELECT d.account_id, d.delivery_id, d.attempt_no, a.attempts
          FROM webhook_deliveries d
          LEFT JOIN (SELECT account_id, delivery_id, count(*) AS attempts, min(attempt_no) AS first_no,
                            max(attempt_no) AS last_no, bool_and(in_order) AS in_order
                       FROM (SELECT *, started_at >= lag(started_at, 1, started_at) OVER (
                                           PARTITION BY account_id, delivery_id ORDER BY attempt_no) AS in_order
                               FROM webhook_attempts) AS timed
                      GROUP BY account_id, delivery_id) a
                 ON a.account_id = d.account_id AND a.delivery_id = d.delivery_id
         WHERE (d.attempt_no, true) IS DISTINCT FROM (coalesce(a.attempts, 0), coalesce(a.in_order, true))
            OR (a.first_no, a.last_no) IS DISTINCT FROM (nullif(least(d.attempt_no, 1), 0), nullif(d.attempt_no, 0))
        """,
    ),
    "INV-18": Invariant(
        "No webhook was sent to an address that is not on the public internet, this machine's own aside.",
        f"""
        SELECT account_id, delivery_id, attempt_no, dialled_ip
          FROM ({DIALLED}) AS dialled
         WHERE NOT ip <<= ANY ({LOOPBACK})
           AND (ip <<= ANY ({REFUSED}) OR (family(ip) = 6 AND NOT ip <<= '{ALLOWED_IPV6}'))
        """,
    ),
    "INV-18-loopback": Invariant(
        "No webhook was sent to this machine itself, where insecure webhooks are not allowed.",
        f"""
        SELECT account_id, delivery_id, attempt_no, dialled_ip
          FROM ({DIALLED}) AS dialled
         WHERE ip <<= ANY ({LOOPBACK})
        """,
    ),
    "INV-19": Invariant(
        "A delivery is delivered if and only if an attempt since its last replay was answered with success.",
        """
        SELECT d.account_id, d.delivery_id, d.status
          FROM webhook_deliveries d
         WHERE (d.status = 'delivered') <> EXISTS (
                   SELECT FROM webhook_attempts a
                    WHERE a.account_id = d.account_id AND a.delivery_id = d.delivery_id
                      AND a.status BETWEEN 200 AND 299
                      AND a.started_at >= coalesce(d.replayed_at, '-infinity'))
        """,
    ),
    "INV-20": Invariant(
        "What is not delivered, dead or discarded is due, unless its endpoint is deleted; no flight outlasts its lease.",
        """
        SELECT d.account_id, d.delivery_id, d.status, d.due_at
          FROM webhook_deliveries d
          JOIN webhook_endpoints e ON e.account_id = d.account_id AND e.endpoint_id = d.endpoint_id
         WHERE (d.status = 'pending' AND d.due_at IS NULL AND e.deleted_at IS NULL)
            OR (d.status = 'in_flight' AND e.active AND d.due_at < clock_timestamp() - interval '60 seconds')
        """,
    ),
    "repeated-amounts": Invariant(
        "What an order repeats of its current payment is what that payment says.",
        """
        SELECT o.account_id, o.order_id, o.payment_id, o.payment_currency, o.payment_amount, o.payment_paid
          FROM orders o
          LEFT JOIN payments p ON p.account_id = o.account_id AND p.payment_id = o.payment_id
         WHERE (o.payment_currency, o.payment_amount, o.payment_paid)
               IS DISTINCT FROM (p.pay_currency, p.pay_amount, p.actually_paid)
        """,
    ),
    "routes": Invariant(
        "Every order can be found by its id alone.",
        """
        SELECT order_id FROM orders o FULL JOIN order_routes r USING (order_id)
         WHERE o.account_id IS DISTINCT FROM r.account_id
        """,
    ),
    "one-minting": Invariant(
        "An order shows at most one payment of its own create calls, unless an earlier call's outcome was unknown.",
        """
        SELECT account_id, order_id, count(*) AS minted
          FROM provider_attempts
         WHERE state = 'minted'
         GROUP BY account_id, order_id
        HAVING count(*) > 1
           AND NOT EXISTS (SELECT FROM flags f
                            WHERE f.account_id = provider_attempts.account_id
                              AND f.order_id = provider_attempts.order_id AND f.kind = 'payment_adopted')
        """,
    ),
}


WITHOUT_INSECURE_WEBHOOKS = frozenset({"INV-18-loopback"})
"""What holds only where insecure webhooks are not allowed."""


async def violations(conn: Conn, *, allow_insecure_webhooks: bool = False) -> list[Violation]:
    """Every invariant that does not hold now, each query in a snapshot of its own."""
    found: list[Violation] = []
    for name, invariant in INVARIANTS.items():
        if allow_insecure_webhooks and name in WITHOUT_INSECURE_WEBHOOKS:
            continue
        rows = await conn.fetch(
            f"SELECT to_jsonb(broken) AS row FROM ({invariant.broken_by}) AS broken LIMIT {ROWS_SHOWN_MAX}",
            timeout=600,
        )
        if rows:
            shown = tuple(str(msgspec.json.format(str(row["row"]), indent=0)) for row in rows)
            found.append(Violation(name, invariant.rule, shown))
    return found
