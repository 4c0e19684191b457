"""One HTTP request to the provider, bounded in time and bytes; every way it can end is a value."""

import asyncio
import ssl
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Struct

ANSWER_BYTES_MAX = 256 * 1024
"""The longest answer read; the list of all coins has some 10 KiB."""

CONNECTIONS_MAX = 32
"""Connections of this process to the provider; more calls than these at once wait within their deadlines."""

KEEP_ALIVE_SECONDS = 15.0

_READ_BYTES = 64 * 1024
_API_PATH = "/v1"


class Reply(Struct, frozen=True):
    """An answer that came whole: its HTTP status and its body."""

    status: int
    body: bytes


class Failure(Struct, frozen=True):
    """No whole answer came. ``sent`` is false only when surely nothing of the request left."""

    reason: str
    sent: bool


class Transport:
    """Sends requests to one address: no redirects, proxies, cookies or decompression; TLS is verified."""

    def __init__(self, base_url: str, headers: Mapping[str, str], tls: ssl.SSLContext | None = None) -> None:
        """Take an http(s) address with or without the ``/v1`` that starts every path of the API.

        ``tls`` stands in for the system's certificate authorities. Raises ValueError for another address.
        """
        url = urlsplit(base_url.rstrip("/"))
        is_plain = "@" not in url.netloc and not url.query and not url.fragment
        if url.scheme not in {"http", "https"} or not url.hostname or not is_plain:
            msg = "the provider's address has to be a plain http or https address"
            raise ValueError(msg)
        self._base = url.geturl() if url.path.endswith(_API_PATH) else url.geturl() + _API_PATH
        self._headers = {"Accept": "application/json", "Accept-Encoding": "identity", **headers}
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Get ready to connect; nothing is sent yet."""
        tracing = aiohttp.TraceConfig()
        tracing.on_request_headers_sent.append(_note_sent)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX, keepalive_timeout=KEEP_ALIVE_SECONDS, ssl=self._tls or True
            ),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            trace_configs=[tracing],
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self,
        method: str,
        path: str,
        *,
        deadline_seconds: float,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply | Failure:
        """Send a request and read the whole answer, all of it within the deadline on the wall clock."""
        if self._session is None:
            msg = "the client is used outside its context"
            raise RuntimeError(msg)
        progress = SimpleNamespace(sent=False)
        try:
            async with (
                asyncio.timeout(deadline_seconds),
                self._session.request(
                    method,
                    self._base + path,
                    params=query,
                    data=body,
                    headers={"Content-Type": "application/json"} if body is not None else None,
                    allow_redirects=False,
                    trace_request_ctx=progress,
                ) as response,
            ):
                return await _read(response)
        except TimeoutError:
            return Failure("timeout", progress.sent)
        except aiohttp.ClientConnectorError as error:
            return Failure(_connect_reason(error), sent=False)
        except aiohttp.ServerDisconnectedError:
            return Failure("connection_lost", progress.sent)
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
            return Failure(_broken_reason(error), progress.sent)


async def _note_sent(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    """Note that a request is about to leave; called before its first byte is written."""
    context.trace_request_ctx.sent = True


async def _read(response: aiohttp.ClientResponse) -> Reply | Failure:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_READ_BYTES):
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            response.close()
            return Failure("answer_too_large", sent=True)
    return Reply(response.status, bytes(body))


def _connect_reason(error: aiohttp.ClientConnectorError) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "name_not_resolved"
        case aiohttp.ClientSSLError():
            return "tls_failed"
        case _:
            return "not_connected"


def _broken_reason(error: Exception) -> str:
    match error:
        case aiohttp.ClientPayloadError():
            return "answer_cut_off"
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return "not_http"
        case _:
            return "connection_lost"
