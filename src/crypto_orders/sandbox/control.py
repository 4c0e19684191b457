"""The controls a real provider does not have: let money arrive, set statuses, break things, start afresh.

They answer this machine only. Errors have the provider's shape; payment ids are strings, as in a creation.
"""

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_orders.sandbox.access import engine_of, from_loopback
from crypto_orders.sandbox.coins import COINS
from crypto_orders.sandbox.engine import NoCallbackError
from crypto_orders.sandbox.faults import FaultError
from crypto_orders.sandbox.fields import Fields, body_fields, body_values, query_fields, required
from crypto_orders.sandbox.merchant_payments import payment_of
from crypto_orders.sandbox.payment import Payment, Transfer
from crypto_orders.sandbox.wire import json_response, refuse, refuse_invalid, refuse_unknown

_STATUS_CHARS_MAX: Final = 64


async def pay(request: Request) -> Response:
    """Let a payer send money; what comes of it happens in the background."""
    target = _target(request)
    fields = await body_fields(request, json_only=True)
    amount = fields.amount("amount")
    confirm = fields.flag("confirm")
    paid = engine_of(request).pay(
        _fresh(request, target), amount, _coin(fields, target), confirm=confirm is not False
    )
    return _told(paid, 202)


async def redeposit(request: Request) -> Response:
    """Let a payer send money to a used address: always a new child payment."""
    target = _target(request)
    fields = await body_fields(request, json_only=True)
    transfer = Transfer(
        amount=required(fields.amount("amount"), "amount"),
        pay_currency=_coin(fields, target),
        confirm=fields.flag("confirm") is not False,
    )
    return _told(engine_of(request).deposit_again(target, transfer), 202)


async def set_status(request: Request) -> Response:
    """Set any status from any status, known to the provider or not."""
    target = _target(request)
    status = required((await body_fields(request, json_only=True)).text("payment_status"), "payment_status")
    if len(status) > _STATUS_CHARS_MAX:
        refuse_invalid(
            f"payment_status length must be less than or equal to {_STATUS_CHARS_MAX} characters long"
        )
    return _told(engine_of(request).override(_fresh(request, target), status), 200)


async def resend_ipn(request: Request) -> Response:
    """Send the notification of the present state, whatever faults are in force."""
    target = _target(request)
    try:
        engine_of(request).resend(target)
    except NoCallbackError as error:
        refuse(409, "NO_CALLBACK", str(error))
    return _told(target, 202)


async def list_payments(request: Request) -> Response:
    """Show the ledger: every payment, or those of one ``payment_id`` or ``order_id``, oldest first."""
    fields = query_fields(request)
    payment_id, order_id = fields.identifier("payment_id"), fields.text("order_id")
    document = await asyncio.to_thread(engine_of(request).ledger.ledger_json, payment_id, order_id)
    return Response(document, media_type="application/json")


async def show_faults(request: Request) -> Response:
    """Show the faults in force."""
    return json_response(engine_of(request).faults)


async def change_faults(request: Request) -> Response:
    """Change the named faults and show all of them."""
    changes = await body_values(request, json_only=True)
    try:
        return json_response(engine_of(request).set_faults(changes))
    except FaultError as error:
        refuse_invalid(str(error))


async def reset(request: Request) -> Response:
    """Forget payments, invoices, pending notifications and faults."""
    await engine_of(request).reset()
    return json_response({"reset": True})


def _target(request: Request) -> Payment:
    payment = payment_of(engine_of(request), request.path_params["payment_id"])
    if payment is None:
        refuse_unknown("Payment not found")
    return payment


def _fresh(request: Request, target: Payment) -> Payment:
    """The payment as it is now: a step may have been taken while the body was read."""
    return engine_of(request).ledger.payment(target.payment_id) or target


def _coin(fields: Fields, target: Payment) -> str:
    code = fields.code("pay_currency") or target.pay_currency
    if code not in COINS:
        refuse_invalid(f"Currency {code} was not found")
    return code


def _told(payment: Payment, status: int) -> Response:
    return json_response(
        {"payment_id": str(payment.payment_id), "payment_status": payment.payment_status}, status
    )


ROUTES: Final = (
    Route("/sandbox/payments", from_loopback(list_payments), methods=["GET"]),
    Route("/sandbox/payments/{payment_id}/pay", from_loopback(pay), methods=["POST"]),
    Route("/sandbox/payments/{payment_id}/status", from_loopback(set_status), methods=["POST"]),
    Route("/sandbox/payments/{payment_id}/redeposit", from_loopback(redeposit), methods=["POST"]),
    Route("/sandbox/payments/{payment_id}/resend-ipn", from_loopback(resend_ipn), methods=["POST"]),
    Route("/sandbox/faults", from_loopback(show_faults), methods=["GET"]),
    Route("/sandbox/faults", from_loopback(change_faults), methods=["POST"]),
    Route("/sandbox/reset", from_loopback(reset), methods=["POST"]),
)
