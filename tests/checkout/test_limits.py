"""Who tries addresses, or makes the provider work, is slowed down; who only looks is not."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from crypto_orders.store.connection import Pool
from tests.support.payer import order_in, path_of
from tests.support.service import Service, running


@pytest.fixture
async def limited(database_url: str, pool: Pool, tmp_path: Path) -> AsyncGenerator[Service]:
    """A service that forgives three failures an address, and no further one in a test's time."""
    limits = {"rate_limit_failure_capacity": "3", "rate_limit_failure_per_second": "0.001"}
    async with running(database_url, pool, tmp_path, default_pay_currency="", **limits) as service:
        yield service


async def test_bad_addresses_and_choices_are_limited_and_good_addresses_are_not(limited: Service) -> None:
    client = limited.client()
    _, order = await order_in(limited, "choose")
    path = path_of(limited, order)
    statuses = [(await client.get(path + "x")).status for _ in range(5)]
    assert statuses == [404, 404, 404, 429, 429]
    refused = await client.get(path + "x")
    assert int(refused.headers["retry-after"]) > 0
    assert b"Too many tries" in refused.body
    assert refused.headers["content-type"].startswith("text/html")
    assert (await client.get(path)).status == 200

    # Estimates and choices share one bucket; without a token left a page still shows, without an estimate.
    assert b"At the present rate" not in (await client.get(path)).body
    for _ in range(3):
        assert b"at the present rate" in (await client.get(path + "?coin=ltc")).body
    assert b"The exact amount is shown in the next step." in (await client.get(path + "?coin=ltc")).body
    async with limited.session.post(limited.base_url + path + "/coin", data={"coin": "btc"}) as reply:
        assert reply.status == 429
    assert (await client.get(path)).status == 200
