"""Webhook endpoints as support looks for trouble in them: whose, how they fare, and every attempt."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from crypto_orders.kit.pagination import Page
from crypto_orders.store import keyset
from crypto_orders.store.connection import Conn, Row
from crypto_orders.store.deliveries import Attempt
from crypto_orders.store.keyset import Listing

COUNTED_MAX = 1_000
"""How far an endpoint's deliveries are counted; from there on it is `more than`."""

ATTEMPTS_SHOWN_MAX = 20
"""The newest attempts at each delivery that are told; a delivery is tried six times unless it is replayed."""

BULK_MAX = 200
"""Dead deliveries that one form's action takes, each in a transaction of its own: about a second."""


class Faring(Struct, frozen=True, kw_only=True):
    """An endpoint, whose it is, and how its deliveries stand, counted up to COUNTED_MAX and one more.

    `failing`: its last attempt failed, or its last delivery died, or it is disabled; a deleted one never is.
    `to_send` are the deliveries that an attempt is to come for, now or when the endpoint is resumed.
    """

    account_id: UUID
    account_name: str
    endpoint_id: UUID
    url: str
    events: tuple[str, ...]
    description: str | None
    active: bool
    secret_prefix: str
    failing: bool
    consecutive_failures: int
    last_success_at: datetime | None
    last_failure_at: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    deleted_at: datetime | None
    created_at: datetime
    delivered: int
    to_send: int
    dlq: int


def _counted(condition: str) -> str:
    return (
        "(SELECT count(*) FROM (SELECT FROM webhook_deliveries d"
        f" WHERE d.account_id = e.account_id AND d.endpoint_id = e.endpoint_id AND {condition}"
        f" LIMIT {COUNTED_MAX + 1}) AS n)"
    )


COLUMNS = f"""e.account_id, (SELECT name FROM accounts a WHERE a.account_id = e.account_id) AS account_name,
       e.endpoint_id, e.url, e.events, e.description, e.active, e.secret_prefix, e.failing,
       e.consecutive_failures, e.last_success_at, e.last_failure_at, e.disabled_at, e.disabled_reason,
       e.deleted_at, e.created_at,
       {_counted("d.status = 'delivered'")} AS delivered,
       {_counted("d.due_at IS NOT NULL")} AS to_send,
       {_counted("d.status = 'dlq'")} AS dlq"""

ALL = Listing("webhook_health", f"SELECT {COLUMNS}\n  FROM webhook_endpoints e", "created_at", "endpoint_id")
FAILING = Listing(
    "webhooks_failing",
    f"""SELECT {COLUMNS}
  FROM (SELECT * FROM webhook_endpoints WHERE failing) AS e""",
    "created_at",
    "endpoint_id",
)
GET = f"SELECT {COLUMNS}\n  FROM webhook_endpoints e\n WHERE e.endpoint_id = $1"


async def newest(
    conn: Conn, *, account_id: UUID | None, failing: bool, limit: int, after: str | None
) -> Page[Faring]:
    """The endpoints of one account or of all, or only those in trouble, the newest first, behind `after`.

    Raises:
        MalformedCursor: `after` is no cursor of this list.
    """
    listing = FAILING if failing else ALL
    return await keyset.newest(
        conn, listing, _faring, equal={"account_id": account_id}, limit=limit, after=after
    )


async def get(conn: Conn, endpoint_id: UUID) -> Faring | None:
    """An endpoint of any account."""
    row = await conn.fetchrow(GET, endpoint_id)
    return _faring(row) if row else None


def _faring(row: Row) -> Faring:
    return Faring(
        account_id=row["account_id"],
        account_name=row["account_name"],
        endpoint_id=row["endpoint_id"],
        url=row["url"],
        events=tuple(row["events"]),
        description=row["description"],
        active=row["active"],
        secret_prefix=row["secret_prefix"],
        failing=row["failing"],
        consecutive_failures=row["consecutive_failures"],
        last_success_at=row["last_success_at"],
        last_failure_at=row["last_failure_at"],
        disabled_at=row["disabled_at"],
        disabled_reason=row["disabled_reason"],
        deleted_at=row["deleted_at"],
        created_at=row["created_at"],
        delivered=row["delivered"],
        to_send=row["to_send"],
        dlq=row["dlq"],
    )


ATTEMPTS = """
SELECT a.delivery_id, a.attempt_no, a.started_at, a.elapsed_ms, a.status, a.error, a.excerpt
  FROM unnest($1::uuid[], $2::uuid[]) AS wanted (account_id, delivery_id)
 CROSS JOIN LATERAL (
       SELECT *
         FROM webhook_attempts w
        WHERE w.account_id = wanted.account_id AND w.delivery_id = wanted.delivery_id
        ORDER BY w.attempt_no DESC
        LIMIT $3) AS a
 ORDER BY a.delivery_id, a.attempt_no
"""


async def attempts(conn: Conn, deliveries: Sequence[tuple[UUID, UUID]]) -> Mapping[UUID, Sequence[Attempt]]:
    """The newest attempts at some deliveries, named by account and delivery, the oldest of them first."""
    rows = await conn.fetch(
        ATTEMPTS,
        [account_id for account_id, _ in deliveries],
        [delivery_id for _, delivery_id in deliveries],
        ATTEMPTS_SHOWN_MAX,
    )
    found: dict[UUID, list[Attempt]] = {}
    for row in rows:
        found.setdefault(row["delivery_id"], []).append(
            Attempt(
                attempt_no=row["attempt_no"],
                started_at=row["started_at"],
                elapsed_ms=row["elapsed_ms"],
                status=row["status"],
                error=row["error"],
                excerpt=row["excerpt"],
            )
        )
    return found


DEAD_BETWEEN = """
SELECT delivery_id
  FROM webhook_deliveries
 WHERE status = 'dlq' AND created_at >= $1 AND created_at < $2 AND ($3::uuid IS NULL OR account_id = $3)
 ORDER BY created_at, delivery_id
 LIMIT $4
"""


async def dead_between(
    conn: Conn, since: datetime, until: datetime, account_id: UUID | None, limit: int
) -> list[UUID]:
    """Deliveries of the dead-letter queue that were made in a window, the oldest first."""
    rows = await conn.fetch(DEAD_BETWEEN, since, until, account_id, limit)
    return [row["delivery_id"] for row in rows]
