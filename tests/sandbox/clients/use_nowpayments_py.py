"""Use ``nowpayments-py`` 1.0.5 against ``URL KEY EMAIL PASSWORD`` and print what it returned."""

import json
import sys

from nowpayments import NowPayments, NowPaymentsError

url, key, email, password = sys.argv[1:]
client = NowPayments({"api_key": key, "base_url": url})
created = client.create_payment(
    {
        "price_amount": 29.5, "price_currency": "usd", "pay_currency": "btc", "order_id": "o-1",
        "fixed_rate": True, "origin_ip": "203.0.113.7",
    }
)  # fmt: skip
invoice = client.create_invoice(
    {"price_amount": 5, "price_currency": "usd", "success_url": "https://a.example/"}
)
token = client.get_auth_token(email, password)["token"]
refusals = []
for call in (
    client.get_payments,
    lambda: client.get_payment_status(1),
    lambda: client.get_payment_status("x"),
):
    try:
        call()
    except NowPaymentsError as error:
        refusals.append([error.status_code, error.code, error.message])
answers = {
    "status": client.get_status(),
    "currencies": client.get_currencies(),
    "fixed": client.get_currencies(fixed_rate=True),
    "full": client.get_full_currencies(),
    "coins": client.get_merchant_coins(),
    "currency": client.get_currency("btc"),
    "estimate": client.get_estimate_price({"amount": 100, "currency_from": "usd", "currency_to": "btc"}),
    "minimum": client.get_min_amount(
        {"currency_from": "btc", "currency_to": "btc", "fiat_equivalent": "usd", "is_fixed_rate": False}
    ),
    "created": created,
    "read": client.get_payment_status(created["payment_id"]),
    "list": client.get_payments({"limit": 5, "page": 0, "sortBy": "created_at", "orderBy": "desc"}, token),
    "renewed": client.update_payment_estimate(created["payment_id"]),
    "invoice": invoice,
    "invoice_payment": client.create_invoice_payment({"iid": invoice["id"], "pay_currency": "ltc"}),
    "refusals": refusals,
}
sys.stdout.write(json.dumps(answers))
