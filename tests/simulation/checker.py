"""Compare what customers saw, what the provider holds and what the database says; nothing may be missing.

It knows nothing of the program it checks, not even its code: it takes three piles of rows and answers in
sentences, none of them when all is well.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Row = Mapping[str, Any]

TERMINAL = {"paid", "failed", "cancelled"}
RANKS = {"pending": 0, "confirming": 1, "partial": 2, "paid": 3, "failed": 3, "cancelled": 3}
LEAST_SHARE = Decimal("0.99")
"""What of the price has to arrive for an order to be paid."""

EXPECTED = {
    "create": {201, 503},
    "read": {200, 503},
    "cancel": {200, 409, 503},
}


@dataclass
class Evidence:
    """What customers wrote down, what the provider's ledger holds, and the rows of the database."""

    log: Sequence[Row] = ()
    ledger: Sequence[Row] = ()
    orders: Sequence[Row] = ()
    keys: Sequence[Row] = ()
    events: Sequence[Row] = ()
    payments: Sequence[Row] = ()
    flags: Sequence[Row] = ()
    webhook_events: Sequence[Row] = ()
    by_id: dict[str, Row] = field(default_factory=dict)
    events_of: dict[str, list[Row]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.by_id = {order["order_id"]: order for order in self.orders}
        events = defaultdict(list)
        for event in sorted(self.events, key=lambda event: event["seq"]):
            events[event["order_id"]].append(event)
        self.events_of = dict(events)


def findings(evidence: Evidence) -> list[str]:
    """Everything that is wrong, a sentence each."""
    return [finding for check in CHECKS for finding in check(evidence)]


def answers_are_expected(evidence: Evidence) -> Iterator[str]:
    for line in evidence.log:
        if line["phase"] == "answered" and line["http"] not in EXPECTED[line["op"]]:
            yield f"unexpected answer: {line}"


def nothing_acknowledged_is_lost(evidence: Evidence) -> Iterator[str]:
    order_of = {key["idempotency_key"]: key["order_id"] for key in evidence.keys}
    for line in evidence.log:
        if line["phase"] != "answered" or line["http"] >= 300:
            continue
        order_id = line["told_order_id"]
        order = evidence.by_id.get(order_id)
        if order is None:
            yield f"lost order: {order_id} was acknowledged"
        elif order["price_cents"] != line["told_price_cents"]:
            yield f"changed price: {order_id}"
        if line["op"] == "create" and order_of.get(line["key"]) != order_id:
            yield f"lost key: {line['key']} was answered with {order_id}"
        if line["op"] == "create" and line["price_cents"] != line["told_price_cents"]:
            yield f"wrong price: {order_id} costs {line['told_price_cents']}"
        if line["op"] == "cancel" and not _has_event(evidence, order_id, "cancelled"):
            yield f"lost cancel: {order_id}"


def _has_event(evidence: Evidence, order_id: str, status: str) -> bool:
    return any(event["status"] == status for event in evidence.events_of.get(order_id, ()))


def a_key_is_one_order_and_an_order_somebodys_wish(evidence: Evidence) -> Iterator[str]:
    told = defaultdict(set)
    for line in evidence.log:
        if line["op"] == "create":
            told[line["key"]] |= {line["told_order_id"]} if line.get("http") == 201 else set()
    for key, order_ids in told.items():
        if len(order_ids) > 1:
            yield f"doubled order: {key} was answered with {sorted(order_ids)}"
    keys = Counter(key["order_id"] for key in evidence.keys)
    for key in evidence.keys:
        if key["idempotency_key"] not in told:
            yield f"order nobody asked for: {key['order_id']}"
    for order_id in evidence.by_id:
        if keys[order_id] != 1:
            yield f"order nobody asked for: {order_id} has {keys[order_id]} keys"


def histories_are_whole_and_nothing_happens_twice(evidence: Evidence) -> Iterator[str]:
    for order_id, order in evidence.by_id.items():
        events = evidence.events_of.get(order_id, [])
        if [event["seq"] for event in events] != list(range(1, len(events) + 1)):
            yield f"broken history: {order_id}"
        statuses = [event["status"] for event in events]
        if not statuses or statuses[-1] != order["status"]:
            yield f"status without its event: {order_id} is {order['status']} after {statuses}"
        if statuses[:1] != ["pending"] or any(times > 1 for times in Counter(statuses).values()):
            yield f"doubled event: {order_id} went through {statuses}"
        if [RANKS[status] for status in statuses] != sorted({RANKS[status] for status in statuses}):
            yield f"step back: {order_id} went through {statuses}"
    for order_id in evidence.events_of.keys() - evidence.by_id.keys():
        yield f"events of no order: {order_id}"


def webhook_events_match_their_orders(evidence: Evidence) -> Iterator[str]:
    told = Counter((event["order_id"], event["event_type"]) for event in evidence.webhook_events)
    due = Counter(
        (order_id, f"crypto.order.{order['status']}")
        for order_id, order in evidence.by_id.items()
        if order["status"] in {"paid", "failed"}
    )
    yield from (f"lost webhook event: {missing}" for missing in due - told)
    yield from (f"doubled webhook event: {extra}" for extra in told - due)


def no_money_is_unseen(evidence: Evidence) -> Iterator[str]:
    order_of = {payment["payment_id"]: payment["order_id"] for payment in evidence.payments}
    flagged = {flag["subject"] for flag in evidence.flags}
    for entry in evidence.ledger:
        payment_id = str(entry["payment_id"])
        if Decimal(str(entry["actually_paid"] or 0)) <= 0 or payment_id in flagged:
            continue
        order = evidence.by_id.get(order_of.get(payment_id, ""))
        if order is None or order["order_id"] != entry["order_id"]:
            yield f"unseen money: payment {payment_id} of {entry['order_id']} is known to no order"
        elif order["status"] not in {"confirming", "partial", "paid"}:
            yield f"unflagged money: payment {payment_id} of {order['order_id']}, which is {order['status']}"
        elif order["payment_id"] != payment_id:
            yield f"unflagged money: payment {payment_id} beside that of {order['order_id']}"
        elif entry["payment_status"] == "finished" and order["status"] != "paid":
            yield f"uncredited money: payment {payment_id} of {order['order_id']}, which is {order['status']}"


def what_is_paid_was_paid(evidence: Evidence) -> Iterator[str]:
    ledger = {str(entry["payment_id"]): entry for entry in evidence.ledger}
    for order_id, order in evidence.by_id.items():
        if order["status"] != "paid":
            continue
        entry = ledger.get(order["payment_id"] or "")
        if entry is None or entry["order_id"] != order_id:
            yield f"paid without a payment: {order_id}"
        elif Decimal(str(entry["actually_paid"])) < Decimal(str(entry["pay_amount"])) * LEAST_SHARE:
            yield f"paid without the money: {order_id} got {entry['actually_paid']}"


def what_customers_see_never_goes_back(evidence: Evidence) -> Iterator[str]:
    """An answer to a request that was sent after another answer was there is never older than that one."""
    newest: dict[str, str] = {}
    seen_at_sending: dict[int, dict[str, str]] = {}
    for line in evidence.log:
        if line["phase"] == "sent":
            seen_at_sending[line["n"]] = dict(newest) if "order_id" not in line else _only(newest, line)
            continue
        before = seen_at_sending.pop(line["n"], {})
        if line["phase"] != "answered" or line["http"] >= 300:
            continue
        order_id, status = line["told_order_id"], line["told_status"]
        known = before.get(order_id)
        if known is not None and (RANKS[status] < RANKS[known] or (known in TERMINAL and status != known)):
            yield f"went back: {order_id} was {known} and then {status}"
        if order_id not in newest or RANKS[status] > RANKS[newest[order_id]]:
            newest[order_id] = status


def _only(newest: Mapping[str, str], line: Row) -> dict[str, str]:
    order_id = line["order_id"]
    return {order_id: newest[order_id]} if order_id in newest else {}


CHECKS = (
    answers_are_expected,
    nothing_acknowledged_is_lost,
    a_key_is_one_order_and_an_order_somebodys_wish,
    histories_are_whole_and_nothing_happens_twice,
    webhook_events_match_their_orders,
    no_money_is_unseen,
    what_is_paid_was_paid,
    what_customers_see_never_goes_back,
)
