"""A killed sandbox goes on where it stopped: payments, walks, notifications, faults and ids."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from crypto_orders.sandbox import StateInUseError
from crypto_orders.sandbox.ledger import Ledger
from tests.sandbox.running import (
    DEADLINE_SECONDS,
    EMAIL,
    PASSWORD,
    Merchant,
    Process,
    Provider,
    eventually,
    free_port,
    sandbox_config,
)


class Killable(NamedTuple):
    """A sandbox in a process of its own, and its client."""

    process: Process
    provider: Provider

    async def restart(self) -> None:
        await self.process.kill()
        await self.process.start()
        await self.provider.answers()


@pytest.fixture
async def killable(tmp_path: Path) -> AsyncGenerator[Killable]:
    port = free_port()
    process = Process(
        sandbox_config(tmp_path / "state", ipn_retry_interval_seconds=0.2, ipn_retry_count=100), port
    )
    async with aiohttp.ClientSession() as session:
        provider = Provider(f"http://127.0.0.1:{port}", session)
        await process.start()
        try:
            await provider.answers()
            yield Killable(process, provider)
        finally:
            await process.kill()


async def test_what_was_answered_is_there_after_a_kill(killable: Killable) -> None:
    provider = killable.provider
    created = await provider.create(order_id="o-1")
    before = await provider.read(created["payment_id"])
    await provider.control("/faults", drop_ipns=True)
    login = {"email": EMAIL, "password": PASSWORD}
    token = (await provider.call("POST", "/v1/auth", json=login)).json["token"]
    await killable.restart()
    assert await provider.read(created["payment_id"]) == before
    assert (await provider.call("GET", "/sandbox/faults")).json["drop_ipns"] == 1
    headers = {"authorization": f"Bearer {token}"}
    assert (await provider.call("GET", "/v1/payment", headers=headers)).json["total"] == 1
    again = await provider.create()
    assert int(again["payment_id"]) > int(created["payment_id"])


async def test_a_walk_and_its_notices_go_on_after_a_kill(killable: Killable, merchant: Merchant) -> None:
    provider = killable.provider
    ids = [(await provider.create(ipn_callback_url=merchant.url))["payment_id"] for _ in range(10)]
    for payment_id in ids:
        await provider.pay(payment_id)
    await killable.restart()
    for payment_id in ids:
        row = await provider.reaches(payment_id, "finished")
        assert row["actually_paid"] == 29
    await eventually(lambda: merchant.statuses.count("finished") >= len(ids))
    told = {(str(notice.fields["payment_id"]), notice.status) for notice in merchant.notices}
    steps = ("confirming", "confirmed", "sending", "finished")
    assert told == {(payment_id, step) for payment_id in ids for step in steps}


async def test_a_notice_that_was_refused_is_retried_after_a_kill(
    killable: Killable, merchant: Merchant
) -> None:
    merchant.answer_status = 500
    created = await killable.provider.create(ipn_callback_url=merchant.url)
    await killable.provider.control(f"/payments/{created['payment_id']}/status", payment_status="failed")
    await eventually(lambda: merchant.notices)
    await killable.process.kill()
    merchant.notices.clear()
    merchant.answer_status = 200
    await killable.process.start()
    await eventually(lambda: merchant.statuses == ["failed"])


async def test_no_acknowledged_payment_is_lost_by_kills_under_load(
    killable: Killable, merchant: Merchant
) -> None:
    provider = killable.provider
    acknowledged: list[str] = []
    paid: list[str] = []
    is_over = False

    async def customer() -> None:
        while not is_over:
            try:
                created = await provider.create(ipn_callback_url=merchant.url)
                acknowledged.append(created["payment_id"])
                await provider.pay(created["payment_id"])
                paid.append(created["payment_id"])
            except aiohttp.ClientError:
                await asyncio.sleep(0.01)

    customers = [asyncio.create_task(customer()) for _ in range(4)]
    for kill in range(1, 4):
        await eventually(lambda kills=kill: len(paid) >= kills * 8)
        await killable.restart()
    is_over = True
    await asyncio.gather(*customers)

    async def settled() -> None:
        while True:
            rows = {row["payment_id"]: row for row in await provider.ledger()}
            if all(rows[payment_id]["payment_status"] == "finished" for payment_id in paid):
                assert set(acknowledged) <= set(rows)
                return
            await asyncio.sleep(0.05)

    await asyncio.wait_for(settled(), DEADLINE_SECONDS)
    assert len(set(acknowledged)) == len(acknowledged)
    await eventually(lambda: set(paid) <= _finished_ids(merchant))


def _finished_ids(merchant: Merchant) -> set[str]:
    return {str(notice.fields["payment_id"]) for notice in merchant.notices if notice.status == "finished"}


def test_two_sandboxes_never_share_a_state(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with pytest.raises(StateInUseError):
        Ledger(tmp_path)
    ledger.close()
    Ledger(tmp_path).close()


def test_two_states_give_other_ids(tmp_path: Path) -> None:
    ids: set[int] = set()
    for number in range(2):
        ledger = Ledger(tmp_path / str(number))
        ids |= {ledger.next_id() for _ in range(12_000)}
        ledger.close()
    assert len(ids) == 24_000
    assert all(len(str(payment_id)) == 10 for payment_id in ids)
