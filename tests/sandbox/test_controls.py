"""The controls let money arrive and set statuses; what follows is what the provider would do."""

from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from starlette.requests import Request

from crypto_orders.sandbox import NotLoopbackError, StateInUseError, serve
from crypto_orders.sandbox.access import from_loopback
from crypto_orders.sandbox.ledger import Ledger
from crypto_orders.sandbox.wire import ProviderError, json_response
from tests.sandbox.running import Merchant, Provider, eventually, sandbox_config, served

ALL_STEPS = ["confirming", "confirmed", "sending", "finished"]


async def test_a_payment_waits_for_its_payer(provider: Provider, merchant: Merchant) -> None:
    created = await provider.create(ipn_callback_url=merchant.url)
    second = await provider.create(ipn_callback_url=merchant.url)
    await provider.pay(second["payment_id"])
    await provider.reaches(second["payment_id"], "finished")
    (row,) = await provider.ledger(payment_id=created["payment_id"])
    assert row["payment_status"] == "waiting"
    assert {notice.fields["payment_id"] for notice in merchant.notices} == {int(second["payment_id"])}


async def test_paying_walks_to_finished_with_a_signed_notice_a_step(
    provider: Provider, merchant: Merchant
) -> None:
    created = await provider.create(ipn_callback_url=merchant.url, order_id="o-1")
    answer = await provider.call("POST", f"/sandbox/payments/{created['payment_id']}/pay", key=None)
    assert answer.status == 202
    assert answer.json == {"payment_id": created["payment_id"], "payment_status": "waiting"}
    await eventually(lambda: len(merchant.notices) == 4)
    assert merchant.statuses == ALL_STEPS
    assert all(notice.is_genuine for notice in merchant.notices)
    assert [notice.fields["actually_paid"] for notice in merchant.notices] == [29, 29, 29, 29]


async def test_steps_are_as_far_apart_as_set(tmp_path: Path, merchant: Merchant) -> None:
    async with served(sandbox_config(tmp_path, step_ms=100)) as provider:
        created = await provider.create(ipn_callback_url=merchant.url)
        await provider.pay(created["payment_id"])
        await eventually(lambda: len(merchant.notices) == 4)
        # The provider's own clock says it; the receiver's would measure the machine's mood.
        told_ms = [notice.fields["updated_at"] for notice in merchant.notices]
        assert all(later - earlier >= 100 for earlier, later in pairwise(told_ms))


async def test_paying_less_ends_partially_paid(provider: Provider) -> None:
    created = await provider.create()
    await provider.pay(created["payment_id"], amount="20.5")
    row = await provider.reaches(created["payment_id"], "partially_paid")
    assert (row["actually_paid"], row["pay_amount"]) == (Decimal("20.5"), 29)


async def test_paying_more_ends_finished_with_that_amount(provider: Provider) -> None:
    created = await provider.create()
    await provider.pay(created["payment_id"], amount=40)
    row = await provider.reaches(created["payment_id"], "finished")
    assert row["actually_paid"] == 40


async def test_an_unconfirmed_payment_rests_and_a_further_one_completes_it(
    provider: Provider, merchant: Merchant
) -> None:
    created = await provider.create(ipn_callback_url=merchant.url)
    await provider.pay(created["payment_id"], amount=10, confirm=False)
    row = await provider.reaches(created["payment_id"], "confirming")
    assert row["actually_paid"] == 10
    answer = await provider.pay(created["payment_id"])
    assert answer == {"payment_id": created["payment_id"], "payment_status": "confirming"}
    row = await provider.reaches(created["payment_id"], "finished")
    assert row["actually_paid"] == 29
    await eventually(lambda: merchant.statuses == ALL_STEPS)
    assert [notice.fields["actually_paid"] for notice in merchant.notices] == [10, 29, 29, 29]


async def test_a_resting_payment_that_has_all_its_money_just_goes_on(provider: Provider) -> None:
    created = await provider.create()
    await provider.pay(created["payment_id"], confirm=False)
    await provider.reaches(created["payment_id"], "confirming")
    await provider.pay(created["payment_id"])
    row = await provider.reaches(created["payment_id"], "finished")
    assert (row["actually_paid"], len(await provider.ledger())) == (29, 1)


async def test_more_unconfirmed_money_is_told_without_a_step(provider: Provider, merchant: Merchant) -> None:
    created = await provider.create(ipn_callback_url=merchant.url)
    for amount in (10, 5):
        await provider.pay(created["payment_id"], amount=amount, confirm=False)
        await eventually(lambda count=amount: merchant.statuses == ["confirming"] * (1 if count == 10 else 2))
    assert [notice.fields["actually_paid"] for notice in merchant.notices] == [10, 15]


async def test_paying_again_under_way_counts_for_the_same_payment(tmp_path: Path) -> None:
    async with served(sandbox_config(tmp_path, step_ms=600_000)) as provider:
        created = await provider.create()
        await provider.pay(created["payment_id"], amount=10)
        await provider.reaches(created["payment_id"], "confirming")
        again = await provider.pay(created["payment_id"], amount=19)
        assert again == {"payment_id": created["payment_id"], "payment_status": "confirming"}
        assert len(await provider.ledger()) == 1


async def test_another_coin_makes_a_child_and_leaves_the_parent_alone(
    provider: Provider, merchant: Merchant
) -> None:
    parent = await provider.create(pay_currency="bnbbsc", order_id="o-1", ipn_callback_url=merchant.url)
    answer = await provider.pay(parent["payment_id"], amount=13, pay_currency="USDTBSC")
    assert answer["payment_id"] != parent["payment_id"]
    child = await provider.reaches(answer["payment_id"], "finished")
    assert (child["pay_amount"], child["actually_paid"], child["pay_currency"]) == (13, 13, "usdtbsc")
    assert (child["order_id"], child["parent_payment_id"]) == ("o-1", parent["payment_id"])
    read = await provider.read(child["payment_id"])
    assert (read["parent_payment_id"], read["origin_type"]) == (int(parent["payment_id"]), "REPEATED")
    assert (read["outcome_currency"], read["pay_address"]) == ("bnbbsc", parent["pay_address"])
    unchanged = await provider.read(parent["payment_id"])
    assert (unchanged["payment_status"], unchanged["actually_paid"]) == ("waiting", 0)
    assert unchanged["payment_extra_ids"] == [int(child["payment_id"])]
    await eventually(lambda: merchant.statuses == ALL_STEPS)
    fields = merchant.notices[-1].fields
    assert (fields["payment_id"], fields["parent_payment_id"]) == (
        int(child["payment_id"]),
        int(parent["payment_id"]),
    )
    assert (fields["actually_paid_at_fiat"], fields["payment_extra_ids"]) == (13, None)


async def test_another_coin_without_an_amount_brings_the_worth_of_what_is_due(provider: Provider) -> None:
    parent = await provider.create(pay_currency="usdtbsc")
    child = await provider.pay(parent["payment_id"], pay_currency="ltc")
    row = await provider.reaches(child["payment_id"], "finished")
    assert row["actually_paid"] == Decimal("0.3625")


@pytest.mark.parametrize(
    "status", ["partially_paid", "finished", "failed", "expired", "refunded", "wrong_asset_confirmed"]
)
async def test_money_for_a_closed_payment_makes_a_child(provider: Provider, status: str) -> None:
    parent = await provider.create()
    await provider.control(f"/payments/{parent['payment_id']}/status", payment_status=status)
    before = await provider.read(parent["payment_id"])
    answer = await provider.pay(parent["payment_id"], amount=7)
    child = await provider.reaches(answer["payment_id"], "finished")
    assert (child["parent_payment_id"], child["actually_paid"]) == (parent["payment_id"], 7)
    after = await provider.read(parent["payment_id"])
    assert after.pop("payment_extra_ids") == [int(child["payment_id"])]
    assert after == before


@pytest.mark.parametrize(("first", "child_amount"), [("20", Decimal(9)), ("29", Decimal(29))])
async def test_without_an_amount_a_child_brings_the_rest_or_all_again(
    provider: Provider, first: str, child_amount: Decimal
) -> None:
    parent = await provider.create()
    await provider.pay(parent["payment_id"], amount=first)
    await provider.reaches(parent["payment_id"], "finished" if first == "29" else "partially_paid")
    child = await provider.pay(parent["payment_id"])
    row = await provider.reaches(child["payment_id"], "finished")
    assert row["actually_paid"] == child_amount


async def test_money_for_a_child_makes_a_sibling(provider: Provider) -> None:
    parent = await provider.create()
    child = await provider.control(f"/payments/{parent['payment_id']}/redeposit", amount=3)
    await provider.reaches(child["payment_id"], "finished")
    sibling = await provider.pay(child["payment_id"], amount=4)
    row = await provider.reaches(sibling["payment_id"], "finished")
    assert row["parent_payment_id"] == parent["payment_id"]
    both = [int(child["payment_id"]), int(sibling["payment_id"])]
    assert (await provider.read(parent["payment_id"]))["payment_extra_ids"] == both


async def test_a_resting_child_goes_on_when_paid_without_an_amount(provider: Provider) -> None:
    parent = await provider.create()
    child = await provider.control(f"/payments/{parent['payment_id']}/redeposit", amount=3, confirm=False)
    await provider.reaches(child["payment_id"], "confirming")
    await provider.pay(child["payment_id"])
    row = await provider.reaches(child["payment_id"], "finished")
    assert (row["actually_paid"], len(await provider.ledger())) == (3, 2)


async def test_a_redeposit_is_a_child_even_while_the_parent_waits(provider: Provider) -> None:
    parent = await provider.create(order_id="o-1")
    answer = await provider.call(
        "POST", f"/sandbox/payments/{parent['payment_id']}/redeposit", key=None, json={"amount": 3}
    )
    assert answer.status == 202
    child = await provider.reaches(answer.json["payment_id"], "finished")
    assert (child["parent_payment_id"], child["actually_paid"], child["order_id"]) == (
        parent["payment_id"],
        3,
        "o-1",
    )
    assert (await provider.read(parent["payment_id"]))["payment_status"] == "waiting"


async def test_children_can_end_partially_paid_and_be_unreadable(tmp_path: Path) -> None:
    config = sandbox_config(tmp_path, child_final_status="partially_paid", children_readable=False)
    async with served(config) as provider:
        parent = await provider.create()
        child = await provider.control(f"/payments/{parent['payment_id']}/redeposit", amount=3)
        await provider.reaches(child["payment_id"], "partially_paid")
        assert (await provider.call("GET", f"/v1/payment/{child['payment_id']}")).status == 404


@pytest.mark.parametrize(
    "status", ["finished", "waiting", "refunded", "spending", "wrong_asset_confirmed", "banana"]
)
async def test_any_status_can_be_set_from_any_and_is_told(
    provider: Provider, merchant: Merchant, status: str
) -> None:
    created = await provider.create(ipn_callback_url=merchant.url)
    path = f"/sandbox/payments/{created['payment_id']}/status"
    await provider.control(f"/payments/{created['payment_id']}/status", payment_status="failed")
    answer = await provider.call("POST", path, key=None, json={"payment_status": status})
    assert (answer.status, answer.json) == (
        200,
        {"payment_id": created["payment_id"], "payment_status": status},
    )
    await eventually(lambda: merchant.statuses == ["failed", status])
    assert merchant.notices[1].is_genuine
    assert merchant.notices[1].fields["actually_paid"] == (29 if status == "finished" else 0)


async def test_finished_by_hand_keeps_what_was_received(provider: Provider) -> None:
    created = await provider.create()
    await provider.pay(created["payment_id"], amount=20)
    await provider.reaches(created["payment_id"], "partially_paid")
    await provider.control(f"/payments/{created['payment_id']}/status", payment_status="finished")
    assert (await provider.read(created["payment_id"]))["actually_paid"] == 20


async def test_a_status_by_hand_ends_the_walk(provider: Provider, merchant: Merchant) -> None:
    created = await provider.create(ipn_callback_url=merchant.url)
    await provider.pay(created["payment_id"])
    await provider.control(f"/payments/{created['payment_id']}/status", payment_status="failed")
    other = await provider.create(ipn_callback_url=merchant.url)
    await provider.pay(other["payment_id"])
    await provider.reaches(other["payment_id"], "finished")
    assert (await provider.read(created["payment_id"]))["payment_status"] == "failed"


@pytest.mark.parametrize(
    ("case", "walk", "paid"),
    [
        ("success", ALL_STEPS, 29),
        ("common", ALL_STEPS, 29),
        ("partially_paid", ["confirming", "confirmed", "sending", "partially_paid"], Decimal("14.5")),
        ("failed", ["failed"], 0),
        ("fail", ["failed"], 0),
        ("expired", ["expired"], 0),
    ],
)
async def test_a_case_walks_by_itself(
    provider: Provider, merchant: Merchant, case: str, walk: list[str], paid: Decimal
) -> None:
    created = await provider.create(ipn_callback_url=merchant.url, case=case)
    assert created["payment_status"] == "waiting"
    await eventually(lambda: merchant.statuses == walk)
    assert (await provider.read(created["payment_id"]))["actually_paid"] == paid


async def test_a_payment_nothing_was_sent_to_expires(tmp_path: Path, merchant: Merchant) -> None:
    async with served(sandbox_config(tmp_path, payment_valid_seconds=0)) as provider:
        created = await provider.create(ipn_callback_url=merchant.url)
        await provider.reaches(created["payment_id"], "expired")
        await eventually(lambda: merchant.statuses == ["expired"])


@pytest.mark.parametrize("action", ["pay", "status", "redeposit", "resend-ipn"])
@pytest.mark.parametrize("payment_id", ["1", "abc", "9" * 40])
async def test_an_unknown_id_is_404(provider: Provider, action: str, payment_id: str) -> None:
    body = {"amount": 1, "payment_status": "finished"}
    answer = await provider.call("POST", f"/sandbox/payments/{payment_id}/{action}", key=None, json=body)
    assert (answer.status, answer.json["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("pay", b'{"amount":0}'),
        ("pay", b'{"amount":-1}'),
        ("pay", b'{"amount":"lots"}'),
        ("pay", b'{"amount":NaN}'),
        ("pay", b'{"amount":true}'),
        ("pay", b'{"amount":1e-400}'),
        ("pay", b'{"pay_currency":"nocoin"}'),
        ("pay", b'{"pay_currency":7}'),
        ("pay", b'{"confirm":"perhaps"}'),
        ("pay", b"[1]"),
        ("pay", b"{"),
        ("status", b"{}"),
        ("status", b'{"payment_status":7}'),
        ("status", b'{"payment_status":""}'),
        ("status", b'{"payment_status":"' + b"x" * 65 + b'"}'),
        ("redeposit", b"{}"),
        ("redeposit", b""),
    ],
)
async def test_bad_input_is_400_and_changes_nothing(provider: Provider, action: str, body: bytes) -> None:
    created = await provider.create()
    path = f"/sandbox/payments/{created['payment_id']}/{action}"
    answer = await provider.call("POST", path, key=None, data=body)
    assert (answer.status, answer.json["code"]) == (400, "INVALID_REQUEST_PARAMS")
    (row,) = await provider.ledger()
    assert (row["payment_status"], row["actually_paid"]) == ("waiting", 0)


async def test_controls_read_json_that_curl_calls_a_form(provider: Provider) -> None:
    created = await provider.create()
    path = f"/sandbox/payments/{created['payment_id']}/pay"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await provider.call("POST", path, key=None, data=b'{"amount": 20}', headers=headers)
    assert answer.status == 202
    await provider.reaches(created["payment_id"], "partially_paid")


async def test_the_ledger_shows_exact_amounts_and_filters(provider: Provider) -> None:
    created = await provider.create(pay_currency="btc", order_id="o-1")
    await provider.create(order_id="o-2")
    await provider.pay(created["payment_id"], amount="0.0000001", confirm=False)
    await provider.reaches(created["payment_id"], "confirming")
    (row,) = await provider.ledger(order_id="o-1")
    assert row == {
        "payment_id": created["payment_id"], "payment_status": "confirming", "order_id": "o-1",
        "pay_address": created["pay_address"], "payin_extra_id": None, "pay_currency": "btc",
        "pay_amount": Decimal("0.00048334"), "actually_paid": Decimal("0.0000001"),
        "price_amount": 29, "price_currency": "usd", "parent_payment_id": None,
        "created_at": created["created_at"], "updated_at": row["updated_at"],
    }  # fmt: skip
    assert [row["order_id"] for row in await provider.ledger()] == ["o-1", "o-2"]
    assert await provider.ledger(order_id="o-3") == []
    assert (await provider.call("GET", "/sandbox/payments?payment_id=x")).status == 400


async def test_reset_forgets_everything_but_the_ids_given(provider: Provider, merchant: Merchant) -> None:
    first = await provider.create(ipn_callback_url=merchant.url)
    await provider.pay(first["payment_id"])
    await provider.control("/faults", drop_ipns=True, api_delay_ms=1)
    assert await provider.control("/reset") == {"reset": True}
    assert await provider.ledger() == []
    assert (await provider.call("GET", f"/v1/payment/{first['payment_id']}")).status == 404
    assert (await provider.call("GET", "/sandbox/faults", key=None)).json["drop_ipns"] == 0
    second = await provider.create(ipn_callback_url=merchant.url)
    assert int(second["payment_id"]) > int(first["payment_id"])
    await provider.pay(second["payment_id"])
    await eventually(lambda: "finished" in merchant.statuses)
    assert merchant.notices[-1].fields["payment_id"] == int(second["payment_id"])


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/sandbox/reset"), ("DELETE", "/sandbox/payments"), ("GET", "/sandbox/payments/1/pay")],
)
async def test_a_wrong_method_is_405_in_json(provider: Provider, method: str, path: str) -> None:
    answer = await provider.call(method, path)
    assert (answer.status, answer.json["code"]) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("host", "is_let_in"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True),
     ("10.0.0.1", False), ("::ffff:10.0.0.1", False), ("testclient", False), (None, False)],
)  # fmt: skip
async def test_controls_answer_loopback_only(host: str | None, is_let_in: bool) -> None:
    async def inside(_: Request) -> object:
        return json_response({})

    client = None if host is None else (host, 1234)
    request = Request({"type": "http", "client": client, "headers": [(b"x-forwarded-for", b"127.0.0.1")]})
    if is_let_in:
        await from_loopback(inside)(request)
    else:
        with pytest.raises(ProviderError) as refusal:
            await from_loopback(inside)(request)
        assert refusal.value.status == 403


async def test_controls_do_not_answer_pages_of_other_sites(provider: Provider) -> None:
    answer = await provider.call("POST", "/sandbox/reset", headers={"sec-fetch-site": "cross-site"})
    assert (answer.status, answer.json["code"]) == (403, "LOOPBACK_ONLY")


async def test_a_forwarded_header_does_not_speak_for_the_peer(provider: Provider) -> None:
    headers = {"x-forwarded-for": "203.0.113.9"}
    assert (await provider.call("GET", "/sandbox/payments", headers=headers)).status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org"])
def test_it_is_served_on_loopback_only(host: str, tmp_path: Path) -> None:
    with pytest.raises(NotLoopbackError):
        serve(host, 1, sandbox_config(tmp_path))


def test_it_is_not_served_on_a_state_in_use(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with pytest.raises(StateInUseError):
        serve("127.0.0.1", 1, sandbox_config(tmp_path))
    ledger.close()
