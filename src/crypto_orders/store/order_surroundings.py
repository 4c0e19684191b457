"""What stands around orders when support looks at them: whose they are, their webhooks, their keys."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from crypto_orders.domain.order import Order
from crypto_orders.store.connection import Conn, Row

ACCOUNT_NAMES = "SELECT account_id, name FROM accounts WHERE account_id = ANY ($1::uuid[])"


async def account_names(conn: Conn, account_ids: Iterable[UUID]) -> dict[UUID, str]:
    """What some accounts are called."""
    rows = await conn.fetch(ACCOUNT_NAMES, list(set(account_ids)))
    return {row["account_id"]: row["name"] for row in rows}


WebhookState = Literal["dead", "retrying", "held", "waiting", "unsent", "discarded", "delivered"]

# What needs a person stands first: an order shows the first of its deliveries' states.
_WORST_FIRST: tuple[WebhookState, ...] = (
    "dead",
    "retrying",
    "held",
    "waiting",
    "unsent",
    "discarded",
    "delivered",
)


class WebhookSummary(Struct, frozen=True):
    """How the deliveries of an order's events fare: the state of the worst one, and its attempts so far.

    `held` ones are kept until the customer resumes the endpoint; `unsent` ones wait for one that is deleted.
    """

    state: WebhookState
    attempts: int


WEBHOOKS = """
SELECT w.order_id, d.status, d.attempts, d.due_at IS NOT NULL AS is_due, e.active, e.deleted_at IS NOT NULL AS deleted
  FROM unnest($1::uuid[], $2::text[]) AS page (account_id, order_id)
  JOIN webhook_events w ON w.account_id = page.account_id AND w.order_id = page.order_id
  JOIN webhook_deliveries d ON d.account_id = w.account_id AND d.event_id = w.event_id
  JOIN webhook_endpoints e ON e.account_id = d.account_id AND e.endpoint_id = d.endpoint_id
"""


async def webhook_states(conn: Conn, orders: Sequence[Order]) -> dict[str, WebhookSummary]:
    """The state of the webhooks of some orders, by order id; an order without deliveries is left out."""
    rows = await conn.fetch(
        WEBHOOKS, [order.account_id for order in orders], [order.order_id for order in orders]
    )
    worst: dict[str, WebhookSummary] = {}
    for row in rows:
        found = WebhookSummary(_state(row), row["attempts"])
        known = worst.get(row["order_id"])
        if known is None or _WORST_FIRST.index(found.state) < _WORST_FIRST.index(known.state):
            worst[row["order_id"]] = found
    return worst


def _state(row: Row) -> WebhookState:
    match row["status"]:
        case "delivered":
            return "delivered"
        case "dlq":
            return "dead"
        case "failed" if not row["is_due"]:
            return "discarded"
        case "failed" | "pending" if row["deleted"]:
            return "unsent"
        case "failed" | "pending" if not row["active"]:
            return "held"
        case "failed":
            return "retrying"
        case _:
            return "retrying" if row["attempts"] > 1 else "waiting"


FLAGS_COUNTED_MAX = 10_000
"""Open flags whose orders are counted; from there on it is `more than`."""


class Flagged(Struct, frozen=True):
    """How many orders have an open flag; `more`: the flags were not counted to their end."""

    orders: int
    more: bool


# Flags are few: an index keeps the open ones together.
FLAGGED = """
SELECT count(DISTINCT (account_id, order_id)) AS orders, count(*) AS flags
  FROM (SELECT account_id, order_id FROM flags WHERE state = 'open' AND order_id IS NOT NULL LIMIT $1) AS f
"""


async def flagged_count(conn: Conn) -> Flagged:
    """How many orders have an open flag, counted up to FLAGS_COUNTED_MAX flags and one more."""
    row = await conn.fetchrow(FLAGGED, FLAGS_COUNTED_MAX + 1)
    assert row is not None  # noqa: S101 - an aggregate always comes
    return Flagged(row["orders"], row["flags"] > FLAGS_COUNTED_MAX)


class UsedKey(Struct, frozen=True):
    """The idempotency key that an order was started with."""

    key: str
    created_at: datetime


# A key is of the same moment as its order, which an index finds.
USED_KEY = """
SELECT idempotency_key, created_at
  FROM idempotency_keys
 WHERE created_at = $3 AND account_id = $1 AND order_id = $2
 LIMIT 1
"""


async def used_key(conn: Conn, order: Order) -> UsedKey | None:
    """The key of the checkout that started an order; None when it came without one."""
    row = await conn.fetchrow(USED_KEY, order.account_id, order.order_id, order.created_at)
    return UsedKey(row["idempotency_key"], row["created_at"]) if row else None
