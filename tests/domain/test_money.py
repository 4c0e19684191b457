"""The money checks before an order becomes paid, at their edges."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from crypto_orders.domain.money import (
    Full,
    Mismatch,
    MoneyCheck,
    NeedsAnswer,
    Over,
    Under,
    check_money,
    exceeds,
    said_price,
    same_address,
)
from crypto_orders.domain.order import Ask, Rules
from crypto_orders.domain.payment import Payment
from crypto_orders.domain.provider_payment import ProviderPayment
from tests.support.order_core import (
    DUE,
    FIRST,
    RULES,
    a_payment,
    an_order,
    decide,
    kinds,
    notified,
    polled,
    says,
)


def check(
    said: ProviderPayment,
    answer: ProviderPayment | Ask = Ask.NOT_YET,
    payment: Payment | None = None,
    rules: Rules = RULES,
) -> MoneyCheck:
    return check_money(an_order(), payment or a_payment(), said, answer, rules)


def paying(amount: str | None) -> ProviderPayment:
    return says("finished", actually_paid=None if amount is None else Decimal(amount))


# ------------------------------------------------------------------ the tolerance


@pytest.mark.parametrize(
    ("paid", "outcome"),
    [
        ("0.00000001", Under()),
        ("0.00098999", Under()),
        ("0.00099000", Full()),
        ("0.00099", Full()),
        ("0.00099001", Full()),
        ("0.00100000", Full()),
        ("0.001", Full()),
        ("0.00101000", Full()),
        ("0.00101001", Over()),
        ("0.00200000", Over()),
        ("1E+3", Over()),
    ],
)
def test_one_percent_either_way_is_the_price(paid: str, outcome: MoneyCheck) -> None:
    assert check(paying(paid)) == outcome


@pytest.mark.parametrize(
    ("due", "paid", "outcome"),
    [
        # Of an amount with 18 decimals and of the longest amounts there are, the last digit decides.
        ("1.000000000000000001", "0.990000000000000000", Under()),
        ("1.000000000000000001", "0.990000000000000001", Full()),
        ("1.000000000000000001", "1.010000000000000001", Full()),
        ("1.000000000000000001", "1.010000000000000002", Over()),
        (
            "9999999999999999999999.000000000000000100",
            "9899999999999999999999.010000000000000098",
            Under(),
        ),
        (
            "9999999999999999999999.000000000000000100",
            "9899999999999999999999.010000000000000099",
            Full(),
        ),
        (
            "9999999999999999999999.000000000000000100",
            "10099999999999999999998.990000000000000101",
            Full(),
        ),
        (
            "9999999999999999999999.000000000000000100",
            "10099999999999999999998.990000000000000102",
            Over(),
        ),
    ],
)
def test_the_edge_is_exact_whatever_the_number_of_digits(due: str, paid: str, outcome: MoneyCheck) -> None:
    payment = a_payment(pay_amount=Decimal(due))

    assert check(paying(paid), payment=payment) == outcome


@pytest.mark.parametrize(
    ("paid", "outcome"), [("0.00099999", Under()), ("0.001", Full()), ("0.00100001", Over())]
)
def test_without_a_tolerance_the_amount_is_exact(paid: str, outcome: MoneyCheck) -> None:
    assert check(paying(paid), rules=Rules(tolerance=Decimal(0))) == outcome


def test_a_tolerance_may_have_decimals() -> None:
    rules = Rules(tolerance=Decimal("0.005"))

    assert check(paying("0.00099499"), rules=rules) == Under()
    assert check(paying("0.000995"), rules=rules) == Full()


def units(count: int, places: int) -> Decimal:
    """So many units of the last of so many decimal places, exactly."""
    return Decimal((0, tuple(map(int, str(count))), -places))


@settings(deadline=None)
@given(due=st.integers(min_value=1, max_value=10**38), percent=st.integers(min_value=0, max_value=20))
def test_one_unit_beyond_the_edge_is_always_under_or_over(due: int, percent: int) -> None:
    payment = a_payment(pay_amount=units(due, 18))
    rules = Rules(tolerance=Decimal(percent) / 100)
    # The edges of an amount with 18 decimal places have 20 at most.
    low, high = due * (100 - percent), due * (100 + percent)

    def judged(paid: int) -> MoneyCheck:
        return check(says("finished", actually_paid=units(paid, 20)), payment=payment, rules=rules)

    assert judged(low) == Full()
    assert judged(high) == Full()
    assert judged(high + 1) == Over()
    assert low == 1 or judged(low - 1) == Under()


def test_what_was_recorded_at_minting_is_due_not_what_the_words_say() -> None:
    word = says("finished", pay_amount=Decimal("0.0005"), actually_paid=Decimal("0.0005"))

    assert check(word, replace(word, pay_amount=Decimal("0.0005"))) == Under()


def test_a_payment_without_a_recorded_amount_is_a_mismatch() -> None:
    for recorded in (None, Decimal(0)):
        outcome = check(paying("0.001"), payment=a_payment(pay_amount=recorded))
        assert isinstance(outcome, Mismatch)
        assert outcome.kind == "amount_mismatch"


# ------------------------------------------------------------------ amounts that are not stated

ABSENT_AMOUNTS = [None, Decimal(0), Decimal("0E-8")]


@pytest.mark.parametrize("amount", ABSENT_AMOUNTS, ids=str)
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Ask.NOT_YET, NeedsAnswer("actually_paid")),
        (Ask.NOT_FOUND, NeedsAnswer("actually_paid")),
        (paying(None), Full()),
        (paying("0"), Full()),
        (paying("0.001"), Full()),
        (paying("0.00098999"), Under()),
        (paying("0.00101001"), Over()),
        (says("sending"), NeedsAnswer("actually_paid")),
        (says("partially_paid"), NeedsAnswer("actually_paid")),
        (says("partially_paid", actually_paid=DUE / 2), Under()),
        (says("failed"), NeedsAnswer("actually_paid")),
        (says("sending", actually_paid=DUE), Full()),
    ],
)
def test_an_absent_amount_is_taken_from_the_answer(
    amount: Decimal | None, answer: ProviderPayment | Ask, outcome: MoneyCheck
) -> None:
    assert check(says("finished", actually_paid=amount), answer) == outcome


@pytest.mark.parametrize("amount", ABSENT_AMOUNTS, ids=str)
def test_a_polled_finished_without_an_amount_is_decided_by_its_status(amount: Decimal | None) -> None:
    decision = decide(an_order(), (a_payment(),), polled(says("finished", actually_paid=amount)))

    assert (decision.order.status, kinds(decision)) == ("paid", [])


def test_a_stated_amount_stands_against_the_answers() -> None:
    assert check(paying("0.0005"), paying("0.001")) == Under()


@pytest.mark.parametrize("name", ["price_amount", "price_currency", "pay_currency", "pay_address"])
def test_a_term_that_is_not_stated_is_asked_for(name: str) -> None:
    word = replace(says("finished"), **{name: None})

    assert check(word) == NeedsAnswer(name)
    assert check(word, Ask.NOT_FOUND) == NeedsAnswer(name)
    assert check(word, says("finished")) == Full()
    outcome = check(word, word)
    assert isinstance(outcome, Mismatch)
    assert outcome.kind == "amount_mismatch"


# ------------------------------------------------------------------ terms that differ


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"price_amount": Decimal("78.99")}, "amount_mismatch"),
        ({"price_amount": Decimal("79.01")}, "amount_mismatch"),
        ({"price_amount": Decimal(7900)}, "amount_mismatch"),
        ({"price_amount": Decimal(0)}, "amount_mismatch"),
        ({"price_amount": Decimal("79.00000000000000000000000000000000000001")}, "amount_mismatch"),
        ({"price_currency": "eur"}, "amount_mismatch"),
        ({"price_currency": "usdt"}, "amount_mismatch"),
        ({"pay_currency": "ltc"}, "wrong_asset"),
        ({"pay_currency": "btcln"}, "wrong_asset"),
        ({"pay_address": "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlX"}, "amount_mismatch"),
        ({"pay_address": "BC1QXY2KGDYGJRSQTZQ2N0YRF2493P83KKFJHX0WLH"}, "amount_mismatch"),
        ({"pay_address": "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh "}, "amount_mismatch"),
    ],
    ids=str,
)
@pytest.mark.parametrize("status", ["pending", "confirming", "partial"])
def test_terms_that_differ_move_nothing_and_are_flagged(
    status: str, fields: dict[str, object], kind: str
) -> None:
    order = an_order(status)

    by_notice = decide(order, (a_payment(),), notified(says("finished", FIRST, **fields)))
    by_answer = decide(
        order,
        (a_payment(),),
        notified(replace(says("finished"), **dict.fromkeys(fields)), says("finished", FIRST, **fields)),
    )

    for decision in (by_notice, by_answer):
        assert decision.order == order
        assert (decision.verdict, [k for k, _ in kinds(decision)]) == ("flagged", [kind])
        assert decision.event is None
        assert decision.payments[0].money_seen is True


@pytest.mark.parametrize(
    "fields",
    [
        {"price_amount": Decimal(79)},
        {"price_amount": Decimal("79.0000")},
        {"price_amount": Decimal("7.9E+1")},
        {"price_currency": "USD"},
        {"price_currency": "Usd"},
        {"pay_currency": "BTC"},
    ],
    ids=str,
)
def test_writing_the_same_terms_otherwise_is_no_difference(fields: dict[str, object]) -> None:
    assert check(says("finished", FIRST, **fields)) == Full()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0xAbCdEf", "0xabcdef", True),
        ("0XABCDEF", "0xabcdef", True),
        ("0xabcdef", "0xabcdee", False),
        ("0xabcdef", "abcdef", False),
        ("abcdef", "0xabcdef", False),
        ("1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT", True),
        ("1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "1boatslrhtknngkdxeeobr76b53lettpyt", False),
        ("", "0x", False),
    ],
)
def test_only_0x_addresses_are_compared_without_case(one: str, other: str, same: bool) -> None:
    assert same_address(one, other) is same
    assert same_address(other, one) is same


def test_a_payment_recorded_without_an_address_is_a_mismatch() -> None:
    outcome = check(says("finished"), payment=a_payment(pay_address=None))

    assert isinstance(outcome, Mismatch)
    assert outcome.kind == "amount_mismatch"


def test_the_price_is_read_in_cents() -> None:
    assert said_price(says("finished")) == 7900
    assert said_price(says("finished", price_amount=Decimal("0.01"))) == 1
    assert said_price(says("finished", price_amount=None), says("finished")) == 7900
    assert said_price(says("finished", price_amount=None)) is None


# ------------------------------------------------------------------ what the checks do to an order


@pytest.mark.parametrize(
    ("status", "paid", "becomes", "verdict", "flags"),
    [
        ("pending", "0.0005", "partial", "applied", []),
        ("confirming", "0.0005", "partial", "applied", []),
        ("partial", "0.0005", "partial", "no_change", []),
        ("pending", "0.001", "paid", "applied", []),
        ("partial", "0.00099", "paid", "applied", []),
        ("pending", "0.002", "paid", "applied", ["overpaid"]),
        ("partial", "0.002", "paid", "applied", ["overpaid"]),
    ],
)
def test_less_is_partial_and_more_is_paid_and_flagged(
    status: str, paid: str, becomes: str, verdict: str, flags: list[str]
) -> None:
    decision = decide(an_order(status), (a_payment(),), notified(paying(paid)))

    assert (decision.order.status, decision.verdict) == (becomes, verdict)
    assert [kind for kind, _ in kinds(decision)] == flags


def test_an_underpaid_finished_is_told_to_nobody_as_paid() -> None:
    decision = decide(an_order(), (a_payment(),), notified(paying("0.0005")))

    assert decision.webhook is None
    assert decision.order.paid_at is None


@pytest.mark.parametrize(
    ("paid", "recorded", "beyond"),
    [
        (None, DUE, False),
        (Decimal(0), DUE, False),
        (Decimal("0.00101"), DUE, False),
        (Decimal("0.00101000000000000000000000000001"), DUE, True),
        (Decimal(5), None, False),
    ],
    ids=str,
)
def test_exceeding_is_past_the_tolerance(
    paid: Decimal | None, recorded: Decimal | None, beyond: bool
) -> None:
    assert exceeds(a_payment(pay_amount=recorded), paid, RULES) is beyond
