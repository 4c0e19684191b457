"""The service's web process as the benchmark runs it: everything real but the provider, which answers at once."""

import itertools
import os
import sys
from decimal import Decimal
from typing import Any

import uvloop

from crypto_orders import app, settings
from crypto_orders.domain.order import Rules
from crypto_orders.domain.provider_payment import ProviderPayment
from crypto_orders.kit import clock, log, server
from crypto_orders.kit.application import HttpApp
from crypto_orders.provider import CreatePayment, Minted
from crypto_orders.store.connection import open_pool
from crypto_orders.usecases.deployment import CheckoutTerms, Deployment
from crypto_orders.usecases.passwords import Passwords

IPN_SECRET = "ipn secret of the benchmark"  # noqa: S105 - it opens nothing
ADDRESS = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"


class InstantProvider:
    """Mints a payment without a network: what is measured is ours."""

    def __init__(self) -> None:
        self._ids = itertools.count(10**9 * (os.getpid() % 1000) + 5_000_000_000)

    async def knows_coin(self, coin: str) -> bool:
        return True

    async def create_payment(self, asked: CreatePayment, *, deadline_seconds: float) -> Minted:
        payment = ProviderPayment(
            payment_id=str(next(self._ids)),
            payment_status="waiting",
            order_id=asked.order_id,
            price_amount=Decimal(asked.price_cents) / 100,
            price_currency="usd",
            pay_currency=asked.pay_currency,
            pay_address=ADDRESS,
            pay_amount=Decimal("0.00079"),
            created_at=clock.utc_now(),
        )
        return Minted(payment, b"{}")


async def main(dsn: str, port: int, limits: int, connections: int) -> None:
    log.configure(level="error")
    found = settings.read(
        {
            "CRYPTO_ORDERS_SANDBOX": "true",
            "CRYPTO_ORDERS_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "CRYPTO_ORDERS_SEALING_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            "CRYPTO_ORDERS_NOWPAYMENTS_IPN_SECRET": IPN_SECRET,
            "CRYPTO_ORDERS_RATE_LIMIT_CUSTOMER_CAPACITY": "0",
        }
    )
    pool = await open_pool(dsn, size=connections, application_name="bench-web")
    provider: Any = InstantProvider()
    terms = CheckoutTerms(open_max=limits, per_day_max=limits, callback_url=f"http://127.0.0.1:{port}/")
    deployment = Deployment(pool=pool, provider=provider, rules=Rules(), terms=terms)
    async with app.webhooks_of(found, pool) as sending:
        groups = app.route_groups(found, deployment, pool, sending, Passwords())
        web = HttpApp(groups, type_base="http://127.0.0.1/errors")
        bound = server.bind("127.0.0.1", port)
        print("ready", flush=True)
        await server.serve(web, bound, type_base="http://127.0.0.1/errors")


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
