"""The whole transition table: every order status, every word, money known or not, whose payment it is."""

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

import pytest

from crypto_orders.domain.order import Decision, Order, ProviderSaid
from crypto_orders.domain.payment import Payment
from tests.support.order_core import (
    CHILD,
    DUE,
    FIRST,
    NOTIFICATION,
    NOW,
    ORDER_ID,
    SECOND,
    Play,
    a_child,
    a_payment,
    an_order,
    decide,
    kinds,
    notified,
    polled,
    says,
)

COLUMNS = {
    "waiting": ("waiting",),
    "progress": ("confirming", "confirmed", "sending", "spending"),
    "partially_paid": ("partially_paid",),
    "finished": ("finished",),
    "failed": ("failed", "expired", "refunded", "cancelled", "canceled"),
}

# A cell: the status that the order moves to, "superseded", or "-" for no change; then the flags.
CURRENT = """
             waiting  progress        partially_paid  finished        failed
pending      -        confirming      partial         paid            failed
confirming   -        -               partial         paid            failed
partial      -        -               -               paid            failed+failed_with_money
paid         -        -               -               -               +reversed_after_paid
failed       -        +late_payment   +late_payment   +late_payment   -
cancelled    -        +late_payment   +late_payment   +late_payment   -
"""
CURRENT_WITH_MONEY = """
             waiting  progress        partially_paid  finished        failed
pending      -        confirming      partial         paid            failed+failed_with_money
confirming   -        -               partial         paid            failed+failed_with_money
partial      -        -               -               paid            failed+failed_with_money
paid         -        -               -               -               +reversed_after_paid
failed       -        +late_payment   +late_payment   +late_payment   -
cancelled    -        +late_payment   +late_payment   +late_payment   -
"""
# Another payment of the order: its failure is never the order's, its money always counts.
OTHER = """
             waiting  progress        partially_paid  finished        failed
pending      -        confirming      partial         paid            superseded
confirming   -        -               partial         paid+overpaid*  superseded
partial      -        -               -               paid+overpaid*  superseded
paid         -        +overpaid       +overpaid       +overpaid       superseded
failed       -        +late_payment   +late_payment   +late_payment   -
cancelled    -        +late_payment   +late_payment   +late_payment   -
"""
OTHER_WITH_MONEY = """
             waiting  progress        partially_paid  finished        failed
pending      -        confirming      partial         paid            superseded+failed_with_money
confirming   -        -               partial         paid+overpaid*  superseded+failed_with_money
partial      -        -               -               paid+overpaid*  superseded+failed_with_money
paid         -        +overpaid       +overpaid       +overpaid       superseded
failed       -        +late_payment   +late_payment   +late_payment   -
cancelled    -        +late_payment   +late_payment   +late_payment   -
"""
A_CHILD = """
             waiting  progress        partially_paid  finished        failed
pending      -        +redeposit      +redeposit      +redeposit      -
confirming   -        +redeposit      +redeposit      +redeposit      -
partial      -        +redeposit      +redeposit      +redeposit      -
paid         -        +redeposit      +redeposit      +redeposit      -
failed       -        +redeposit      +redeposit      +redeposit      -
cancelled    -        +redeposit      +redeposit      +redeposit      -
"""
A_CHILD_WITH_MONEY = """
             waiting     progress        partially_paid  finished        failed
pending      +redeposit  +redeposit      +redeposit      +redeposit      +redeposit
confirming   +redeposit  +redeposit      +redeposit      +redeposit      +redeposit
partial      +redeposit  +redeposit      +redeposit      +redeposit      +redeposit
paid         +redeposit  +redeposit      +redeposit      +redeposit      +redeposit
failed       +redeposit  +redeposit      +redeposit      +redeposit      +redeposit
cancelled    +redeposit  +redeposit      +redeposit      +redeposit      +redeposit
"""
TABLES = {
    ("current", False): CURRENT,
    ("current", True): CURRENT_WITH_MONEY,
    ("other", False): OTHER,
    ("other", True): OTHER_WITH_MONEY,
    ("child", False): A_CHILD,
    ("child", True): A_CHILD_WITH_MONEY,
}
ABOUT = {"current": FIRST, "other": SECOND, "child": CHILD}
STATUSES = ("pending", "confirming", "partial", "paid", "failed", "cancelled")
ROLES = [(role, known) for role in ABOUT for known in (False, True)]


class Cell(NamedTuple):
    """One case: the order's status, whose payment, whether its money is known, the word, and what is due."""

    role: str
    money_known: bool
    status: str
    said: str
    due: str


def cells() -> Iterator[Cell]:
    for (role, money_known), table in TABLES.items():
        header, *rows = (line.split() for line in table.strip().splitlines())
        for status, *dues in rows:
            for column, due in zip(header, dues, strict=True):
                for said in COLUMNS[column]:
                    yield Cell(role, money_known, status, said, due)


CELLS = list(cells())


def standing(role: str, money_known: bool, status: str) -> tuple[Order, tuple[Payment, ...]]:
    """The order and its payments; what is known of money is an amount that a waiting word named."""
    money: dict[str, object] = {"money_seen": True, "actually_paid": DUE / 10} if money_known else {}
    under_way: dict[str, object] = {"money_seen": True} if status in {"confirming", "partial", "paid"} else {}
    match role:
        case "current":
            return an_order(status), (a_payment(FIRST, **money),)
        case "other":
            return an_order(status), (a_payment(FIRST, **under_way), a_payment(SECOND, **money))
        case _:
            return an_order(status), (a_payment(FIRST, **under_way), a_child(**money))


def fact_of(cell: Cell) -> ProviderSaid:
    """The provider's own word, so that it is its own confirmation."""
    return polled(says(cell.said, ABOUT[cell.role]))


def test_the_table_has_every_case() -> None:
    said = {word for words in COLUMNS.values() for word in words}

    assert len(said) == 12
    assert {(c.role, c.money_known, c.status, c.said) for c in CELLS} == {
        (role, known, status, word) for role, known in ROLES for status in STATUSES for word in said
    }
    assert len(CELLS) == 6 * 6 * 12


def flags_due(cell: Cell) -> list[tuple[str, str]]:
    """The flags of a cell: on the payment the word is about, with a star on the other one."""
    return [
        (kind.rstrip("*"), FIRST if kind.endswith("*") else ABOUT[cell.role])
        for kind in cell.due.split("+")[1:]
    ]


def verdict_due(cell: Cell) -> str:
    outcome, *flags = cell.due.split("+")
    if outcome == "superseded":
        return "superseded"
    if outcome in STATUSES:
        return "applied"
    return "flagged" if flags else "no_change"


def check_event(decision: Decision, cell: Cell, moves_to: str | None) -> None:
    if moves_to is None:
        assert decision.event is None
        assert decision.webhook is None
        return
    event = decision.event
    assert event is not None
    assert (event.seq, event.status, event.source, event.via) == (4, moves_to, "ipn", "poll")
    assert event.at == NOW
    assert event.detail.payment_id == ABOUT[cell.role]
    assert event.detail.provider_status == cell.said
    assert event.detail.notification_id == NOTIFICATION
    webhook = decision.webhook
    if moves_to not in {"paid", "failed"}:
        assert webhook is None
        return
    assert webhook is not None
    assert webhook.event_type == f"crypto.order.{moves_to}"
    assert (webhook.order_id, webhook.product) == (ORDER_ID, "solo_manual")
    assert (webhook.price_cents, webhook.price_currency) == (7900, "USD")
    assert webhook.payment_id == ABOUT[cell.role]
    assert webhook.at == NOW
    assert webhook.reason == ("ipn" if moves_to == "failed" else None)


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: f"{c.status}-{c.said}-{c.role}-{c.money_known:d}")
def test_every_cell_of_the_transition_table(cell: Cell) -> None:
    order, payments = standing(cell.role, cell.money_known, cell.status)

    decision = decide(order, payments, fact_of(cell))

    outcome = cell.due.split("+")[0]
    moves_to = outcome if outcome in STATUSES else None
    assert decision.order.status == (moves_to or cell.status)
    assert decision.verdict == verdict_due(cell)
    assert kinds(decision) == flags_due(cell)
    assert decision.order.version == (4 if moves_to else 3)
    assert decision.order.payment_id == (ABOUT[cell.role] if moves_to == "paid" else FIRST)
    assert (decision.order.paid_at == NOW) == (moves_to == "paid")
    check_event(decision, cell, moves_to)


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: f"{c.status}-{c.said}-{c.role}-{c.money_known:d}")
def test_the_same_fact_again_changes_nothing_in_any_cell(cell: Cell) -> None:
    play = Play(*standing(cell.role, cell.money_known, cell.status))
    first = play.say(fact_of(cell))
    order, payments = play.order, dict(play.payments)

    second = play.say(fact_of(cell))

    assert second.event is None
    assert second.webhook is None
    assert play.order == order
    assert play.payments == payments
    news = {(f.kind, f.subject, f.evidence.fingerprint) for f in first.flags}
    assert {(f.kind, f.subject, f.evidence.fingerprint) for f in second.flags} <= news


@pytest.mark.parametrize(("role", "money_known"), ROLES)
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    ("said", "flag"),
    [
        ("wrong_asset_confirmed", "wrong_asset"),
        ("teleported", "unknown_status"),
        ("Finished", "unknown_status"),
    ],
)
def test_a_word_without_an_order_status_is_stored_flagged_and_moves_nothing(
    role: str, money_known: bool, status: str, said: str, flag: str
) -> None:
    order, payments = standing(role, money_known, status)

    decision = decide(order, payments, notified(says(said, ABOUT[role])))

    assert decision.verdict == "unknown_status"
    assert decision.order == order
    assert (decision.event, decision.webhook) == (None, None)
    assert kinds(decision) == [(flag, ABOUT[role])]
    (heard,) = decision.payments
    assert heard.provider_status == said


@pytest.mark.parametrize("said", ["waiting", "expired", "teleported"])
@pytest.mark.parametrize(
    ("status", "role", "flag"),
    [
        ("failed", "current", "late_payment"),
        ("failed", "other", "late_payment"),
        ("cancelled", "current", "late_payment"),
        ("cancelled", "other", "late_payment"),
        ("paid", "other", "overpaid"),
        ("pending", "child", "redeposit"),
        ("paid", "child", "redeposit"),
        ("failed", "child", "redeposit"),
    ],
)
def test_an_amount_is_money_whatever_the_status_that_names_it(
    said: str, status: str, role: str, flag: str
) -> None:
    order, payments = standing(role, False, status)

    decision = decide(order, payments, polled(says(said, ABOUT[role], actually_paid=DUE)))

    assert (flag, ABOUT[role]) in kinds(decision)
    assert decision.order == order


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_more_money_in_a_failure_of_an_ended_order_is_late(status: str) -> None:
    payment = a_payment(provider_status="failed", best_rank=4, money_seen=True, actually_paid=DUE / 2)

    same = decide(an_order(status), (payment,), polled(says("failed", actually_paid=DUE / 2)))
    more = decide(an_order(status), (payment,), polled(says("failed", actually_paid=DUE)))

    assert (same.verdict, kinds(same)) == ("no_change", [])
    assert (more.verdict, kinds(more)) == ("flagged", [("late_payment", FIRST)])


@pytest.mark.parametrize("status", ["pending", "confirming"])
def test_a_failure_that_names_money_itself_is_flagged(status: str) -> None:
    decision = decide(an_order(status), (a_payment(),), notified(says("failed", actually_paid=DUE)))

    assert decision.order.status == "failed"
    assert kinds(decision) == [("failed_with_money", FIRST)]


def test_an_amount_that_cannot_be_read_counts_as_money() -> None:
    word = says("expired", malformed_fields=("actually_paid",))

    assert kinds(decide(an_order(), (a_payment(),), notified(word))) == [("failed_with_money", FIRST)]


def test_an_estimate_of_the_outcome_is_no_money() -> None:
    word = says("expired", outcome_amount=DUE, outcome_currency="usdt")

    decision = decide(an_order(), (a_payment(),), notified(word))

    assert (decision.order.status, kinds(decision)) == ("failed", [])


def test_the_paying_payment_raises_overpaid_only_past_the_tolerance() -> None:
    payment = a_payment(provider_status="finished", best_rank=6, money_seen=True, actually_paid=DUE)

    within = decide(an_order("paid"), (payment,), polled(says("finished", actually_paid=DUE * 101 / 100)))
    beyond = decide(an_order("paid"), (payment,), polled(says("finished", actually_paid=DUE * 102 / 100)))

    assert (within.verdict, kinds(within)) == ("no_change", [])
    assert (beyond.verdict, kinds(beyond)) == ("flagged", [("overpaid", FIRST)])


def test_every_payment_with_money_is_overpaid_when_another_pays() -> None:
    third = "5000000009"
    payments = (
        a_payment(),
        a_payment(SECOND, money_seen=True, provider_status="failed", best_rank=4),
        a_payment(third, money_seen=True, provider_status="confirming", best_rank=1),
        a_child(money_seen=True),
    )

    decision = decide(an_order("confirming"), payments, polled(says("finished")))

    assert decision.order.payment_id == FIRST
    assert kinds(decision) == [("overpaid", SECOND), ("overpaid", third)]


def test_an_event_carries_the_moment_it_was_decided() -> None:
    later = NOW + timedelta(hours=3)

    decision = decide(an_order(), (a_payment(),), notified(says("finished")), later)

    assert decision.order.paid_at == later
    assert decision.order.updated_at == later
    assert decision.event is not None
    assert (decision.event.at, decision.event.via) == (later, "ipn")
    assert (decision.event.actor, decision.event.detail.reason) == (None, None)
