"""What an order would cost, in the shop's currency and, when the provider answers, in a coin."""

import asyncio
from dataclasses import dataclass
from decimal import Decimal

from crypto_orders.domain.errors import ValidationFailed
from crypto_orders.store import products
from crypto_orders.usecases.deployment import Deployment

QUOTE_DEADLINE_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A price in integer cents; `estimate` and `minimum` in the coin, None when the provider is silent."""

    product: str
    price_cents: int
    price_currency: str
    pay_currency: str | None = None
    estimate: Decimal | None = None
    minimum: Decimal | None = None


async def quote(d: Deployment, product: str, pay_currency: str | None) -> Quote:
    """The price of a product, and with a coin what that is about in it.

    Raises:
        ValidationFailed: the product or the coin is unknown.
    """
    async with d.pool.acquire() as conn:
        found = await products.get(conn, product)
    if found is None:
        raise ValidationFailed({"product": ["is no product of the catalogue"]})
    if pay_currency is None:
        return Quote(product=product, price_cents=found.price_cents, price_currency=found.price_currency)
    if not await d.provider.knows_coin(pay_currency):
        raise ValidationFailed({"pay_currency": ["is no coin of the provider"]})
    estimate, minimum = await asyncio.gather(
        d.provider.estimate(
            found.price_cents, found.price_currency, pay_currency, deadline_seconds=QUOTE_DEADLINE_SECONDS
        ),
        d.provider.minimum_amount(pay_currency, deadline_seconds=QUOTE_DEADLINE_SECONDS),
    )
    return Quote(
        product=product,
        price_cents=found.price_cents,
        price_currency=found.price_currency,
        pay_currency=pay_currency,
        estimate=estimate,
        minimum=minimum,
    )
