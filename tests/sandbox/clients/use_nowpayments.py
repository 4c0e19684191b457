"""Use ``nowpayments`` 1.3.3 (form bodies) against ``URL KEY`` and print what it returned."""

import json
import sys

from nowpayments import NOWPayments
from nowpayments.sandbox import NOWPaymentsSandbox

url, key = sys.argv[1:]
NOWPayments._API_URL = NOWPaymentsSandbox._API_URL = url + "/v1/{}"
client = NOWPayments(key)
created = client.create_payment(
    price_amount=29.5, price_currency="usd", pay_currency="btc", order_id="o-1",
    order_description="Pro plan & more",
    ipn_callback_url="http://127.0.0.1:9/ipn?a=b", fixed_rate=True,
)  # fmt: skip
walking = NOWPaymentsSandbox(key).create_payment(price_amount=29.5, price_currency="usd", pay_currency="btc")
try:
    NOWPayments("wrong").get_available_currencies()
    refusal = ""
except Exception as error:  # noqa: BLE001 - whatever the package makes of a refusal is what is looked at.
    refusal = str(error)
answers = {
    "status": client.get_api_status(),
    "currencies": client.get_available_currencies(),
    "checked": client.get_available_checked_currencies(),
    "estimate": client.get_estimate_price(100, "usd", "btc"),
    "minimum": client.get_minimum_payment_amount("btc", "btc", "usd"),
    "created": created,
    "walking": walking,
    "read": client.get_payment_status(created["payment_id"]),
    "refusal": refusal,
}
sys.stdout.write(json.dumps(answers))
