"""Sends one webhook attempt at a time to a URL that a customer chose, without trusting it in anything.

Why no general HTTP client: those at hand do not bound interim responses, tie a connection to one endpoint,
end its reuse by age, or show the peer before the request has gone out; and they take twice the time or more.
"""

import asyncio
import re
import ssl
from collections.abc import Iterable
from functools import partial
from types import TracebackType
from typing import Final, Self

import msgspec

from crypto_orders.domain.delivery import SendError, SendErrorCode, SendResult
from crypto_orders.domain.networks import IPAddress
from crypto_orders.domain.webhook_url import UrlPolicy, WebhookUrl, WebhookUrlError, parse_webhook_url
from crypto_orders.sender.addresses import Resolve, SystemResolver, vetted_addresses
from crypto_orders.sender.connection import Answer, Connection
from crypto_orders.sender.dialling import dial
from crypto_orders.sender.excerpt import excerpt_of
from crypto_orders.sender.failure import AttemptFailedError
from crypto_orders.sender.pool import ConnectionPool, PoolKey

REQUEST_BYTES_MAX: Final = 20 * 1024
"""Bytes of a whole request. Ours are a tenth of it, and any receiver takes that much."""

URLS_KEPT_MAX: Final = 4096
"""Parsed URLs kept for the next attempt; a full table is emptied."""

_LINE_BREAKER: Final = re.compile(r"[\r\n\0]")


class SenderLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long an attempt may take, in seconds."""

    attempt_seconds: float = 10.0
    """The whole attempt by the wall clock, from the look-up to the end of reading."""
    dns_seconds: float = 3.0
    connect_seconds: float = 5.0
    """TCP and TLS together, over all addresses that are tried."""
    body_seconds: float = 1.0
    """What the body may take after the head; it serves the excerpt alone."""
    reuse_seconds: float = 30.0
    """The age at which a connection is no longer used: names change, and only a new dial is vetted again."""


class WebhookSender:
    """Sends webhooks; one for a process, closed at its end.

    `user_agent` is sent as it is. `resolve` replaces the machine's look-up of names, `tls` its trust in
    certificates. No environment variable (proxies, certificate files of other programs) has an influence on
    where a request goes.
    """

    def __init__(
        self,
        *,
        user_agent: str,
        policy: UrlPolicy,
        limits: SenderLimits | None = None,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._user_agent = user_agent
        self._policy = policy
        self._limits = limits or SenderLimits()
        self._system_resolver = SystemResolver()
        self._resolve: Resolve = resolve or self._system_resolver
        self._tls = tls or tls_context()
        self._pool = ConnectionPool()
        self._targets: dict[str, _Target] = {}

    async def __aenter__(self) -> Self:
        """Return the sender."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the sender."""
        self.close()

    def close(self) -> None:
        """Close idle connections and let the look-up threads end."""
        self._pool.close()
        self._system_resolver.close()

    async def send(
        self, endpoint: str, url: str, headers: Iterable[tuple[str, str]], body: bytes
    ) -> SendResult:
        """POST a body once and tell what came of it; whatever a receiver does is a result, not an exception.

        `endpoint` names the endpoint: connections are kept for it alone. `headers` are the attempt's own.
        Raises ValueError when the request is impossible: a header that is not ASCII or holds a line break, or
        a request of more than 20 KiB.
        """
        now = asyncio.get_running_loop().time
        started = now()
        attempt = _Attempt(endpoint, started + self._limits.attempt_seconds)
        answer: Answer | None = None
        error: SendError | None = None
        try:
            target = self._target(url)
            answer = await self._answer(attempt, target, _request(target, headers, body))
        except AttemptFailedError as failed:
            error = failed.error
        return SendResult(
            elapsed_ms=round((now() - started) * 1000),
            status=answer.status if answer else None,
            error=error,
            excerpt=excerpt_of(answer.body_start) if answer else None,
            retry_after=answer.retry_after if answer else None,
            dialled_ip=attempt.dialled_ip,
        )

    async def leads_to_blocked_address(self, url: WebhookUrl) -> bool:
        """Tell whether a URL leads to a forbidden address right now, for refusing it when it is saved.

        A name that does not resolve is no reason: its owner may publish it later, and sending vets again.
        """
        try:
            await self._vetted(url, self._limits.dns_seconds)
        except AttemptFailedError as failed:
            return failed.error.code is SendErrorCode.BLOCKED_ADDRESS
        return False

    async def _answer(self, attempt: "_Attempt", target: "_Target", request: bytes) -> Answer:
        key = PoolKey(attempt.endpoint, target.url.tls, target.url.host, target.url.port)
        connection = self._pool.take(key)
        if connection is not None:
            try:
                return await self._exchanged(attempt, key, connection, request)
            except AttemptFailedError as failed:
                # The receiver may have closed the kept connection just as it was used again, which says
                # nothing of the endpoint. Should it have taken the request, the repeat has the same id.
                if failed.error.code is not SendErrorCode.RESET:
                    raise
                attempt.dialled_ip = None
        return await self._exchanged(attempt, key, await self._dialled(attempt, key, target.url), request)

    async def _exchanged(
        self, attempt: "_Attempt", key: PoolKey, connection: Connection, request: bytes
    ) -> Answer:
        attempt.dialled_ip = connection.peer
        answer = await connection.exchange(request, attempt.deadline, self._limits.body_seconds)
        if answer.reusable:
            self._pool.put(key, connection)
        return answer

    async def _dialled(self, attempt: "_Attempt", key: PoolKey, url: WebhookUrl) -> Connection:
        addresses = await self._vetted(url, self._time_left(attempt, self._limits.dns_seconds))
        attempt.dialled_ip = str(addresses[0])
        return await dial(
            url,
            addresses,
            self._tls if url.tls else None,
            lambda peer: Connection(str(peer), self._limits.reuse_seconds, partial(self._pool.discard, key)),
            self._time_left(attempt, self._limits.connect_seconds),
        )

    async def _vetted(self, url: WebhookUrl, seconds: float) -> tuple[IPAddress, ...]:
        return await vetted_addresses(
            url, self._resolve, allow_loopback=self._policy.allow_insecure, seconds=seconds
        )

    def _time_left(self, attempt: "_Attempt", at_most: float) -> float:
        return min(at_most, attempt.deadline - asyncio.get_running_loop().time())

    def _target(self, text: str) -> "_Target":
        """Read a stored URL under the rules of now, or recall it. Raises AttemptFailedError."""
        if (known := self._targets.get(text)) is not None:
            return known
        try:
            url = parse_webhook_url(text, self._policy)
        except WebhookUrlError as refused:
            raise AttemptFailedError(SendErrorCode.BAD_URL, str(refused)) from None
        if len(self._targets) >= URLS_KEPT_MAX:
            self._targets.clear()
        target = self._targets[text] = _Target(url, _request_start(url, self._user_agent))
        return target


class _Attempt:
    """What one attempt knows of itself while it runs."""

    __slots__ = ("deadline", "dialled_ip", "endpoint")

    def __init__(self, endpoint: str, deadline: float) -> None:
        self.endpoint = endpoint
        self.deadline = deadline
        self.dialled_ip: str | None = None


class _Target(msgspec.Struct, frozen=True):
    """A URL as it was read, and the part of the request that is the same for every attempt to it."""

    url: WebhookUrl
    request_start: str


def tls_context(trusted_pem: str | None = None) -> ssl.SSLContext:
    """Verify names and certificates, by the machine's authorities or the given ones; TLS 1.2 or newer."""
    context = ssl.create_default_context(cadata=trusted_pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _request_start(url: WebhookUrl, user_agent: str) -> str:
    return (
        f"POST {url.target} HTTP/1.1\r\n"
        f"Host: {url.host_header}\r\n"
        f"User-Agent: {user_agent}\r\n"
        "Accept: */*\r\n"
        "Accept-Encoding: identity\r\n"
        "Content-Type: application/json\r\n"
    )


def _request(target: _Target, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    lines = [f"{name}: {value}" for name, value in headers]
    if _LINE_BREAKER.search(" ".join(lines)):
        message = "a header holds a line break"
        raise ValueError(message)
    fields = "\r\n".join(lines)
    head = f"{target.request_start}Content-Length: {len(body)}\r\n{fields}\r\n\r\n"
    request = head.encode("ascii") + body
    if len(request) > REQUEST_BYTES_MAX:
        message = f"a webhook request has at most {REQUEST_BYTES_MAX} bytes, not {len(request)}"
        raise ValueError(message)
    return request
