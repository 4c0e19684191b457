"""What is recorded of a payment, how words are heard, and when the provider is asked about it again."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_orders.domain.payment import (
    Payment,
    brings_money,
    ends_watch_at,
    first_record,
    hear,
    hear_reversal,
    next_ask_at,
)
from tests.support.order_core import ADDRESS, DUE, FIRST, NOW, a_child, a_payment, says

MADE = datetime(2026, 5, 22, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


# ------------------------------------------------------------------ the first record


def test_a_payment_is_recorded_as_the_words_state_it() -> None:
    word = says("finished", pay_currency="USDTTRC20", payin_extra_id="memo 7", network="trx")

    payment = first_record(word, "adopted", NOW)

    assert (payment.payment_id, payment.origin, payment.parent_payment_id) == (FIRST, "adopted", None)
    assert (payment.pay_address, payment.pay_amount) == (ADDRESS, DUE)
    assert (payment.pay_currency, payment.payin_extra_id, payment.network) == ("usdttrc20", "memo 7", "trx")
    assert (payment.provider_status, payment.best_rank, payment.money_seen) == ("waiting", -1, False)
    assert (payment.actually_paid, payment.changed_at) == (None, NOW)


@pytest.mark.parametrize(
    ("created_at", "valid_until", "recorded"),
    [
        (None, None, datetime(2026, 5, 29, 10, 0, tzinfo=UTC)),
        (datetime(2026, 5, 20, tzinfo=UTC), None, datetime(2026, 5, 27, tzinfo=UTC)),
        (
            datetime(2026, 5, 20, tzinfo=UTC),
            datetime(2026, 5, 21, tzinfo=UTC),
            datetime(2026, 5, 21, tzinfo=UTC),
        ),
        (None, datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)),
    ],
)
def test_an_unknown_end_is_seven_days_after_creation_or_first_sight(
    created_at: datetime | None, valid_until: datetime | None, recorded: datetime
) -> None:
    payment = first_record(says("waiting", created_at=created_at, valid_until=valid_until), "minted", NOW)

    assert payment.valid_until == recorded
    assert payment.created_at == (created_at or NOW)


def test_only_a_child_has_a_parent() -> None:
    word = says("waiting", parent_payment_id="4000000000")

    assert first_record(word, "child", NOW).parent_payment_id == "4000000000"
    assert first_record(word, "child", NOW).is_child
    assert first_record(word, "minted", NOW).parent_payment_id is None
    assert not first_record(word, "mismatched", NOW).is_child


# ------------------------------------------------------------------ hearing


def test_a_word_of_higher_rank_becomes_the_last_word() -> None:
    heard = hear(a_payment(), says("confirming", actually_paid=DUE), NOW)

    assert (heard.provider_status, heard.best_rank, heard.money_seen) == ("confirming", 1, True)
    assert (heard.actually_paid, heard.changed_at) == (DUE, NOW)


def test_a_word_of_lower_rank_leaves_the_status_and_adds_its_money() -> None:
    failed = a_payment(provider_status="failed", best_rank=4)

    heard = hear(failed, says("confirming", actually_paid=DUE), NOW)

    assert (heard.provider_status, heard.best_rank) == ("failed", 4)
    assert (heard.money_seen, heard.actually_paid, heard.changed_at) == (True, DUE, NOW)


def test_the_same_word_again_is_no_change_of_state() -> None:
    payment = hear(a_payment(), says("confirming"), NOW)

    assert hear(payment, says("confirming"), NOW + HOUR) == payment


def test_amounts_never_shrink() -> None:
    payment = hear(
        a_payment(), says("partially_paid", actually_paid=Decimal(3), actually_paid_at_fiat=Decimal(60)), NOW
    )

    heard = hear(
        payment, says("finished", actually_paid=Decimal(2), actually_paid_at_fiat=Decimal(0)), NOW + HOUR
    )

    assert (heard.actually_paid, heard.actually_paid_at_fiat) == (Decimal(3), Decimal(60))


def test_an_unknown_word_is_kept_without_a_rank() -> None:
    heard = hear(a_payment(provider_status="confirming", best_rank=1), says("teleported"), NOW)

    assert (heard.provider_status, heard.best_rank) == ("teleported", 1)


def test_hashes_and_outcome_are_kept_once_known() -> None:
    word = says(
        "sending", payin_hash="in", payout_hash="out", outcome_amount=Decimal(70), outcome_currency="usdt"
    )

    heard = hear(hear(a_payment(), word, NOW), says("finished"), NOW)

    assert (heard.payin_hash, heard.payout_hash) == ("in", "out")
    assert (heard.outcome_amount, heard.outcome_currency) == (Decimal(70), "usdt")


def test_where_coins_are_due_is_never_changed_by_a_word() -> None:
    word = says(
        "waiting", pay_address="another", pay_amount=Decimal(9), pay_currency="ltc", payin_extra_id="9"
    )

    heard = hear(a_payment(payin_extra_id="7"), word, NOW)

    assert (heard.pay_address, heard.pay_amount) == (ADDRESS, DUE)
    assert (heard.pay_currency, heard.payin_extra_id) == ("btc", "7")


def test_a_confirmed_failure_is_the_last_word_even_after_a_settlement() -> None:
    settled = a_payment(provider_status="partially_paid", best_rank=5, money_seen=True)

    reversed_ = hear_reversal(settled, says("refunded"), NOW)

    assert (reversed_.provider_status, reversed_.best_rank, reversed_.changed_at) == ("refunded", 5, NOW)
    assert reversed_.is_reversed
    assert hear_reversal(reversed_, says("refunded"), NOW + HOUR) == reversed_
    assert not settled.is_reversed
    assert not a_payment(provider_status="failed", best_rank=4, money_seen=True).is_reversed


@pytest.mark.parametrize(
    ("known", "word", "brings"),
    [
        ({}, says("waiting"), False),
        ({}, says("expired"), False),
        ({}, says("waiting", actually_paid=Decimal(0)), False),
        ({}, says("waiting", actually_paid=Decimal("1e-18")), True),
        ({}, says("confirming"), True),
        ({}, says("expired", actually_paid=DUE), True),
        ({"money_seen": True}, says("confirming"), False),
        ({"money_seen": True}, says("finished"), False),
        ({"money_seen": True, "actually_paid": DUE}, says("finished"), False),
        ({"money_seen": True, "actually_paid": DUE}, says("finished", actually_paid=DUE * 2), True),
        ({"money_seen": True, "actually_paid": DUE}, says("finished", actually_paid=DUE / 2), False),
    ],
)
def test_money_is_new_when_none_or_less_was_known(
    known: dict[str, object], word: object, brings: bool
) -> None:
    assert brings_money(a_payment(FIRST, **known), word) is brings  # type: ignore[arg-type]


def test_a_child_is_known_by_its_parent() -> None:
    assert a_child().is_child
    assert not a_payment().is_child


# ------------------------------------------------------------------ when to ask again


def made(**changes: object) -> Payment:
    return a_payment(
        FIRST, **{"created_at": MADE, "changed_at": MADE, "valid_until": MADE + 7 * DAY, **changes}
    )


@pytest.mark.parametrize(
    ("age", "asked_at"),
    [
        (timedelta(0), 2 * MINUTE),
        (2 * MINUTE - timedelta(milliseconds=1), 2 * MINUTE),
        (2 * MINUTE, 5 * MINUTE),
        (5 * MINUTE - timedelta(milliseconds=1), 5 * MINUTE),
        (5 * MINUTE, 15 * MINUTE),
        (15 * MINUTE, HOUR),
        (HOUR - timedelta(milliseconds=1), HOUR),
        (HOUR, 2 * HOUR),
        (HOUR + MINUTE, 2 * HOUR),
        (22 * HOUR, 23 * HOUR),
        (DAY - timedelta(milliseconds=1), DAY),
        (DAY, DAY + 6 * HOUR),
        (DAY + 6 * HOUR - timedelta(milliseconds=1), DAY + 6 * HOUR),
        (DAY + 6 * HOUR, DAY + 12 * HOUR),
        (7 * DAY + 18 * HOUR, 8 * DAY),
        (8 * DAY - timedelta(milliseconds=1), 8 * DAY),
        (-timedelta(minutes=3), 2 * MINUTE),
    ],
)
def test_a_payment_is_asked_about_at_growing_ages(age: timedelta, asked_at: timedelta) -> None:
    assert next_ask_at(made(), MADE + age) == MADE + asked_at


@pytest.mark.parametrize("age", [8 * DAY, 8 * DAY + timedelta(milliseconds=1), 400 * DAY])
@pytest.mark.parametrize("status", ["waiting", "confirming", "expired", "finished"])
def test_a_day_after_its_validity_a_payment_is_asked_about_no_more(age: timedelta, status: str) -> None:
    assert next_ask_at(made(provider_status=status), MADE + age) is None


def test_the_last_question_is_asked_as_the_watch_ends() -> None:
    payment = made(valid_until=MADE + 7 * DAY + MINUTE)

    assert ends_watch_at(payment) == MADE + 8 * DAY + MINUTE
    assert next_ask_at(payment, MADE + 8 * DAY) == MADE + 8 * DAY + MINUTE


def test_a_finished_payment_is_asked_about_once_a_day() -> None:
    payment = made(provider_status="finished", best_rank=6)

    assert next_ask_at(payment, MADE + HOUR) == MADE + HOUR + DAY
    assert next_ask_at(payment, MADE + 7 * DAY) == MADE + 8 * DAY
    assert next_ask_at(payment, MADE + 7 * DAY + HOUR) == MADE + 8 * DAY


@pytest.mark.parametrize("status", ["failed", "expired", "refunded"])
def test_a_failed_payment_is_watched_on_for_late_money(status: str) -> None:
    assert next_ask_at(made(provider_status=status), MADE + 2 * DAY) == MADE + 2 * DAY + 6 * HOUR


def test_the_steps_start_anew_when_the_state_changed() -> None:
    payment = made(changed_at=MADE + 3 * DAY)

    assert next_ask_at(payment, MADE + 3 * DAY) == MADE + 3 * DAY + 2 * MINUTE
    assert next_ask_at(payment, MADE + 3 * DAY + 2 * MINUTE) == MADE + 3 * DAY + 5 * MINUTE


def test_a_creation_time_ahead_of_our_clock_delays_nothing() -> None:
    payment = made(created_at=MADE + 2 * DAY)

    assert next_ask_at(payment, MADE) == MADE + 2 * MINUTE


def test_every_payment_that_is_never_heard_of_is_asked_about_at_the_written_times() -> None:
    asked: list[timedelta] = []
    now: datetime | None = MADE
    while (now := next_ask_at(made(), now)) is not None:
        asked.append(now - MADE)

    assert asked[:4] == [2 * MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR]
    assert asked[4:27] == [n * HOUR for n in range(2, 25)]
    assert asked[27:] == [DAY + n * 6 * HOUR for n in range(1, 29)]


@settings(deadline=None)
@given(
    age=st.timedeltas(min_value=timedelta(0), max_value=9 * DAY),
    changed=st.timedeltas(min_value=timedelta(0), max_value=9 * DAY),
    status=st.sampled_from(["waiting", "confirming", "finished", "expired", "odd"]),
)
def test_the_next_question_lies_ahead_and_within_the_watch(
    age: timedelta, changed: timedelta, status: str
) -> None:
    payment = made(changed_at=MADE + min(changed, age), provider_status=status)
    now = MADE + age

    at = next_ask_at(payment, now)

    if now >= ends_watch_at(payment):
        assert at is None
    else:
        assert at is not None
        assert now < at <= ends_watch_at(payment)
