"""Client packages from PyPI work against the sandbox unchanged, redirected as their users would."""

import asyncio
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.clients.packages import folder_of
from tests.sandbox.running import API_KEY, EMAIL, IPN_SECRET, PASSWORD, Merchant, Provider, eventually

CLIENTS = Path(__file__).parent / "clients"


async def answers_of(script: str, package: str, *arguments: str) -> Any:
    """Run a client package in a process of its own and return what it got."""

    def run() -> str:
        environment = os.environ | {"PYTHONPATH": str(folder_of(package))}
        command = [sys.executable, str(CLIENTS / script), *arguments]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return json.loads(await asyncio.to_thread(run), parse_float=Decimal)


async def test_nowpayments_works_unchanged(provider: Provider) -> None:
    answers = await answers_of("use_nowpayments.py", "nowpayments", provider.url, API_KEY)
    assert answers["status"] == {"message": "OK"}
    assert "btc" in answers["currencies"]["currencies"]
    assert "BTC" in answers["checked"]["selectedCurrencies"]
    assert answers["estimate"]["estimated_amount"] == "0.00166667"
    assert answers["minimum"]["fiat_equivalent"] == Decimal("2.01")
    assert answers["created"]["is_fixed_rate"] is True
    assert answers["created"]["ipn_callback_url"] == "http://127.0.0.1:9/ipn?a=b"
    assert answers["created"]["order_description"] == "Pro plan & more"
    assert answers["read"]["payment_id"] == int(answers["created"]["payment_id"])
    assert answers["refusal"] == "Error 403: Invalid api key"
    # Its sandbox class asks for the case "success" by itself.
    await provider.reaches(answers["walking"]["payment_id"], "finished")


async def test_nowpayments_py_works_unchanged(provider: Provider) -> None:
    answers = await answers_of(
        "use_nowpayments_py.py", "nowpayments-py", provider.url, API_KEY, EMAIL, PASSWORD
    )
    assert answers["status"] == {"message": "OK"}
    assert "btc" in answers["currencies"]["currencies"]
    assert answers["fixed"]["currencies"][0]["currency"] == "btc"
    assert len(answers["full"]["currencies"]) == 27
    assert "BTC" in answers["coins"]["selectedCurrencies"]
    assert answers["currency"]["code"] == "BTC"
    assert answers["estimate"]["estimated_amount"] == "0.00166667"
    assert answers["minimum"]["min_amount"] == Decimal("0.00003334")
    assert (answers["created"]["is_fixed_rate"], answers["created"]["origin_ip"]) == (True, "203.0.113.7")
    assert answers["read"]["order_id"] == "o-1"
    assert [row["payment_id"] for row in answers["list"]["data"]] == [answers["read"]["payment_id"]]
    assert answers["renewed"]["id"] == answers["created"]["payment_id"]
    assert answers["invoice"]["price_amount"] == "5"
    assert answers["invoice_payment"]["pay_amount"] == Decimal("0.0625")
    assert answers["refusals"] == [
        [401, "AUTH_REQUIRED", "Authorization header is empty (Bearer JWTtoken is required)"],
        [404, "NOT_FOUND", "Payment not found"],
        [400, "INVALID_REQUEST_PARAMS", "Payment id must be a number"],
    ]


async def test_nowpayment_works_unchanged(provider: Provider) -> None:
    answers = await answers_of("use_nowpayment.py", "nowpayment", provider.url, API_KEY, EMAIL, PASSWORD)
    assert answers["status"] == {"message": "OK"}
    assert "btc" in answers["currencies"]["currencies"]
    assert answers["fixed"]["currencies"][0]["currency"] == "btc"
    assert answers["full"] == 27
    assert "BTC" in answers["checked"]["currencies"]
    assert answers["estimate"]["estimated_amount"] == "0.00166667"
    assert answers["minimum"]["fiat_equivalent"] == Decimal("2.01")
    assert answers["created"]["is_fee_paid_by_user"] is True
    assert answers["read"]["purchase_id"] == int(answers["created"]["purchase_id"])
    assert answers["renewed"]["id"] == answers["created"]["payment_id"]
    assert (answers["list"]["total"], answers["list"]["pagesCount"]) == (1, 1)
    assert answers["invoice"]["price_currency"] == "USD"
    assert answers["invoice_payment"]["pay_currency"] == "ltc"
    assert answers["valid"] == {"status": "OK"}
    assert answers["balance"] == {"eth": {"amount": 0, "pendingAmount": 0}}
    assert len(answers["refusals"]) == 2


@pytest.mark.parametrize("package", ["nowpayments-py", "nowpayment"])
async def test_a_package_verifies_a_notice_whose_numbers_python_prints_alike(
    provider: Provider, merchant: Merchant, package: str
) -> None:
    # usdtbsc has no amounts below 0.0001 here; for btc these verifiers refuse genuine notices.
    created = await provider.create(ipn_callback_url=merchant.url)
    await provider.pay(created["payment_id"])
    await eventually(lambda: merchant.statuses and merchant.statuses[-1] == "finished")
    notice = merchant.notices[-1]
    script = "use_nowpayments_py_ipn.py" if package == "nowpayments-py" else "use_nowpayment_ipn.py"
    verdict = await answers_of(script, package, notice.body.decode(), notice.signature, IPN_SECRET)
    assert verdict is True
