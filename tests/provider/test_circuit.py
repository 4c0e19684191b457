"""The circuit: five failures in a row open it, fifteen seconds later one probe asks for all."""

import asyncio

import pytest

from crypto_orders.provider import Available, Found, Minted, NoAnswer, NotMade, Refused, Unknown
from crypto_orders.provider.circuit import Circuit
from tests.provider.bad_provider import (
    ASKED,
    Clock,
    answers,
    client,
    error,
    is_silent,
    payment,
    provider,
    says,
)


def fail(circuit: Circuit, times: int) -> None:
    for _ in range(times):
        assert circuit.admits()
        circuit.failed()


def test_five_failures_in_a_row_open_it_and_four_do_not() -> None:
    circuit = Circuit(Clock())
    fail(circuit, 4)
    assert not circuit.is_open
    fail(circuit, 1)
    assert circuit.is_open
    assert not circuit.admits()


def test_a_success_in_between_forgets_the_failures() -> None:
    circuit = Circuit(Clock())
    fail(circuit, 4)
    circuit.succeeded()
    fail(circuit, 4)
    assert not circuit.is_open


def test_failures_spread_over_more_than_thirty_seconds_do_not_open_it() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    for _ in range(20):
        fail(circuit, 1)
        clock.now += 7.6
    assert not circuit.is_open


def test_five_failures_within_thirty_seconds_open_it() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    for _ in range(5):
        fail(circuit, 1)
        clock.now += 7.5
    assert circuit.is_open


def test_after_fifteen_seconds_one_probe_is_admitted_and_no_other() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    fail(circuit, 5)
    clock.now += 14.9
    assert not circuit.admits()
    clock.now += 0.1
    assert circuit.admits()
    assert not circuit.admits()


def test_a_probe_that_succeeds_closes_it() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    fail(circuit, 5)
    clock.now += 15
    assert circuit.admits()
    circuit.succeeded()
    assert circuit.admits()
    assert circuit.admits()


def test_a_probe_that_fails_keeps_it_open_for_another_while() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    fail(circuit, 5)
    clock.now += 15
    assert circuit.admits()
    circuit.failed()
    clock.now += 14.9
    assert not circuit.admits()
    clock.now += 0.1
    assert circuit.admits()


def test_a_probe_that_is_given_up_lets_another_one_try() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    fail(circuit, 5)
    clock.now += 15
    assert circuit.admits()
    circuit.abandoned()
    assert circuit.is_open
    assert circuit.admits()


def test_late_failures_do_not_keep_it_open_longer() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    fail(circuit, 5)
    clock.now += 14
    circuit.failed()
    clock.now += 1
    assert circuit.admits()


async def test_a_client_stops_asking_a_failing_provider_and_starts_again() -> None:
    clock = Clock()
    down = [says(502, b"x")] * 5
    async with (
        provider(*down, answers(201, payment())) as upstream,
        client(upstream.url, clock=clock) as ours,
    ):
        for _ in range(5):
            assert await ours.create_payment(ASKED) == Unknown("http_502")
        assert await ours.create_payment(ASKED) == NotMade("circuit_open")
        assert await ours.get_payment("1") == NoAnswer("circuit_open")
        assert await ours.status() == NoAnswer("circuit_open")
        assert len(upstream.requests) == 5
        clock.now += 15
        assert isinstance(await ours.create_payment(ASKED), Minted)
        assert isinstance(await ours.get_payment("5977953151"), Found)


async def test_refusals_are_answers_and_never_open_the_circuit() -> None:
    statuses = [400, 401, 403, 404] * 3
    behaviours = [answers(status, error(status, "BAD_REQUEST", "x")) for status in statuses]
    async with (
        provider(*behaviours, answers(200, {"message": "OK"})) as upstream,
        client(upstream.url) as ours,
    ):
        for status in statuses:
            outcome = await ours.create_payment(ASKED)
            assert isinstance(outcome, Refused if status == 400 else NotMade)
        assert await ours.status() == Available()


@pytest.mark.parametrize("behaviour", [answers(429, {}), says(200, b"<html>"), answers(503, {})])
async def test_being_told_to_slow_down_and_pages_instead_of_json_are_failures(behaviour: object) -> None:
    async with provider(behaviour) as upstream, client(upstream.url) as ours:  # type: ignore[arg-type]
        for _ in range(5):
            await ours.create_payment(ASKED)
        assert await ours.create_payment(ASKED) == NotMade("circuit_open")


async def test_callers_that_give_up_do_not_open_it_and_do_not_block_the_probe() -> None:
    clock = Clock()
    down = [says(502, b"x")] * 5
    async with (
        provider(*down, is_silent, answers(200, {"message": "OK"})) as upstream,
        client(upstream.url, clock=clock) as ours,
    ):
        for _ in down:
            await ours.create_payment(ASKED)
        clock.now += 15
        upstream.asked.clear()
        probe = asyncio.create_task(ours.create_payment(ASKED, deadline_seconds=60))
        await asyncio.wait_for(upstream.asked.wait(), 20)
        assert await ours.status() == NoAnswer("circuit_open")
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        assert await ours.status() == Available()
