"""A seeded load of customers who check out, pay, cancel and look, each writing down what it saw.

A line is written before a request is sent and after its answer: the log is what the service is held to.
"""

import asyncio
import itertools
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.simulation.rig import Rig

CUSTOMERS = 8
PRODUCTS = {"solo_manual": 7900, "team_manual": 24900, "api_starter": 14900}

PAUSE_SECONDS = (0.02, 0.15)
AGAIN_SECONDS = (0.1, 0.3)
HANGS_UP_SECONDS = (0.001, 0.04)
"""A client that hangs up does so while the provider is asked or the answer is written."""

CHANCE_TO_HANG_UP = 0.1
CHANCE_TO_CLICK_TWICE = 0.2
CHANCE_NEVER_TO_RETURN = 0.05

ANSWERED_MEANWHILE = (429, 503)
"""What tells a client to come again; the rig's limits are off, so only 503 is expected."""


@dataclass
class Known:
    """An order as its customer knows it."""

    order_id: str
    payment_id: str | None = None


@dataclass
class Load:
    """The customers, their log, and how much of it was acknowledged."""

    rig: Rig
    seed: int
    path: Path
    acknowledged: int = 0
    unanswered: int = 0
    refused: int = 0
    hung_up: int = 0
    stopping: bool = False
    _numbers: Any = field(default_factory=itertools.count)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._file = self.path.open("w", buffering=1)

    def start(self) -> None:
        """Let the customers begin."""
        self._tasks = [asyncio.create_task(self._live(n)) for n in range(CUSTOMERS)]

    async def stop(self) -> None:
        """Let every customer finish what it is at; creates are repeated until they are answered."""
        self.stopping = True
        await asyncio.gather(*self._tasks)
        self._file.close()

    def check(self) -> None:
        """Raise what a customer stumbled over."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def _live(self, customer: int) -> None:
        dice = random.Random(f"{self.seed}/{customer}")
        mine: list[Known] = []
        while not self.stopping:
            act = dice.choices(
                (self._create, self._pay, self._look, self._cancel, self._fail), (30, 25, 25, 6, 2)
            )[0]
            await act(dice, mine)
            await asyncio.sleep(dice.uniform(*PAUSE_SECONDS))

    # -------------------------------------------------------------- acts

    async def _create(self, dice: random.Random, mine: list[Known]) -> None:
        key = f"{self.seed}-{next(self._numbers)}"
        body = {"product": dice.choice(list(PRODUCTS))}
        twin = None
        if dice.random() < CHANCE_TO_CLICK_TWICE:
            twin = asyncio.create_task(self._create_once(dice, key, body))
        never_returns = dice.random() < CHANCE_NEVER_TO_RETURN
        answer = await self._create_once(dice, key, body)
        if twin is not None:
            answer = await twin or answer
        while answer is None and not never_returns:
            await asyncio.sleep(dice.uniform(*AGAIN_SECONDS))
            answer = await self._create_once(dice, key, body)
        if answer is not None:
            mine.append(Known(answer["order_id"]))

    async def _create_once(self, dice: random.Random, key: str, body: dict[str, str]) -> Any:
        impatient = dice.random() < CHANCE_TO_HANG_UP and not self.stopping
        seconds = dice.uniform(*HANGS_UP_SECONDS) if impatient else 30.0
        said = {"op": "create", "key": key, "price_cents": PRODUCTS[body["product"]], **body}
        status, answer = await self._call(
            dice, said, "POST", "/v1/billing/crypto-checkout", body, {"Idempotency-Key": key}, seconds
        )
        return answer if status == 201 else None

    async def _look(self, dice: random.Random, mine: list[Known]) -> None:
        if mine:
            await self._look_at(dice, dice.choice(mine))

    async def _look_at(self, dice: random.Random, order: Known) -> None:
        said = {"op": "read", "order_id": order.order_id}
        status, answer = await self._call(dice, said, "GET", f"/v1/billing/crypto-orders/{order.order_id}")
        if status == 200:
            order.payment_id = answer["payment_id"] or order.payment_id

    async def _pay(self, dice: random.Random, mine: list[Known]) -> None:
        """Pay what was ordered, even when it has ended; sometimes half, sometimes twice as much."""
        if not mine:
            return
        order = dice.choice(mine[-6:])
        if order.payment_id is None:
            await self._look_at(dice, order)
        if order.payment_id is None:
            return
        share = dice.choices((None, 0.5, 2.0), (8, 1, 1))[0]
        body: dict[str, Any] = {}
        if share is not None:
            (row,) = await self._ledger_of(order.payment_id)
            body = {"amount": row["pay_amount"] * share}
        await self.rig.sandbox(f"/payments/{order.payment_id}/pay", **body)

    async def _ledger_of(self, payment_id: str) -> list[dict[str, Any]]:
        url = f"{self.rig.sandbox_url}/sandbox/payments?payment_id={payment_id}"
        async with self.rig.session.get(url) as reply:
            return (await reply.json())["data"]

    async def _cancel(self, dice: random.Random, mine: list[Known]) -> None:
        if mine:
            order = dice.choice(mine[-4:])
            said = {"op": "cancel", "order_id": order.order_id}
            await self._call(dice, said, "POST", f"/v1/billing/crypto-orders/{order.order_id}/cancel")

    async def _fail(self, dice: random.Random, mine: list[Known]) -> None:
        if mine and (payment_id := dice.choice(mine[-6:]).payment_id) is not None:
            status = dice.choice(("failed", "expired"))
            await self.rig.sandbox(f"/payments/{payment_id}/status", payment_status=status)

    # -------------------------------------------------------------- requests

    async def _call(
        self,
        dice: random.Random,
        said: dict[str, Any],
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        seconds: float = 30.0,
    ) -> tuple[int, Any]:
        """One request to one of the processes; status 0 when no answer came."""
        number, origin = next(self._numbers), dice.choice(self.rig.webs).origin
        self._write(number, "sent", said)
        try:
            async with self.rig.session.request(
                method,
                origin + path,
                json=body,
                headers={"Authorization": f"Bearer {self.rig.customer_key}", **(headers or {})},
                timeout=aiohttp.ClientTimeout(total=seconds),
            ) as reply:
                status, answer = reply.status, await reply.json()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self.hung_up += seconds < 1
            self.unanswered += 1
            self._write(number, "unanswered", {**said, "error": type(error).__name__})
            return 0, None
        names = ("order_id", "status", "price_cents") if status < 300 else ("type", "detail")
        told = {f"told_{name}": answer.get(name) for name in names}
        self._write(number, "answered", {**said, "http": status, **told})
        self.acknowledged += status < 300
        self.refused += status in ANSWERED_MEANWHILE
        return status, answer

    def _write(self, number: int, phase: str, said: dict[str, Any]) -> None:
        self._file.write(json.dumps({"n": number, "phase": phase, **said}) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The customers' log, line by line."""
    return [json.loads(line) for line in path.read_text().splitlines()]
