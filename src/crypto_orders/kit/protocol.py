"""Speak HTTP/1.1 on a socket: uvicorn's protocol with bounds of size and time and unambiguous framing."""

import asyncio
import re
import secrets
import socket
from asyncio.events import TimerHandle
from collections import Counter
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from crypto_orders.kit import log
from crypto_orders.kit.problem import PROBLEM_MEDIA_TYPE, Problem, bad_request, render

_log = log.get()

# A request line as far as it is needed to answer a method that the parser does not know.
_REQUEST_LINE = re.compile(
    rb"(?P<method>[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) "
    rb"(?P<path>/[!-\"$->@-~]*)(?:\?(?P<query>[!-~]*))? HTTP/1\.[01]\r\n"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may take of us."""

    # Request line and headers. Every one of ours fits in a few hundred bytes.
    head_bytes_max: int = 16 * 1024
    headers_max: int = 100
    # From the first wait for a request (or its first byte) to the end of its headers.
    head_seconds_max: float = 8.0
    # An idle connection between two requests.
    idle_seconds_max: int = 10
    # A client that reads nothing of its answer for so long is cut off, with whatever the answer holds open.
    write_stall_seconds_max: float = 20.0
    # After an answer to a request that was not read to its end: time for the client to notice.
    linger_seconds: float = 2.0
    # The body of a request that was answered without it: up to this it is skipped and the connection goes on.
    skipped_bytes_max: int = 64 * 1024
    # Requests sent ahead without waiting for answers.
    pipelined_max: int = 16


class HardenedProtocol(HttpToolsProtocol):
    """One connection. ``serving`` makes the class for a server's limits and problem types."""

    limits = Limits()
    type_base = "about:blank"

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_timer: TimerHandle | None = None
        self._write_timer: TimerHandle | None = None
        # A head has begun and is not complete; and how many bytes of it came in reads of their own.
        self._head_open = False
        self._head_bytes = 0
        self._begun = 0
        self._body_is_short = True
        self._deaf = False
        self._refusal = ""

    # -- the connection ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: a connection that says nothing is closed."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.limits.head_seconds_max, self._head_is_late)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in {socket.AF_INET, socket.AF_INET6}:
            # What the write timer does for us, the kernel does for bytes it holds after we closed.
            stall = int(self.limits.write_stall_seconds_max * 1000)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stall)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop every clock."""
        self._stop_head_timer()
        self.resume_writing()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; refuse the connection at the first thing that could be read in two ways."""
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        was_open, was_idle, begun_before = self._head_open, self._is_idle(), self._begun
        try:
            cast("httptools.HttpRequestParser", self.parser).feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request itself was taken; the connection ends after its answer.
            self._deaf = True
            return
        except httptools.HttpParserError:
            self._refuse(b"" if was_open else data)
            return
        if self._head_open and (was_open or (was_idle and self._begun == begun_before + 1)):
            # All of it belongs to the head. Of a head that began behind other requests, nothing is counted
            # until more of it comes; one read is bounded by itself.
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.head_bytes_max:
                self._refusal = self._head_too_large()
                self._refuse(b"")
                return
        if self._head_timer is None and (self._head_open or self._is_idle()):
            self._head_timer = self.loop.call_later(self.limits.head_seconds_max, self._head_is_late)

    def _is_idle(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    # -- the parser's callbacks ----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request starts; its head is not complete."""
        self._head_open = True
        self._head_bytes = 0
        self._begun += 1
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, but no trailer: fields after the body must not pass for headers."""
        if self._head_open:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete: check it, then let the application answer."""
        self._refusal = self._fault_of_head()
        if self._refusal:
            raise ValueError(self._refusal)
        self._head_open = False
        self._stop_head_timer()
        super().on_headers_complete()
        if self._asks_for_upgrade():
            self.cycle.keep_alive = False

    def _asks_for_upgrade(self) -> bool:
        return cast("httptools.HttpRequestParser", self.parser).should_upgrade()

    def _fault_of_head(self) -> str:
        limits = self.limits
        if len(self.headers) > limits.headers_max:
            return f"A request may have at most {limits.headers_max} headers."
        if (
            len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            > limits.head_bytes_max
        ):
            return self._head_too_large()
        if len(self.pipeline) >= limits.pipelined_max:
            return "Too many requests were sent ahead of their answers."
        version = cast("httptools.HttpRequestParser", self.parser).get_http_version()
        if version not in {"1.0", "1.1"}:
            return "Only HTTP/1.1 is spoken here."
        names = Counter(name for name, _ in self.headers)
        if names[b"host"] > 1 or (version == "1.1" and not names[b"host"]):
            return "A request needs exactly one Host header."
        return self._fault_of_framing(dict(self.headers), version)

    def _fault_of_framing(self, headers: dict[bytes, bytes], version: str) -> str:
        """The parser refuses both lengths at once and folded lines; this is what it lets pass."""
        coding = headers.get(b"transfer-encoding")
        if coding is not None and (version != "1.1" or coding.lower() != b"chunked"):
            return "The only transfer coding taken is chunked, in HTTP/1.1."
        length = int(headers.get(b"content-length", b"0"))
        has_body = coding is not None or length > 0
        self._body_is_short = coding is None and length <= self.limits.skipped_bytes_max
        if has_body and self._asks_for_upgrade():
            return "A request with a body cannot ask for another protocol: leave the Upgrade header out."
        return ""

    # -- refusals ------------------------------------------------------------------------------------

    def _head_too_large(self) -> str:
        return f"Request line and headers may have at most {self.limits.head_bytes_max} bytes."

    def _refuse(self, data: bytes) -> None:
        """End the connection, with an answer where one cannot be taken for that of another request."""
        self._deaf = True
        self._stop_head_timer()
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None or cycle.response_complete:
            self._answer_refusal(data)
        elif not cycle.more_body:
            # Earlier requests are still being answered: finish those, then close.
            cycle.keep_alive = False
        else:
            # The body of the newest request is broken; its handler must not see a shorter one.
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started or self.pipeline:
                self.transport.close()
            else:
                self._answer_refusal(data)

    def _answer_refusal(self, data: bytes) -> None:
        found = _REQUEST_LINE.match(data)
        if found and not self._refusal and not self.url:
            self._answer_unknown_method(found["method"], found["path"], found["query"] or b"")
            return
        self._write_problem(bad_request(self._refusal or "This is no valid HTTP request."))

    def _answer_unknown_method(self, method: bytes, path: bytes, query: bytes) -> None:
        """Let the application say what is allowed on the path; the parser itself stops at the method."""
        super().on_message_begin()
        self.scope["method"] = method.decode("ascii")
        self.scope["path"] = unquote(path.decode("ascii"))
        self.scope["raw_path"] = path
        self.scope["query_string"] = query
        self.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )
        self.cycle.more_body = False
        app = cast("ASGI3Application", self.app)  # pyright: ignore[reportUnknownMemberType] - untyped there
        self._start_asgi_task(self.cycle, app)

    def _write_problem(self, problem: Problem) -> None:
        request_id = f"req_{secrets.token_hex(16)}"
        body = render(problem, type_base=self.type_base, request_id=request_id)
        headers = [
            *self.server_state.default_headers,
            (b"content-type", PROBLEM_MEDIA_TYPE.encode("ascii")),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store, private"),
            (b"x-request-id", request_id.encode("ascii")),
            CLOSE_HEADER,
        ]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[problem.status] + lines + b"\r\n" + body)
        _log.info("connection_refused", request_id=request_id, status=problem.status, detail=problem.detail)
        self._linger()

    def _linger(self) -> None:
        """Close our side and read on for a while: closing at once would destroy the answer under way."""
        self._deaf = True
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(self.limits.linger_seconds, self.transport.close)

    # -- clocks --------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """An answer was sent. A long body that was not read to its end takes the connection with it."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        is_unread = cycle is not None and cycle.response_complete and cycle.more_body
        if is_unread and not self._body_is_short and not self.pipeline:
            self.server_state.total_requests += 1
            self._linger()
            return
        super().on_response_complete()

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if not self._is_idle():
            # The client sends ahead while it is being answered; the wait counts from the answer's end.
            self._head_timer = self.loop.call_later(self.limits.head_seconds_max, self._head_is_late)
        elif self._head_open:
            seconds = self.limits.head_seconds_max
            self._write_problem(bad_request(f"The request did not arrive within {seconds:g} s."))
        else:
            self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def pause_writing(self) -> None:
        """The client does not keep up; from here on it has a limited time."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(
                self.limits.write_stall_seconds_max, self.transport.abort
            )

    def resume_writing(self) -> None:
        """The client took what was waiting."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def serving(type_base: str, limits: Limits | None = None) -> type[HardenedProtocol]:
    """The protocol class of one server: its errors stand under ``type_base``, its bounds are ``limits``."""
    return type("ServedProtocol", (HardenedProtocol,), {"type_base": type_base, "limits": limits or Limits()})
