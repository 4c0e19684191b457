"""The client, the verifier and the reader of payments against the sandbox, over HTTP and end to end."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from crypto_orders.domain.ipn_signature import read_json_exact, verify
from crypto_orders.domain.provider_payment import parse_payment
from crypto_orders.provider import (
    Available,
    Found,
    Minted,
    NoAnswer,
    NotFound,
    NotMade,
    ProviderClient,
    Refused,
)
from tests.provider.bad_provider import ASKED
from tests.sandbox.running import (
    API_KEY,
    IPN_SECRET,
    Provider,
    eventually,
    listening_merchant,
    sandbox_config,
    served,
)


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncGenerator[Provider]:
    async with served(sandbox_config(tmp_path)) as running:
        yield running


@pytest.fixture
async def client(sandbox: Provider) -> AsyncGenerator[ProviderClient]:
    async with ProviderClient(sandbox.url, API_KEY) as made:
        yield made


async def test_a_payment_is_minted_and_found_again(client: ProviderClient) -> None:
    minted = await client.create_payment(ASKED)
    assert isinstance(minted, Minted)
    assert minted.payment.payment_status == "waiting"
    assert minted.payment.price_amount == 79
    assert minted.payment.malformed_fields == ()
    found = await client.get_payment(minted.payment.payment_id)
    assert isinstance(found, Found)
    assert found.payment.pay_address == minted.payment.pay_address
    assert found.payment.pay_amount == minted.payment.pay_amount
    assert found.payment.order_id == ASKED.order_id
    assert found.payment.malformed_fields == ()


async def test_what_the_sandbox_will_not_make_is_refused_for_good(client: ProviderClient) -> None:
    too_small = await client.create_payment(replace(ASKED, price_cents=1))
    assert isinstance(too_small, Refused)
    assert too_small.code == "AMOUNT_MINIMAL_ERROR"
    switched_off = await client.create_payment(replace(ASKED, pay_currency="dgb"))
    assert isinstance(switched_off, Refused)


async def test_unknown_payments_and_a_wrong_key_are_told_apart(
    sandbox: Provider, client: ProviderClient
) -> None:
    assert await client.get_payment("1") == NotFound()
    assert await client.get_payment("not-a-number") == NotFound()
    async with ProviderClient(sandbox.url, "WRONG") as stranger:
        assert await stranger.get_payment("1") == NoAnswer("key_refused")
        assert await stranger.create_payment(ASKED) == NotMade("key_refused")
        assert await stranger.status() == Available()


async def test_coins_estimates_and_minimums_are_read(client: ProviderClient) -> None:
    assert await client.knows_coin("usdttrc20")
    assert not await client.knows_coin("nosuchcoin")
    estimate = await client.estimate(7900, "USD", "btc")
    minimum = await client.minimum_amount("btc")
    assert estimate is not None
    assert minimum is not None
    assert Decimal(0) < minimum < estimate


async def test_the_sandboxs_notifications_verify_and_read(sandbox: Provider, client: ProviderClient) -> None:
    async with listening_merchant() as merchant:
        minted = await client.create_payment(replace(ASKED, ipn_callback_url=merchant.url))
        assert isinstance(minted, Minted)
        await sandbox.pay(minted.payment.payment_id)
        await eventually(lambda: "finished" in merchant.statuses)
        for notice in merchant.notices:
            verified = verify(notice.body, notice.signature, [IPN_SECRET])
            assert verified is not None
            said = parse_payment(read_json_exact(verified.text))
            assert said.payment_id == minted.payment.payment_id
            assert said.order_id == ASKED.order_id
            assert said.malformed_fields == ()
    found = await client.get_payment(minted.payment.payment_id)
    assert isinstance(found, Found)
    assert found.payment.payment_status == "finished"
    assert found.payment.actually_paid == minted.payment.pay_amount
