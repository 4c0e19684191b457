"""What a payer is shown in every stage of a payment, and what never."""

import html
import io
import re
from decimal import Decimal

import pytest
from pypdf import PdfReader

from tests.support.notices import payment_of
from tests.support.payer import STAGES, control, end_window, order_in, path_of
from tests.support.service import Reply, Service, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

TITLES = {
    "pay": "Pay with Tether USD (USDT)",
    "choose": "Choose a coin to pay with",
    "over": "The time to pay is over",
    "confirming": "Your payment was seen",
    "partial": "Less than the amount due has arrived",
    "paid": "Paid. Thank you!",
    "expired": "This payment request has expired",
    "failed": "The payment failed",
    "cancelled": "This order was cancelled",
}
ENDED = {"paid", "expired", "failed", "cancelled"}
MAY_BE_SENT = {"pay"}


def words(reply: Reply) -> str:
    """What a reader reads: the visible text without markup, blanks folded."""
    text = re.sub(r"<(script|style|svg|head)\b.*?</\1>", " ", reply.body.decode(), flags=re.DOTALL)
    text = re.sub(r"<section[^>]* hidden>.*?</section>", " ", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split())


async def page_of(service: Service, order: dict[str, object], query: str = "") -> Reply:
    reply = await service.client().get(path_of(service, order) + query)
    assert reply.status == 200, reply.body
    return reply


@pytest.mark.parametrize("stage", STAGES)
async def test_every_stage_says_what_is_and_what_to_do(service: Service, stage: str) -> None:
    _, order = await order_in(service, stage)
    reply = await page_of(service, order)
    text = words(reply)
    assert TITLES[stage] in text
    assert "79.00 USD" in text
    assert order["order_id"] in text
    address = order["payment_address"]
    assert address is None or (address in reply.body.decode()) == (stage in MAY_BE_SENT)
    assert ("hx-get" in reply.body.decode()) == (stage not in ENDED)


async def test_what_to_send_is_exact_and_can_be_copied(service: Service) -> None:
    _, order = await order_in(service, "pay", coin="btc")
    body = (await page_of(service, order)).body.decode()
    assert f'data-copy="{order["pay_amount"]}"' in body
    assert f'data-copy="{order["payment_address"]}"' in body
    assert f'href="bitcoin:{order["payment_address"]}?amount={order["pay_amount"]}"' in body
    assert "data-seconds-left" in body
    assert "Send only Bitcoin (BTC), and only on Bitcoin. Anything else is lost." in words(
        await page_of(service, order)
    )


async def test_a_memo_is_shown_with_a_warning_and_no_uri_that_loses_it(service: Service) -> None:
    _, order = await order_in(service, "pay", coin="xrp")
    reply = await page_of(service, order)
    body = reply.body.decode()
    assert order["payin_extra_id"]
    assert f'data-copy="{order["payin_extra_id"]}"' in body
    assert "Without this memo your payment is lost." in words(reply)
    assert "xrp:" not in body


@pytest.mark.parametrize(
    ("coin", "language", "caption"),
    [
        ("xrp", "en", "QR code of the address. Enter the amount and the memo by hand."),
        ("xlm", "de", "QR-Code der Adresse. Geben Sie den Betrag und das Memo von Hand ein."),
        ("xrp", "es", "Código QR de la dirección. Escriba el importe y el memo a mano."),
        ("xlm", "ar", "رمز QR للعنوان. أدخل المبلغ والمذكرة يدويًا."),
        ("usdttrc20", "en", "QR code of the address. Enter the amount by hand."),
    ],
)
async def test_a_bare_qr_code_says_what_else_to_enter(
    service: Service, coin: str, language: str, caption: str
) -> None:
    _, order = await order_in(service, "pay", coin=coin)
    body = (await page_of(service, order, f"?lang={language}")).body.decode()
    assert f">{caption}</figcaption>" in body
    assert f'role="img" aria-label="{caption}"' in body


async def test_a_partial_payment_says_what_arrived_what_was_due_and_to_send_nothing_more(
    service: Service,
) -> None:
    _, order = await order_in(service, "partial")
    text = words(await page_of(service, order))
    due = order["pay_amount"]
    assert "Arrived 40.5 USDT" in text or "Arrived40.5 USDT" in text
    assert f"{due:f}".rstrip("0").rstrip(".") + " USDT" in text
    assert f"{(due - Decimal('40.5')).normalize():f} USDT" in text
    assert "Send nothing more" in text
    assert f"Contact the shop's support and quote order {order['order_id']}." in text


@pytest.mark.parametrize("stage", ["expired", "failed", "cancelled"])
async def test_an_unpaid_end_tells_those_who_have_sent_coins(service: Service, stage: str) -> None:
    _, order = await order_in(service, stage)
    text = words(await page_of(service, order))
    assert "Send nothing to the address any more." in text
    assert "Have you already sent coins?" in text
    assert f"quote order {order['order_id']}" in text


async def test_coins_that_came_too_late_are_told_of(service: Service) -> None:
    _, order = await order_in(service, "cancelled")
    assert "Start a new order in the shop" in words(await page_of(service, order))
    await control(service, order, "pay")

    async def told() -> bool:
        return "Coins did arrive for this order" in words(await page_of(service, order))

    await eventually(told)
    # Whoever paid once is never sent to pay again.
    text = words(await page_of(service, order))
    assert "Send nothing more. Support will sort it out." in text
    assert "Start a new order in the shop" not in text


async def test_an_address_is_gone_the_moment_the_window_ends(service: Service) -> None:
    _, order = await order_in(service, "pay")
    assert order["payment_address"] in (await page_of(service, order)).body.decode()
    await end_window(service, order)
    body = (await page_of(service, order)).body.decode()
    assert order["payment_address"] not in body
    assert 'data-stage="over"' in body


async def test_money_on_its_way_hides_the_address(service: Service) -> None:
    _, order = await order_in(service, "confirming")
    reply = await page_of(service, order)
    assert order["payment_address"] not in reply.body.decode()
    assert "There is nothing left for you to do." in words(reply)


async def test_an_unusual_word_of_the_provider_sends_the_payer_to_support(service: Service) -> None:
    _, order = await order_in(service, "pay")
    await control(service, order, "status", payment_status="wrong_asset_confirmed")

    async def is_checked() -> bool:
        return b'data-stage="checking"' in (await page_of(service, order)).body

    await eventually(is_checked)
    reply = await page_of(service, order)
    assert order["payment_address"] not in reply.body.decode()
    assert "Send nothing more." in words(reply)


async def test_a_paid_order_has_a_receipt_to_print_and_to_keep(service: Service) -> None:
    customer, order = await order_in(service, "paid")
    path = path_of(service, order)
    receipt = await service.client().get(path + "/receipt")
    text = words(receipt)
    assert receipt.status == 200
    assert order["order_id"] in text
    assert "79.00 USD" in text
    assert await payment_of(service, order) in text
    pdf = await service.client().get(path + "/receipt.pdf")
    assert pdf.status == 200
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.headers["cache-control"] == "no-store"
    (sheet,) = PdfReader(io.BytesIO(pdf.body)).pages
    assert order["order_id"] in sheet.extract_text()
    # The customer's own calls tell the same.
    own = f"/v1/billing/crypto-orders/{order['order_id']}/receipt"
    assert (await customer.get(own)).json["price_cents"] == 7900
    assert "Price:    79.00 USD" in (await customer.get(own + ".txt")).body.decode()
    assert (await customer.get(own + ".pdf")).body == pdf.body


async def test_an_unpaid_order_has_no_receipt(service: Service) -> None:
    _, order = await order_in(service, "pay")
    path = path_of(service, order)
    assert (await service.client().get(path + "/receipt")).status == 404
    assert (await service.client().get(path + "/receipt.pdf")).status == 404


async def test_news_come_only_when_there_are_some(service: Service) -> None:
    _, order = await order_in(service, "pay")
    body = (await page_of(service, order)).body.decode()
    # That the page goes on looking is part of what changes.
    live = (await service.client().get(path_of(service, order) + "/status")).body.decode()
    assert "This page updates by itself." in live
    assert "Check again" in live
    assert body.count("This page updates by itself.") == 1
    found = re.search(r'hx-get="([^"]+)"', body)
    assert found
    asked = html.unescape(found[1])
    assert (await service.client().get(asked)).status == 204
    await control(service, order, "pay")
    await service.becomes(order["order_id"], "paid")
    news = await service.client().get(asked)
    assert news.status == 200
    assert b"Check again" not in news.body
    assert news.body.lstrip().startswith(b'<div id="live"')
    assert b'data-stage="paid"' in news.body
    assert b"hx-get" not in news.body


@pytest.mark.parametrize("unknown", ["pay_amount", "pay_currency"])
async def test_an_address_without_coin_or_amount_is_not_shown(service: Service, unknown: str) -> None:
    _, order = await order_in(service, "pay")
    await service.rows(f"UPDATE payments SET {unknown} = NULL WHERE order_id = $1", order["order_id"])
    reply = await page_of(service, order)
    assert order["payment_address"] not in reply.body.decode()
    assert "This order cannot be paid here" in words(reply)


async def test_another_current_payment_is_news(service: Service) -> None:
    _, order = await order_in(service, "pay")
    found = re.search(r'hx-get="([^"]+)"', (await page_of(service, order)).body.decode())
    assert found
    asked = html.unescape(found[1])
    assert (await service.client().get(asked)).status == 204
    await service.rows(
        "INSERT INTO payments SELECT (jsonb_populate_record(p, $2::jsonb)).* FROM payments p"
        " WHERE order_id = $1",
        order["order_id"],
        '{"payment_id": "4711", "pay_address": "TNew"}',
    )
    await service.rows("UPDATE orders SET payment_id = '4711' WHERE order_id = $1", order["order_id"])
    news = (await service.client().get(asked)).body.decode()
    assert 'data-copy="TNew"' in news
    assert order["payment_address"] not in news


async def test_an_open_page_has_the_provider_asked_once_a_minute(service: Service) -> None:
    _, order = await order_in(service, "pay")
    await service.sandbox.post("/sandbox/faults", {"drop_ipns": 1})
    try:
        await control(service, order, "pay")
        await service.rows(
            "UPDATE payments SET created_at = created_at - interval '2 minutes', asked_at = NULL,"
            " ask_at = now() + interval '1 hour' WHERE order_id = $1",
            order["order_id"],
        )
        await page_of(service, order)
        # Its notifications are lost; what makes it paid is the question that the page brought about.
        await service.becomes(order["order_id"], "paid")
    finally:
        await service.sandbox.post("/sandbox/faults", {"drop_ipns": 0})
