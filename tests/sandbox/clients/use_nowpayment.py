"""Use ``nowpayment`` 1.9.0 against ``URL KEY EMAIL PASSWORD`` and print what it returned."""

import json
import sys

from nowpayment import NowPayments, NowPaymentsAPIError

url, key, email, password = sys.argv[1:]
client = NowPayments(key)
client.base_url = url + "/v1"
client.jwt_token = client.payout.login(email, password)["token"]
created = client.payment.create_payment(
    29.5, "usd", "btc", "http://127.0.0.1:9/ipn", "o-1", as_model=True, is_fee_paid_by_user=True
)
invoice = client.payment.create_invoice(5, "usd")
refusals = []
for payment_id in ("1", "x"):
    try:
        client.payment.get_payment_status(payment_id)
    except NowPaymentsAPIError as error:
        refusals.append(str(error))
answers = {
    "status": client.get_api_status(),
    "currencies": client.currency.get_available_currencies(),
    "fixed": client.currency.get_available_currencies(fixed_rate=True),
    "full": len(client.currency.get_available_currencies_v2(as_model=True).currencies),
    "checked": client.currency.get_available_checked_currencies(),
    "estimate": client.payment.get_estimated_price(100, "usd", "btc"),
    "minimum": client.payment.get_minimum_payment_amount("btc", "btc"),
    "created": created.raw,
    "read": client.payment.get_payment_status(created.payment_id),
    "renewed": client.payment.get_payment_estimated(created.payment_id),
    "list": client.payment.get_payment_list(as_model=True).raw,
    "invoice": invoice,
    "invoice_payment": client.payment.create_invoice_payment(invoice["id"], "ltc"),
    "valid": client.payout.validate_address("0x" + "a" * 40, "eth"),
    "balance": client.payout.get_balance(),
    "refusals": refusals,
}
sys.stdout.write(json.dumps(answers))
