"""One connection to a receiver: writes a request, and reads as much of the response as the limits allow.

A receiver may be hostile. Every byte is counted before it is parsed, interim responses are few, and only the
start of the body is read: what comes after the head never decides anything.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

import httptools
import msgspec

from crypto_orders.domain.delivery import SendErrorCode
from crypto_orders.sender.failure import AttemptFailedError

HEAD_BYTES_MAX: Final = 32 * 1024
"""Bytes of status line and headers, interim responses included; common servers stop at 8 to 16 KiB."""

INTERIM_RESPONSES_MAX: Final = 8
"""Responses of status 1xx before the final one; two (100 and 103) are as many as have a use."""

BODY_BYTES_MAX: Final = 4 * 1024
"""Bytes of the body that are read and kept for the excerpt; the rest is cut off with the connection."""

BODY_WIRE_BYTES_MAX: Final = 16 * 1024
"""Bytes read after the head: chunk headers and their extensions must not be a way around the body's limit."""

RETRY_AFTER_BYTES_MAX: Final = 64
"""Bytes of Retry-After that are kept; the longest HTTP date has 33."""

_FIRST_FINAL_STATUS: Final = 200
_SPOKE_UNASKED: Final = "the receiver spoke before it was asked, so it is no HTTP server"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of a response."""

    status: int
    retry_after: str | None
    body_start: bytes
    """The first bytes of the body, empty when it came encoded in spite of `Accept-Encoding: identity`."""
    reusable: bool
    """Whether the response ended where it said it would, and the receiver keeps the connection open."""


class Connection(asyncio.Protocol):
    """A connection that carries one exchange at a time; anything received between exchanges closes it."""

    __slots__ = (
        "_exchange",
        "_expiry",
        "_on_lost",
        "_reuse_seconds",
        "_spoke_unasked",
        "_transport",
        "peer",
        "usable",
    )

    def __init__(self, peer: str, reuse_seconds: float, on_lost: Callable[["Connection"], None]) -> None:
        """Make a connection for use within `reuse_seconds` that calls `on_lost` once it is closed."""
        self.peer = peer
        """The address that was dialled."""
        self.usable = True
        """Whether another exchange may begin on it: it is open and young enough."""
        self._reuse_seconds = reuse_seconds
        self._on_lost = on_lost
        self._spoke_unasked = False
        self._exchange: _Exchange | None = None
        self._transport: asyncio.Transport | None = None
        self._expiry: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport and start the clock of its reuse (called by the event loop)."""
        self._transport = cast("asyncio.Transport", transport)
        self._expiry = asyncio.get_running_loop().call_later(self._reuse_seconds, self._expire)

    def data_received(self, data: bytes) -> None:
        """Feed the exchange under way; unasked bytes close the connection (called by the event loop)."""
        if self._exchange is None or self._exchange.done.done():
            self._spoke_unasked = True
            self.abort()
        else:
            self._exchange.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange under way with what it has (called by the event loop)."""
        del exc
        self.usable = False
        if self._expiry is not None:
            self._expiry.cancel()
        if self._exchange is not None:
            self._exchange.cut_off()
        self._on_lost(self)

    async def exchange(self, request: bytes, deadline: float, body_seconds: float) -> Answer:
        """Write a request and return what came: all of the response, or its head and the body's start.

        The body is waited for until `body_seconds` after the head, and nothing beyond `deadline` (a time of
        the event loop's clock). Raises AttemptFailedError when there is no complete head by then: `timeout`,
        `reset` or `bad_response`. After anything but a reusable answer the connection is closed.
        """
        if self._spoke_unasked:
            raise AttemptFailedError(SendErrorCode.BAD_RESPONSE, _SPOKE_UNASKED)
        transport = self._transport
        if transport is None or transport.is_closing():
            raise _ended_early()
        exchange = _Exchange(asyncio.get_running_loop(), deadline, body_seconds)
        self._exchange = exchange
        reusable = False
        try:
            transport.write(request)
            answer = await exchange.done
            reusable = answer.reusable
            return answer
        finally:
            self._exchange = None
            exchange.close()
            if not reusable:
                self.abort()

    def abort(self) -> None:
        """Close at once, without a farewell that a silent receiver could drag out."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def _expire(self) -> None:
        self.usable = False
        if self._exchange is None:
            self.abort()


class _Exchange:
    """Reads one response under the limits; the methods named on_… are called by the parser."""

    __slots__ = (
        "_body",
        "_body_seconds",
        "_complete",
        "_deadline",
        "_encoded",
        "_head_room",
        "_interim",
        "_keep_alive",
        "_loop",
        "_parser",
        "_retry_after",
        "_status",
        "_timer",
        "_wire_room",
        "done",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, deadline: float, body_seconds: float) -> None:
        self.done: asyncio.Future[Answer] = loop.create_future()
        self._loop = loop
        self._deadline = deadline
        self._body_seconds = body_seconds
        self._timer = loop.call_at(deadline, self._time_over)
        self._parser = httptools.HttpResponseParser(self)
        # A line feed alone ends lines in careless scripts. It is no danger here, where one request gets one
        # response on a connection and nobody passes it on.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)
        self._head_room = HEAD_BYTES_MAX
        self._wire_room = BODY_WIRE_BYTES_MAX
        self._interim = 0
        self._status = 0
        self._retry_after: str | None = None
        self._encoded = False
        self._body = b""
        self._complete = False
        self._keep_alive = False

    def close(self) -> None:
        """Stop the clock and let the parser go, which holds on to this object; nothing is read any more."""
        self._timer.cancel()
        del self._parser

    def feed(self, data: bytes) -> None:
        """Parse received bytes, as many as the limits have room for."""
        while data and not self.done.done():
            in_head = self._status == 0
            room = self._head_room if in_head else self._wire_room
            if room == 0:
                self._stop_at_limit()
                return
            piece, data = data[:room], data[room:]
            if in_head:
                self._head_room -= len(piece)
            else:
                self._wire_room -= len(piece)
            self._parse(piece, more_follows=bool(data))
            if in_head and self._status and not self._complete:
                self._wait_for_body()

    def cut_off(self) -> None:
        """Take the end of the connection: the end of the response, if its head was complete."""
        if self._status:
            self._finish(reusable=False)
        else:
            self._fail(_ended_early())

    def on_message_begin(self) -> None:
        """Notice a second final response, which nobody asked for."""
        if self._complete:
            self._finish(reusable=False)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the two headers that matter."""
        lowered = name.lower()
        if lowered == b"retry-after":
            self._retry_after = value[:RETRY_AFTER_BYTES_MAX].decode("latin-1")
        elif lowered == b"content-encoding":
            self._encoded = value.lower() != b"identity"

    def on_headers_complete(self) -> None:
        """Take the status of a final response; count an interim one."""
        status = self._parser.get_status_code()
        if status >= _FIRST_FINAL_STATUS:
            self._status = status
            return
        self._interim += 1
        self._retry_after, self._encoded = None, False
        if self._interim > INTERIM_RESPONSES_MAX:
            self._fail(_bad_response(f"more than {INTERIM_RESPONSES_MAX} interim responses (1xx)"))

    def on_body(self, data: bytes) -> None:
        """Keep the start of the body; more than that ends the reading."""
        room = BODY_BYTES_MAX - len(self._body)
        self._body += data[:room]
        if len(data) > room:
            self._finish(reusable=False)

    def on_message_complete(self) -> None:
        """Remember that the final response ended, and whether the connection may stay open after it."""
        if self._status:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()

    def _parse(self, piece: bytes, *, more_follows: bool) -> None:
        try:
            self._parser.feed_data(piece)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self._status:
                self._finish(reusable=False)
            else:
                self._fail(_bad_response("the response is not HTTP/1.1"))
            return
        if self._complete:
            self._finish(reusable=self._keep_alive and not more_follows)

    def _wait_for_body(self) -> None:
        self._timer.cancel()
        at = min(self._deadline, self._loop.time() + self._body_seconds)
        self._timer = self._loop.call_at(at, self._time_over)

    def _time_over(self) -> None:
        if self._status:
            self._finish(reusable=False)
        else:
            self._fail(AttemptFailedError(SendErrorCode.TIMEOUT, "no complete response head in time"))

    def _stop_at_limit(self) -> None:
        if self._status:
            self._finish(reusable=False)
        else:
            self._fail(_bad_response(f"the response head is longer than {HEAD_BYTES_MAX // 1024} KiB"))

    def _finish(self, *, reusable: bool) -> None:
        if not self.done.done():
            self.done.set_result(
                Answer(
                    status=self._status,
                    retry_after=self._retry_after,
                    body_start=b"" if self._encoded else self._body,
                    reusable=reusable,
                )
            )

    def _fail(self, failure: AttemptFailedError) -> None:
        if not self.done.done():
            self.done.set_exception(failure)


def _ended_early() -> AttemptFailedError:
    return AttemptFailedError(SendErrorCode.RESET, "the connection ended before a complete response head")


def _bad_response(detail: str) -> AttemptFailedError:
    return AttemptFailedError(SendErrorCode.BAD_RESPONSE, detail)
