"""The inbox of provider facts: what came in, whether its signature matched, and what became of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec
from msgspec import Struct
from starlette.responses import Response

from crypto_orders.admin.lists import PAGE_ROWS, Needle, account_id_of, address, paging, trimmed
from crypto_orders.admin.services import AdminServices
from crypto_orders.admin.session import AdminCall, Operator, page, screen
from crypto_orders.domain.errors import NotFound
from crypto_orders.domain.order import Verdict, Via
from crypto_orders.kit.http import Endpoint
from crypto_orders.kit.pagination import Page
from crypto_orders.store import accounts, inbox_lists, overview
from crypto_orders.store.inbox_lists import KeptNotification

PATH: Final = "/admin/inbox"
PAYLOAD_CHARS_MAX: Final = 2_000
"""What a list shows of a payload, which may have 256 KiB; its own page shows all."""

VERDICTS: Final[Mapping[Verdict, tuple[str, str, str]]] = {
    Verdict.RECEIVED: ("Received", "neutral", "It is about to be applied."),
    Verdict.WAITING: ("Waiting", "info", "The provider has to be asked before it counts."),
    Verdict.APPLIED: ("Applied", "good", "It moved its order."),
    Verdict.NO_CHANGE: ("No change", "neutral", "It said nothing new."),
    Verdict.FLAGGED: ("Flagged", "warn", "It did not fit, and waits for a person as a flag."),
    Verdict.SUPERSEDED: ("Superseded", "neutral", "Something later or stronger had been heard."),
    Verdict.UNKNOWN_STATUS: ("Unknown status", "warn", "The provider used a word we do not know."),
    Verdict.UNMATCHED: ("Unmatched", "warn", "It belongs to no order of ours."),
    Verdict.MALFORMED: ("Malformed", "bad", "It could not be read."),
}

VIAS: Final[Mapping[Via, str]] = {
    Via.IPN: "Notification",
    Via.POLL: "Answer when asked",
    Via.OPERATOR: "Operator's word",
}

TOO_SLOW: Final = "Looking for this verdict took too long. Name a payment or an order, too."

FORMS: Final = {"raw": "matched the bytes as sent", "canonical": "matched the canonical form"}


class FactRow(Struct, frozen=True, kw_only=True):
    """A fact of the inbox as it is drawn."""

    path: str
    via: str
    payment_id: str | None
    payment_status: str | None
    claimed_order_id: str | None
    order_id: str | None
    order: str | None
    account: str | None
    account_name: str | None
    actor: str | None
    reason: str | None
    verdict: tuple[str, str, str]
    why: str | None
    signature: str | None
    received_at: datetime
    last_seen_at: datetime
    times_seen: int
    settled_at: datetime | None
    payload: str
    is_cut: bool


class InboxQuery(Struct, frozen=True, kw_only=True):
    """Which facts."""

    payment_id: Needle | None = None
    order_id: Needle | None = None
    verdict: Verdict | None = None
    cursor: str | None = None


async def show_inbox(call: AdminCall[None, InboxQuery]) -> Response:
    """The facts about a payment, an order or with a verdict, the newest first."""
    query = msgspec.structs.replace(
        call.query, payment_id=trimmed(call.query.payment_id), order_id=trimmed(call.query.order_id)
    )
    found, slow = Page[KeptNotification]((), None), False
    async with call.deps.search_pool.acquire() as conn:
        try:
            found = await inbox_lists.newest(
                conn,
                payment_id=query.payment_id,
                order_id=query.order_id,
                verdict=query.verdict,
                limit=PAGE_ROWS,
                after=query.cursor,
            )
        except asyncpg.QueryCanceledError:
            # Two verdicts that nearly every fact has are in no index: one that none has is looked for in all.
            slow = True
        names = await accounts.names(conn, {each.account_id for each in found.items if each.account_id})
        now = await overview.now(conn)
    return page(
        call,
        "inbox.html",
        active="inbox",
        rows=[_row(each, names, PAYLOAD_CHARS_MAX) for each in found.items],
        now=now,
        query=query,
        slow=TOO_SLOW if slow else None,
        verdicts=[(verdict, words[0]) for verdict, words in VERDICTS.items()],
        paging=paging(
            PATH,
            {
                "payment_id": query.payment_id,
                "order_id": query.order_id,
                "verdict": query.verdict.value if query.verdict else None,
            },
            after=query.cursor,
            following=found.next_cursor,
            words={"payment_id": "Payment ID", "order_id": "Order ID", "verdict": "Verdict"},
            shown={"verdict": VERDICTS[query.verdict][0]} if query.verdict else None,
        ),
    )


async def show_fact(call: AdminCall[None, None]) -> Response:
    """One fact with its whole payload."""
    async with call.deps.pool.acquire() as conn:
        kept = await inbox_lists.get(conn, call.uuid("notification_id"))
        if kept is None:
            raise NotFound
        names = await accounts.names(conn, {kept.account_id} if kept.account_id else ())
        now = await overview.now(conn)
    return page(call, "fact.html", active="inbox", fact=_row(kept, names, None), now=now)


def _row(kept: KeptNotification, names: Mapping[Any, str], chars_max: int | None) -> FactRow:
    text = kept.body.decode("utf-8", "replace")
    return FactRow(
        path=f"{PATH}/{kept.notification_id}",
        via=VIAS[kept.via],
        payment_id=kept.payment_id,
        payment_status=kept.payment_status,
        claimed_order_id=kept.claimed_order_id,
        order_id=kept.order_id,
        order=address("/admin/orders", order=kept.order_id) if kept.order_id else None,
        account=account_id_of(kept.account_id),
        account_name=names.get(kept.account_id) if kept.account_id else None,
        actor=kept.actor,
        reason=kept.reason,
        verdict=VERDICTS[kept.verdict],
        why=kept.why,
        signature=FORMS[kept.matched_form] if kept.matched_form else None,
        received_at=kept.received_at,
        last_seen_at=kept.last_seen_at,
        times_seen=kept.times_seen,
        settled_at=kept.settled_at,
        payload=text[:chars_max],
        is_cut=chars_max is not None and len(text) > chars_max,
    )


ENDPOINTS: tuple[Endpoint[AdminServices, Operator, Any, Any], ...] = (
    screen(PATH, show_inbox, query=InboxQuery),
    screen(f"{PATH}/{{notification_id:uuid}}", show_fact),
)
