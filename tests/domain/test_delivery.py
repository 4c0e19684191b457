"""The verdict on a delivery attempt: the schedule, Retry-After, 410 and the run of dead deliveries."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_orders.domain.delivery import (
    Dead,
    Delivered,
    EndpointGone,
    EndpointHealth,
    RetryAt,
    SendError,
    SendErrorCode,
    SendResult,
    health_after,
    judge,
    parse_retry_after,
)

NOW = datetime(2026, 5, 22, 10, 0, tzinfo=UTC)
TIMED_OUT = SendError(SendErrorCode.TIMEOUT, "no response within 10 s")


def answered(status: int, retry_after: str | None = None) -> SendResult:
    return SendResult(elapsed_ms=12, status=status, retry_after=retry_after)


def wait(result: SendResult, attempt: int = 1, jitter: float = 0.0) -> timedelta:
    verdict = judge(result, attempt, NOW, jitter)
    assert isinstance(verdict, RetryAt)
    return verdict.at - NOW


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
def test_a_2xx_head_is_delivered_on_any_attempt(status: int) -> None:
    assert judge(answered(status), 1, NOW, 0.5) == Delivered()
    assert judge(answered(status), 6, NOW, 0.5) == Delivered()


@pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 400, 401, 404, 429, 500, 502, 503, 504, 999])
def test_every_other_status_is_tried_again(status: int) -> None:
    assert judge(answered(status), 1, NOW, 0.0) == RetryAt(datetime(2026, 5, 22, 10, 1, tzinfo=UTC))


@pytest.mark.parametrize(("attempt", "minutes"), [(1, 1), (2, 5), (3, 15), (4, 30), (5, 60)])
def test_the_waits_are_1_5_15_30_and_60_minutes(attempt: int, minutes: int) -> None:
    assert wait(answered(500), attempt) == timedelta(minutes=minutes)


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 69), (2, 345), (3, 1035), (4, 2070), (5, 4140)])
def test_jitter_adds_at_most_15_percent(attempt: int, seconds: int) -> None:
    longest = wait(answered(500), attempt, jitter=0.999999)
    assert timedelta(seconds=seconds - 1) < longest < timedelta(seconds=seconds)


def test_an_attempt_without_an_answer_is_tried_again_like_a_failed_status() -> None:
    assert wait(SendResult(elapsed_ms=10_000, error=TIMED_OUT)) == timedelta(minutes=1)


def test_the_sixth_failure_is_the_last() -> None:
    assert judge(answered(503), 6, NOW, 0.0) == Dead("6 attempts failed, the last with HTTP 503")
    assert judge(SendResult(elapsed_ms=10_000, error=TIMED_OUT), 6, NOW, 0.0) == Dead(
        "6 attempts failed, the last with timeout: no response within 10 s"
    )


@pytest.mark.parametrize("attempt", [1, 3, 6])
def test_410_says_the_endpoint_is_gone_on_any_attempt(attempt: int) -> None:
    assert judge(answered(410), attempt, NOW, 0.0) == EndpointGone()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("90", 90),
        (" 90 ", 90),
        ("0", 60),
        ("59", 60),
        ("119", 119),
        ("120", 120),
        ("121", 120),
        ("1000000000", 120),
        ("999999999999999999", 120),
        ("Fri, 22 May 2026 10:01:30 GMT", 90),
        ("Friday, 22-May-26 10:01:30 GMT", 90),
        ("Fri May 22 10:01:30 2026", 90),
        ("Fri, 22 May 2026 09:00:00 GMT", 60),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 120),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_within_one_and_two_steps(status: int, header: str, seconds: int) -> None:
    assert wait(answered(status, header)) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "soon",
        "-1",
        "+90",
        "1e9",
        "90.5",
        "90 s",
        "९०",
        "1" * 500,
        "Fri, 22 May 2026 10:01:30 PST",
        "Fri, 99 May 2026 10:01:30 GMT",
        "Fri, 22 Foo 2026 10:01:30 GMT",
        "Fri, 22 May 2026 99:99:99 GMT",
        "2026-05-22T10:01:30Z",
    ],
)
def test_nonsense_in_retry_after_is_ignored(header: str) -> None:
    assert wait(answered(503, header)) == timedelta(seconds=60)


def test_retry_after_never_shortens_the_jittered_wait() -> None:
    assert wait(answered(503, "61"), jitter=0.8) == timedelta(seconds=67, milliseconds=200)


def test_retry_after_on_the_last_attempt_does_not_make_a_seventh() -> None:
    assert isinstance(judge(answered(503, "60"), 6, NOW, 0.0), Dead)


@given(st.text(max_size=60) | st.from_regex(r"\A(Mon|Fri),? [ -~]{0,40}\Z"))
def test_any_retry_after_text_is_read_or_ignored(text: str) -> None:
    parsed = parse_retry_after(text, NOW)
    assert parsed is None or isinstance(parsed, timedelta)


@given(
    attempt=st.integers(1, 5),
    jitter=st.floats(0, 1, exclude_max=True),
    retry_after=st.none() | st.integers(0, 10**12).map(str) | st.text(max_size=30),
    status=st.integers(300, 999).filter(lambda status: status != 410),
)
def test_every_wait_lies_within_one_and_two_steps_in_whole_milliseconds(
    attempt: int, jitter: float, retry_after: str | None, status: int
) -> None:
    step = timedelta(minutes=(1, 5, 15, 30, 60)[attempt - 1])
    waited = wait(answered(status, retry_after), attempt, jitter)
    assert step <= waited <= 2 * step
    assert waited % timedelta(milliseconds=1) == timedelta(0)


@pytest.mark.parametrize(("attempt", "jitter"), [(0, 0.0), (-1, 0.0), (1, 1.0), (1, -0.1)])
def test_an_impossible_attempt_or_jitter_is_refused(attempt: int, jitter: float) -> None:
    with pytest.raises(ValueError, match=r"attempts count|jitter is"):
        judge(answered(500), attempt, NOW, jitter)


def test_fifty_dead_deliveries_in_a_row_disable_the_endpoint() -> None:
    run = 0
    for _ in range(49):
        health = health_after(run, Dead("gave up"))
        assert health.disable_reason is None
        run = health.consecutive_failures
    assert health_after(run, Dead("gave up")) == EndpointHealth(
        50, "50 deliveries in a row failed every attempt"
    )


def test_a_delivery_ends_the_run_and_a_retry_leaves_it() -> None:
    assert health_after(49, Delivered()) == EndpointHealth(0)
    assert health_after(49, RetryAt(NOW)) == EndpointHealth(49)


def test_410_disables_whatever_the_run() -> None:
    assert health_after(0, EndpointGone()) == EndpointHealth(0, "the endpoint answered 410 Gone")


def test_a_failure_reads_as_a_code_and_a_sentence() -> None:
    assert SendResult(elapsed_ms=1, error=TIMED_OUT).failure == "timeout: no response within 10 s"
    assert answered(404).failure == "HTTP 404"
    assert answered(204).failure is None
