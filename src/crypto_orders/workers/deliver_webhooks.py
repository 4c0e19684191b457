"""Delivers webhooks: many attempts side by side, none of which can keep another endpoint's waiting."""

import asyncio
from collections import Counter
from types import TracebackType
from typing import Final, Self
from uuid import UUID

from crypto_orders.kit import log
from crypto_orders.kit.sealing import SealBrokenError
from crypto_orders.store.delivery_queue import Claimed, Slots
from crypto_orders.usecases import deliveries
from crypto_orders.usecases.deliveries import Outcome
from crypto_orders.usecases.deployment import Webhooks
from crypto_orders.usecases.signing_keys import SigningKeys

ATTEMPTS_MAX: Final = 256
"""Attempts of one process in flight. Each is a socket and, with TLS, some hundred kilobytes."""

ATTEMPTS_PER_ENDPOINT_MAX: Final = 4
"""What one endpoint can hold of them, however long it takes to answer."""

UNPROVEN_ATTEMPTS_MAX: Final = 32
"""What endpoints whose last attempt did not succeed can hold together, so that the others go on."""

PAUSE_SECONDS: Final = 0.25
"""Between two looks for events, and for what is due: a first attempt starts within a second of the commit."""

GATHER_SECONDS: Final = 0.01
"""What is found, freed or ended within this time goes in one transaction, while there is much of it."""

SETTLE_BATCH: Final = 1000
UNSETTLED_MAX: Final = 2000
"""Attempts that ended and wait to be settled; beyond it none begin, since the database does not keep up."""

SETTLE_TRIES: Final = 3
"""The lease outlasts the tries; what cannot be settled is sent again with the same id."""

SETTLE_PAUSE_SECONDS: Final = 1.0

_log = log.get()


class Courier:
    """Keeps attempts in flight for as long as its context lasts; leaving it waits for those under way."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks
        self._keys = SigningKeys(webhooks.sealer)
        self._running: Counter[UUID] = Counter()
        self._unproven: Counter[UUID] = Counter()
        self._attempts: set[asyncio.Task[None]] = set()
        self._outcomes: list[Outcome] = []
        self._settling: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Return the courier."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the attempts under way, each at most ten seconds, and settle them."""
        while self._attempts or self._settling is not None:
            waiting = {*self._attempts, *([self._settling] if self._settling else [])}
            await asyncio.wait(waiting)

    async def fan_out(self) -> int:
        """Make the deliveries of new events; how many events there were."""
        done = await deliveries.fan_out(self._webhooks.pool)
        if done:
            self._wake.set()
        if 0 < done < deliveries.FAN_OUT_BATCH:
            await asyncio.sleep(GATHER_SECONDS)
        return done

    async def run(self) -> int:
        """Begin attempts at what is due, as far as there is room; how many.

        When there is none, wait a moment for new deliveries, or for attempts to end and make room.
        """
        self._wake.clear()
        slots = self._slots()
        claimed = await deliveries.claim(self._webhooks.pool, slots) if slots.free > 0 else []
        for each in claimed:
            self._begin(each)
        if claimed:
            await asyncio.sleep(GATHER_SECONDS)
            return len(claimed)
        try:
            async with asyncio.timeout(PAUSE_SECONDS):
                await self._wake.wait()
                await asyncio.sleep(GATHER_SECONDS)
        except TimeoutError:
            pass
        return 0

    def _slots(self) -> Slots:
        return Slots(
            free=min(ATTEMPTS_MAX - self._running.total(), UNSETTLED_MAX - len(self._outcomes)),
            unproven=UNPROVEN_ATTEMPTS_MAX - self._unproven.total(),
            per_endpoint=ATTEMPTS_PER_ENDPOINT_MAX,
            running=tuple(self._running.items()),
        )

    def _begin(self, claimed: Claimed) -> None:
        self._running[claimed.endpoint_id] += 1
        if not claimed.proven:
            self._unproven[claimed.endpoint_id] += 1
        task = asyncio.create_task(self._attempt(claimed), name=f"webhook {claimed.delivery_id}")
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)

    async def _attempt(self, claimed: Claimed) -> None:
        try:
            outcome = await deliveries.attempt(self._webhooks, self._keys, claimed)
        except Exception as error:  # noqa: BLE001 - one delivery's fault must not stop the others
            # Nothing is settled: the end of the lease makes it due again.
            what = "webhook_secret_unreadable" if isinstance(error, SealBrokenError) else "webhook_not_sent"
            _log.error(what, delivery_id=str(claimed.delivery_id), exc_info=error)
            self._free(claimed)
            return
        self._outcomes.append(outcome)
        if _makes_room_at_once(outcome):
            self._free(claimed)
        if self._settling is None:
            self._settling = asyncio.create_task(self._settle(), name="settle webhooks")

    async def _settle(self) -> None:
        """Settle what has ended until nothing is left; what ends meanwhile makes the next batch."""
        try:
            while self._outcomes:
                await asyncio.sleep(GATHER_SECONDS)
                batch, self._outcomes = self._outcomes[:SETTLE_BATCH], self._outcomes[SETTLE_BATCH:]
                await self._settle_batch(batch)
                for outcome in batch:
                    if not _makes_room_at_once(outcome):
                        self._free(outcome.claimed)
        finally:
            self._settling = None

    async def _settle_batch(self, batch: list[Outcome]) -> None:
        for left in reversed(range(SETTLE_TRIES)):
            try:
                await deliveries.settle(self._webhooks.pool, batch)
            except Exception as error:  # noqa: BLE001 - whatever it was, the lease ends and they are sent again
                _log.warning("webhook_settling_failed", attempts=len(batch), tries_left=left, exc_info=error)
                await asyncio.sleep(SETTLE_PAUSE_SECONDS if left else 0)
            else:
                return

    def _free(self, claimed: Claimed) -> None:
        """Give a slot back, and look for more to do when others may have waited for it."""
        if (
            not claimed.proven
            or self._running[claimed.endpoint_id] >= ATTEMPTS_PER_ENDPOINT_MAX
            or self._running.total() >= ATTEMPTS_MAX
        ):
            self._wake.set()
        for counter in (self._running, self._unproven) if not claimed.proven else (self._running,):
            counter[claimed.endpoint_id] -= 1
            if not counter[claimed.endpoint_id]:
                del counter[claimed.endpoint_id]


def _makes_room_at_once(outcome: Outcome) -> bool:
    """Whether the next attempt may begin before this one is settled; a failure is to be known before that."""
    return outcome.claimed.proven and outcome.result.delivered
