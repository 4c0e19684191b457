"""The inbox as support reads it: every fact that came in, with what became of it, the newest first."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from crypto_orders.domain.order import Verdict, Via
from crypto_orders.kit.pagination import Page
from crypto_orders.store import keyset
from crypto_orders.store.connection import Conn, Row
from crypto_orders.store.keyset import Listing


class KeptNotification(Struct, frozen=True, kw_only=True):
    """One fact as it came in. `body` is as it came; an operator's claim names `actor` and `reason`.

    `matched_form` says which text of a notification its signature was of: `raw` or `canonical`.
    `claimed_order_id` is what the body said; `order_id` and `account_id` are whose it turned out to be.
    """

    notification_id: UUID
    via: Via
    payment_id: str | None
    payment_status: str | None
    claimed_order_id: str | None
    account_id: UUID | None
    order_id: str | None
    actor: str | None
    reason: str | None
    verdict: Verdict
    why: str | None
    received_at: datetime
    last_seen_at: datetime
    times_seen: int
    settled_at: datetime | None
    matched_form: str | None
    body: bytes


LISTING = Listing(
    kind="notifications",
    select="""
SELECT notification_id, via, payment_id, payment_status, claimed_order_id, account_id, order_id, actor,
       reason, verdict, why, received_at, last_seen_at, times_seen, settled_at, matched_form,
       body
  FROM notifications""",
    time_column="received_at",
    id_column="notification_id",
)


# Facts that are not settled are few among millions: an index keeps them together.
UNSETTLED = LISTING._replace(
    select=LISTING.select.replace(
        "FROM notifications", "FROM (SELECT * FROM notifications WHERE try_at IS NOT NULL) AS n"
    )
)


async def newest(
    conn: Conn,
    *,
    payment_id: str | None,
    order_id: str | None,
    verdict: Verdict | None,
    limit: int,
    after: str | None,
) -> Page[KeptNotification]:
    """Facts about a payment, an order or with a verdict, or all, behind the cursor `after`.

    Raises:
        MalformedCursor: `after` is no cursor of this list.
    """
    equal = {
        "payment_id": payment_id,
        "order_id": order_id,
        "verdict": verdict.value if verdict else None,
    }
    listing = UNSETTLED if verdict in {Verdict.RECEIVED, Verdict.WAITING} else LISTING
    return await keyset.newest(conn, listing, _notification_of, equal=equal, limit=limit, after=after)


GET = f"{LISTING.select}\n WHERE notification_id = $1"


async def get(conn: Conn, notification_id: UUID) -> KeptNotification | None:
    """One fact by its id."""
    row = await conn.fetchrow(GET, notification_id)
    return _notification_of(row) if row else None


def _notification_of(row: Row) -> KeptNotification:
    return KeptNotification(
        notification_id=row["notification_id"],
        via=Via(row["via"]),
        payment_id=row["payment_id"],
        payment_status=row["payment_status"],
        claimed_order_id=row["claimed_order_id"],
        account_id=row["account_id"],
        order_id=row["order_id"],
        actor=row["actor"],
        reason=row["reason"],
        verdict=Verdict(row["verdict"]),
        why=row["why"],
        received_at=row["received_at"],
        last_seen_at=row["last_seen_at"],
        times_seen=row["times_seen"],
        settled_at=row["settled_at"],
        matched_form=row["matched_form"],
        body=row["body"],
    )
