"""Words in any order and number, between anything people do: no money is lost, nothing is doubled."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from crypto_orders.domain.actions import cancel, mint, mint_mismatched, stop_watching, sweep
from crypto_orders.domain.errors import DomainError
from crypto_orders.domain.order import Ask, Decision, ProviderSaid, Status
from crypto_orders.domain.payment import ends_watch_at
from crypto_orders.domain.provider_payment import ProviderPayment
from tests.support.order_core import (
    CHILD,
    DUE,
    FIRST,
    OTHER_ORDER_ID,
    SECOND,
    Play,
    a_payment,
    an_order,
    is_open,
    notified,
    overridden,
    polled,
    says,
)

PROGRESS = [says("waiting"), says("confirming"), says("confirmed"), says("sending")]


@dataclass(frozen=True)
class Life:
    """The words of one payment's life in order; how the order ends, and which flags it may leave.

    `shuffled` holds the further endings that another order of the words may have: money first heard of
    after the order failed is a flag, and a failure that the provider went beyond is none.
    """

    words: tuple[ProviderPayment, ...]
    ends: str
    flags: frozenset[str] = frozenset()
    shuffled: tuple[tuple[str, frozenset[str]], ...] = ()


LIVES = {
    "paid": Life((*PROGRESS, says("finished")), "paid"),
    "paid without amounts": Life((*PROGRESS, says("finished", actually_paid=None)), "paid"),
    "overpaid": Life((*PROGRESS, says("finished", actually_paid=DUE * 2)), "paid", frozenset({"overpaid"})),
    "underpaid": Life((*PROGRESS, says("partially_paid", actually_paid=DUE / 2)), "partial"),
    "finished underpaid": Life((*PROGRESS, says("finished", actually_paid=DUE / 2)), "partial"),
    "topped up": Life((*PROGRESS, says("partially_paid", actually_paid=DUE / 2), says("finished")), "paid"),
    "never paid": Life((says("waiting"), says("expired")), "failed"),
    "failed on the way": Life(
        (says("waiting"), says("confirming"), says("failed", actually_paid=DUE)),
        "failed",
        frozenset({"failed_with_money"}),
    ),
    "refunded after a part": Life(
        (*PROGRESS, says("partially_paid", actually_paid=DUE / 2), says("refunded", actually_paid=DUE / 2)),
        "failed",
        frozenset({"failed_with_money"}),
        (("failed", frozenset({"failed_with_money", "late_payment"})),),
    ),
    "reversed": Life(
        (*PROGRESS, says("finished"), says("refunded")),
        "paid",
        frozenset({"reversed_after_paid"}),
        (
            ("failed", frozenset({"late_payment"})),
            ("failed", frozenset({"failed_with_money", "late_payment"})),
        ),
    ),
    "paid after it expired": Life(
        (says("waiting"), says("expired"), says("finished")),
        "failed",
        frozenset({"late_payment"}),
        (("paid", frozenset()),),
    ),
    "an odd word between": Life(
        (says("waiting"), says("teleported"), says("finished")), "paid", frozenset({"unknown_status"})
    ),
    "at another price": Life(
        (says("waiting"), says("confirming"), says("finished", price_amount=Decimal(7))),
        "confirming",
        frozenset({"amount_mismatch"}),
        (("pending", frozenset({"amount_mismatch"})),),
    ),
}


def live(life: Life, words: list[ProviderPayment]) -> Play:
    """Play the words; whatever waits is tried again with the provider's answer, which is the last word."""
    play = Play(an_order(), (a_payment(best_rank=-1),))
    answer = life.words[-1]
    inbox = [word for word in words if is_open(play.say(notified(word)))]
    for word in inbox:
        play.say(notified(word, answer))
        play.say(polled(answer))
    return play


@pytest.mark.parametrize("name", LIVES)
def test_an_ordered_life_ends_as_written(name: str) -> None:
    life = LIVES[name]

    play = live(life, list(life.words))

    assert play.order.status == life.ends
    assert play.flagged(FIRST) == life.flags


@settings(deadline=None, max_examples=150)
@given(data=st.data(), name=st.sampled_from(sorted(LIVES)))
def test_a_shuffled_and_doubled_life_ends_as_the_ordered_one(data: st.DataObject, name: str) -> None:
    life = LIVES[name]
    doubled = list(life.words) + data.draw(st.lists(st.sampled_from(life.words), max_size=4))
    words = data.draw(st.permutations(doubled))

    play = live(life, words)

    ending = play.order.status.value, frozenset(play.flagged(FIRST))
    assert ending in {(life.ends, life.flags), *life.shuffled}
    assert all(map(play.shows_money_of, play.payments.values()))
    assert len(play.webhooks) == (play.order.status in {Status.PAID, Status.FAILED})
    assert play.order.version == 3 + len(play.timeline) - 1


# ------------------------------------------------------------------ anything, in any order

STATUSES = (
    "waiting",
    "confirming",
    "confirmed",
    "sending",
    "partially_paid",
    "finished",
    "failed",
    "expired",
    "refunded",
    "wrong_asset_confirmed",
    "teleported",
)
TWISTS: tuple[dict[str, object], ...] = (
    *({} for _ in range(6)),
    {"order_id": None},
    {"price_amount": None},
    {"price_amount": Decimal(1)},
    {"pay_currency": "ltc"},
)
AMOUNTS = (None, Decimal(0), DUE / 2, DUE, DUE * 2)


@st.composite
def words(draw: st.DrawFn) -> ProviderPayment:
    """A word about one of three payments, mostly complete, sometimes lacking or twisting a term."""
    payment_id = draw(st.sampled_from([FIRST, SECOND, CHILD]))
    word = says(
        draw(st.sampled_from(STATUSES)),
        payment_id,
        actually_paid=draw(st.sampled_from(AMOUNTS)),
        parent_payment_id=FIRST if payment_id == CHILD else None,
    )
    twist = draw(st.sampled_from(TWISTS))
    return replace(word, **twist)


@st.composite
def facts(draw: st.DrawFn) -> ProviderSaid:
    """A word by any way, with any answer beside it."""
    word = draw(words())
    match draw(st.sampled_from(["ipn", "ipn", "answered", "poll", "operator"])):
        case "poll":
            return polled(word)
        case "answered":
            answer = draw(st.sampled_from([Ask.NOT_FOUND, *STATUSES]))
            if isinstance(answer, Ask):
                return notified(word, answer)
            return notified(
                word, replace(word, payment_status=answer, actually_paid=draw(st.sampled_from(AMOUNTS)))
            )
        case "operator":
            return overridden(word.payment_status, word.payment_id, replace(word, payment_status="waiting"))
        case _:
            return notified(word)


def try_to_cancel(play: Play) -> Decision | None:
    try:
        return cancel(play.order, tuple(play.payments.values()), frozenset(play.payments), play.now)
    except DomainError:
        return None


def try_to_sweep(play: Play) -> Decision | None:
    known = tuple(play.payments.values())
    return sweep(play.order, known, frozenset(play.payments), minting=False, now=play.now)


def mint_second(play: Play) -> Decision:
    return mint(play.order, tuple(play.payments.values()), says("waiting", SECOND), play.now)


def mint_second_wrongly(play: Play) -> Decision:
    return mint_mismatched(
        play.order, says("waiting", SECOND), "another coin", play.now, tuple(play.payments.values())
    )


def pass_two_hours(play: Play) -> None:
    play.now += timedelta(hours=2)


ACTIONS: list[Callable[[Play], Decision | None]] = [
    try_to_cancel,
    try_to_sweep,
    mint_second,
    mint_second_wrongly,
    pass_two_hours,
]


@settings(deadline=None, max_examples=400)
@given(
    first_is_minted=st.booleans(),
    steps=st.lists(st.one_of(facts(), facts(), facts(), st.sampled_from(ACTIONS)), max_size=12),
)
def test_money_is_never_lost_whatever_happens_in_whatever_order(
    first_is_minted: bool, steps: list[ProviderSaid | Callable[[Play], Decision | None]]
) -> None:
    play = Play(an_order(), (a_payment(),)) if first_is_minted else Play(an_order(payment_id=None), ())
    inbox: list[ProviderSaid] = []
    for step in steps:
        if isinstance(step, ProviderSaid):
            if is_open(play.say(step)):
                inbox.append(step)
        elif (decision := step(play)) is not None:
            play.take(decision)
    for fact in inbox:
        play.say(replace(fact, answer=fact.payment))
    play.now += timedelta(days=30)
    for payment in tuple(play.payments.values()):
        assert play.now > ends_watch_at(payment)
        flag = stop_watching(play.order, payment, play.now)
        if flag is not None:
            play.flags.setdefault((flag.kind.value, flag.subject), []).append(flag)

    assert all(map(play.shows_money_of, play.payments.values()))
    if play.order.status in {Status.CONFIRMING, Status.PARTIAL}:
        assert any(kind == "stuck" or "money" in kind for kind, _ in play.flags)
    if play.order.status is Status.PAID:
        assert play.payments[play.order.payment_id or ""].origin != "child"
        assert play.order.paid_at is not None
    assert len(play.webhooks) == (play.order.status in {Status.PAID, Status.FAILED})


@settings(deadline=None, max_examples=150)
@given(status=st.sampled_from(list(Status)), fact=facts())
def test_a_fact_applied_twice_is_applied_once(status: Status, fact: ProviderSaid) -> None:
    play = Play(an_order(status), (a_payment(), a_payment(SECOND)))
    first = play.say(fact)
    order, payments = play.order, dict(play.payments)

    second = play.say(fact)

    assert (second.event, second.webhook) == (None, None)
    assert (play.order, play.payments) == (order, payments)
    news = {(f.kind, f.subject, f.evidence.fingerprint) for f in first.flags}
    assert {(f.kind, f.subject, f.evidence.fingerprint) for f in second.flags} <= news


@settings(deadline=None, max_examples=150)
@given(
    status=st.sampled_from([Status.PAID, Status.FAILED, Status.CANCELLED]),
    said=st.lists(facts(), min_size=1, max_size=6),
)
def test_a_terminal_order_never_moves_by_words(status: Status, said: list[ProviderSaid]) -> None:
    play = Play(an_order(status), (a_payment(), a_payment(SECOND)))

    for fact in said:
        play.say(fact)

    assert play.timeline == [status]
    assert play.order.version == 3
    assert play.webhooks == []
    assert play.order.payment_id == FIRST


@settings(deadline=None, max_examples=100)
@given(status=st.sampled_from(list(Status)), word=words())
def test_nothing_about_another_order_is_ever_taken_in(status: Status, word: ProviderPayment) -> None:
    play = Play(an_order(status), (a_payment(), a_payment(SECOND)))
    before = dict(play.payments)

    play.say(polled(replace(word, order_id=OTHER_ORDER_ID)))

    assert play.order == an_order(status)
    assert play.payments == before
    assert len(play.flags) == 1
