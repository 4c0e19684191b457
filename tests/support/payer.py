"""Orders as payers meet them: in every stage of their payment, made with the sandbox, and their pages."""

from typing import Any

from tests.support.notices import payment_of
from tests.support.service import Customer, Service, eventually

STAGES = ("pay", "choose", "over", "confirming", "partial", "paid", "expired", "failed", "cancelled")
"""Every stage that a payer ordinarily meets."""

PAST = """
WITH o AS (UPDATE orders
              SET created_at = created_at - $2::interval, window_ends_at = window_ends_at - $2::interval
            WHERE order_id = $1)
UPDATE payments SET created_at = created_at - $2::interval WHERE order_id = $1
"""

LAST_HEARD = """
UPDATE payments
   SET created_at = now() - interval '10 minutes', changed_at = now() - interval '10 minutes',
       snapshot_at = now() - interval '5 minutes',
       asked_at = now() - interval '5 minutes' + interval '40 milliseconds',
       ask_at = now() + interval '1 hour'
 WHERE order_id = $1
"""

TIME_PASSED = "UPDATE payments SET asked_at = asked_at - $2::text::interval WHERE order_id = $1"

IS_ASKED = """
SELECT ask_at > now() AND ask_lease_until IS NULL AND asked_at > now() - interval '1 minute' AS is_so
  FROM payments
 WHERE order_id = $1
"""


def path_of(service: Service, order: dict[str, Any]) -> str:
    """The path of an order's payment page."""
    return order["checkout_url"].removeprefix(service.base_url)


async def end_window(service: Service, order: dict[str, Any]) -> None:
    """Let an order's pay window be over: it began two hours ago."""
    await service.rows(PAST.replace("$2::interval", "interval '2 hours'"), order["order_id"])


async def last_heard(service: Service, order: dict[str, Any]) -> None:
    """Let the provider have been asked and have answered five minutes ago, and not since.

    A question is dated when it is settled, just after its answer was stored.
    """
    await service.rows(LAST_HEARD, order["order_id"])


async def is_asked(service: Service, order: dict[str, Any]) -> None:
    """Wait until a worker has put the question that an open page brought about, answered or not."""

    async def is_so() -> bool:
        return (await service.rows(IS_ASKED, order["order_id"]))[0]["is_so"]

    await eventually(is_so)


async def time_passes(service: Service, order: dict[str, Any], length: str) -> None:
    """Let the last question about an order's payment be so much older."""
    await service.rows(TIME_PASSED, order["order_id"], length)


async def control(service: Service, order: dict[str, Any], what: str, **body: Any) -> None:
    """Have the sandbox do something to an order's payment."""
    payment_id = await payment_of(service, order)
    reply = await service.sandbox.post(f"/sandbox/payments/{payment_id}/{what}", body)
    assert reply.status in {200, 202}, reply.body


async def order_in(service: Service, stage: str, coin: str = "usdttrc20") -> tuple[Customer, dict[str, Any]]:
    """A new customer's order of 79.00 USD in a stage of its payment."""
    customer = await service.customer()
    order = await customer.check_out(pay_currency=None if stage == "choose" else coin)
    match stage:
        case "pay" | "choose":
            pass
        case "confirming":
            await control(service, order, "pay", confirm=False)
        case "partial":
            await control(service, order, "pay", amount="40.5")
        case "paid":
            await control(service, order, "pay")
        case "failed":
            await control(service, order, "status", payment_status="failed")
        case "over":
            await end_window(service, order)
        case "expired" | "cancelled":
            if stage == "expired":
                await end_window(service, order)
            path = f"/v1/billing/crypto-orders/{order['order_id']}/cancel"
            reply = await customer.post(path)
            assert reply.status == 200, reply.body
        case _:
            raise AssertionError(stage)
    stored = {"pay": "pending", "choose": "pending", "over": "pending", "expired": "failed"}
    await service.becomes(order["order_id"], stored.get(stage, stage))
    return customer, order
