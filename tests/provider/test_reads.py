"""Reading from the provider: bad answers are values, passing faults are asked about again."""

import asyncio
import json
import ssl
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_orders.provider import (
    Available,
    Currencies,
    Found,
    NoAnswer,
    NotFound,
    PaymentAnswer,
    reading,
)
from crypto_orders.provider.transport import Failure, Reply
from tests.provider.bad_provider import (
    ASKED,
    Behaviour,
    Watch,
    answers,
    client,
    error,
    hangs_up,
    is_silent,
    never_ends,
    payment,
    provider,
    resets,
    says,
    writes,
)
from tests.sender.certificates import Authority

HTML = b"<html>maintenance</html>"
ID = "5977953151"


async def get(*behaviours: Behaviour, deadline_seconds: float = 20) -> tuple[PaymentAnswer, int]:
    """Ask a provider that behaves so for a payment; return the answer and how often it was asked."""
    async with provider(*behaviours) as upstream, client(upstream.url) as ours:
        found = await ours.get_payment(ID, deadline_seconds=deadline_seconds)
        return found, len(upstream.requests)


# Payments ---------------------------------------------------------------------------------------------------


async def test_a_payment_is_found_with_the_answer_as_it_came() -> None:
    body = json.dumps(payment(payment_id=int(ID), actually_paid=0.0005)).encode()
    async with provider(says(200, body)) as upstream, client(upstream.url) as ours:
        found = await ours.get_payment(ID)
    assert isinstance(found, Found)
    assert found.raw == body
    assert found.payment.payment_id == ID
    assert found.payment.actually_paid == Decimal("0.0005")
    assert upstream.requests[0].line == f"GET /v1/payment/{ID} HTTP/1.1"


@pytest.mark.parametrize(
    "behaviour",
    [
        answers(404, error(404, "NOT_FOUND", "Payment not found")),
        answers(404, {"message": "Not found"}),
        answers(400, error(400, "INVALID_REQUEST_PARAMS", "Payment id must be a number")),
    ],
)
async def test_a_payment_the_provider_does_not_know_is_not_found(behaviour: Behaviour) -> None:
    assert await get(behaviour) == (NotFound(), 1)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (answers(401, error(401, "AUTH_REQUIRED", "x")), "key_refused"),
        (answers(403, error(403, "INVALID_API_KEY", "Invalid api key")), "key_refused"),
        (answers(429, {"message": "Too Many Requests"}), "rate_limited"),
        (answers(400, error(400, "BAD_REQUEST", "x")), "http_400"),
        (says(404, HTML, "text/html"), "http_404"),
        (says(404, b'{"payment_status":"waiting"}'), "http_404"),
        (answers(302, {}), "http_302"),
        (answers(200, {"message": "x"}), "no_payment_id"),
        (answers(200, []), "no_document"),
        (answers(200, payment(payment_id="1")), "another_payment"),
        (answers(200, payment(payment_status=5)), "no_payment_status"),
    ],
)
async def test_any_other_answer_is_none_and_not_asked_for_again(behaviour: Behaviour, reason: str) -> None:
    assert await get(behaviour) == (NoAnswer(reason), 1)


async def test_passing_faults_are_asked_about_two_times_more() -> None:
    faults = {
        "not_json": says(200, HTML, "text/html"),
        "http_502": says(502, HTML, "text/html"),
        "http_500": answers(500, error(500, "INTERNAL", "x")),
        "answer_too_large": never_ends,
        "answer_cut_off": writes(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"),
    }
    answers_given = await asyncio.gather(*map(get, faults.values()))
    assert answers_given == [(NoAnswer(reason), 3) for reason in faults]


@pytest.mark.parametrize("behaviour", [hangs_up, resets])
async def test_a_lost_connection_is_tried_once_more(behaviour: Behaviour) -> None:
    assert await get(behaviour) == (NoAnswer("connection_lost"), 2)
    found, times_asked = await get(behaviour, answers(200, payment()))
    assert isinstance(found, Found)
    assert times_asked == 2


async def test_a_read_that_fails_once_is_answered_by_its_repeat() -> None:
    watch = Watch()
    async with (
        provider(says(502, HTML), says(500, b""), answers(200, payment())) as upstream,
        client(upstream.url, observe=watch) as ours,
    ):
        assert isinstance(await ours.get_payment(ID, deadline_seconds=20), Found)
    (call,) = watch.calls
    assert (call.operation, call.outcome, call.reason, call.attempts) == ("get_payment", "found", None, 3)


async def test_a_silent_provider_is_no_answer_at_the_deadline() -> None:
    assert await get(is_silent, deadline_seconds=0.3) == (NoAnswer("timeout"), 1)


async def test_no_repeat_starts_that_the_deadline_leaves_no_room_for() -> None:
    """The pause before the repeat is at least 0.1 s, so a deadline of that is over before it."""
    answer, asked = await get(says(502, HTML), deadline_seconds=0.1)
    assert answer in (NoAnswer("http_502"), NoAnswer("timeout"))
    assert asked <= 1


@pytest.mark.parametrize(
    "payment_id",
    ["", ".", "..", "../status", "a/b", "a?b", "a b", "1\r\nX: 1", "%2e%2e", "x" * 129, "é", "\x00"],
)
async def test_an_id_that_no_payment_can_have_is_not_found_without_asking(payment_id: str) -> None:
    async with provider(answers(200, payment())) as upstream, client(upstream.url) as ours:
        assert await ours.get_payment(payment_id) == NotFound()
    assert upstream.requests == []


# Coins, estimates, minimums, status -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "codes"),
    [
        (["btc", "ETH", "usdttrc20"], {"btc", "eth", "usdttrc20"}),
        ([{"currency": "BTC", "min_amount": 0.1, "max_amount": 9}, {"currency": "eth"}], {"btc", "eth"}),
        (
            [{"code": "AAVE", "name": "Aave"}, "btc", None, 5, {}, "", "no coin", "x" * 33, ["btc"]],
            {"aave", "btc"},
        ),
    ],
)
async def test_coins_are_listed_as_codes_or_as_objects(listed: object, codes: set[str]) -> None:
    async with provider(answers(200, {"currencies": listed})) as upstream, client(upstream.url) as ours:
        assert await ours.currencies() == Currencies(frozenset(codes))
    assert upstream.requests[0].line == "GET /v1/currencies HTTP/1.1"


@pytest.mark.parametrize(
    "document", [{}, [], None, "x", {"currencies": []}, {"currencies": {}}, {"currencies": [1]}]
)
async def test_a_list_without_coins_is_no_answer(document: object) -> None:
    async with provider(answers(200, document)) as upstream, client(upstream.url) as ours:
        assert await ours.currencies() == NoAnswer("no_currencies")


@pytest.mark.parametrize("amount", [0.00123456, "0.00123456"])
async def test_an_estimate_is_a_number_or_the_text_of_one(amount: object) -> None:
    document = {"currency_from": "usd", "amount_from": 79, "currency_to": "btc", "estimated_amount": amount}
    async with provider(answers(200, document)) as upstream, client(upstream.url) as ours:
        assert await ours.estimate(7900, "USD", "BTC") == Decimal("0.00123456")
    assert (
        upstream.requests[0].line == "GET /v1/estimate?amount=79&currency_from=usd&currency_to=btc HTTP/1.1"
    )


async def test_a_minimum_is_asked_for_a_coin_and_what_it_is_paid_out_in() -> None:
    document = {"currency_from": "btc", "currency_to": "usdttrc20", "min_amount": "0.0001"}
    async with provider(answers(200, document)) as upstream, client(upstream.url) as ours:
        assert await ours.minimum_amount("BTC") == Decimal("0.0001")
        assert await ours.minimum_amount("BTC", payout_currency="USDTTRC20") == Decimal("0.0001")
    assert [request.line for request in upstream.requests] == [
        "GET /v1/min-amount?currency_from=btc HTTP/1.1",
        "GET /v1/min-amount?currency_from=btc&currency_to=usdttrc20 HTTP/1.1",
    ]


@pytest.mark.parametrize(
    "behaviour",
    [
        answers(400, error(400, "AMOUNT_MINIMAL_ERROR", "amountTo is too small")),
        answers(200, {"estimated_amount": "a lot", "min_amount": -1}),
        answers(200, {}),
        answers(200, []),
        answers(403, {}),
        answers(429, {}),
    ],
)
async def test_an_estimate_or_minimum_without_an_answer_is_none(behaviour: Behaviour) -> None:
    watch = Watch()
    async with provider(behaviour) as upstream, client(upstream.url, observe=watch) as ours:
        assert await ours.estimate(7900, "USD", "BTC") is None
        assert await ours.minimum_amount("BTC") is None
    assert {call.outcome for call in watch.calls} <= {"refused", "no_answer"}


async def test_the_provider_says_that_it_is_up_or_does_not() -> None:
    behaviours = (answers(200, {"message": "OK"}), answers(200, {"message": "no"}), answers(200, []))
    async with provider(*behaviours) as upstream, client(upstream.url) as ours:
        assert await ours.status() == Available()
        assert await ours.status() == NoAnswer("not_up")
        assert await ours.status() == NoAnswer("not_up")


# TLS --------------------------------------------------------------------------------------------------------


async def test_a_certificate_of_a_trusted_authority_for_the_host_is_accepted(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    trusting = ssl.create_default_context(cadata=authority.pem)
    async with (
        provider(answers(200, payment()), tls=authority.server("localhost")) as upstream,
        client(upstream.url, tls=trusting) as ours,
    ):
        assert isinstance(await ours.get_payment(ID, deadline_seconds=20), Found)


@pytest.mark.parametrize("fault", ["unknown authority", "other host", "expired", "self-signed"])
async def test_any_other_certificate_is_refused_before_anything_is_sent(tmp_path: Path, fault: str) -> None:
    authority = Authority(tmp_path)
    trusting = None if fault == "unknown authority" else ssl.create_default_context(cadata=authority.pem)
    host = "example.org" if fault == "other host" else "localhost"
    certificate = authority.server(host, expired=fault == "expired", self_signed=fault == "self-signed")
    async with (
        provider(answers(200, payment()), tls=certificate) as upstream,
        client(upstream.url, tls=trusting) as ours,
    ):
        assert await ours.get_payment(ID, deadline_seconds=20) == NoAnswer("tls_failed")
        assert upstream.requests == []


# Whatever is read -------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        *payment(),
        "status",
        "statusCode",
        "code",
        "message",
        "errors",
        "currencies",
        "currency",
        "estimated_amount",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(), inner, max_size=5),
    max_leaves=10,
)
STATUSES = st.sampled_from([200, 201, 204, 301, 400, 401, 403, 404, 408, 422, 429, 500, 503]) | st.integers(
    100, 599
)
REPLIES = st.builds(
    Reply,
    STATUSES,
    st.binary() | st.dictionaries(NAMES, JSON).map(lambda document: json.dumps(document).encode()),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # A busy machine is no finding.
@given(REPLIES | st.builds(Failure, st.just("timeout"), st.booleans()))
def test_no_answer_breaks_the_reading_of_it(answer: Reply | Failure) -> None:
    outcomes = [
        reading.read_create(ASKED, answer),
        reading.read_payment(ID, answer),
        reading.read_currencies(answer),
        reading.read_estimate(answer),
        reading.read_minimum(answer),
        reading.read_status(answer),
    ]
    for outcome in outcomes:
        raw = getattr(outcome, "raw", b"{}")
        assert isinstance(json.loads(raw), dict)
