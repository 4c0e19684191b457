"""The merchant's API answers with the exact types, statuses and messages of the real one."""

import asyncio
import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.running import API_KEY, Provider, sandbox_config, served

JSON = "application/json; charset=utf-8"


async def test_status_needs_no_key(provider: Provider) -> None:
    answer = await provider.call("GET", "/v1/status", key="wrong")
    assert (answer.status, answer.text) == (200, '{"message":"OK"}')
    assert answer.headers["content-type"] == JSON


@pytest.mark.parametrize("key", [None, "", "wrong"])
async def test_a_bad_key_is_403_and_not_401(provider: Provider, key: str | None) -> None:
    answer = await provider.call("GET", "/v1/payment/1", key=key)
    assert answer.status == 403
    assert answer.text == (
        '{"status":false,"statusCode":403,"code":"INVALID_API_KEY","message":"Invalid api key"}'
    )


async def test_the_dependable_key_check_is_a_404_for_payment_1(provider: Provider) -> None:
    answer = await provider.call("GET", "/v1/payment/1")
    assert answer.status == 404
    assert answer.json == {
        "status": False, "statusCode": 404, "code": "NOT_FOUND", "message": "Payment not found",
    }  # fmt: skip


async def test_header_names_come_in_any_case(provider: Provider) -> None:
    answer = await provider.call("GET", "/v1/currencies", key=None, headers={"X-API-KEY": API_KEY})
    assert answer.status == 200


async def test_a_created_payment_has_string_ids_and_all_fields_in_wire_order(provider: Provider) -> None:
    answer = await provider.call(
        "POST",
        "/v1/payment",
        json={"price_amount": 29, "price_currency": "USD", "pay_currency": "BTC", "order_id": "o-1"},
        headers={"origin-ip": "203.0.113.7"},
    )
    assert answer.status == 201
    body = answer.json
    assert list(body) == [
        "payment_id", "payment_status", "pay_address", "price_amount", "price_currency", "pay_amount",
        "amount_received", "pay_currency", "order_id", "order_description", "payin_extra_id",
        "ipn_callback_url",
        "customer_email", "created_at", "updated_at", "purchase_id", "smart_contract", "network",
        "network_precision", "time_limit", "burning_percent", "expiration_estimate_date", "is_fixed_rate",
        "is_fee_paid_by_user", "valid_until", "type", "product", "origin_ip",
    ]  # fmt: skip
    assert isinstance(body["payment_id"], str)
    assert isinstance(body["purchase_id"], str)
    assert 4_300_000_000 <= int(body["payment_id"]) <= 6_600_000_000
    assert body["payment_status"] == "waiting"
    assert (body["price_amount"], body["price_currency"]) == (29, "usd")
    assert (body["pay_amount"], body["pay_currency"]) == (Decimal("0.00048334"), "btc")
    assert (body["order_id"], body["burning_percent"], body["network"]) == ("o-1", None, "btc")
    assert (body["is_fixed_rate"], body["is_fee_paid_by_user"]) == (False, False)
    assert (body["type"], body["product"], body["origin_ip"]) == ("crypto2crypto", "api", "203.0.113.7")


async def test_the_estimate_holds_20_minutes_and_the_address_7_days(provider: Provider) -> None:
    body = await provider.create()
    created, estimate, valid = (
        _instant(body[name]) for name in ("created_at", "expiration_estimate_date", "valid_until")
    )
    assert (estimate - created, valid - created) == (20 * 60, 7 * 24 * 60 * 60)


async def test_a_read_payment_has_number_ids_and_the_word_null(provider: Provider) -> None:
    created = await provider.create(pay_currency="usdterc20", order_description="Pro plan")
    body = await provider.read(created["payment_id"])
    assert list(body) == [
        "payment_id", "invoice_id", "payment_status", "pay_address", "payin_extra_id", "price_amount",
        "price_currency", "pay_amount", "actually_paid", "pay_currency", "order_id", "order_description",
        "purchase_id", "outcome_amount", "outcome_currency", "payout_hash", "payin_hash", "created_at",
        "updated_at", "burning_percent", "type",
    ]  # fmt: skip
    assert body["payment_id"] == int(created["payment_id"])
    assert body["purchase_id"] == int(created["purchase_id"])
    assert body["burning_percent"] == "null"
    assert (body["actually_paid"], body["outcome_amount"], body["payin_hash"]) == (0, None, None)
    assert body["pay_address"] == created["pay_address"]
    assert (body["pay_amount"], body["order_description"]) == (29, "Pro plan")


async def test_hashes_and_outcome_appear_with_the_money(provider: Provider) -> None:
    created = await provider.create(pay_currency="btc")
    await provider.pay(created["payment_id"])
    await provider.reaches(created["payment_id"], "finished")
    body = await provider.read(created["payment_id"])
    assert body["actually_paid"] == Decimal("0.00048334")
    assert body["outcome_amount"] == Decimal("0.00048076")
    assert len(body["payin_hash"]) == len(body["payout_hash"]) == 64


async def test_a_form_body_with_python_booleans_makes_a_payment(provider: Provider) -> None:
    form = {
        "price_amount": "29.50", "price_currency": "usd", "pay_currency": "trx",
        "is_fee_paid_by_user": "True",
    }  # fmt: skip
    answer = await provider.call("POST", "/v1/payment", data=form)
    assert answer.status == 201
    body = answer.json
    assert (body["price_amount"], body["pay_amount"]) == (Decimal("29.5"), Decimal("237.18"))
    assert (body["is_fixed_rate"], body["is_fee_paid_by_user"]) == (True, True)


async def test_both_spellings_of_the_collection_create(provider: Provider) -> None:
    body = {"price_amount": "29", "price_currency": "eur", "pay_currency": "ltc"}
    answer = await provider.call("POST", "/v1/payment/", json=body)
    assert answer.status == 201
    assert answer.json["pay_amount"] == Decimal("0.3915")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"price_amount": "much"}, "price_amount must be a number"),
        ({"price_amount": True}, "price_amount must be a number"),
        ({"price_amount": None}, "price_amount is required"),
        ({"price_amount": -5}, "price_amount must be a positive number"),
        ({"price_amount": 1e300}, "price_amount must be a safe number"),
        ({"price_currency": None}, "price_currency is required"),
        ({"pay_currency": "[object Object]"}, "pay_currency must only contain alpha-numeric characters"),
        ({"pay_currency": "nocoin"}, "Currency nocoin was not found"),
        ({"order_id": 17}, "order_id must be a string"),
        ({"order_id": ""}, "order_id is not allowed to be empty"),
        ({"ipn_callback_url": "https://a.example/?x=a|b"}, "ipn_callback_url must be a valid uri"),
        ({"ipn_callback_url": "ftp://a.example/"}, "ipn_callback_url must be a valid uri"),
        ({"is_fixed_rate": "maybe"}, "is_fixed_rate must be a boolean"),
        ({"case": "luck"}, "case must be one of [success, common, partially_paid, failed, fail, expired]"),
        ({"payout_address": "x"}, "payout_currency is required"),
    ],
)
async def test_a_field_that_does_not_fit_is_named(provider: Provider, changes: Any, message: str) -> None:
    body = {"price_amount": 29, "price_currency": "usd", "pay_currency": "btc"} | changes
    answer = await provider.call("POST", "/v1/payment", json=body)
    assert answer.status == 400
    assert answer.json == {
        "status": False, "statusCode": 400, "code": "INVALID_REQUEST_PARAMS", "message": message,
    }  # fmt: skip
    assert await provider.ledger() == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"text"', b"[" * 60_000, b'{"price_amount":1e999999999999}']
)
async def test_a_body_that_is_no_object_is_400(provider: Provider, body: bytes) -> None:
    answer = await provider.call(
        "POST", "/v1/payment", data=body, headers={"content-type": "application/json"}
    )
    assert answer.status == 400
    assert answer.json["code"] == "INVALID_REQUEST_PARAMS"


async def test_a_huge_body_is_413(provider: Provider) -> None:
    answer = await provider.call("POST", "/v1/payment", data=b" " * 70_000)
    assert (answer.status, answer.json["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_too_small_a_price_tells_the_crypto_amount(provider: Provider) -> None:
    body = {"price_amount": 1, "price_currency": "usd", "pay_currency": "btc"}
    answer = await provider.call("POST", "/v1/payment", json=body)
    assert answer.status == 400
    assert answer.json["code"] == "AMOUNT_MINIMAL_ERROR"
    assert answer.json["message"] == "Crypto amount 0.00001667 is less than minimal"


async def test_a_coin_that_is_switched_off_is_listed_and_refused(provider: Provider) -> None:
    assert "dgb" in (await provider.call("GET", "/v1/currencies")).json["currencies"]
    assert "DGB" not in (await provider.call("GET", "/v1/merchant/coins")).json["selectedCurrencies"]
    body = {"price_amount": 29, "price_currency": "usd", "pay_currency": "dgb"}
    answer = await provider.call("POST", "/v1/payment", json=body)
    assert (answer.status, answer.json["code"]) == (400, "CURRENCY_UNAVAILABLE")


async def test_a_payout_address_of_another_coin_is_refused(provider: Provider) -> None:
    body = {
        "price_amount": 29, "price_currency": "usd", "pay_currency": "btc",
        "payout_address": "0x" + "a" * 40, "payout_currency": "trx",
    }  # fmt: skip
    answer = await provider.call("POST", "/v1/payment", json=body)
    assert (answer.status, answer.json["code"]) == (400, "BAD_CREATE_PAYMENT_REQUEST")
    assert "validate address" in answer.json["message"]


async def test_a_payout_coin_becomes_the_outcome_coin(provider: Provider) -> None:
    created = await provider.create(payout_address="0x" + "a" * 40, payout_currency="bnbbsc")
    assert (await provider.read(created["payment_id"]))["outcome_currency"] == "bnbbsc"


@pytest.mark.parametrize("coin", ["xrp", "xlm"])
async def test_coins_with_memos_share_an_address_and_differ_by_memo(provider: Provider, coin: str) -> None:
    first, second = await provider.create(pay_currency=coin), await provider.create(pay_currency=coin)
    assert first["pay_address"] == second["pay_address"]
    assert first["payin_extra_id"] != second["payin_extra_id"]
    assert first["payin_extra_id"].isdigit()


async def test_an_id_that_is_no_number_is_400(provider: Provider) -> None:
    answer = await provider.call("GET", "/v1/payment/abc")
    assert (answer.status, answer.json["message"]) == (400, "Payment id must be a number")


async def test_an_id_of_many_digits_is_404(provider: Provider) -> None:
    assert (await provider.call("GET", "/v1/payment/" + "9" * 400)).status == 404


async def test_an_unknown_path_is_a_404_in_json(provider: Provider) -> None:
    answer = await provider.call("GET", "/v1/nothing")
    assert (answer.status, answer.json["code"]) == (404, "NOT_FOUND")


async def test_rates_are_fixed_and_the_estimate_is_text_as_live(provider: Provider) -> None:
    query = {"amount": "100", "currency_from": "usd", "currency_to": "BTC"}
    answer = await provider.call("GET", "/v1/estimate", params=query)
    assert answer.text == (
        '{"currency_from":"usd","amount_from":100,"currency_to":"btc","estimated_amount":"0.00166667"}'
    )


async def test_the_estimate_can_be_a_number_as_documented(tmp_path: Path) -> None:
    async with served(sandbox_config(tmp_path, estimate_as_text=False, pay_amount_as_text=True)) as provider:
        query = {"amount": "0.0000001", "currency_from": "eth", "currency_to": "eth"}
        answer = await provider.call("GET", "/v1/estimate", params=query)
        assert answer.text == (
            '{"currency_from":"eth","amount_from":1e-7,"currency_to":"eth","estimated_amount":1e-7}'
        )
        assert (await provider.create())["pay_amount"] == "29"


async def test_small_numbers_are_spelled_as_javascript_does(provider: Provider) -> None:
    query = {"currency_from": "usd", "currency_to": "btc", "amount": "0.06"}
    assert '"estimated_amount":"0.000001"' in (await provider.call("GET", "/v1/estimate", params=query)).text
    created = await provider.create(pay_currency="btc")
    await provider.pay(created["payment_id"], amount="0.0000001", confirm=False)
    await provider.reaches(created["payment_id"], "confirming")
    answer = await provider.call("GET", f"/v1/payment/{created['payment_id']}")
    assert '"actually_paid":1e-7,' in answer.text


async def test_the_floor_depends_on_the_pair_and_both_flags(provider: Provider) -> None:
    async def floor(**query: str) -> Decimal:
        return (await provider.call("GET", "/v1/min-amount", params=query)).json["min_amount"]

    assert await floor(currency_from="usdtbsc") == 1
    assert await floor(currency_from="usdtbsc", currency_to="usdterc20") == 4
    assert await floor(currency_from="usdtbsc", is_fixed_rate="True") == Decimal("1.2")
    assert await floor(currency_from="usdtbsc", is_fee_paid_by_user="true") == Decimal("1.206")


async def test_the_fiat_equivalent_of_a_floor_is_told_only_when_asked(provider: Provider) -> None:
    plain = await provider.call("GET", "/v1/min-amount?currency_from=btc&currency_to=btc")
    assert plain.text == '{"currency_from":"btc","currency_to":"btc","min_amount":0.00003334}'
    asked = await provider.call("GET", "/v1/min-amount?currency_from=btc&currency_to=btc&fiat_equivalent=usd")
    assert asked.json["fiat_equivalent"] == Decimal("2.01")


async def test_currencies_are_codes_and_fixed_rate_ones_objects(provider: Provider) -> None:
    plain = (await provider.call("GET", "/v1/currencies")).json["currencies"]
    assert {
        "btc",
        "eth",
        "ltc",
        "xrp",
        "xlm",
        "trx",
        "sol",
        "usdttrc20",
        "usdterc20",
        "usdtbsc",
        "usdcbsc",
    } <= {*plain}
    fixed = (await provider.call("GET", "/v1/currencies?fixed_rate=true")).json["currencies"]
    assert fixed[0] == {
        "currency": "btc",
        "min_amount": Decimal("0.00004"),
        "max_amount": Decimal("1.66666667"),
    }


async def test_fixed_rate_currencies_can_be_codes_as_documented(tmp_path: Path) -> None:
    async with served(sandbox_config(tmp_path, fixed_rate_as_objects=False)) as provider:
        assert "btc" in (await provider.call("GET", "/v1/currencies?fixed_rate=True")).json["currencies"]


async def test_full_currencies_describe_upper_case_codes(provider: Provider) -> None:
    coins = (await provider.call("GET", "/v1/full-currencies")).json["currencies"]
    by_code = {coin["code"]: coin for coin in coins}
    assert by_code["XRP"]["extra_id_exists"] is True
    assert by_code["USDTTRC20"]["network"] == "trx"
    assert by_code["USDTTRC20"]["network_precision"] == "6"
    assert by_code["DGB"]["available_for_payment"] is False
    one = (await provider.call("GET", "/v1/currencies/usdttrc20")).json
    assert one == by_code["USDTTRC20"]
    assert (await provider.call("GET", "/v1/currencies/nocoin")).status == 404


async def test_merchant_coins_come_under_the_live_and_the_documented_name(provider: Provider) -> None:
    body = (await provider.call("GET", "/v1/merchant/coins")).json
    assert body["selectedCurrencies"] == body["currencies"]
    assert "BTC" in body["currencies"]


async def test_an_address_is_validated_with_a_bare_ok(provider: Provider) -> None:
    body = {"address": "0x" + "b" * 40, "currency": "eth", "extra_id": None}
    answer = await provider.call("POST", "/v1/payout/validate-address", json=body)
    assert (answer.status, answer.text) == (200, "OK")
    wrong = await provider.call("POST", "/v1/payout/validate-address", json=body | {"currency": "btc"})
    assert (wrong.status, wrong.json["code"]) == (400, "BAD_CREATE_WITHDRAWAL_REQUEST")


async def test_the_balance_adds_up_what_was_netted(provider: Provider) -> None:
    created = await provider.create()
    await provider.pay(created["payment_id"])
    await provider.reaches(created["payment_id"], "finished")
    body = (await provider.call("GET", "/v1/balance")).json
    assert body == {
        "eth": {"amount": 0, "pendingAmount": 0},
        "usdtbsc": {"amount": Decimal("28.845"), "pendingAmount": 0},
    }


async def test_an_estimate_is_renewed_only_after_it_ran_out(tmp_path: Path) -> None:
    async with served(sandbox_config(tmp_path / "long")) as provider:
        created = await provider.create()
        path = f"/v1/payment/{created['payment_id']}/update-merchant-estimate"
        answer = await provider.call("POST", path, headers={"content-type": "application/json"})
        assert answer.status == 200
        assert answer.json["expiration_estimate_date"] == created["expiration_estimate_date"]
        assert (answer.json["id"], answer.json["pay_amount"]) == (created["payment_id"], 29)
    async with served(sandbox_config(tmp_path / "short", estimate_valid_seconds=0)) as provider:
        created = await provider.create()
        await asyncio.sleep(0.005)
        path = f"/v1/payment/{created['payment_id']}/update-merchant-estimate"
        answer = await provider.call("POST", path)
        assert answer.json["expiration_estimate_date"] > created["expiration_estimate_date"]


async def test_an_invoice_has_text_ids_and_no_status(provider: Provider) -> None:
    body = {
        "price_amount": 5,
        "price_currency": "usd",
        "order_id": "o-5",
        "success_url": "https://a.example/ok",
    }
    answer = await provider.call("POST", "/v1/invoice", json=body)
    assert answer.status == 201
    invoice = answer.json
    assert (invoice["price_amount"], invoice["price_currency"]) == ("5", "USD")
    assert invoice["invoice_url"].endswith("?iid=" + invoice["id"])
    assert "payment_status" not in invoice
    assert await provider.ledger() == []


async def test_an_invoice_payment_carries_the_invoice(provider: Provider) -> None:
    body = {
        "price_amount": 15, "price_currency": "usd", "order_id": "o-5", "is_fixed_rate": True,
        "ipn_callback_url": "http://127.0.0.1:1/ipn",
    }  # fmt: skip
    invoice = (await provider.call("POST", "/v1/invoice", json=body)).json
    answer = await provider.call(
        "POST", "/v1/invoice-payment", json={"iid": int(invoice["id"]), "pay_currency": "ltc"}
    )
    assert answer.status == 201
    payment = answer.json
    assert (payment["order_id"], payment["is_fixed_rate"], payment["pay_amount"]) == (
        "o-5",
        True,
        Decimal("0.1875"),
    )
    assert (await provider.read(payment["payment_id"]))["invoice_id"] == int(invoice["id"])
    missing = await provider.call("POST", "/v1/invoice-payment", json={"iid": "1", "pay_currency": "ltc"})
    assert missing.status == 404


@pytest.mark.parametrize("uri", ["https://a.example/?a=b|c", "nonsense", "https://", "javascript:alert(1)"])
async def test_uris_of_an_invoice_are_strict(provider: Provider, uri: str) -> None:
    body = {"price_amount": 5, "price_currency": "usd", "success_url": uri}
    answer = await provider.call("POST", "/v1/invoice", json=body)
    assert (answer.status, answer.json["message"]) == (400, "success_url must be a valid uri")


async def test_a_proxy_style_request_line_is_served(provider: Provider) -> None:
    host, port = provider.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"GET https://api.nowpayments.io/v1/status HTTP/1.1\r\n"
        b"Host: api.nowpayments.io\r\nConnection: close\r\n\r\n"
    )
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"message": "OK"}


def _instant(text: str) -> float:
    assert text.endswith("Z")
    return datetime.fromisoformat(text).timestamp()
