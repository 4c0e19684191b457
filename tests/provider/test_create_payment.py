"""Creating a payment: what was surely made, surely not made, and what nobody can know."""

import asyncio
import json
import socket
from dataclasses import replace
from decimal import Decimal

import pytest

from crypto_orders.provider import (
    CreateOutcome,
    CreatePayment,
    Minted,
    Mismatched,
    NotMade,
    ProviderClient,
    Refused,
    Unknown,
)
from tests.provider.bad_provider import (
    API_KEY,
    ASKED,
    Behaviour,
    Visit,
    Watch,
    answers,
    client,
    drips_body,
    drips_head,
    error,
    hangs_up,
    informs_for_ever,
    is_silent,
    never_ends,
    payment,
    provider,
    resets,
    says,
    writes,
)

HTML = b"<!DOCTYPE html><html><title>Attention required</title></html>"


async def create(
    *behaviours: Behaviour, asked: CreatePayment = ASKED, deadline_seconds: float = 20
) -> tuple[CreateOutcome, int]:
    """Make one create call to a provider that behaves so; return the outcome and how often it was asked."""
    async with provider(*behaviours) as upstream, client(upstream.url) as ours:
        outcome = await ours.create_payment(asked, deadline_seconds=deadline_seconds)
        return outcome, len(upstream.requests)


# What is sent -----------------------------------------------------------------------------------------------


async def test_a_create_call_sends_exact_numbers_and_the_key_once() -> None:
    async with provider(answers(201, payment())) as upstream, client(upstream.url) as ours:
        await ours.create_payment(ASKED)
    (request,) = upstream.requests
    assert request.line == "POST /v1/payment HTTP/1.1"
    assert request.body == (
        b'{"price_amount":79,"price_currency":"usd","pay_currency":"btc","order_id":"ord_01",'
        b'"order_description":"solo_manual","ipn_callback_url":"https://shop.example/v1/webhooks/nowpayments"}'
    )
    assert request.headers["x-api-key"] == API_KEY.lower()
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("cents", "number"),
    [(1, b"0.01"), (10, b"0.1"), (7950, b"79.5"), (14905, b"149.05"), (10**14 + 1, b"1000000000000.01")],
)
async def test_cents_go_out_as_a_decimal_number(cents: int, number: bytes) -> None:
    async with provider(answers(201, payment())) as upstream, client(upstream.url) as ours:
        await ours.create_payment(replace(ASKED, price_cents=cents))
    assert b'"price_amount":' + number + b"," in upstream.requests[0].body


async def test_settings_that_are_given_are_sent() -> None:
    asked = replace(ASKED, is_fixed_rate=False, is_fee_paid_by_user=True, case="failed")
    async with provider(answers(201, payment())) as upstream, client(upstream.url) as ours:
        await ours.create_payment(asked)
    sent = upstream.requests[0].json
    assert (sent["is_fixed_rate"], sent["is_fee_paid_by_user"], sent["case"]) == (False, True, "failed")


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_the_address_may_name_the_version_or_not(suffix: str) -> None:
    async with provider(answers(201, payment())) as upstream, client(upstream.url + suffix) as ours:
        assert isinstance(await ours.create_payment(ASKED), Minted)
    assert upstream.requests[0].line == "POST /v1/payment HTTP/1.1"


@pytest.mark.parametrize(
    "url",
    ["", "example.org", "ftp://example.org", "https://", "https://user:pw@example.org", "https://x?y=1"],
)
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        ProviderClient(url, API_KEY)


@pytest.mark.parametrize("key", ["a b", "a\r\nX-Evil: 1", "\u00e9"])
def test_a_key_that_is_none_is_refused_at_once(key: str) -> None:
    with pytest.raises(ValueError, match="API key"):
        ProviderClient("https://example.org", key)


# Made -------------------------------------------------------------------------------------------------------


async def test_a_payment_as_asked_is_minted_with_the_answer_as_it_came() -> None:
    body = b"""{ "payment_id":"5977953151","payment_status":"waiting","pay_address":"bc1q",
        "price_amount":79.00,"price_currency":"USD","pay_amount":0.00123456,
        "pay_currency":"BTC","order_id":"ord_01" }"""
    outcome, _ = await create(says(201, body))
    assert isinstance(outcome, Minted)
    assert outcome.raw == body
    assert outcome.payment.payment_id == "5977953151"
    assert outcome.payment.pay_amount == Decimal("0.00123456")


async def test_numbers_as_texts_and_an_id_as_a_number_are_minted_too() -> None:
    quoted = payment(payment_id=5977953151, price_amount="79.00", pay_amount="0.00123456")
    outcome, _ = await create(answers(200, quoted))
    assert isinstance(outcome, Minted)
    assert outcome.payment.payment_id == "5977953151"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"order_id": "ord_02"}, "order_id"),
        ({"order_id": None}, "order_id"),
        ({"order_id": ["ord_01"]}, "order_id"),
        ({"price_amount": 78.99}, "price_amount"),
        ({"price_amount": 7900}, "price_amount"),
        ({"price_amount": None}, "price_amount"),
        ({"price_amount": True}, "price_amount"),
        ({"price_currency": "eur"}, "price_currency"),
        ({"pay_currency": "bch"}, "pay_currency"),
        ({"pay_address": ""}, "pay_address"),
        ({"pay_address": None}, "pay_address"),
        ({"pay_address": "bc1q\nxyz"}, "pay_address"),
        ({"pay_amount": 0}, "pay_amount"),
        ({"pay_amount": "a lot"}, "pay_amount"),
        ({"payin_extra_id": {"memo": 1}}, "payin_extra_id"),
        ({"parent_payment_id": 5}, "parent_payment_id"),
        ({"order_id": "ord_02", "price_amount": 1}, "order_id, price_amount"),
    ],
)
async def test_a_payment_other_than_asked_is_mismatched(fields: dict[str, object], named: str) -> None:
    outcome, times_asked = await create(answers(201, payment(**fields)))
    assert isinstance(outcome, Mismatched)
    assert outcome.why == f"differs: {named}"
    assert outcome.payment.payment_id == "5977953151"
    assert times_asked == 1


@pytest.mark.parametrize("coin", ["ava", "bnbmainnet", "eos", "xlm", "xrp"])
@pytest.mark.parametrize("memo", [None, "", {"tag": 1}])
async def test_a_coin_found_by_its_memo_is_not_paid_without_one(coin: str, memo: object) -> None:
    asked = replace(ASKED, pay_currency=coin)
    outcome, _ = await create(answers(201, payment(pay_currency=coin, payin_extra_id=memo)), asked=asked)
    assert isinstance(outcome, Mismatched)
    assert outcome.why == "differs: payin_extra_id"
    outcome, _ = await create(answers(201, payment(pay_currency=coin, payin_extra_id="104837")), asked=asked)
    assert isinstance(outcome, Minted)
    assert outcome.payment.payin_extra_id == "104837"


async def test_an_answer_that_postgresql_cannot_hold_is_kept_without_what_it_refuses() -> None:
    body = b"""{"payment_id":"5977953151","payment_status":"waiting","pay_address":"bc1q","price_amount":79,
        "price_currency":"usd","pay_amount":0.1,"pay_currency":"btc","order_id":"ord_01",
        "a":"x\\u0000y\\ud800","b":[1e99999,1E-3],"c":"\xff"}"""
    outcome, _ = await create(says(201, body))
    assert isinstance(outcome, Minted)
    assert outcome.raw.endswith('"a":"x\ufffdy\ufffd","b":[null,0.001],"c":"\ufffd"}'.encode())


async def test_an_answer_that_is_not_utf_8_is_kept_as_the_text_it_was_read_as() -> None:
    body = json.dumps(payment(order_description="?")).encode().replace(b"?", b"\xff")
    outcome, _ = await create(says(201, body))
    assert isinstance(outcome, Minted)
    assert json.loads(outcome.raw)["order_description"] == "\ufffd"


async def test_a_client_outside_its_context_says_so() -> None:
    with pytest.raises(RuntimeError, match="outside its context"):
        await client("http://127.0.0.1:9").create_payment(ASKED)


# Refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "document", "code", "message"),
    [
        (
            400,
            error(400, "AMOUNT_MINIMAL_ERROR", "Crypto amount 10.485047 is less than minimal"),
            "AMOUNT_MINIMAL_ERROR",
            "Crypto amount 10.485047 is less than minimal",
        ),
        (400, error(400, "CURRENCY_UNAVAILABLE", ""), "CURRENCY_UNAVAILABLE", ""),
        (400, error(400, None, "amountTo is too small"), "HTTP_400", "amountTo is too small"),
        (400, {"message": "price_amount must be a number"}, "HTTP_400", "price_amount must be a number"),
        (400, {"errors": ["first", "second"]}, "HTTP_400", "first"),
        (400, {"errors": [{"message": "first"}]}, "HTTP_400", "first"),
        (422, error(422, "BAD_REQUEST", "no"), "BAD_REQUEST", "no"),
        (200, error(400, "AMOUNT_MINIMAL_ERROR", "too small"), "AMOUNT_MINIMAL_ERROR", "too small"),
        (
            400,
            error(400, "not a code", "two\r\nlines\u2028" + "x" * 500),
            "HTTP_400",
            "two lines " + "x" * 190,
        ),
        (400, error(400, "BAD_REQUEST", f"key {API_KEY} may not"), "BAD_REQUEST", "key *** may not"),
    ],
)
async def test_a_refusal_in_the_providers_form_is_final(
    status: int, document: object, code: str, message: str
) -> None:
    outcome, times_asked = await create(answers(status, document))
    assert outcome == Refused(code, message)
    assert times_asked == 1


# Surely not made --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, b'{"status":false,"statusCode":401,"code":"AUTH_REQUIRED","message":"x"}', "key_refused"),
        (403, b'{"status":false,"statusCode":403,"code":"INVALID_API_KEY","message":"x"}', "key_refused"),
        (403, HTML, "key_refused"),
        (429, b'{"message":"Too Many Requests"}', "rate_limited"),
        (429, b"", "rate_limited"),
        (400, HTML, "http_400"),
        (400, b"[]", "http_400"),
        (400, b"{}", "http_400"),
        (404, b'{"message":"Not found"}', "http_404"),
        (405, b"", "http_405"),
        (413, HTML, "http_413"),
    ],
)
async def test_an_answer_before_anything_was_made_may_be_retried(
    status: int, body: bytes, reason: str
) -> None:
    outcome, times_asked = await create(says(status, body))
    assert outcome == NotMade(reason)
    assert times_asked == 1


async def test_a_refused_connection_made_nothing() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        async with client(f"http://127.0.0.1:{held.getsockname()[1]}") as ours:
            assert await ours.create_payment(ASKED) == NotMade("not_connected")


async def test_a_name_that_nobody_has_made_nothing() -> None:
    async with client("http://nowhere.invalid") as ours:
        assert await ours.create_payment(ASKED) == NotMade("name_not_resolved")


async def test_a_connection_that_never_comes_about_made_nothing() -> None:
    """A full accept queue: the kernel drops the handshake, so the deadline ends before anything was sent."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        async with client(f"http://127.0.0.1:{address[1]}") as ours:
            assert await ours.create_payment(ASKED, deadline_seconds=0.3) == NotMade("timeout")
        for one in waiting:
            one.close()


# Nobody knows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (hangs_up, "connection_lost"),
        (resets, "connection_lost"),
        (never_ends, "answer_too_large"),
        (says(201, b" " * (256 * 1024 + 1)), "answer_too_large"),
        (writes(b"HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{"), "answer_cut_off"),
        (writes(b"\x16\x03\x01 garbage\r\n\r\n"), "not_http"),
        (writes(b"HTTP/1.1 201 Created\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n"), "not_http"),
        (says(201, HTML, "text/html"), "not_json"),
        (says(201, b""), "not_json"),
        (says(201, b'{"payment_id":"5977953151","payment_status":"wai'), "not_json"),
        (says(201, b"[" * 1000 + b"]" * 1000), "not_json"),
        (says(200, b"OK"), "not_json"),
        (says(201, b"[]"), "no_document"),
        (answers(200, {"message": "Something went wrong"}), "no_payment_id"),
        (answers(200, error(500, "INTERNAL", "x")), "no_payment_id"),
        (answers(200, {"errors": ["x"]}), "no_payment_id"),
        (answers(201, payment(payment_id=1.5)), "no_payment_id"),
        (answers(201, payment(payment_status=None)), "no_payment_status"),
        (answers(301, {}), "http_301"),
        (answers(408, error(408, "TIMEOUT", "x")), "http_408"),
        (answers(500, error(500, "INTERNAL", "x")), "http_500"),
        (says(502, HTML, "text/html"), "http_502"),
        (says(503, b""), "http_503"),
        (says(524, HTML, "text/html"), "http_524"),
    ],
)
async def test_whatever_may_have_been_made_is_unknown_and_never_repeated(
    behaviour: Behaviour, reason: str
) -> None:
    outcome, times_asked = await create(behaviour)
    assert outcome == Unknown(reason)
    assert times_asked == 1


async def test_a_broken_chunk_is_unknown_whether_it_comes_with_the_head_or_after() -> None:
    outcome, _ = await create(writes(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"))
    assert outcome in (Unknown("not_http"), Unknown("answer_cut_off"))


async def test_a_provider_that_takes_too_long_is_cut_off_at_the_deadline() -> None:
    slow = (is_silent, drips_head, drips_body, informs_for_ever)
    outcomes = await asyncio.gather(*(create(behaviour, deadline_seconds=1.5) for behaviour in slow))
    assert outcomes == [(Unknown("timeout"), 1)] * 4


async def test_a_kept_connection_that_is_closed_on_the_next_call_does_not_repeat_the_call() -> None:
    async with (
        provider(answers(201, payment()), hangs_up, answers(201, payment())) as upstream,
        client(upstream.url) as ours,
    ):
        assert isinstance(await ours.create_payment(ASKED), Minted)
        assert await ours.create_payment(ASKED) == Unknown("connection_lost")
        assert len(upstream.requests) == 2


async def test_an_answer_lost_after_the_payment_was_made_is_unknown() -> None:
    made: list[dict[str, object]] = []

    async def makes_and_dies(visit: Visit) -> None:
        made.append(payment())
        visit.reset()

    outcome, _ = await create(makes_and_dies)
    assert outcome == Unknown("connection_lost")
    assert len(made) == 1


async def test_redirects_are_not_followed() -> None:
    async with provider(answers(201, payment())) as elsewhere:
        moved = writes(
            f"HTTP/1.1 307 x\r\nLocation: {elsewhere.url}/v1/payment\r\nContent-Length: 0\r\n\r\n".encode()
        )
        outcome, _ = await create(moved)
        assert outcome == Unknown("http_307")
        assert elsewhere.requests == []


async def test_proxy_variables_are_not_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    async with provider(answers(500, {})) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        outcome, _ = await create(answers(201, payment()))
        assert isinstance(outcome, Minted)
        assert proxy.requests == []


async def test_a_caller_that_gives_up_ends_the_call() -> None:
    async with provider(is_silent) as upstream, client(upstream.url) as ours:
        task = asyncio.create_task(ours.create_payment(ASKED, deadline_seconds=60))
        await asyncio.wait_for(upstream.asked.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_each_call_is_told_to_the_observer_without_a_secret() -> None:
    watch = Watch()
    behaviours = (answers(201, payment()), answers(400, error(400, "BAD_REQUEST", "x")), hangs_up)
    async with provider(*behaviours) as upstream, client(upstream.url, observe=watch) as ours:
        for _ in behaviours:
            await ours.create_payment(ASKED)
    told = [(call.operation, call.outcome, call.reason, call.attempts) for call in watch.calls]
    assert told == [
        ("create_payment", "minted", None, 1),
        ("create_payment", "refused", "BAD_REQUEST", 1),
        ("create_payment", "unknown", "connection_lost", 1),
    ]
    assert all(call.seconds > 0 for call in watch.calls)
    assert API_KEY not in repr(watch.calls)


async def test_a_payment_with_other_fields_than_ours_stays_the_same_value() -> None:
    outcome, _ = await create(
        answers(201, payment(type="crypto2crypto", burning_percent="null", fee=[1, {"a": None}]))
    )
    plain, _ = await create(answers(201, payment()))
    assert isinstance(outcome, Minted)
    assert isinstance(plain, Minted)
    assert outcome.payment == plain.payment
