"""Every kind of bad receiver: the attempt ends, says what happened, and leaves nothing behind."""

import asyncio
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_orders.domain.delivery import SendErrorCode, SendResult
from crypto_orders.domain.webhook_url import UrlPolicy
from crypto_orders.sender.webhook_sender import SenderLimits, WebhookSender, tls_context
from tests.sender import bad_receivers as bad

# Only what is meant to run into a limit gets a short one, so that a busy machine changes no result.
PATIENT = SenderLimits(attempt_seconds=30, connect_seconds=30, body_seconds=30)
QUICK = SenderLimits(attempt_seconds=0.4)
QUICK_BODY = SenderLimits(attempt_seconds=30, connect_seconds=30, body_seconds=0.1)
POLICY = UrlPolicy(allow_insecure=True)
TLS = tls_context()
HEADERS = (("webhook-id", "0197a3c0-0000-7000-8000-000000000001"),)


class Case(NamedTuple):
    """A behaviour and what an attempt against it comes to."""

    behaviour: bad.Behaviour
    status: int | None = None
    code: SendErrorCode | None = None
    excerpt: str | None = None
    retry_after: str | None = None


def answers(head: str, body: bytes = b"", **expected: Any) -> Case:
    return Case(bad.answering(head, body), **expected)


CASES = {
    "good": Case(bad.good, status=200, excerpt="ok"),
    "hang on accept": Case(bad.hang_on_accept, code=SendErrorCode.TIMEOUT),
    "hang after request": Case(bad.hang_after_request, code=SendErrorCode.TIMEOUT),
    "close on accept": Case(bad.close_on_accept, code=SendErrorCode.RESET),
    "close after request": Case(bad.close_after_request, code=SendErrorCode.RESET),
    "reset after request": Case(bad.reset_after_request, code=SendErrorCode.RESET),
    "reset within head": Case(bad.reset_within_head, code=SendErrorCode.RESET),
    "garbage": Case(bad.garbage, code=SendErrorCode.BAD_RESPONSE),
    "another protocol": Case(bad.another_protocol, code=SendErrorCode.BAD_RESPONSE),
    "header drip": Case(bad.header_drip, code=SendErrorCode.TIMEOUT),
    "many headers drip": Case(bad.many_headers_drip, code=SendErrorCode.TIMEOUT),
    "status line drip": Case(bad.status_line_drip, code=SendErrorCode.BAD_RESPONSE),
    "10 MB header": Case(bad.huge_header, code=SendErrorCode.BAD_RESPONSE),
    "endless headers": Case(bad.endless_headers, code=SendErrorCode.BAD_RESPONSE),
    "endless 1xx": Case(bad.endless_interim, code=SendErrorCode.BAD_RESPONSE),
    "1xx drip": Case(bad.interim_drip, code=SendErrorCode.TIMEOUT),
    "100 and 103 before 200": Case(bad.interim_then_good, status=200, excerpt="ok"),
    "nine 1xx before 200": Case(bad.nine_interim_then_good, code=SendErrorCode.BAD_RESPONSE),
    "101": Case(bad.switching_protocols, code=SendErrorCode.BAD_RESPONSE),
    "endless body": Case(bad.endless_body, status=200, excerpt=("endless " * 64).rstrip()),
    "endless body of a failure": Case(
        bad.endless_failure_body, status=500, excerpt=("endless " * 64).rstrip()
    ),
    "endless chunk extension": Case(bad.endless_chunk_extension, status=200),
    "200 then drip": Case(bad.ok_then_drip, status=200),
    "500 then drip": Case(bad.body_drip, status=500),
    "200 then reset": Case(bad.ok_then_reset, status=200, excerpt="partial"),
    "short body": Case(bad.short_body, status=200, excerpt="short"),
    "broken chunks": Case(bad.broken_chunks, status=200),
    "gzip bomb": Case(bad.gzip_bomb, status=200),
    "one more response": Case(bad.one_more_response, status=200, excerpt="ok"),
    "HTTP/1.0 without a length": Case(bad.http_1_0, status=200, excerpt="old school"),
    "bare line feeds": Case(bad.bare_line_feeds, status=200, excerpt="ok"),
    "204": answers("HTTP/1.1 204 No Content", status=204),
    "no reason phrase": answers("HTTP/1.1 202", status=202),
    "status 999": answers("HTTP/1.1 999 Denied", status=999),
    "404": answers(
        "HTTP/1.1 404 Not Found", b"<h1>Not\r\nFound</h1>", status=404, excerpt="<h1>Not Found</h1>"
    ),
    "410": answers("HTTP/1.1 410 Gone", status=410),
    "429 in seconds": answers("HTTP/1.1 429 Slow\r\nRetry-After: 90", status=429, retry_after="90"),
    "503 by date": answers(
        "HTTP/1.1 503 Later\r\nretry-after: Fri, 22 May 2026 10:01:30 GMT",
        status=503,
        retry_after="Fri, 22 May 2026 10:01:30 GMT",
    ),
    "503 nonsense": answers("HTTP/1.1 503 Later\r\nRetry-After: soon", status=503, retry_after="soon"),
    "503 negative": answers("HTTP/1.1 503 Later\r\nRetry-After: -1", status=503, retry_after="-1"),
    "503 in 32 years": answers(
        "HTTP/1.1 503 Later\r\nRetry-After: 1000000000", status=503, retry_after="1000000000"
    ),
    **{
        f"{status} to {location}": Case(bad.redirecting(status, location), status=status)
        for status in (301, 302, 303, 307, 308)
        for location in ("http://169.254.169.254/latest/meta-data/", "https://example.com/")
    },
    "two lengths": answers("HTTP/1.1 200 OK\r\nContent-Length: 7", b"xx", code=SendErrorCode.BAD_RESPONSE),
    "status of two digits": answers("HTTP/1.1 20 OK", code=SendErrorCode.BAD_RESPONSE),
    "HTTP/3.7": answers("HTTP/3.7 200 OK", code=SendErrorCode.BAD_RESPONSE),
    "body of controls": answers(
        "HTTP/1.1 500 Oh", b"\x00\x1b[31m\xff\xe2\x80\xae", status=500, excerpt="[31m\ufffd"
    ),
}


def limits_for(name: str) -> SenderLimits:
    if CASES[name].code is SendErrorCode.TIMEOUT:
        return QUICK
    return QUICK_BODY if name.endswith("then drip") else PATIENT


def sender(limits: SenderLimits = PATIENT) -> WebhookSender:
    return WebhookSender(user_agent="crypto-orders-webhooks/1.0", policy=POLICY, limits=limits, tls=TLS)


async def attempted(
    behaviour: bad.Behaviour, limits: SenderLimits = PATIENT
) -> tuple[SendResult, bad.Receiver]:
    async with bad.serving(behaviour) as receiver, sender(limits) as sending:
        url = f"http://127.0.0.1:{receiver.port}/hook"
        result = await sending.send("whk_1", url, HEADERS, b"{}")
        return result, receiver


@pytest.mark.parametrize("name", CASES)
async def test_an_attempt_ends_with_the_right_result(name: str) -> None:
    case = CASES[name]
    result, receiver = await attempted(case.behaviour, limits_for(name))
    assert result.status == case.status
    assert (result.error.code if result.error else None) == case.code
    assert result.delivered == (case.status in {200, 202, 204})
    assert result.retry_after == case.retry_after
    if not name.endswith("then drip"):
        assert result.excerpt == case.excerpt
    assert result.dialled_ip == "127.0.0.1"
    # On a busy machine a short attempt may be over before the receiver's end has even seen it.
    assert receiver.connections <= 1
    assert result.elapsed_ms < 30_000


async def test_a_refused_connection_says_so() -> None:
    async with bad.serving(bad.good) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/hook"
    async with sender() as sending:
        result = await sending.send("whk_1", url, HEADERS, b"{}")
    assert result.error is not None
    assert result.error.code == SendErrorCode.CONNECT
    assert result.status is None
    assert result.dialled_ip == "127.0.0.1"


async def test_all_bad_receivers_at_once_hinder_no_good_one() -> None:
    async with asyncio.TaskGroup() as group:
        for name, case in CASES.items():
            for _ in range(4):
                group.create_task(attempted(case.behaviour, limits_for(name)))
        good = [group.create_task(attempted(bad.good)) for _ in range(10)]
    assert all(task.result()[0].delivered for task in good)


async def test_a_cancelled_attempt_closes_its_connection() -> None:
    async with (
        bad.serving(bad.hang_after_request) as receiver,
        sender() as sending,
        asyncio.timeout(20),
    ):
        url = f"http://127.0.0.1:{receiver.port}/hook"
        attempt = asyncio.ensure_future(sending.send("whk_1", url, HEADERS, b"{}"))
        await receiver.asked.wait()
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        await receiver.idle.wait()


RESPONSES = st.one_of(
    st.binary(max_size=300),
    st.lists(
        st.sampled_from(
            [
                *(
                    b"HTTP/1.1 200 OK\r\n",
                    b"HTTP/1.1 103 Early\r\n",
                    b"HTTP/1.0 500\r\n",
                    b"HTTP/1.1 410 Gone\n",
                ),
                *(b"Content-Length: 3\r\n", b"Content-Length: x\r\n", b"Transfer-Encoding: chunked\r\n"),
                *(
                    b"Retry-After: 5\r\n",
                    b"X: y\r\n",
                    b"\r\n",
                    b"3\r\nabc\r\n",
                    b"0\r\n\r\n",
                    b"abc",
                    b"\x00",
                    b": ",
                ),
            ]
        ),
        max_size=12,
    ).map(b"".join),
)


@settings(max_examples=60, deadline=None)
@given(response=RESPONSES, cut=st.integers(0, 300))
async def test_any_bytes_at_all_are_a_result(response: bytes, cut: int) -> None:
    result, _ = await attempted(bad.writing(response[:cut], response[cut:]))
    assert (result.status is None) != (result.error is None)
    if result.error is not None:
        assert result.error.code in {SendErrorCode.RESET, SendErrorCode.BAD_RESPONSE}
    else:
        assert result.status in {200, 410, 500}


def test_the_published_limits_are_the_default() -> None:
    limits = SenderLimits()
    assert (limits.attempt_seconds, limits.dns_seconds, limits.connect_seconds) == (10.0, 3.0, 5.0)
    assert limits.reuse_seconds == 30.0
