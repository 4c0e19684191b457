"""The provider's words about a payment: every spelling seen is read, an odd field spoils itself alone."""

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_orders.domain.ipn_signature import JsonValue, read_json_exact
from crypto_orders.domain.provider_payment import (
    MALFORMED,
    MalformedPayment,
    ProviderPayment,
    is_failed_class,
    parse_payment,
    rank,
    read_amount,
    shows_money,
)

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no finding."""

CREATE_ANSWER = b"""{"payment_id":"5977953151","payment_status":"waiting","pay_address":"0x24f3",
"price_amount":13,"price_currency":"usd","pay_amount":13.25552622,"amount_received":12.96277893,
"pay_currency":"usdtbsc","order_id":null,"order_description":null,"payin_extra_id":null,
"ipn_callback_url":"https://shop.example/ipn","customer_email":null,
"created_at":"2025-08-27T16:56:58.628Z","updated_at":"2025-08-27T16:56:58.628Z",
"purchase_id":"4740818607","smart_contract":null,"network":"bsc","network_precision":null,
"time_limit":null,"burning_percent":null,"expiration_estimate_date":"2025-08-27T17:16:58.628Z",
"is_fixed_rate":true,"is_fee_paid_by_user":false,"valid_until":"2025-09-03T16:56:58.628Z",
"type":"crypto2crypto","product":"api","origin_ip":"203.0.113.9"}"""

READ_ANSWER = b"""{"payment_id":5093564248,"invoice_id":null,"payment_status":"waiting",
"pay_address":"0xabc","payin_extra_id":null,"price_amount":12,"price_currency":"usd",
"pay_amount":13.488185,"actually_paid":0,"pay_currency":"usdterc20","order_id":null,
"order_description":null,"purchase_id":4628350473,"outcome_amount":null,"outcome_currency":"usdtbsc",
"payout_hash":null,"payin_hash":null,"created_at":"2025-08-27T16:56:58.628Z",
"updated_at":"2025-08-27T16:56:58.628Z","burning_percent":"null","type":"crypto2crypto"}"""

NOTIFICATION = b"""{"actually_paid":0.00656612,"actually_paid_at_fiat":0,
"fee":{"currency":"btc","depositFee":0.000002,"serviceFee":"0.000003","withdrawalFee":0},"invoice_id":6417000001,"order_description":null,"order_id":"ord-1001",
"outcome_amount":0.00022187,"outcome_currency":"btc","parent_payment_id":5261000001,"pay_address":"0x0Aa",
"pay_amount":0.00656612,"pay_currency":"eth","payin_extra_id":null,
"payment_extra_ids":[5261000002,"5261000003"],
"payment_id":5800000001,"payment_status":"finished","price_amount":20,"price_currency":"usd",
"purchase_id":"5172000001","updated_at":1765249461097}"""

ALL_STRINGS = b"""{"actually_paid":"0.00656612","actually_paid_at_fiat":"0","invoice_id":"null",
"order_id":"ord-1001","parent_payment_id":"","pay_address":"0x0Aa","pay_amount":"0.00656612",
"pay_currency":"eth","payin_extra_id":"","payment_extra_ids":"null","payment_id":"5800000001",
"payment_status":"finished","price_amount":"20","price_currency":"usd","purchase_id":"5172000001",
"updated_at":"1765249461097"}"""


def said(**fields: JsonValue) -> ProviderPayment:
    return parse_payment({"payment_id": "1", "payment_status": "waiting", **fields})


# Captures ---------------------------------------------------------------------------------------------------


def test_the_answer_to_a_create_call_is_read() -> None:
    assert parse_payment(read_json_exact(CREATE_ANSWER)) == ProviderPayment(
        payment_id="5977953151",
        payment_status="waiting",
        pay_address="0x24f3",
        price_amount=Decimal(13),
        price_currency="usd",
        pay_amount=Decimal("13.25552622"),
        pay_currency="usdtbsc",
        purchase_id="4740818607",
        network="bsc",
        created_at=datetime(2025, 8, 27, 16, 56, 58, 628000, UTC),
        updated_at=datetime(2025, 8, 27, 16, 56, 58, 628000, UTC),
        expiration_estimate=datetime(2025, 8, 27, 17, 16, 58, 628000, UTC),
        valid_until=datetime(2025, 9, 3, 16, 56, 58, 628000, UTC),
    )


def test_the_answer_to_a_read_has_numbers_for_ids() -> None:
    payment = parse_payment(read_json_exact(READ_ANSWER))
    assert (payment.payment_id, payment.purchase_id) == ("5093564248", "4628350473")
    assert (payment.actually_paid, payment.outcome_amount) == (0, None)
    assert payment.malformed_fields == ()


def test_a_notification_is_read_with_its_parent_and_its_children() -> None:
    payment = parse_payment(read_json_exact(NOTIFICATION))
    assert payment.payment_id == "5800000001"
    assert payment.parent_payment_id == "5261000001"
    assert payment.payment_extra_ids == ("5261000002", "5261000003")
    assert payment.invoice_id == "6417000001"
    assert payment.actually_paid == Decimal("0.00656612")
    assert payment.outcome_amount == Decimal("0.00022187")
    assert payment.updated_at == datetime(2025, 12, 9, 3, 4, 21, 97000, UTC)
    assert payment.malformed_fields == ()


def test_a_body_with_every_value_quoted_reads_like_one_without_quotes() -> None:
    payment = parse_payment(read_json_exact(ALL_STRINGS))
    assert payment == ProviderPayment(
        payment_id="5800000001",
        payment_status="finished",
        order_id="ord-1001",
        actually_paid=Decimal("0.00656612"),
        actually_paid_at_fiat=Decimal(0),
        pay_address="0x0Aa",
        pay_amount=Decimal("0.00656612"),
        pay_currency="eth",
        price_amount=Decimal(20),
        price_currency="usd",
        purchase_id="5172000001",
        updated_at=datetime(2025, 12, 9, 3, 4, 21, 97000, UTC),
    )


def test_every_vector_that_has_a_payment_reads_without_an_odd_field(
    ipn_vectors: list[dict[str, str]],
) -> None:
    read = 0
    for vector in ipn_vectors:
        document = read_json_exact(vector["body"].encode())
        if isinstance(document, dict) and {"payment_id", "payment_status"} <= document.keys():
            assert parse_payment(document).malformed_fields == (), vector["id"]
            read += 1
    assert read >= 10


# What has to be there ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [None, True, "text", Decimal(1), [], [{"payment_id": "1"}]])
def test_what_is_no_object_is_no_payment(document: JsonValue) -> None:
    with pytest.raises(MalformedPayment) as refused:
        parse_payment(document)
    assert refused.value.field == "document"


@pytest.mark.parametrize(
    ("spelled", "payment_id"),
    [
        (b"5261000001", "5261000001"),
        (b"5261000001.0", "5261000001"),
        (b"1E+3", "1000"),
        (b"5.261e9", "5261000000"),
        (b"-0", "0"),
        (b"12345678901234567890123", "12345678901234567890123"),
        (b'"5261000001"', "5261000001"),
        (b'"a b/c"', "a b/c"),
        (b'"' + b"x" * 128 + b'"', "x" * 128),
    ],
)
def test_a_payment_id_is_a_text_or_the_digits_of_a_whole_number(spelled: bytes, payment_id: str) -> None:
    document = read_json_exact(b'{"payment_status":"waiting","payment_id":' + spelled + b"}")
    assert parse_payment(document).payment_id == payment_id


@pytest.mark.parametrize(
    "spelled",
    [
        *(
            b"null",
            b"true",
            b"1.5",
            b"1e-3",
            b"1e128",
            b"1e400",
            b"1e99999999999999999999",
            b"[]",
            b"{}",
            b'""',
        ),
        *(b'"' + b"x" * 129 + b'"', b'"\\u0000"', b'"\\ud800"', b'"a\\nb"'),
    ],
)
def test_any_other_payment_id_is_malformed(spelled: bytes) -> None:
    document = read_json_exact(b'{"payment_status":"waiting","payment_id":' + spelled + b"}")
    with pytest.raises(MalformedPayment) as refused:
        parse_payment(document)
    assert refused.value.field == "payment_id"


@pytest.mark.parametrize("status", [None, True, Decimal(1), [], {}, "a\x00b", "\ud800", "x" * 1001])
def test_a_payment_status_is_a_text(status: JsonValue) -> None:
    with pytest.raises(MalformedPayment) as refused:
        parse_payment({"payment_id": "1", "payment_status": status})
    assert refused.value.field == "payment_status"


def test_missing_fields_are_named() -> None:
    with pytest.raises(MalformedPayment, match="payment_id is missing"):
        parse_payment({"payment_status": "waiting"})
    with pytest.raises(MalformedPayment, match="payment_status is missing"):
        parse_payment({"payment_id": Decimal(1)})


def test_an_unknown_status_is_kept_as_it_is() -> None:
    assert parse_payment({"payment_id": "1", "payment_status": "Wrong_Asset"}).payment_status == "Wrong_Asset"


# What may be odd --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (Decimal("0.1"), "0.1"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E-7"), "1E-7"),
        (Decimal("1.50"), "1.50"),
        (Decimal("-0"), "0"),
        (Decimal("0E-300"), "0"),
        ("13.25552622", "13.25552622"),
        ("1e-8", "1E-8"),
        ("007", "7"),
        (Decimal(1234567890123456789012345678901), "1234567890123456789012345678901"),
        (Decimal("0.000000000000000000000000000001"), "1E-30"),
    ],
)
def test_amounts_are_exact(value: JsonValue, amount: str) -> None:
    assert str(read_amount(value)) == amount


@pytest.mark.parametrize(
    "value",
    [
        *(
            Decimal(-1),
            Decimal("-1E-9"),
            Decimal("1E+31"),
            Decimal("1E-31"),
            Decimal("Infinity"),
            Decimal("NaN"),
        ),
        *(Decimal("1" * 41), Decimal("0." + "1" * 41), Decimal("1E+999999999999999999"), True, False, [], {}),
        *(
            "-1",
            "1,5",
            "1.",
            ".5",
            "0x10",
            "1_000",
            "NaN",
            "inf",
            " 1",
            "1 ",
            "one",
            "1e9999",
            "\u0661",
            "9" * 81,
        ),
    ],
)
def test_amounts_that_are_negative_endless_or_absurd_are_malformed(value: JsonValue) -> None:
    assert read_amount(value) is None
    assert said(pay_amount=value).malformed_fields == ("pay_amount",)


@pytest.mark.parametrize("absent", [None, "", "null"])
def test_null_in_each_of_its_spellings_is_nothing(absent: JsonValue) -> None:
    names = ("order_id", "parent_payment_id", "pay_amount", "pay_address", "valid_until", "payment_extra_ids")
    assert said(**dict.fromkeys(names, absent)) == said()


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2025-08-27T16:56:58.628Z", datetime(2025, 8, 27, 16, 56, 58, 628000, UTC)),
        ("2025-08-27T18:56:58.6289+02:00", datetime(2025, 8, 27, 16, 56, 58, 628000, UTC)),
        (Decimal(1765249461097), datetime(2025, 12, 9, 3, 4, 21, 97000, UTC)),
        (Decimal("1765249461097.9"), datetime(2025, 12, 9, 3, 4, 21, 97000, UTC)),
        ("1765249461097", datetime(2025, 12, 9, 3, 4, 21, 97000, UTC)),
    ],
)
def test_times_are_iso_texts_or_milliseconds(value: JsonValue, moment: datetime) -> None:
    assert said(updated_at=value).updated_at == moment


@pytest.mark.parametrize(
    "value",
    [
        *("yesterday", "2025-08-27", "2025-08-27T16:56:58", "2025-13-01T00:00:00Z", "9999-12-31T23:59:59Z"),
        *(
            Decimal(0),
            Decimal("1E+40"),
            Decimal("-1E+40"),
            Decimal("1E+400"),
            Decimal("Infinity"),
            Decimal(10**13),
        ),
        *(True, [], {}, "0001-01-01T00:00:00+23:59"),
    ],
)
def test_times_that_cannot_be_are_malformed(value: JsonValue) -> None:
    payment = said(valid_until=value)
    assert (payment.valid_until, payment.malformed_fields) == (None, ("valid_until",))


@pytest.mark.parametrize("value", [True, Decimal(1), [], {}, "a\x00", "\udfff", "line\nbreak", "x" * 1001])
def test_an_odd_text_is_none_and_named_while_the_rest_is_read(value: JsonValue) -> None:
    payment = said(pay_address=value, pay_amount=Decimal(2))
    assert payment.pay_address is None
    assert payment.pay_amount == 2
    assert payment.malformed_fields == ("pay_address",)


@pytest.mark.parametrize("value", [True, {}, [], ["1", None], Decimal("1.5"), "x" * 129, "a\x00"])
def test_an_unreadable_binding_id_binds_to_nothing_there_is(value: JsonValue) -> None:
    payment = said(order_id=value, parent_payment_id=value)
    assert payment.order_id == payment.parent_payment_id == MALFORMED
    assert payment.malformed_fields == ("parent_payment_id", "order_id")


@pytest.mark.parametrize("value", ["123", {}, ["1", None], [Decimal("0.5")], True])
def test_unreadable_children_are_none_and_named(value: JsonValue) -> None:
    payment = said(payment_extra_ids=value)
    assert (payment.payment_extra_ids, payment.malformed_fields) == ((), ("payment_extra_ids",))


JSON = st.recursive(
    st.none() | st.booleans() | st.decimals(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(sorted({*ProviderPayment.__struct_fields__, "expiration_estimate_date"}))


@PATIENT
@given(st.dictionaries(NAMES, JSON))
def test_no_document_breaks_the_reading(document: dict[str, JsonValue]) -> None:
    try:
        payment = parse_payment(document)
    except MalformedPayment:
        return
    shows_money(payment)
    for name in payment.malformed_fields:
        assert document[name] not in (None, "", "null")


# Statuses ---------------------------------------------------------------------------------------------------


def test_statuses_rank_from_waiting_to_finished() -> None:
    ranked = ["waiting", "confirming", "confirmed", "sending", "failed", "partially_paid", "finished"]
    ranks = [rank(status) for status in ranked]
    assert ranks == [0, 1, 2, 3, 4, 5, 6]
    assert all(below < above for below, above in pairwise(ranks) if below is not None and above is not None)
    assert rank("spending") == rank("sending")
    assert {rank(status) for status in ("failed", "expired", "refunded", "cancelled", "canceled")} == {4}
    assert rank("wrong_asset_confirmed") is rank("FINISHED") is rank("") is None


def test_the_failed_class_is_what_ended_without_settlement() -> None:
    failed = {"failed", "expired", "refunded", "cancelled", "canceled"}
    others = {
        "waiting",
        "confirming",
        "confirmed",
        "sending",
        "partially_paid",
        "finished",
        "wrong_asset_confirmed",
    }
    assert {status for status in failed | others if is_failed_class(status)} == failed


@pytest.mark.parametrize(
    ("status", "actually_paid", "shown"),
    [
        ("waiting", None, False),
        ("waiting", Decimal(0), False),
        ("waiting", Decimal("0.1"), True),
        ("waiting", "a lot", True),
        ("confirming", None, True),
        ("confirmed", None, True),
        ("sending", None, True),
        ("spending", None, True),
        ("partially_paid", None, True),
        ("finished", Decimal(0), True),
        ("expired", Decimal(0), False),
        ("failed", Decimal(1), True),
        ("refunded", None, False),
        ("wrong_asset_confirmed", None, False),
        ("wrong_asset_confirmed", Decimal(1), True),
    ],
)
def test_money_is_shown_by_status_or_by_amount(status: str, actually_paid: JsonValue, *, shown: bool) -> None:
    payment = parse_payment({"payment_id": "1", "payment_status": status, "actually_paid": actually_paid})
    assert shows_money(payment) is shown


def test_an_outcome_amount_shows_no_money() -> None:
    assert shows_money(said(outcome_amount=Decimal(5), outcome_currency="btc")) is False
