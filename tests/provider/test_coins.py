"""The list of coins: asked for once, kept for a while, and older rather than not at all."""

import asyncio

from crypto_orders.provider.coins import CoinList
from crypto_orders.provider.outcomes import Currencies, NoAnswer
from tests.provider.bad_provider import Clock, Visit, answers, client, is_silent, provider, says

LIST = {"currencies": ["btc", "eth"]}


async def test_a_listed_coin_is_known_in_any_case_and_another_is_not() -> None:
    async with provider(answers(200, LIST)) as upstream, client(upstream.url) as ours:
        assert await ours.knows_coin("btc")
        assert await ours.knows_coin("ETH")
        assert not await ours.knows_coin("doge")
        assert not await ours.knows_coin("")
    assert len(upstream.requests) == 1


async def test_before_the_first_list_whatever_looks_like_a_coin_is_known() -> None:
    async with provider(answers(403, {})) as upstream, client(upstream.url) as ours:
        assert await ours.knows_coin("usdttrc20")
        assert not await ours.knows_coin("b")
        assert not await ours.knows_coin("no coin")
        assert not await ours.knows_coin("x" * 33)
        assert not await ours.knows_coin("btc\n")
    assert len(upstream.requests) == 1


async def test_many_callers_at_once_ask_once() -> None:
    async with provider(answers(200, LIST)) as upstream, client(upstream.url) as ours:
        known = await asyncio.gather(*(ours.knows_coin("btc") for _ in range(20)))
    assert known == [True] * 20
    assert len(upstream.requests) == 1


async def test_an_old_list_serves_while_a_new_one_is_fetched() -> None:
    clock = Clock()
    released = asyncio.Event()

    async def answers_late(visit: Visit) -> None:
        await released.wait()
        await visit.answer(200, b'{"currencies":["doge"]}')

    async with (
        provider(answers(200, LIST), answers_late) as upstream,
        client(upstream.url, clock=clock) as ours,
    ):
        assert await ours.knows_coin("btc")
        clock.now += 299
        assert await ours.knows_coin("btc")
        assert len(upstream.requests) == 1
        upstream.asked.clear()
        clock.now += 1
        assert await ours.knows_coin("btc")
        await asyncio.wait_for(upstream.asked.wait(), 20)
        assert not await ours.knows_coin("doge")
        released.set()
        async with asyncio.timeout(20):
            while not await ours.knows_coin("doge"):  # noqa: ASYNC110 - Reading the list is what fetches it.
                await asyncio.sleep(0.01)
        assert not await ours.knows_coin("btc")
        assert len(upstream.requests) == 2


async def test_an_old_list_serves_for_as_long_as_the_provider_fails() -> None:
    clock = Clock()
    fails = asyncio.Event()
    answers_given = [Currencies(frozenset({"btc"})), NoAnswer("http_502"), Currencies(frozenset({"eth"}))]
    asked_at: list[float] = []

    async def fetch() -> Currencies | NoAnswer:
        asked_at.append(clock.now)
        fails.set()
        return answers_given.pop(0)

    coins = CoinList(fetch, clock)
    assert await coins.known() == {"btc"}
    clock.now += 300
    for _ in range(5):
        assert await coins.known() == {"btc"}
        await asyncio.sleep(0)
    clock.now += 29
    assert await coins.known() == {"btc"}
    await asyncio.sleep(0)
    clock.now += 1
    await coins.known()
    async with asyncio.timeout(20):
        while await coins.known() != frozenset({"eth"}):  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert asked_at == [1000, 1300, 1330]


async def test_a_caller_that_gives_up_does_not_end_the_question_of_the_others() -> None:
    release = asyncio.Event()

    async def fetch() -> Currencies | NoAnswer:
        await release.wait()
        return Currencies(frozenset({"btc"}))

    coins = CoinList(fetch, Clock())
    first, second = asyncio.create_task(coins.known()), asyncio.create_task(coins.known())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    release.set()
    assert await second == {"btc"}
    assert first.cancelled()


async def test_a_client_closes_while_the_list_is_being_fetched() -> None:
    async with provider(is_silent) as upstream:
        async with client(upstream.url) as ours:
            asking = asyncio.create_task(ours.knows_coin("btc"))
            await asyncio.wait_for(upstream.asked.wait(), 20)
        await asyncio.gather(asking, return_exceptions=True)
        assert asking.done()


async def test_a_page_instead_of_a_list_is_no_list() -> None:
    async with provider(says(200, b"<html>", "text/html")) as upstream, client(upstream.url) as ours:
        assert await ours.knows_coin("anything")
