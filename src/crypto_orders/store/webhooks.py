"""Customers' webhook endpoints: reading them, and every change of one."""

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from crypto_orders.kit.pagination import Page
from crypto_orders.store import keyset
from crypto_orders.store.connection import Conn, Row, Tx
from crypto_orders.store.keyset import Listing

LISTED_MAX = 1000
"""Endpoints that one account's list shows, the newest: at most ten of them are not deleted."""

# A previous secret whose grace is over is one no longer.
ENDPOINT_COLUMNS = """account_id, endpoint_id, url, events, description, active, secret_prefix, secret_sealed,
       CASE WHEN grace_expires_at > clock_timestamp() THEN prev_secret_prefix END AS prev_secret_prefix,
       CASE WHEN grace_expires_at > clock_timestamp() THEN grace_expires_at END AS grace_expires_at,
       consecutive_failures, last_success_at, last_failure_at, disabled_at, disabled_reason, deleted_at,
       created_at"""

COUNTS = """
       (SELECT count(*) FROM webhook_deliveries d
         WHERE d.account_id = e.account_id AND d.endpoint_id = e.endpoint_id AND d.status = 'delivered') AS delivered,
       (SELECT count(*) FROM webhook_deliveries d
         WHERE d.account_id = e.account_id AND d.endpoint_id = e.endpoint_id AND d.status = 'failed') AS failed,
       (SELECT count(*) FROM webhook_deliveries d
         WHERE d.account_id = e.account_id AND d.endpoint_id = e.endpoint_id AND d.status = 'dlq') AS dlq"""


class Endpoint(Struct, frozen=True, kw_only=True):
    """A webhook endpoint; its secret is sealed, and only the prefixes of secrets are ever shown again."""

    account_id: UUID
    endpoint_id: UUID
    url: str
    events: tuple[str, ...]
    description: str | None
    active: bool
    secret_prefix: str
    secret_sealed: bytes
    prev_secret_prefix: str | None
    grace_expires_at: datetime | None
    consecutive_failures: int
    last_success_at: datetime | None
    last_failure_at: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    deleted_at: datetime | None
    created_at: datetime


class Counted(Struct, frozen=True, kw_only=True):
    """An endpoint with how many of its deliveries stand how now."""

    endpoint: Endpoint
    delivered: int
    failed: int
    dlq: int


def _endpoint(row: Row) -> Endpoint:
    return Endpoint(
        account_id=row["account_id"],
        endpoint_id=row["endpoint_id"],
        url=row["url"],
        events=tuple(row["events"]),
        description=row["description"],
        active=row["active"],
        secret_prefix=row["secret_prefix"],
        secret_sealed=row["secret_sealed"],
        prev_secret_prefix=row["prev_secret_prefix"],
        grace_expires_at=row["grace_expires_at"],
        consecutive_failures=row["consecutive_failures"],
        last_success_at=row["last_success_at"],
        last_failure_at=row["last_failure_at"],
        disabled_at=row["disabled_at"],
        disabled_reason=row["disabled_reason"],
        deleted_at=row["deleted_at"],
        created_at=row["created_at"],
    )


def _counted(row: Row) -> Counted:
    return Counted(endpoint=_endpoint(row), delivered=row["delivered"], failed=row["failed"], dlq=row["dlq"])


GET = f"""
SELECT {ENDPOINT_COLUMNS}, {COUNTS}
  FROM webhook_endpoints e
 WHERE account_id = $1 AND endpoint_id = $2
"""


async def get(conn: Conn, account_id: UUID, endpoint_id: UUID) -> Counted | None:
    """An endpoint of an account, or None when it has no such endpoint."""
    row = await conn.fetchrow(GET, account_id, endpoint_id)
    return _counted(row) if row else None


OF_ACCOUNT = f"""
SELECT {ENDPOINT_COLUMNS}, {COUNTS}
  FROM webhook_endpoints e
 WHERE account_id = $1
 ORDER BY created_at DESC, endpoint_id DESC
 LIMIT $2
"""


async def of_account(conn: Conn, account_id: UUID) -> list[Counted]:
    """An account's endpoints, deleted ones included, the newest first."""
    return [_counted(row) for row in await conn.fetch(OF_ACCOUNT, account_id, LISTED_MAX)]


OF_ALL_ACCOUNTS = Listing(
    "webhooks",
    f"SELECT {ENDPOINT_COLUMNS}, {COUNTS} FROM webhook_endpoints e",
    "created_at",
    "endpoint_id",
)


async def newest(conn: Conn, *, account_id: UUID | None, limit: int, after: str | None) -> Page[Counted]:
    """The endpoints of one account or of all, the newest first, behind the cursor `after`.

    Raises:
        MalformedCursor: `after` is no cursor of this list.
    """
    return await keyset.newest(
        conn, OF_ALL_ACCOUNTS, _counted, equal={"account_id": account_id}, limit=limit, after=after
    )


ACCOUNT_OF = "SELECT account_id FROM webhook_endpoints WHERE endpoint_id = $1"


async def account_of(conn: Conn, endpoint_id: UUID) -> UUID | None:
    """Whose endpoint it is, for support."""
    return await conn.fetchval(ACCOUNT_OF, endpoint_id)


LOCK = f"""
SELECT {ENDPOINT_COLUMNS}
  FROM webhook_endpoints
 WHERE account_id = $1 AND endpoint_id = $2
   FOR NO KEY UPDATE
"""


async def lock(tx: Tx, account_id: UUID, endpoint_id: UUID) -> Endpoint | None:
    """An endpoint, locked until the transaction ends; it is locked before its deliveries."""
    row = await tx.fetchrow(LOCK, account_id, endpoint_id)
    return _endpoint(row) if row else None


LOCK_ACCOUNT = "SELECT account_id FROM accounts WHERE account_id = $1 FOR NO KEY UPDATE"
COUNT_KEPT = "SELECT count(*) FROM webhook_endpoints WHERE account_id = $1 AND deleted_at IS NULL"


async def count_kept(tx: Tx, account_id: UUID) -> int:
    """Count the endpoints that are not deleted; nobody adds one before this transaction ends."""
    await tx.fetchval(LOCK_ACCOUNT, account_id)
    return await tx.fetchval(COUNT_KEPT, account_id)


INSERT = """
INSERT INTO webhook_endpoints (account_id, endpoint_id, url, events, description, secret_prefix, secret_sealed, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, date_trunc('milliseconds', clock_timestamp()))
"""


async def insert(
    tx: Tx,
    account_id: UUID,
    endpoint_id: UUID,
    *,
    url: str,
    events: tuple[str, ...],
    description: str | None,
    secret_prefix: str,
    secret_sealed: bytes,
) -> None:
    """Add an endpoint."""
    await tx.execute(
        INSERT, account_id, endpoint_id, url, list(events), description, secret_prefix, secret_sealed
    )


# Taking an endpoint up again forgets why it was disabled, and its run of dead deliveries with it.
UPDATE = """
UPDATE webhook_endpoints
   SET url = $3, events = $4, description = $5, active = $6,
       consecutive_failures = CASE WHEN $6 AND NOT active THEN 0 ELSE consecutive_failures END,
       disabled_at     = CASE WHEN $6 THEN NULL ELSE disabled_at END,
       disabled_reason = CASE WHEN $6 THEN NULL ELSE disabled_reason END
 WHERE account_id = $1 AND endpoint_id = $2
"""


async def update(tx: Tx, changed: Endpoint) -> None:
    """Store what a customer may change of an endpoint: url, events, description, active."""
    await tx.execute(
        UPDATE,
        changed.account_id,
        changed.endpoint_id,
        changed.url,
        list(changed.events),
        changed.description,
        changed.active,
    )


# What waits for another attempt is held: it shows as pending until the endpoint is taken up again.
HOLD = """
UPDATE webhook_deliveries
   SET status = 'pending'
 WHERE account_id = $1 AND endpoint_id = $2 AND status = 'failed' AND due_at IS NOT NULL
"""


async def hold(tx: Tx, account_id: UUID, endpoint_id: UUID) -> None:
    """Show an inactive endpoint's waiting deliveries as pending."""
    await tx.execute(HOLD, account_id, endpoint_id)


DELETE = """
UPDATE webhook_endpoints
   SET active = false, deleted_at = date_trunc('milliseconds', clock_timestamp())
 WHERE account_id = $1 AND endpoint_id = $2 AND deleted_at IS NULL
"""
# Nothing is sent to a deleted endpoint again, so its deliveries need not be looked at again.
DROP_DUE = """
UPDATE webhook_deliveries
   SET status = 'pending', due_at = NULL
 WHERE account_id = $1 AND endpoint_id = $2 AND due_at IS NOT NULL AND status <> 'in_flight'
"""


async def delete(tx: Tx, account_id: UUID, endpoint_id: UUID) -> None:
    """Delete an endpoint for its customer; the rows stay for the history."""
    await tx.execute(DELETE, account_id, endpoint_id)
    await tx.execute(DROP_DUE, account_id, endpoint_id)


ROTATE = """
UPDATE webhook_endpoints
   SET prev_secret_prefix = CASE WHEN grace_expires_at > clock_timestamp() THEN prev_secret_prefix
                                 ELSE secret_prefix END,
       prev_secret_sealed = CASE WHEN grace_expires_at > clock_timestamp() THEN prev_secret_sealed ELSE $5 END,
       grace_expires_at   = CASE WHEN grace_expires_at > clock_timestamp() THEN grace_expires_at
                                 ELSE date_trunc('milliseconds', clock_timestamp()) + $6::interval END,
       secret_prefix = $3, secret_sealed = $4
 WHERE account_id = $1 AND endpoint_id = $2
"""


async def rotate(
    tx: Tx,
    endpoint: Endpoint,
    *,
    secret_prefix: str,
    secret_sealed: bytes,
    replaced_sealed: bytes,
    grace: timedelta,
) -> None:
    """Replace an endpoint's secret. Inside a grace that has begun, the previous secret and its end stay."""
    await tx.execute(
        ROTATE,
        endpoint.account_id,
        endpoint.endpoint_id,
        secret_prefix,
        secret_sealed,
        replaced_sealed,
        grace,
    )


class Sealed(Struct, frozen=True):
    """The sealed secrets of one endpoint."""

    account_id: UUID
    endpoint_id: UUID
    secret: bytes
    previous: bytes | None


NOT_SEALED_WITH = """
SELECT account_id, endpoint_id, secret_sealed, prev_secret_sealed
  FROM webhook_endpoints
 WHERE (account_id, endpoint_id) > ($2, $3)
   AND (substring(secret_sealed FROM 1 FOR octet_length($1::bytea)) <> $1::bytea
        OR substring(prev_secret_sealed FROM 1 FOR octet_length($1::bytea)) <> $1::bytea)
 ORDER BY account_id, endpoint_id
 LIMIT $4
   FOR NO KEY UPDATE
"""


async def not_sealed_with(tx: Tx, header: bytes, after: tuple[UUID, UUID], limit: int) -> list[Sealed]:
    """Lock the next endpoints with a secret that does not begin with `header`, in the order of their keys."""
    rows = await tx.fetch(NOT_SEALED_WITH, header, *after, limit)
    return [
        Sealed(row["account_id"], row["endpoint_id"], row["secret_sealed"], row["prev_secret_sealed"])
        for row in rows
    ]


RESEAL = """
UPDATE webhook_endpoints
   SET secret_sealed = $3, prev_secret_sealed = $4
 WHERE account_id = $1 AND endpoint_id = $2
"""


async def reseal(tx: Tx, sealed: Sealed) -> None:
    """Store the same secrets, sealed anew."""
    await tx.execute(RESEAL, sealed.account_id, sealed.endpoint_id, sealed.secret, sealed.previous)
