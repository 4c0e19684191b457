"""What we, customers and operators do to an order: mint, cancel, sweep, honour, stop watching."""

from datetime import timedelta
from decimal import Decimal

import pytest
from msgspec.structs import replace

from crypto_orders.domain.actions import (
    cancel,
    customer_source,
    honour,
    mint,
    mint_mismatched,
    payable,
    started,
    stop_watching,
    sweep,
)
from crypto_orders.domain.errors import Conflict, Unavailable
from crypto_orders.domain.order import Decision, Order, Source
from crypto_orders.domain.payment import Payment
from tests.support.order_core import (
    ADDRESS,
    CHILD,
    DUE,
    FIRST,
    NOW,
    SECOND,
    Play,
    a_child,
    a_payment,
    an_order,
    kinds,
    notified,
    polled,
    says,
)

WINDOW_ENDS = NOW + timedelta(minutes=59)
MOMENT = timedelta(milliseconds=1)
BOTH = frozenset({FIRST, SECOND})

# ------------------------------------------------------------------ payable


def test_a_waiting_payment_of_a_pending_order_is_payable_inside_the_window() -> None:
    assert payable(an_order(), a_payment(), NOW)
    assert payable(an_order(), a_payment(), WINDOW_ENDS - MOMENT)
    assert payable(an_order(), a_payment(origin="adopted"), NOW)
    assert payable(an_order(), a_payment(pay_currency="xrp", payin_extra_id="104837"), NOW)


@pytest.mark.parametrize("status", ["confirming", "partial", "paid", "failed", "cancelled"])
def test_nothing_is_payable_on_an_order_that_is_not_pending(status: str) -> None:
    assert not payable(an_order(status), a_payment(), NOW)


@pytest.mark.parametrize(
    "payment",
    [
        None,
        a_payment(SECOND),
        a_payment(origin="mismatched"),
        a_payment(parent_payment_id="4", origin="child"),
        a_payment(pay_address=None),
        a_payment(pay_address=""),
        a_payment(pay_currency="xrp"),
        a_payment(pay_currency="xlm", payin_extra_id=""),
        *(
            a_payment(provider_status=status)
            for status in ("confirming", "sending", "partially_paid", "finished", "expired", "failed", "odd")
        ),
    ],
)
def test_only_the_current_waiting_payment_with_an_address_is_payable(payment: Payment | None) -> None:
    assert not payable(an_order(), payment, NOW)


def test_nothing_is_payable_once_the_window_has_ended() -> None:
    assert not payable(an_order(), a_payment(), WINDOW_ENDS)


# ------------------------------------------------------------------ minting


def test_minting_records_the_payment_and_makes_it_current() -> None:
    order = replace(an_order(payment_id=None), mint_due_at=NOW)

    decision = mint(order, (), says("waiting"), NOW)

    assert (decision.order.payment_id, decision.order.mint_due_at) == (FIRST, None)
    assert (decision.order.status, decision.order.version, decision.event) == ("pending", 3, None)
    (payment,) = decision.payments
    assert (payment.origin, payment.provider_status, payment.best_rank) == ("minted", "waiting", 0)
    assert (payment.pay_address, payment.pay_amount, payment.pay_currency) == (ADDRESS, DUE, "btc")
    assert payable(decision.order, payment, NOW)


@pytest.mark.parametrize(
    ("status", "current"),
    [
        ("pending", SECOND),
        ("failed", SECOND),
        ("cancelled", SECOND),
        ("confirming", FIRST),
        ("partial", FIRST),
        ("paid", FIRST),
    ],
)
def test_the_newest_minted_is_current_unless_another_has_moved_the_order(status: str, current: str) -> None:
    order = an_order(status)

    decision = mint(order, (a_payment(),), says("waiting", SECOND), NOW)

    assert decision.order.payment_id == current
    assert decision.order.status == status
    assert decision.payments[0].payment_id == SECOND


def test_minting_forgets_nothing_that_a_faster_notification_told() -> None:
    adopted = a_payment(origin="adopted", provider_status="confirming", best_rank=1, money_seen=True)

    decision = mint(an_order("confirming"), (adopted,), says("waiting"), NOW)

    (payment,) = decision.payments
    assert payment == replace(adopted, origin="minted")


def test_minting_adds_the_network_and_the_memo_that_a_faster_notification_lacked() -> None:
    adopted = a_payment(origin="adopted", network=None, payin_extra_id=None)

    decision = mint(an_order(), (adopted,), says("waiting", network="xrp", payin_extra_id="77"), NOW)

    (payment,) = decision.payments
    assert payment == replace(adopted, origin="minted", network="xrp", payin_extra_id="77")


def test_a_mismatched_answer_is_recorded_flagged_and_never_shown() -> None:
    order = replace(an_order(payment_id=None), mint_due_at=NOW)

    decision = mint_mismatched(order, says("waiting", price_amount=Decimal(1)), "another price", NOW)

    assert (decision.order.payment_id, decision.order.mint_due_at) == (None, None)
    assert kinds(decision) == [("provider_mismatch", FIRST)]
    assert decision.flags[0].evidence.note == "another price"
    assert (decision.event, decision.webhook) == (None, None)
    (payment,) = decision.payments
    assert payment.origin == "mismatched"
    assert not payable(replace(order, payment_id=FIRST), payment, NOW)


def test_a_mismatched_answer_forgets_nothing_that_a_faster_notification_told() -> None:
    adopted = a_payment(origin="adopted", provider_status="finished", best_rank=6, money_seen=True)

    decision = mint_mismatched(an_order("paid"), says("waiting"), "another coin", NOW, (adopted,))

    assert decision.payments == (replace(adopted, origin="mismatched"),)
    assert decision.order.status == "paid"


def test_an_order_starts_with_one_event() -> None:
    event = started(an_order())

    assert (event.seq, event.status, event.source) == (1, "pending", "create")
    assert (event.at, event.via, event.actor) == (an_order().created_at, None, None)


# ------------------------------------------------------------------ cancel


def ended(decision: Decision) -> tuple[str, str, int]:
    assert decision.event is not None
    assert decision.event.status is decision.order.status
    assert decision.event.seq == decision.order.version
    return decision.order.status.value, decision.event.source.value, decision.event.seq


@pytest.mark.parametrize(
    ("payments", "waiting"),
    [
        ((), frozenset[str]()),
        ((a_payment(),), frozenset[str]()),
        ((a_payment(),), frozenset({FIRST})),
        ((a_payment(), a_payment(SECOND)), frozenset({SECOND})),
    ],
)
def test_inside_the_window_an_order_is_cancelled_even_if_the_provider_is_silent(
    payments: tuple[Payment, ...], waiting: frozenset[str]
) -> None:
    decision = cancel(an_order(), payments, waiting, WINDOW_ENDS - MOMENT)

    assert ended(decision) == ("cancelled", "cancel", 4)
    assert decision.webhook is None
    assert decision.flags == ()
    assert decision.order.expires_at is None


@pytest.mark.parametrize(
    ("order", "payments", "waiting"),
    [
        (an_order(payment_id=None), (), frozenset[str]()),
        (an_order(), (a_payment(),), frozenset({FIRST})),
        (an_order(), (a_payment(), a_payment(SECOND)), BOTH),
    ],
)
def test_past_the_window_an_order_expires_when_every_payment_waits(
    order: Order, payments: tuple[Payment, ...], waiting: frozenset[str]
) -> None:
    decision = cancel(order, payments, waiting, WINDOW_ENDS)

    assert ended(decision) == ("failed", "expired", 4)
    assert decision.webhook is not None
    assert decision.webhook.event_type == "crypto.order.failed"
    assert decision.webhook.reason == "expired"
    assert decision.webhook.payment_id == order.payment_id
    assert decision.webhook.at == WINDOW_ENDS


@pytest.mark.parametrize("waiting", [frozenset[str](), frozenset({FIRST}), frozenset({SECOND})])
def test_past_the_window_nothing_changes_without_every_answer(waiting: frozenset[str]) -> None:
    with pytest.raises(Unavailable) as refusal:
        cancel(an_order(), (a_payment(), a_payment(SECOND)), waiting, WINDOW_ENDS)

    assert refusal.value.retry_after_seconds == 5


@pytest.mark.parametrize("status", ["confirming", "partial", "paid", "failed", "cancelled"])
@pytest.mark.parametrize("now", [NOW, WINDOW_ENDS])
def test_only_a_pending_order_can_be_cancelled(status: str, now: object) -> None:
    with pytest.raises(Conflict) as refusal:
        cancel(an_order(status), (a_payment(),), BOTH, now)  # type: ignore[arg-type]

    assert (refusal.value.resource, refusal.value.field) == ("crypto_order", "status")


BEYOND_WAITING = [
    a_payment(SECOND, provider_status="confirming", best_rank=1, money_seen=True),
    a_payment(SECOND, provider_status="expired", best_rank=4),
    a_payment(SECOND, provider_status="finished", best_rank=6, money_seen=True),
    a_payment(SECOND, provider_status="teleported"),
    a_payment(SECOND, money_seen=True, actually_paid=DUE / 10),
    a_child(provider_status="partially_paid", best_rank=5, money_seen=True),
]


@pytest.mark.parametrize("other", BEYOND_WAITING)
@pytest.mark.parametrize("now", [NOW, WINDOW_ENDS])
def test_an_order_with_a_payment_beyond_waiting_is_not_cancelled(other: Payment, now: object) -> None:
    with pytest.raises(Conflict):
        cancel(an_order(), (a_payment(), other), BOTH | {CHILD}, now)  # type: ignore[arg-type]


# ------------------------------------------------------------------ sweep


@pytest.mark.parametrize(
    ("order", "payments", "waiting"),
    [
        (an_order(payment_id=None), (), frozenset[str]()),
        (an_order(), (a_payment(),), frozenset({FIRST})),
        (an_order(), (a_payment(), a_payment(SECOND)), BOTH),
    ],
)
def test_a_sweep_retires_what_waits_past_its_window(
    order: Order, payments: tuple[Payment, ...], waiting: frozenset[str]
) -> None:
    decision = sweep(order, payments, waiting, minting=False, now=WINDOW_ENDS)

    assert decision is not None
    assert ended(decision) == ("failed", "swept", 4)
    assert decision.webhook is not None
    assert (decision.webhook.event_type, decision.webhook.reason) == ("crypto.order.failed", "swept")
    assert customer_source(Source.SWEPT) == "expired"


def test_a_sweep_leaves_an_order_inside_its_window() -> None:
    assert sweep(an_order(), (), frozenset(), minting=False, now=WINDOW_ENDS - MOMENT) is None


def test_a_sweep_leaves_an_order_whose_create_is_in_flight() -> None:
    assert sweep(an_order(), (), frozenset(), minting=True, now=WINDOW_ENDS) is None


@pytest.mark.parametrize("status", ["confirming", "partial", "paid", "failed", "cancelled"])
def test_a_sweep_touches_only_pending_orders(status: str) -> None:
    assert sweep(an_order(status), (a_payment(),), BOTH, minting=False, now=WINDOW_ENDS) is None


@pytest.mark.parametrize("waiting", [frozenset[str](), frozenset({SECOND})])
def test_a_sweep_never_goes_by_the_clock_alone(waiting: frozenset[str]) -> None:
    assert sweep(an_order(), (a_payment(),), waiting, minting=False, now=WINDOW_ENDS) is None


@pytest.mark.parametrize("other", BEYOND_WAITING)
def test_a_sweep_leaves_an_order_with_a_payment_beyond_waiting(other: Payment) -> None:
    waiting = BOTH | {CHILD}

    assert sweep(an_order(), (a_payment(), other), waiting, minting=False, now=WINDOW_ENDS) is None


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("create", "create"),
        ("ipn", "ipn"),
        ("cancel", "cancel"),
        ("expired", "expired"),
        ("swept", "expired"),
    ],
)
def test_customers_read_swept_as_expired(source: str, shown: str) -> None:
    assert customer_source(Source(source)) == shown


# ------------------------------------------------------------------ honour


def honoured(order: Order, payments: tuple[Payment, ...] = (), *, override: bool = False) -> Decision:
    return honour(
        order,
        SECOND,
        payments=payments,
        actor="key_support",
        reason="arrived an hour late",
        override=override,
        provider_status="finished",
        now=NOW,
    )


@pytest.mark.parametrize("status", ["failed", "cancelled"])
@pytest.mark.parametrize("override", [False, True])
def test_honouring_pays_an_ended_order_by_the_flags_payment(status: str, override: bool) -> None:
    decision = honoured(an_order(status), override=override)

    assert ended(decision) == ("paid", "ipn", 4)
    assert (decision.order.payment_id, decision.order.paid_at) == (SECOND, NOW)
    event = decision.event
    assert event is not None
    assert (event.via, event.actor) == ("operator", "key_support")
    assert (event.detail.payment_id, event.detail.provider_status) == (SECOND, "finished")
    assert (event.detail.reason, event.detail.honour) == ("arrived an hour late", True)
    assert event.detail.override is override
    webhook = decision.webhook
    assert webhook is not None
    assert (webhook.event_type, webhook.payment_id, webhook.at) == ("crypto.order.paid", SECOND, NOW)
    assert webhook.reason is None


@pytest.mark.parametrize("status", ["pending", "confirming", "partial", "paid"])
def test_no_other_order_can_be_honoured(status: str) -> None:
    with pytest.raises(Conflict) as refusal:
        honoured(an_order(status))

    assert (refusal.value.resource, refusal.value.field) == ("crypto_order", "status")


def test_honouring_flags_money_on_the_other_payments() -> None:
    payments = (a_payment(money_seen=True), a_payment(SECOND, money_seen=True), a_child(money_seen=True))

    assert kinds(honoured(an_order("failed"), payments)) == [("overpaid", FIRST)]


def test_an_honoured_order_stays_paid_whatever_the_provider_says() -> None:
    play = Play(an_order("failed"), (a_payment(), a_payment(SECOND)))
    play.say(notified(says("finished", SECOND)))
    play.take(honoured(play.order))

    again = play.say(notified(says("finished", SECOND)))
    play.say(polled(says("refunded", SECOND)))

    assert again.verdict == "no_change"
    assert play.timeline == ["failed", "paid"]
    assert set(play.flags) == {("late_payment", SECOND), ("reversed_after_paid", SECOND)}


# ------------------------------------------------------------------ the end of the watch

WATCH_ENDS = NOW + timedelta(days=8)


def confirming(payment_id: str = FIRST, **changes: object) -> Payment:
    return a_payment(
        payment_id, **{"provider_status": "confirming", "best_rank": 1, "money_seen": True, **changes}
    )


@pytest.mark.parametrize(
    ("status", "payment"),
    [
        ("confirming", confirming()),
        ("confirming", confirming(SECOND)),
        ("partial", confirming(provider_status="partially_paid", best_rank=5)),
        ("partial", confirming(provider_status="finished", best_rank=6)),
        # An operator moved the order, and the provider never said a word of money.
        ("confirming", a_payment()),
        ("confirming", a_payment(SECOND, origin="mismatched")),
        # It failed, but another payment kept the order from failing with it.
        ("confirming", confirming(SECOND, provider_status="failed", best_rank=4)),
        # Its finished word waits for an amount that the provider never named.
        ("pending", confirming(provider_status="finished", best_rank=6)),
        ("pending", a_payment(money_seen=True, actually_paid=DUE / 10)),
    ],
)
def test_what_hangs_in_the_air_when_the_watch_ends_is_stuck(status: str, payment: Payment) -> None:
    flag = stop_watching(an_order(status), payment, WATCH_ENDS)

    assert flag is not None
    assert (flag.kind, flag.subject, flag.payment_id) == ("stuck", payment.payment_id, payment.payment_id)
    assert flag.evidence.provider_status == payment.provider_status
    assert flag.evidence.actually_paid == payment.actually_paid


@pytest.mark.parametrize(
    ("status", "payment"),
    [
        ("pending", a_payment()),
        ("paid", confirming()),
        ("failed", confirming()),
        ("cancelled", confirming()),
        ("partial", a_child(money_seen=True, provider_status="confirming", best_rank=1)),
    ],
)
def test_what_is_settled_or_never_had_money_is_not_stuck(status: str, payment: Payment) -> None:
    assert stop_watching(an_order(status), payment, WATCH_ENDS) is None


def test_nothing_is_stuck_while_it_is_watched() -> None:
    assert stop_watching(an_order("confirming"), confirming(), WATCH_ENDS - MOMENT) is None
