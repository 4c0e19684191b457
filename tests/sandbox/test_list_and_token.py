"""The list of payments needs a token, which is asked for before the key, and pages as the real one does."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.sandbox.running import EMAIL, PASSWORD, Provider


@pytest.fixture
async def token(provider: Provider) -> str:
    answer = await provider.call("POST", "/v1/auth", key=None, json={"email": EMAIL, "password": PASSWORD})
    assert answer.status == 200
    return answer.json["token"]


async def listed(provider: Provider, token: str, **query: Any) -> Any:
    answer = await provider.call(
        "GET", "/v1/payment/", params=query, headers={"authorization": f"Bearer {token}"}
    )
    assert answer.status == 200, answer.text
    return answer.json


@pytest.mark.parametrize(
    "path", ["/v1/payment", "/v1/payment/", "/v1/payment?limit=1", "/v1/payment/?limit=1"]
)
@pytest.mark.parametrize("key", [None, "wrong"])
async def test_without_a_token_the_list_is_401_before_the_key_is_looked_at(
    provider: Provider, path: str, key: str | None
) -> None:
    answer = await provider.call("GET", path, key=key)
    assert answer.status == 401
    assert answer.json == {
        "status": False, "statusCode": 401, "code": "AUTH_REQUIRED",
        "message": "Authorization header is empty (Bearer JWTtoken is required)",
    }  # fmt: skip


async def test_with_a_token_the_key_is_looked_at(provider: Provider, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    assert (await provider.call("GET", "/v1/payment", key="wrong", headers=headers)).status == 403


async def test_a_token_lives_five_minutes_and_is_hs256(token: str) -> None:
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    assert header == {"alg": "HS256", "typ": "JWT"}
    assert claims["exp"] == claims["iat"] + 300
    assert abs(claims["iat"] - time.time()) < 60


async def test_a_forged_token_is_401(provider: Provider, token: str) -> None:
    head, _, signature = token.split(".")
    claims = base64.urlsafe_b64encode(b'{"id":"1","iat":1,"exp":99999999999}').rstrip(b"=").decode()
    for forged in (f"{head}.{claims}.{signature}", token[:-2], "x", "a.b.c"):
        answer = await provider.call("GET", "/v1/payment", headers={"authorization": f"Bearer {forged}"})
        assert (answer.status, answer.json["code"]) == (401, "AUTH_REQUIRED")


async def test_the_email_is_compared_with_case_and_forms_are_read(provider: Provider) -> None:
    good = await provider.call("POST", "/v1/auth", key=None, data={"email": EMAIL, "password": PASSWORD})
    assert good.status == 200
    for email, password in ((EMAIL.lower(), PASSWORD), (EMAIL, "wrong")):
        bad = await provider.call("POST", "/v1/auth", key=None, json={"email": email, "password": password})
        assert bad.status == 401


async def test_pages_have_counts_and_rows_like_a_read(provider: Provider, token: str) -> None:
    ids = [int((await provider.create(order_id=f"o-{number}"))["payment_id"]) for number in range(5)]
    body = await listed(provider, token, limit=2, page=1)
    assert (body["limit"], body["page"], body["pagesCount"], body["total"]) == (2, 1, 3, 5)
    assert [row["payment_id"] for row in body["data"]] == ids[2:4]
    assert body["data"][0] == await provider.read(ids[2])
    assert (await listed(provider, token, page=9))["data"] == []


async def test_rows_are_sorted_as_asked(provider: Provider, token: str) -> None:
    for price in (100, 20, 3):
        await provider.create(price_amount=price)
    rising = await listed(provider, token, sortBy="price_amount")
    assert [row["price_amount"] for row in rising["data"]] == [3, 20, 100]
    falling = await listed(provider, token, sortBy="payment_id", orderBy="DESC")
    assert [row["price_amount"] for row in falling["data"]] == [3, 20, 100]


async def test_the_order_field_named_as_direction_breaks_as_live(provider: Provider, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    answer = await provider.call("GET", "/v1/payment?orderBy=created_at", headers=headers)
    assert answer.status == 500


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "page=-1", "sortBy=shape", "dateFrom=soon"]
)
async def test_a_query_that_does_not_fit_is_400(provider: Provider, token: str, query: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    answer = await provider.call("GET", f"/v1/payment/?{query}", headers=headers)
    assert (answer.status, answer.json["code"]) == (400, "INVALID_REQUEST_PARAMS")


async def test_dates_take_days_and_instants(provider: Provider, token: str) -> None:
    await provider.create()
    now = datetime.now(UTC)
    day = timedelta(days=1)
    assert (await listed(provider, token, dateFrom=f"{now - day:%Y-%m-%d}", dateTo=f"{now + day:%Y-%m-%d}"))[
        "total"
    ] == 1
    assert (await listed(provider, token, dateFrom=f"{now + day:%Y-%m-%dT%H:%M:%SZ}"))["total"] == 0
    assert (await listed(provider, token, dateTo=f"{now - day * 2:%Y-%m-%d}"))["total"] == 0


async def test_payments_of_an_invoice_can_be_listed(provider: Provider, token: str) -> None:
    await provider.create()
    body = {"price_amount": 15, "price_currency": "usd"}
    invoice = (await provider.call("POST", "/v1/invoice", json=body)).json
    paying = {"iid": invoice["id"], "pay_currency": "ltc"}
    payment = (await provider.call("POST", "/v1/invoice-payment", json=paying)).json
    rows = (await listed(provider, token, invoiceId=invoice["id"]))["data"]
    assert [str(row["payment_id"]) for row in rows] == [payment["payment_id"]]


async def test_children_are_listed_with_their_parent(provider: Provider, token: str) -> None:
    parent = await provider.create()
    child = await provider.control(f"/payments/{parent['payment_id']}/redeposit", amount=3)
    rows = {str(row["payment_id"]): row for row in (await listed(provider, token))["data"]}
    assert rows[parent["payment_id"]]["payment_extra_ids"] == [int(child["payment_id"])]
    assert rows[child["payment_id"]]["parent_payment_id"] == int(parent["payment_id"])
    assert rows[child["payment_id"]]["origin_type"] == "REPEATED"
