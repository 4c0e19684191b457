"""Dials vetted addresses by number, and makes sure of the peer before a single byte is sent."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Final

from crypto_orders.domain.delivery import SendErrorCode
from crypto_orders.domain.networks import IPAddress
from crypto_orders.domain.webhook_url import WebhookUrl
from crypto_orders.sender.connection import Connection
from crypto_orders.sender.failure import AttemptFailedError

DIALS_MAX: Final = 4
"""Addresses of a name that are tried in one attempt; all of them are vetted, however many there are."""


async def dial(
    url: WebhookUrl,
    addresses: Sequence[IPAddress],
    tls: ssl.SSLContext | None,
    make_connection: Callable[[IPAddress], Connection],
    seconds: float,
) -> Connection:
    """Connect to the first address that takes it, within `seconds` for all of them and the TLS handshake.

    The addresses must have been vetted. TLS verifies the URL's host name, whatever address was dialled.
    Raises AttemptFailedError: `connect`, `timeout`, `tls`, or `blocked_address` when the peer is not the
    address that was dialled.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    tried = addresses[:DIALS_MAX]
    refusal = f"no connection within {seconds:g} s"
    code = SendErrorCode.TIMEOUT
    for position, address in enumerate(tried):
        # Each address gets its share of what is left, so that a silent one does not use up all the time.
        share = (deadline - loop.time()) / (len(tried) - position)
        try:
            sock = await _connected(address, url.port, share)
        except TimeoutError:
            continue
        except OSError as error:
            code, refusal = SendErrorCode.CONNECT, f"connection refused or unreachable ({error.strerror})"
            continue
        _check_peer(sock, address)
        return await _wrapped(sock, url, tls, lambda at=address: make_connection(at), deadline)
    raise AttemptFailedError(code, refusal)


async def _connected(address: IPAddress, port: int, seconds: float) -> socket.socket:
    """Connect a socket to a number. Raises OSError, which TimeoutError is too."""
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(0)
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
    except BaseException:
        sock.close()
        raise
    return sock


def _check_peer(sock: socket.socket, address: IPAddress) -> None:
    """Make sure that the socket leads to the vetted address, whatever stands between it and the network."""
    try:
        peer = ip_address(sock.getpeername()[0])
    except OSError:
        peer = None
    if peer == address:
        return
    sock.close()
    if peer is None:
        raise AttemptFailedError(SendErrorCode.RESET, "the connection ended before a complete response head")
    raise AttemptFailedError(
        SendErrorCode.BLOCKED_ADDRESS, "the connection led to an address that was not dialled"
    )


async def _wrapped(
    sock: socket.socket,
    url: WebhookUrl,
    tls: ssl.SSLContext | None,
    make_connection: Callable[[], Connection],
    deadline: float,
) -> Connection:
    """Turn a connected socket into a connection, with TLS where the URL asks for it."""
    try:
        async with asyncio.timeout_at(deadline):
            _, connection = await asyncio.get_running_loop().create_connection(
                make_connection, sock=sock, ssl=tls, server_hostname=url.host if tls else None
            )
    except BaseException as error:
        sock.close()
        if (failure := _handshake_failure(error)) is not None:
            raise failure from None
        raise
    return connection


def _handshake_failure(error: BaseException) -> AttemptFailedError | None:
    match error:
        case ssl.SSLCertVerificationError():
            return AttemptFailedError(SendErrorCode.TLS, f"certificate not accepted: {error.verify_message}")
        case ssl.SSLError():
            reason = (error.reason or "unknown reason").replace("_", " ").lower()
            return AttemptFailedError(SendErrorCode.TLS, f"TLS handshake failed: {reason}")
        case TimeoutError():
            return AttemptFailedError(SendErrorCode.TIMEOUT, "no TLS handshake in time")
        case OSError():
            return AttemptFailedError(SendErrorCode.TLS, "the connection ended during the TLS handshake")
        case _:
            return None
