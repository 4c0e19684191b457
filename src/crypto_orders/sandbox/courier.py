"""Deliver notifications as the provider does: 3 seconds to answer, a few retries at a fixed interval.

Every notification is stored before it is sent and forgotten after a 2xx, so one that was under way when the
process died is sent again by the next. Those of one payment go out one after the other, unless the fault
``reorder_ipns`` asks for the opposite.
"""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Final

import aiohttp

from crypto_orders.kit import log as logs
from crypto_orders.sandbox.config import SandboxConfig
from crypto_orders.sandbox.ipn import SIGNATURE_HEADER
from crypto_orders.sandbox.ledger import Ledger, PendingIpn
from crypto_orders.sandbox.wire import now_ms

log = logs.get()

# Requests in flight at once; a merchant on the same machine needs no more to be kept busy.
_IN_FLIGHT_MAX: Final = 64
# What a merchant answers is read so far that the connection can be used again, and no further.
_ANSWER_BYTES_MAX: Final = 64 * 1024
# To be sent out of order, notifications are gathered until none has come for this many seconds, or for this
# many steps of a walk where those are long.
_REORDER_SECONDS: Final = 1.0
_REORDER_STEPS: Final = 2.5
_HEADERS: Final = {"content-type": "application/json", "user-agent": "axios/1.7.9"}


class Courier:
    """Sends stored notifications until they are answered or given up."""

    def __init__(self, ledger: Ledger, config: SandboxConfig, is_lost: Callable[[], bool]) -> None:
        """``is_lost`` draws whether a retry is lost on its way; who stores a new one judges it first."""
        self._ledger = ledger
        self._config = config
        self._is_lost = is_lost
        self._slots = asyncio.Semaphore(_IN_FLIGHT_MAX)
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=config.ipn_timeout_seconds),
            connector=aiohttp.TCPConnector(limit=0),
            headers=_HEADERS,
            auto_decompress=False,
        )
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_of_payment: dict[int, asyncio.Task[None]] = {}
        self._gathered: dict[int, list[PendingIpn]] = {}
        self._gathering: dict[int, asyncio.TimerHandle] = {}

    def send(self, ipn: PendingIpn, *, out_of_order: bool = False) -> None:
        """Send a stored notification when it is due."""
        wait_seconds = (ipn.due_ms - now_ms()) / 1000
        if wait_seconds > 0:
            act = partial(self._due, ipn, out_of_order=out_of_order)
            self._timers[ipn.ipn_id] = asyncio.get_running_loop().call_later(wait_seconds, act)
        else:
            self._due(ipn, out_of_order=out_of_order)

    def resume(self) -> None:
        """Go on with every notification that an earlier process left."""
        for ipn in self._ledger.ipns():
            self.send(ipn)

    async def forget(self) -> None:
        """Stop everything under way."""
        for timer in (*self._timers.values(), *self._gathering.values()):
            timer.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._timers.clear()
        self._gathering.clear()
        self._gathered.clear()

    async def close(self) -> None:
        """Stop everything under way and let go of the connections; what is stored stays stored."""
        await self.forget()
        await self._session.close()

    def _due(self, ipn: PendingIpn, *, out_of_order: bool) -> None:
        self._timers.pop(ipn.ipn_id, None)
        if out_of_order:
            self._gather(ipn)
        else:
            self._start(ipn, after=self._last_of_payment.get(ipn.payment_id))

    def _start(self, ipn: PendingIpn, *, after: asyncio.Task[None] | None) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._deliver(ipn, after))
        self._tasks.add(task)
        self._last_of_payment[ipn.payment_id] = task
        task.add_done_callback(partial(self._finished, ipn.payment_id))
        return task

    def _finished(self, payment_id: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._last_of_payment.get(payment_id) is task:
            del self._last_of_payment[payment_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("sandbox_ipn_task_failed", payment_id=payment_id, error=repr(error))

    def _gather(self, ipn: PendingIpn) -> None:
        self._gathered.setdefault(ipn.payment_id, []).append(ipn)
        if (timer := self._gathering.pop(ipn.payment_id, None)) is not None:
            timer.cancel()
        self._gathering[ipn.payment_id] = asyncio.get_running_loop().call_later(
            max(_REORDER_SECONDS, self._config.step_ms * _REORDER_STEPS / 1000), self._scatter, ipn.payment_id
        )

    def _scatter(self, payment_id: int) -> None:
        del self._gathering[payment_id]
        ipns = self._gathered.pop(payment_id)
        shuffled = random.sample(ipns, len(ipns))
        if shuffled == ipns:
            shuffled.reverse()
        for ipn in shuffled:
            self._start(ipn, after=self._last_of_payment.get(payment_id))

    async def _deliver(self, ipn: PendingIpn, after: asyncio.Task[None] | None) -> None:
        if after is not None:
            await asyncio.wait([after])
        if ipn.attempts and self._is_lost():
            self._ledger.drop_ipn(ipn.ipn_id)
            return
        # The copies race the original, as duplicates do in the wild; only its answer counts.
        answers = await asyncio.gather(*(self._post(ipn) for _ in range(1 + ipn.copies)))
        if answers[0]:
            self._ledger.drop_ipn(ipn.ipn_id)
        else:
            self._retry_later(ipn)

    def _retry_later(self, ipn: PendingIpn) -> None:
        if ipn.attempts >= self._config.ipn_retry_count:
            log.warning("sandbox_ipn_given_up", payment_id=ipn.payment_id, attempts=ipn.attempts + 1)
            self._ledger.drop_ipn(ipn.ipn_id)
            return
        due_ms = now_ms() + round(self._config.ipn_retry_interval_seconds * 1000)
        again = ipn._replace(attempts=ipn.attempts + 1, copies=0, due_ms=due_ms)
        self._ledger.postpone_ipn(again)
        self.send(again)

    async def _post(self, ipn: PendingIpn) -> bool:
        async with self._slots:
            try:
                async with self._session.post(
                    ipn.url, data=ipn.body, headers={SIGNATURE_HEADER: ipn.signature}, allow_redirects=False
                ) as answer:
                    await answer.content.read(_ANSWER_BYTES_MAX)
                    return HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                log.info("sandbox_ipn_unanswered", payment_id=ipn.payment_id, error=type(error).__name__)
                return False
