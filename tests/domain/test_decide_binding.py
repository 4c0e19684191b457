"""Whose payment a word is about: another order's, one nobody knew, a child, one that does not count."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from msgspec.structs import replace

from crypto_orders.domain.order import Ask, ProviderSaid
from crypto_orders.domain.provider_payment import MALFORMED
from tests.support.order_core import (
    ADDRESS,
    CHILD,
    DUE,
    FIRST,
    NOW,
    OTHER_ORDER_ID,
    SECOND,
    Play,
    a_child,
    a_payment,
    an_order,
    decide,
    kinds,
    notified,
    overridden,
    polled,
    says,
)

STATUSES = ("pending", "confirming", "partial", "paid", "failed", "cancelled")
WORDS = (
    "waiting",
    "confirming",
    "partially_paid",
    "finished",
    "expired",
    "teleported",
    "wrong_asset_confirmed",
)

# ------------------------------------------------------------------ another order


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("named", [OTHER_ORDER_ID, MALFORMED, "invoice 17"])
def test_a_word_that_names_another_order_moves_nothing_whatever_it_says(
    status: str, word: str, named: str
) -> None:
    order = an_order(status)

    decision = decide(order, (a_payment(),), polled(says(word, order_id=named)))

    assert decision.order == order
    assert (decision.verdict, kinds(decision)) == ("flagged", [("order_mismatch", FIRST)])
    assert (decision.event, decision.webhook, decision.payments) == (None, None, ())


def test_a_word_that_names_no_order_is_bound_by_its_payment() -> None:
    decision = decide(an_order(), (a_payment(),), notified(says("finished", order_id=None)))

    assert decision.order.status == "paid"


def test_the_answer_may_not_name_another_order_either() -> None:
    order, word = an_order(), says("finished", order_id=None, price_amount=None)

    decision = decide(order, (a_payment(),), notified(word, says("finished", order_id=OTHER_ORDER_ID)))

    assert decision.order == order
    assert (decision.verdict, kinds(decision)) == ("flagged", [("order_mismatch", FIRST)])


def test_no_override_goes_past_the_binding() -> None:
    order = an_order()

    decision = decide(
        order, (a_payment(),), overridden("finished", FIRST, says("waiting", order_id="another"))
    )

    assert decision.order == order
    assert kinds(decision) == [("order_mismatch", FIRST)]


# ------------------------------------------------------------------ adoption


def adopting(word: str, *, own_attempt: bool = False, **answered: object) -> ProviderSaid:
    fact = notified(says(word, SECOND), says(word, SECOND, **answered))
    return replace(fact, own_attempt=own_attempt)


@pytest.mark.parametrize("word", WORDS)
def test_an_unknown_payment_waits_for_the_providers_answer(word: str) -> None:
    order = an_order()

    decision = decide(order, (a_payment(),), notified(says(word, SECOND)))

    assert decision.order == order
    assert decision.verdict == "waiting"
    assert (decision.event, decision.flags, decision.payments) == (None, (), ())


def test_an_unknown_payment_of_this_order_is_adopted_and_may_pay_it() -> None:
    decision = decide(an_order(), (a_payment(),), adopting("finished"))

    assert (decision.verdict, decision.order.status) == ("applied", "paid")
    assert decision.order.payment_id == SECOND
    assert kinds(decision) == [("payment_adopted", SECOND)]
    assert decision.flags[0].closed_because is None
    (payment,) = decision.payments
    assert (payment.payment_id, payment.origin, payment.parent_payment_id) == (SECOND, "adopted", None)
    assert (payment.provider_status, payment.best_rank, payment.money_seen) == ("finished", 6, True)


def test_what_our_own_attempt_made_is_adopted_with_a_flag_that_closes_by_itself() -> None:
    decision = decide(an_order(payment_id=None), (), adopting("waiting", own_attempt=True))

    assert decision.verdict == "no_change"
    assert kinds(decision) == [("payment_adopted", SECOND)]
    assert decision.flags[0].closed_because == "our own create call made it"
    assert decision.order.payment_id == SECOND


def test_an_adopted_payment_is_the_current_one_only_where_there_is_none() -> None:
    without = decide(an_order(payment_id=None), (), adopting("confirming"))
    beside = decide(an_order(), (a_payment(),), adopting("confirming"))

    assert without.order.payment_id == SECOND
    assert without.order.status == "confirming"
    assert beside.order.payment_id == FIRST
    assert beside.order.status == "confirming"


def test_the_record_of_an_adopted_payment_is_the_providers_own_answer() -> None:
    word = says("confirming", SECOND, pay_address="what the notification says", pay_amount=Decimal(5))
    created = datetime(2026, 5, 21, 9, 0, tzinfo=UTC)

    decision = decide(an_order(), (a_payment(),), notified(word, says("sending", SECOND, created_at=created)))

    (payment,) = decision.payments
    assert (payment.pay_address, payment.pay_amount, payment.pay_currency) == (ADDRESS, DUE, "btc")
    assert payment.created_at == created
    assert payment.valid_until == datetime(2026, 5, 28, 9, 0, tzinfo=UTC)
    assert payment.provider_status == "confirming"


def test_an_adopted_payment_has_to_pass_the_money_checks_of_its_own_record() -> None:
    word = says("finished", SECOND, pay_address="1BoatSLRHtKNngkdXEeobR76b53LETtpyT")

    decision = decide(an_order(), (a_payment(),), notified(word, says("finished", SECOND)))

    assert decision.order.status == "pending"
    assert kinds(decision) == [("amount_mismatch", SECOND), ("payment_adopted", SECOND)]


def test_a_second_word_of_an_adopted_payment_adopts_nothing() -> None:
    play = Play(an_order(), (a_payment(),))
    play.say(adopting("confirming"))

    again = play.say(notified(says("confirming", SECOND)))

    assert (again.verdict, kinds(again)) == ("no_change", [])


@pytest.mark.parametrize(
    ("answered", "verdict", "flag"),
    [
        ({"order_id": OTHER_ORDER_ID}, "unmatched", "unmatched"),
        ({"order_id": None}, "unmatched", "unmatched"),
        ({"price_amount": Decimal("78.99")}, "flagged", "amount_mismatch"),
        ({"price_amount": Decimal("79.0000000000000000000000000000000000001")}, "flagged", "amount_mismatch"),
        ({"price_amount": None}, "flagged", "amount_mismatch"),
        ({"price_currency": "eur"}, "flagged", "amount_mismatch"),
        ({"price_currency": None}, "flagged", "amount_mismatch"),
    ],
)
def test_what_the_answer_does_not_call_ours_is_not_adopted(
    answered: dict[str, object], verdict: str, flag: str
) -> None:
    order = an_order()

    decision = decide(order, (a_payment(),), adopting("finished", own_attempt=False, **answered))

    assert decision.order == order
    assert (decision.verdict, kinds(decision)) == (verdict, [(flag, SECOND)])
    assert (decision.event, decision.payments) == (None, ())
    assert decision.flags[0].evidence.actually_paid == DUE


def test_an_unknown_payment_that_the_provider_does_not_know_is_unmatched() -> None:
    order = an_order()

    decision = decide(order, (a_payment(),), notified(says("finished", SECOND), Ask.NOT_FOUND))

    assert decision.order == order
    assert (decision.verdict, kinds(decision)) == ("unmatched", [("unmatched", SECOND)])


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_money_on_an_adopted_payment_of_an_ended_order_is_late(status: str) -> None:
    decision = decide(an_order(status), (a_payment(),), adopting("finished"))

    assert decision.order.status == status
    assert kinds(decision) == [("late_payment", SECOND), ("payment_adopted", SECOND)]


def test_money_on_an_adopted_payment_of_a_paid_order_is_overpaid() -> None:
    decision = decide(an_order("paid"), (a_payment(),), adopting("confirming"))

    assert kinds(decision) == [("overpaid", SECOND), ("payment_adopted", SECOND)]


def test_adopting_under_an_override_hears_what_the_provider_answered() -> None:
    fact = overridden("waiting", SECOND, says("expired", SECOND))

    decision = decide(an_order(payment_id=None), (), fact)

    (payment,) = decision.payments
    assert payment.provider_status == "expired"
    assert payment.best_rank == 4
    assert (decision.verdict, decision.order.status) == ("no_change", "pending")


def test_money_in_the_answer_to_an_override_is_flagged_when_the_provider_says_it() -> None:
    play = Play(an_order("cancelled", payment_id=None), ())
    answer = says("waiting", SECOND, actually_paid=DUE)

    play.say(overridden("waiting", SECOND, answer))
    play.say(polled(answer))

    assert play.flagged(SECOND) == {"late_payment"}


# ------------------------------------------------------------------ children


@dataclass(frozen=True)
class ChildCase:
    """A first word about a child: the provider's answer, and the coin that came."""

    answer: Ask | str
    coin: str
    flag: str


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    "case",
    [
        ChildCase("finished", "btc", "redeposit"),
        ChildCase("finished", "BTC", "redeposit"),
        ChildCase("finished", "usdttrc20", "wrong_asset"),
        ChildCase("partially_paid", "usdttrc20", "wrong_asset"),
        ChildCase(Ask.NOT_FOUND, "btc", "redeposit"),
        ChildCase(Ask.NOT_FOUND, "usdttrc20", "wrong_asset"),
    ],
    ids=str,
)
def test_a_new_child_with_money_is_recorded_and_flagged_and_never_moves_the_order(
    status: str, case: ChildCase
) -> None:
    order = an_order(status)
    word = says("finished", CHILD, parent_payment_id=FIRST, pay_currency=case.coin)
    answer = case.answer if isinstance(case.answer, Ask) else replace(word, payment_status=case.answer)

    decision = decide(order, (a_payment(),), notified(word, answer))

    assert decision.order == order
    assert (decision.event, decision.webhook) == (None, None)
    assert (decision.verdict, kinds(decision)) == ("flagged", [(case.flag, CHILD)])
    (child,) = decision.payments
    assert (child.origin, child.parent_payment_id, child.money_seen) == ("child", FIRST, True)


def test_a_new_child_waits_for_the_providers_answer() -> None:
    order = an_order()

    decision = decide(order, (a_payment(),), notified(says("finished", CHILD, parent_payment_id=FIRST)))

    assert (decision.order, decision.verdict, decision.payments) == (order, "waiting", ())


def test_a_child_is_recorded_under_its_parent_even_if_the_answer_does_not_name_it() -> None:
    word = says("finished", CHILD, parent_payment_id=FIRST, order_id=None)
    answer = says("finished", CHILD, order_id=None)

    decision = decide(an_order(), (a_payment(),), notified(word, answer))

    (child,) = decision.payments
    assert (child.origin, child.parent_payment_id) == ("child", FIRST)
    assert kinds(decision) == [("redeposit", CHILD)]


def test_a_payment_that_only_the_answer_calls_a_child_is_one() -> None:
    word = says("finished", CHILD)

    decision = decide(an_order(), (a_payment(),), notified(word, replace(word, parent_payment_id=FIRST)))

    assert decision.order.status == "pending"
    assert kinds(decision) == [("redeposit", CHILD)]
    assert decision.payments[0].origin == "child"


def test_a_child_whose_answer_names_another_order_is_unmatched() -> None:
    word = says("finished", CHILD, parent_payment_id=FIRST, order_id=None)

    decision = decide(an_order(), (a_payment(),), notified(word, replace(word, order_id=OTHER_ORDER_ID)))

    assert (decision.verdict, kinds(decision)) == ("unmatched", [("unmatched", CHILD)])
    assert decision.payments == ()


def test_a_child_of_a_parent_that_nobody_can_read_never_moves_the_order() -> None:
    word = says("finished", CHILD, parent_payment_id=MALFORMED)

    decision = decide(an_order(), (a_payment(),), notified(word, Ask.NOT_FOUND))

    assert decision.order.status == "pending"
    assert kinds(decision) == [("redeposit", CHILD)]


def test_a_child_without_money_raises_nothing() -> None:
    word = says("waiting", CHILD, parent_payment_id=FIRST)

    decision = decide(an_order(), (a_payment(),), notified(word, word))

    assert (decision.verdict, kinds(decision)) == ("no_change", [])
    assert decision.payments[0].origin == "child"


def test_a_known_child_stays_one_when_a_word_does_not_name_its_parent() -> None:
    decision = decide(an_order(), (a_payment(), a_child()), notified(says("finished", CHILD)))

    assert decision.order.status == "pending"
    assert kinds(decision) == [("redeposit", CHILD)]


def test_the_current_payment_called_a_child_does_not_pay_the_order() -> None:
    word = says("finished", parent_payment_id="4999999999")

    decision = decide(an_order(), (a_payment(),), notified(word))

    assert decision.order.status == "pending"
    assert kinds(decision) == [("redeposit", FIRST)]


def test_no_override_makes_a_child_move_the_order() -> None:
    order, child = an_order(), a_child(money_seen=True, provider_status="finished", best_rank=6)

    decision = decide(order, (a_payment(), child), overridden("finished", CHILD))

    assert (decision.order, decision.event) == (order, None)


def test_a_wrong_asset_status_of_a_child_in_another_coin_raises_one_flag() -> None:
    word = says("wrong_asset_confirmed", CHILD, pay_currency="ltc", actually_paid=DUE)

    decision = decide(an_order(), (a_payment(), a_child(pay_currency="ltc")), notified(word))

    assert (decision.verdict, kinds(decision)) == ("unknown_status", [("wrong_asset", CHILD)])


# ------------------------------------------------------------------ payments that do not count


def test_a_failure_of_the_current_payment_waits_on_money_elsewhere() -> None:
    payments = (a_payment(), a_payment(SECOND, money_seen=True, provider_status="confirming", best_rank=1))

    decision = decide(an_order("confirming"), payments, notified(says("expired")))

    assert (decision.verdict, decision.order.status) == ("superseded", "confirming")
    assert kinds(decision) == []


def test_money_of_a_child_does_not_keep_the_order_from_failing_with_its_payment() -> None:
    child = a_child(money_seen=True, provider_status="partially_paid", best_rank=5)

    decision = decide(an_order(), (a_payment(), child), notified(says("expired")))

    assert (decision.order.status, kinds(decision)) == ("failed", [])


def test_the_failure_of_a_mismatched_payment_is_not_the_orders() -> None:
    mismatched = a_payment(SECOND, origin="mismatched")

    decision = decide(an_order(payment_id=None), (mismatched,), notified(says("failed", SECOND)))

    assert (decision.verdict, decision.order.status) == ("superseded", "pending")


def test_when_both_payments_failed_with_money_both_are_flagged() -> None:
    play = Play(an_order(), (a_payment(), a_payment(SECOND)))
    for word, payment_id in [
        ("confirming", FIRST),
        ("confirming", SECOND),
        ("failed", SECOND),
        ("failed", FIRST),
    ]:
        play.say(notified(says(word, payment_id)))

    assert play.order.status == "confirming"
    assert set(play.flags) == {("failed_with_money", FIRST), ("failed_with_money", SECOND)}


def test_money_first_heard_of_after_a_superseded_failure_is_flagged() -> None:
    play = Play(an_order(), (a_payment(), a_payment(SECOND)))
    play.say(notified(says("failed", SECOND)))

    late = play.say(notified(says("confirming", SECOND)))

    assert (late.verdict, play.order.status) == ("flagged", "pending")
    assert set(play.flags) == {("failed_with_money", SECOND)}


@pytest.mark.parametrize("minutes", [0, 59, 60, 60 * 24 * 30])
def test_the_pay_window_does_not_keep_money_from_paying_a_pending_order(minutes: int) -> None:
    now = NOW + timedelta(minutes=minutes)

    assert decide(an_order(), (a_payment(),), notified(says("finished")), now).order.status == "paid"
