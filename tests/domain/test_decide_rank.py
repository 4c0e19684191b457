"""The order in which words come: ranks, failures after money, reversals, waiting for an amount."""

from decimal import Decimal
from itertools import pairwise

import pytest

from crypto_orders.domain.order import Ask
from crypto_orders.domain.payment import Payment
from tests.support.order_core import (
    DUE,
    FIRST,
    SECOND,
    Play,
    a_payment,
    an_order,
    decide,
    is_open,
    kinds,
    notified,
    overridden,
    polled,
    says,
)

FAILED_CLASS = ("failed", "expired", "refunded", "cancelled", "canceled")
LADDER = ("waiting", "confirming", "confirmed", "sending", "expired", "partially_paid", "finished")
LOWER = [(low, high) for i, high in enumerate(LADDER) for low in LADDER[:i]]


def that_said(word: str, **changes: object) -> Payment:
    """A payment of which the provider has said a word, with money seen where the word shows it."""
    money = word not in {"waiting", "expired"}
    said = {"provider_status": word, "best_rank": LADDER.index(word), "money_seen": money}
    return a_payment(FIRST, **(said | changes))


def test_there_is_a_rank_for_every_step_of_the_ladder() -> None:
    assert LOWER[0] == ("waiting", "confirming")
    assert len(LOWER) == 21
    assert list(pairwise(LADDER))[-1] == ("partially_paid", "finished")


@pytest.mark.parametrize(("low", "high"), LOWER)
@pytest.mark.parametrize("status", ["pending", "confirming"])
def test_a_word_below_what_the_provider_has_said_changes_nothing(status: str, low: str, high: str) -> None:
    order, payment = an_order(status), that_said(high, money_seen=True)

    decision = decide(order, (payment,), polled(says(low)))

    assert decision.order == order
    assert (decision.verdict, kinds(decision), decision.event) == ("no_change", [], None)
    (after,) = decision.payments
    assert (after.provider_status, after.best_rank) == (high, LADDER.index(high))


@pytest.mark.parametrize("word", FAILED_CLASS)
@pytest.mark.parametrize("high", ["partially_paid", "finished"])
def test_a_failure_below_a_settlement_ends_no_order_that_still_waits_for_its_amount(
    word: str, high: str
) -> None:
    order = an_order()

    assert decide(order, (that_said(high),), polled(says(word))).order == order


@pytest.mark.parametrize("status", ["failed", "cancelled"])
@pytest.mark.parametrize("low", ["confirming", "confirmed", "sending"])
def test_money_below_a_failure_is_late_when_it_was_not_known(status: str, low: str) -> None:
    order = an_order(status)

    unknown = decide(order, (that_said("expired"),), notified(says(low)))
    known = decide(order, (that_said("expired", money_seen=True),), notified(says(low)))

    assert (unknown.verdict, kinds(unknown)) == ("flagged", [("late_payment", FIRST)])
    assert (known.verdict, kinds(known)) == ("no_change", [])
    assert unknown.order == known.order == order


def test_money_below_a_failure_of_another_payment_of_a_paid_order_is_overpaid() -> None:
    other = a_payment(SECOND, provider_status="expired", best_rank=4)

    decision = decide(an_order("paid"), (that_said("finished"), other), notified(says("confirming", SECOND)))

    assert (decision.verdict, kinds(decision)) == ("flagged", [("overpaid", SECOND)])


def test_a_larger_amount_below_the_rank_of_the_paying_payment_is_overpaid() -> None:
    paying = that_said("finished", actually_paid=DUE)

    decision = decide(an_order("paid"), (paying,), notified(says("confirming", actually_paid=DUE * 2)))

    assert (decision.verdict, kinds(decision)) == ("flagged", [("overpaid", FIRST)])


# ------------------------------------------------------------------ a failure after money


@pytest.mark.parametrize("status", ["partial", "paid"])
@pytest.mark.parametrize("word", FAILED_CLASS)
@pytest.mark.parametrize("answer", [Ask.NOT_YET, Ask.NOT_FOUND], ids=["not asked", "404"])
def test_a_failure_after_money_is_put_to_the_provider(status: str, word: str, answer: Ask) -> None:
    order, payment = an_order(status), that_said("partially_paid")

    decision = decide(order, (payment,), notified(says(word), answer))

    assert decision.order == order
    assert is_open(decision)
    assert (decision.event, decision.flags) == (None, ())
    assert decision.payments in {(), (payment,)}


@pytest.mark.parametrize("status", ["partial", "paid"])
@pytest.mark.parametrize("word", FAILED_CLASS)
@pytest.mark.parametrize("answer", ["waiting", "confirming", "sending", "partially_paid", "finished", "odd"])
def test_a_failure_that_the_provider_does_not_confirm_changes_nothing(
    status: str, word: str, answer: str
) -> None:
    order, payment = an_order(status), that_said("partially_paid")

    decision = decide(order, (payment,), notified(says(word), says(answer)))

    assert decision.order == order
    assert (decision.verdict, kinds(decision)) == ("no_change", [])
    assert decision.payments == (payment,)


@pytest.mark.parametrize("word", FAILED_CLASS)
@pytest.mark.parametrize("answer", FAILED_CLASS)
@pytest.mark.parametrize("said_before", ["partially_paid", "finished"])
def test_a_confirmed_failure_ends_a_partial_order_with_a_flag(
    word: str, answer: str, said_before: str
) -> None:
    decision = decide(an_order("partial"), (that_said(said_before),), notified(says(word), says(answer)))

    assert (decision.verdict, decision.order.status) == ("applied", "failed")
    assert kinds(decision) == [("failed_with_money", FIRST)]
    assert decision.webhook is not None
    assert decision.webhook.event_type == "crypto.order.failed"
    assert decision.payments[0].provider_status == word


@pytest.mark.parametrize("word", FAILED_CLASS)
def test_a_confirmed_failure_of_the_paying_payment_is_a_reversal(word: str) -> None:
    order = an_order("paid")

    decision = decide(order, (that_said("finished"),), notified(says(word), says(word)))

    assert decision.order == order
    assert (decision.verdict, kinds(decision)) == ("flagged", [("reversed_after_paid", FIRST)])
    assert decision.payments[0].provider_status == word


def test_what_was_said_before_a_confirmed_failure_comes_again_in_vain() -> None:
    play = Play(an_order(), (a_payment(),))
    play.say(notified(says("partially_paid", actually_paid=DUE / 2)))
    play.say(notified(says("refunded"), says("refunded")))

    again = play.say(notified(says("partially_paid", actually_paid=DUE / 2)))
    once_more = play.say(notified(says("partially_paid", actually_paid=DUE / 2)))

    assert (again.verdict, once_more.verdict) == ("no_change", "no_change")
    assert set(play.flags) == {("failed_with_money", FIRST)}
    assert play.payments[FIRST].provider_status == "refunded"


@pytest.mark.parametrize(
    "news",
    [says("finished", actually_paid=DUE / 2), says("partially_paid", actually_paid=DUE * 3 / 4)],
    ids=["a higher status", "a larger amount"],
)
def test_news_after_a_confirmed_failure_is_late(news: object) -> None:
    play = Play(an_order(), (a_payment(),))
    play.say(notified(says("partially_paid", actually_paid=DUE / 2)))
    play.say(notified(says("refunded"), says("refunded")))

    play.say(polled(news))  # type: ignore[arg-type]

    assert set(play.flags) == {("failed_with_money", FIRST), ("late_payment", FIRST)}


def test_a_failure_of_a_partial_order_while_another_payment_has_money_is_flagged_once_confirmed() -> None:
    order = an_order("partial")
    payments = (that_said("partially_paid"), a_payment(SECOND, money_seen=True, best_rank=1))

    asked = decide(order, payments, notified(says("refunded")))
    confirmed = decide(order, payments, notified(says("refunded"), says("refunded")))

    assert is_open(asked)
    assert confirmed.order == order
    assert (confirmed.verdict, kinds(confirmed)) == ("superseded", [("failed_with_money", FIRST)])


def test_a_failure_of_a_moneyless_payment_beside_a_partial_one_is_superseded_at_once() -> None:
    payments = (that_said("partially_paid"), a_payment(SECOND))

    decision = decide(an_order("partial"), payments, notified(says("expired", SECOND)))

    assert (decision.verdict, kinds(decision)) == ("superseded", [])


# ------------------------------------------------------------------ waiting for an amount


def test_a_finished_word_without_an_amount_waits_and_is_heard_at_once() -> None:
    order = an_order()

    decision = decide(order, (a_payment(),), notified(says("finished", actually_paid=None)))

    assert decision.order == order
    assert is_open(decision)
    (heard,) = decision.payments
    assert (heard.provider_status, heard.money_seen) == ("finished", True)


def test_while_it_waits_no_older_word_ends_the_order() -> None:
    play = Play(an_order(), (a_payment(),))
    play.say(notified(says("finished", actually_paid=None)))
    for word in ("expired", "failed", "confirming", "waiting"):
        assert play.say(polled(says(word))).verdict == "no_change"

    play.say(notified(says("finished", actually_paid=None), says("finished")))

    assert play.timeline == ["pending", "paid"]


def test_an_adoption_that_waits_for_an_amount_is_stored_once() -> None:
    play = Play(an_order(payment_id=None), ())
    word, answer = says("finished", actually_paid=None), says("sending", actually_paid=None)

    first = play.say(notified(word, answer))
    second = play.say(notified(word, says("finished")))

    assert is_open(first)
    assert kinds(first) == [("payment_adopted", FIRST)]
    assert (second.order.status, kinds(second)) == ("paid", [])


# ------------------------------------------------------------------ an operator's word


@pytest.mark.parametrize(
    ("status", "word", "becomes"),
    [
        ("pending", "confirming", "confirming"),
        ("pending", "partially_paid", "partial"),
        ("pending", "finished", "paid"),
        ("pending", "expired", "failed"),
        ("confirming", "finished", "paid"),
        ("confirming", "failed", "failed"),
        ("partial", "finished", "paid"),
        ("partial", "refunded", "failed"),
    ],
)
def test_an_override_moves_the_order_by_the_same_table(status: str, word: str, becomes: str) -> None:
    payment = a_payment()

    decision = decide(an_order(status), (payment,), overridden(word))

    assert (decision.verdict, decision.order.status) == ("applied", becomes)
    event = decision.event
    assert event is not None
    assert (event.source, event.via, event.actor) == ("ipn", "operator", "key_support")
    assert event.detail.reason == "seen on the chain, ticket 4711"
    assert event.detail.override is True
    assert decision.payments == (payment,)


@pytest.mark.parametrize(
    ("status", "word", "flag"),
    [
        ("paid", "refunded", "reversed_after_paid"),
        ("failed", "finished", "late_payment"),
        ("cancelled", "confirming", "late_payment"),
    ],
)
def test_no_override_leaves_a_terminal_state(status: str, word: str, flag: str) -> None:
    order = an_order(status)

    decision = decide(order, (a_payment(),), overridden(word))

    assert decision.order == order
    assert (decision.verdict, kinds(decision)) == ("flagged", [(flag, FIRST)])


def test_an_override_is_not_heard_as_the_providers_word() -> None:
    play = Play(an_order(), (a_payment(),))
    play.say(overridden("finished"))

    assert (play.payments[FIRST].best_rank, play.payments[FIRST].money_seen) == (0, False)
    assert play.say(polled(says("waiting"))).verdict == "no_change"
    assert play.say(polled(says("expired"))).verdict == "flagged"
    assert set(play.flags) == {("reversed_after_paid", FIRST)}


def test_an_override_below_what_the_provider_has_said_changes_nothing() -> None:
    decision = decide(an_order(), (that_said("finished"),), overridden("expired"))

    assert (decision.verdict, decision.order.status) == ("no_change", "pending")


def test_an_override_pays_an_order_that_failed_its_money_checks() -> None:
    play = Play(an_order(), (a_payment(),))
    play.say(notified(says("finished", price_amount=Decimal(1))))

    play.say(overridden("finished"))

    assert play.timeline == ["pending", "paid"]
    assert set(play.flags) == {("amount_mismatch", FIRST)}


def test_a_provider_failure_after_an_override_ends_the_order_by_the_table() -> None:
    play = Play(an_order(), (a_payment(),))
    play.say(overridden("partially_paid"))

    play.say(polled(says("expired")))

    assert play.timeline == ["pending", "partial", "failed"]
    assert set(play.flags) == {("failed_with_money", FIRST)}


def test_an_override_of_a_failure_that_is_not_the_orders_is_superseded() -> None:
    decision = decide(an_order(), (a_payment(), a_payment(SECOND)), overridden("failed", SECOND))

    assert (decision.verdict, decision.order.status) == ("superseded", "pending")


def test_a_misspelt_override_moves_nothing() -> None:
    decision = decide(an_order(), (a_payment(),), overridden("finnished"))

    assert (decision.verdict, decision.order.status) == ("unknown_status", "pending")
