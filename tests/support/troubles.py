"""What support meets in the queues, put straight into a database: dead deliveries, facts, flags."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from crypto_orders.kit import clock, ids
from crypto_orders.store.connection import Conn

NO_ACCOUNT = UUID(int=0)

ATTACK = "<script>alert(1)</script>{{7*7}}'\"><img src=x onerror=alert(2)>"
"""A text that strangers send wherever they may."""

ENDPOINT = """
INSERT INTO webhook_endpoints (account_id, endpoint_id, url, events, description, active, secret_prefix,
                               secret_sealed, consecutive_failures, last_failure_at, last_success_at,
                               disabled_at, disabled_reason, deleted_at, created_at)
VALUES ($1, $2, $3, '{crypto.order.paid}', $4, $5, 'whsec_AAEC', '\\x00', $6, $7, $8, $9, $10, $11, $12)
"""
EVENT = """
INSERT INTO webhook_events (account_id, event_id, event_type, order_id, body, created_at)
VALUES ($1, $2, $4, $5, '{}', $3)
"""
DELIVERY = """
INSERT INTO webhook_deliveries (account_id, delivery_id, endpoint_id, event_id, event_type, status, attempts,
                                attempt_no, last_attempt_at, last_response_status, last_response_excerpt,
                                last_error, created_at, due_at)
VALUES ($1, $2, $3, $4, $8, $5, 1, 1, $7, 500, $6, 'HTTP 500', $7, $9)
"""
ATTEMPT = """
INSERT INTO webhook_attempts (account_id, delivery_id, attempt_no, started_at, elapsed_ms, status, excerpt)
VALUES ($1, $2, 1, $3, 12, 500, $4)
"""
NOTIFICATION = """
INSERT INTO notifications (notification_id, via, digest, body, matched_form, payment_id, payment_status,
                           claimed_order_id, verdict, why, received_at, last_seen_at, times_seen, settled_at)
VALUES ($1, 'ipn', $2, $3, 'canonical', $4, $5, $6, 'unmatched', 'nobody knows it', $7, $7, 3, $7)
"""
FLAG = """
INSERT INTO flags (account_id, flag_id, kind, subject, payment_id, order_id, state, fingerprints, evidence,
                   opened_at, last_seen_at, times_seen)
VALUES ($1, $2, $3, $4, $4, $5, 'open', '{}', $6::jsonb, $7, $7, 4)
"""


class Endpoint(NamedTuple):
    """An endpoint, and its id as it is written."""

    account_id: UUID
    endpoint_id: UUID

    @property
    def public_id(self) -> str:
        """The id as the service writes it."""
        return ids.prefixed("whk", self.endpoint_id)


async def put_endpoint(
    conn: Conn,
    account_id: UUID,
    *,
    url: str = "https://example.com/hook",
    disabled: str | None = None,
    paused: bool = False,
    deleted: bool = False,
    failures: int = 0,
    failed_at: datetime | None = None,
    succeeded_at: datetime | None = None,
    at: datetime | None = None,
) -> Endpoint:
    """An endpoint; one with a reason is disabled. One with dead deliveries failed when it was made."""
    at = at or clock.utc_now()
    endpoint = Endpoint(account_id, ids.uuid7())
    await conn.execute(
        ENDPOINT,
        account_id,
        endpoint.endpoint_id,
        url,
        "for tests",
        not (disabled or paused or deleted),
        failures,
        failed_at or (at if failures or disabled else None),
        succeeded_at,
        at if disabled else None,
        disabled,
        at if deleted else None,
        at,
    )
    return endpoint


async def put_delivery(
    conn: Conn,
    endpoint: Endpoint,
    *,
    status: str = "dlq",
    excerpt: str = "out of order",
    at: datetime | None = None,
    due_at: datetime | None = None,
    order_id: str | None = None,
) -> str:
    """A delivery with one failed attempt, about a paid order where one is named; its id as it is written."""
    at = at or clock.utc_now() - timedelta(minutes=5)
    event_id, delivery_id = ids.uuid7(), ids.uuid7()
    event_type = "crypto.order.paid" if order_id else "test.ping"
    account_id = endpoint.account_id
    await conn.execute(EVENT, account_id, event_id, at, event_type, order_id)
    await conn.execute(
        DELIVERY,
        account_id,
        delivery_id,
        endpoint.endpoint_id,
        event_id,
        status,
        excerpt,
        at,
        event_type,
        due_at,
    )
    await conn.execute(ATTEMPT, endpoint.account_id, delivery_id, at, excerpt)
    return ids.prefixed("wdl", delivery_id)


async def put_notification(
    conn: Conn,
    body: str,
    *,
    payment_id: str = "4999",
    payment_status: str = "finished",
    claims: str | None = None,
) -> UUID:
    """A signed notification that belongs to no order."""
    notification_id = ids.uuid7()
    await conn.execute(
        NOTIFICATION,
        notification_id,
        sha256(notification_id.bytes).digest(),
        body.encode(),
        payment_id,
        payment_status,
        claims,
        clock.utc_now(),
    )
    return notification_id


async def put_flag_of(
    conn: Conn,
    kind: str,
    *,
    account_id: UUID = NO_ACCOUNT,
    order_id: str | None = None,
    payment_id: str = "4999",
    evidence: Mapping[str, Any] | None = None,
    at: datetime | None = None,
) -> str:
    """An open flag with a fact behind it; its id as it is written."""
    flag_id, at = ids.uuid7(), at or clock.utc_now() - timedelta(hours=3)
    fact = {"at": clock.to_iso(at), "via": "ipn", "provider_status": "finished", **(evidence or {})}
    kept = msgspec.json.encode([fact]).decode()
    await conn.execute(FLAG, account_id, flag_id, kind, payment_id, order_id, kept, at)
    return ids.prefixed("flg", flag_id)
