"""A process by itself: who tries addresses or makes the provider work is slowed down, who looks is not."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from crypto_orders import app
from crypto_orders.checkout import payment_page
from crypto_orders.checkout.payment_page import PayServices
from crypto_orders.domain import pay_link
from crypto_orders.domain.rate_limit import Policy
from crypto_orders.kit.application import HttpApp
from crypto_orders.kit.sealing import Sealer
from crypto_orders.pages.site import Templates
from crypto_orders.store.connection import Pool
from crypto_orders.usecases.rate_limits import RateLimiter
from tests.kit.serving import TYPE_BASE, Served, serving
from tests.support.payer import order_in, path_of
from tests.support.service import SEALING_KEY, Service, running

THREE_AN_HOUR = Policy(3, 1 / 1200)
"""Nothing refills while a test runs, so counts are exact."""


@pytest.fixture
async def service(database_url: str, pool: Pool, tmp_path: Path) -> AsyncGenerator[Service]:
    """The service that orders are started with."""
    async with running(database_url, pool, tmp_path, workers=False, default_pay_currency="") as service:
        yield service


@pytest.fixture
async def limited(service: Service, database_url: str) -> AsyncGenerator[Served]:
    """A process with payment pages alone, which forgives little."""
    async with app._deployment(service.settings, database_url, "test") as deployment:
        pages = payment_page.routes(
            PayServices(
                deployment=deployment,
                templates=Templates(app.site_of(service.settings), "checkout"),
                limiter=RateLimiter(deployment.pool),
                policy=THREE_AN_HOUR,
                keys=Sealer(SEALING_KEY).derive_all(pay_link.PURPOSE),
            )
        )
        async with serving(HttpApp([pages], type_base=TYPE_BASE)) as served:
            yield served


async def test_bad_addresses_are_limited_and_good_ones_are_not(service: Service, limited: Served) -> None:
    _, order = await order_in(service, "choose")
    path = path_of(service, order)
    replies: list[Any] = [await limited.request("GET", path + "x") for _ in range(5)]
    assert [reply.status for reply in replies] == [404, 404, 404, 429, 429]
    assert int(dict(replies[-1].headers)["retry-after"]) > 0
    assert b"Too many tries" in replies[-1].body
    assert (await limited.request("GET", path)).status == 200


async def test_what_makes_the_provider_work_is_limited(service: Service, limited: Served) -> None:
    _, order = await order_in(service, "choose")
    path = path_of(service, order)
    for _ in range(3):
        assert b"at the present rate" in (await limited.request("GET", path + "?coin=ltc")).body
    # Without a token left the page still shows, without an estimate; a choice is put off.
    last = await limited.request("GET", path + "?coin=ltc")
    assert b"The exact amount is shown in the next step." in last.body
    assert (await limited.request("POST", path + "/coin")).status == 429
    assert (await limited.request("GET", path)).status == 200


async def test_without_a_list_of_coins_the_page_goes_on_looking(service: Service, limited: Served) -> None:
    _, order = await order_in(service, "choose")
    path = path_of(service, order)
    await service.sandbox.post("/sandbox/faults", {"api_status": 503})
    page = (await limited.request("GET", path)).body
    assert b"The list of coins cannot be loaded at this moment." in page
    assert b"hx-get" in page
    assert b"coin=btc" not in page
    form = [("content-type", "application/x-www-form-urlencoded")]
    answer = await limited.request("POST", path + "/coin", body=b"coin=btc", headers=form)
    assert answer.status == 400
    assert b"This coin is not on offer." not in answer.body
