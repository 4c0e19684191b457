"""Judges one delivery attempt: delivered, tried again at a time, dead, or the endpoint is gone."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

import msgspec

ATTEMPTS_MAX: Final = 6
"""Attempts of one delivery before it goes to the dead-letter queue."""

RETRY_STEPS: Final = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(minutes=30),
    timedelta(minutes=60),
)
"""The published waits after attempts 1 to 5; there is one fewer than there are attempts."""

JITTER_SHARE: Final = 0.15
"""Each wait grows by up to this share, so that endpoints of one outage do not come back in one instant."""

RETRY_AFTER_STEPS_MAX: Final = 2
"""A receiver may stretch a wait to at most this many steps; what it asks beyond that is not waited for."""

DEAD_DELIVERIES_MAX: Final = 50
"""Dead deliveries in a row, with none delivered between them, after which an endpoint is disabled."""

HTTP_GONE: Final = 410
_SUCCESSFUL: Final = range(200, 300)

_DELAY_SECONDS = re.compile(r"[0-9]{1,18}")
# The three forms of RFC 9110, 5.6.7: IMF-fixdate, the old RFC 850 form, and asctime, which names no zone.
_HTTP_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? (?:[0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT"
    r"|[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} [0-9]{4})"
    r"|[A-Z][a-z]{5,8}, [0-9]{2}-[A-Z][a-z]{2}-[0-9]{2} [0-9:]{8} GMT"
)


class SendErrorCode(StrEnum):
    """Why an attempt got no usable answer; the words are shown to customers and never change meaning."""

    BAD_URL = "bad_url"
    """The stored URL breaks a rule that holds now."""
    BLOCKED_ADDRESS = "blocked_address"
    """The name or literal leads to an address that is not public; nothing was dialled."""
    DNS = "dns"
    """The name did not resolve in time, or to nothing."""
    CONNECT = "connect"
    """No address took the connection."""
    TLS = "tls"
    """The handshake failed or the certificate is not valid for the name; nothing was sent."""
    TIMEOUT = "timeout"
    """A deadline passed before the response head was complete."""
    RESET = "reset"
    """The connection ended before the response head was complete."""
    BAD_RESPONSE = "bad_response"
    """What came back is no HTTP/1.1 response, or its head is beyond the limits."""


class SendError(msgspec.Struct, frozen=True):
    """Why an attempt has no status: a stable code and a plain sentence."""

    code: SendErrorCode
    detail: str


class SendResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one attempt; either `status` or `error` is set, never both."""

    elapsed_ms: int
    """Wall-clock time of the whole attempt, in milliseconds."""
    status: int | None = None
    """The status of the final response head, 200 to 999."""
    error: SendError | None = None
    excerpt: str | None = None
    """At most 512 printable characters of the response body; None when there was none."""
    retry_after: str | None = None
    """The Retry-After header as it came."""
    dialled_ip: str | None = None
    """The address the request was sent to (or the connection failed at); None when nothing was dialled."""

    @property
    def delivered(self) -> bool:
        """Whether the response head said 2xx; the body has no say in it."""
        return self.status is not None and self.status in _SUCCESSFUL

    @property
    def failure(self) -> str | None:
        """What went wrong as the customer reads it, or None when it was delivered."""
        if self.error is not None:
            return f"{self.error.code}: {self.error.detail}"
        return None if self.delivered else f"HTTP {self.status}"


class Delivered(msgspec.Struct, frozen=True):
    """The receiver took it."""


class RetryAt(msgspec.Struct, frozen=True):
    """Try once more, not before this time (aware UTC, whole milliseconds)."""

    at: datetime


class Dead(msgspec.Struct, frozen=True):
    """No attempts are left: to the dead-letter queue, with what the last attempt met."""

    reason: str


class EndpointGone(msgspec.Struct, frozen=True):
    """The receiver said 410: disable the endpoint at once; its deliveries are kept."""


Verdict = Delivered | RetryAt | Dead | EndpointGone


def judge(result: SendResult, attempt: int, now: datetime, jitter: float) -> Verdict:
    """Decide what follows `attempt` (1 for the first); `jitter` is a random share in [0, 1).

    A wait is the published step plus its jitter. Retry-After on any failed response moves it within one to
    two steps; nonsense in that header is ignored.

    Raises ValueError when `attempt` is below 1 or `jitter` is out of range.
    """
    if attempt < 1:
        message = f"attempts count from 1, not {attempt}"
        raise ValueError(message)
    if not 0 <= jitter < 1:
        message = f"jitter is a share in [0, 1), not {jitter}"
        raise ValueError(message)
    failure = result.failure
    if failure is None:
        return Delivered()
    if result.status == HTTP_GONE:
        return EndpointGone()
    if attempt >= ATTEMPTS_MAX:
        return Dead(f"{attempt} attempts failed, the last with {failure}")
    return RetryAt(
        _whole_milliseconds(now + _wait(result.retry_after, RETRY_STEPS[attempt - 1], now, jitter))
    )


def parse_retry_after(text: str, now: datetime) -> timedelta | None:
    """Read a Retry-After header (RFC 9110, 10.2.3): seconds or an HTTP date; None when it is neither.

    A date in the past is a wait of less than nothing, which the caller's lower bound takes care of.
    """
    trimmed = text.strip(" \t")
    if _DELAY_SECONDS.fullmatch(trimmed):
        # The longest wait that is ever honoured is two hours, so a huge number may be cut before it is used.
        return timedelta(seconds=min(int(trimmed), 86_400))
    if not _HTTP_DATE.fullmatch(trimmed):
        return None
    try:
        moment = parsedate_to_datetime(trimmed)
    except (ValueError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now


class EndpointHealth(msgspec.Struct, frozen=True):
    """An endpoint's run of dead deliveries and, when it must be disabled now, the reason in words."""

    consecutive_failures: int
    disable_reason: str | None = None


def health_after(consecutive_failures: int, verdict: Verdict) -> EndpointHealth:
    """Count one verdict into an endpoint's run of dead deliveries.

    A delivery ends the run, a retry leaves it, a dead one lengthens it: at 50 the endpoint is disabled. A 410
    disables at once.
    """
    match verdict:
        case Delivered():
            return EndpointHealth(0)
        case RetryAt():
            return EndpointHealth(consecutive_failures)
        case EndpointGone():
            return EndpointHealth(consecutive_failures, "the endpoint answered 410 Gone")
        case Dead():
            run = consecutive_failures + 1
            if run < DEAD_DELIVERIES_MAX:
                return EndpointHealth(run)
            return EndpointHealth(run, f"{run} deliveries in a row failed every attempt")


def _wait(retry_after: str | None, step: timedelta, now: datetime, jitter: float) -> timedelta:
    own = step * (1 + JITTER_SHARE * jitter)
    asked = parse_retry_after(retry_after, now) if retry_after is not None else None
    if asked is None:
        return own
    return max(own, min(asked, step * RETRY_AFTER_STEPS_MAX))


def _whole_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
