"""Resolves a receiver's name once and vets every address before one of them is dialled.

One answer that is not public refuses the whole name: a receiver has no reason to publish such an address, and
picking the others would let an attacker try until the wrong one is picked.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Final

from crypto_orders.domain.delivery import SendErrorCode
from crypto_orders.domain.networks import IPAddress, is_loopback, is_public
from crypto_orders.domain.webhook_url import WebhookUrl
from crypto_orders.sender.failure import AttemptFailedError

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Turns a host name into its addresses as text; raises OSError when it has none."""

LOOKUP_THREADS_MAX: Final = 64
"""Names looked up at once. A look-up cannot be cut short, so a dead name server holds its thread for half a
minute. One thread a name, and more than failing endpoints can occupy, keep it from delaying others."""


class SystemResolver:
    """Looks names up as the machine does (getaddrinfo), in own threads, one at a time for each name."""

    def __init__(self, look_up: Callable[[str], list[str]] | None = None) -> None:
        """Make a resolver; `look_up` replaces getaddrinfo and may block."""
        self._look_up = look_up or _look_up
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS_MAX, thread_name_prefix="webhook-dns")
        self._pending: dict[str, asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str) -> list[str]:
        """Return the addresses of a name in the system's order. Raises OSError when it has none."""
        pending = self._pending.get(host)
        if pending is None:
            pending = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host)
            self._pending[host] = pending
            pending.add_done_callback(lambda done: self._settled(host, done))
        # A caller that gives up must not cancel the look-up of the others who wait for the same name.
        return await asyncio.shield(pending)

    def close(self) -> None:
        """Let the threads end by themselves; look-ups that wait for one are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _settled(self, host: str, done: asyncio.Future[list[str]]) -> None:
        del self._pending[host]
        if not done.cancelled():
            done.exception()  # Everyone may have given up; then nobody else takes the exception.


async def vetted_addresses(
    url: WebhookUrl, resolve: Resolve, *, allow_loopback: bool, seconds: float
) -> tuple[IPAddress, ...]:
    """Return the addresses a URL leads to, all of them vetted, in the resolver's order.

    Raises AttemptFailedError: `dns` when the name does not resolve within `seconds`, `blocked_address` when
    any address may not be dialled.
    """
    if url.literal is not None:
        addresses: tuple[IPAddress, ...] = (url.literal,)
    else:
        addresses = await _resolved(url.host, resolve, seconds)
    if not all(may_dial(address, allow_loopback=allow_loopback) for address in addresses):
        # The address is not named: the text is the customer's to read, and our resolver may know inner names.
        raise AttemptFailedError(
            SendErrorCode.BLOCKED_ADDRESS,
            f"{url.host} leads to an address that is not on the public internet",
        )
    return addresses


def may_dial(address: IPAddress, *, allow_loopback: bool) -> bool:
    """Tell whether an address may be dialled: a public one, or loopback where a deployment allows it."""
    return is_public(address) or (allow_loopback and is_loopback(address))


async def _resolved(host: str, resolve: Resolve, seconds: float) -> tuple[IPAddress, ...]:
    try:
        async with asyncio.timeout(seconds):
            texts = await resolve(host)
        addresses = tuple(dict.fromkeys(ip_address(text) for text in texts))
    except TimeoutError:
        raise AttemptFailedError(SendErrorCode.DNS, f"{host} did not resolve within {seconds:g} s") from None
    except (OSError, ValueError):
        addresses = ()
    if not addresses:
        raise AttemptFailedError(SendErrorCode.DNS, f"{host} does not resolve to any address")
    return addresses


def _look_up(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(address[0]) for *_, address in found]
