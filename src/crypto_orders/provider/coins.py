"""The provider's list of coins, kept for a while and older rather than not at all."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from crypto_orders.provider.outcomes import Currencies, NoAnswer

FRESH_SECONDS = 300.0
"""How long a list serves before it is asked for again; coins are switched on and off some times a week."""

RETRY_SECONDS = 30.0
"""How long nobody asks again after a failure, so that not every checkout waits for a silent provider."""


class CoinList:
    """One list for the process, asked for by one task at a time; only the very first one is waited for."""

    def __init__(
        self, fetch: Callable[[], Awaitable[Currencies | NoAnswer]], clock: Callable[[], float]
    ) -> None:
        """Take what asks for the list, within a deadline of its own, and a clock of steady seconds."""
        self._fetch = fetch
        self._clock = clock
        self._codes: frozenset[str] | None = None
        self._ask_at = clock()
        self._asking: asyncio.Task[None] | None = None

    async def known(self) -> frozenset[str] | None:
        """Return the codes of the last list; None when there never was one."""
        if self._asking is None and self._clock() >= self._ask_at:
            self._asking = asyncio.create_task(self._ask())
        if self._codes is None and self._asking is not None:
            await asyncio.shield(self._asking)
        return self._codes

    async def close(self) -> None:
        """Give up a question that is still open."""
        if self._asking is not None:
            self._asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._asking

    async def _ask(self) -> None:
        try:
            answer = await self._fetch()
            if isinstance(answer, Currencies):
                self._codes = answer.codes
                self._ask_at = self._clock() + FRESH_SECONDS
            else:
                self._ask_at = self._clock() + RETRY_SECONDS
        finally:
            self._asking = None
