"""Ask the provider about payments, keep its answers, and apply them."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from crypto_orders.domain.payment import Payment
from crypto_orders.domain.provider_payment import ProviderPayment
from crypto_orders.provider import Found, NoAnswer, NotFound
from crypto_orders.store import asks
from crypto_orders.store.transaction import transact_single
from crypto_orders.usecases import facts
from crypto_orders.usecases.deployment import Deployment
from crypto_orders.usecases.facts import Applied


@dataclass(frozen=True, slots=True)
class Asked:
    """What the provider answered about one payment, and what its word did."""

    found: Found | NotFound | NoAnswer
    applied: Applied | None

    @property
    def answer(self) -> ProviderPayment | None:
        """The provider's word, if it gave one."""
        return self.found.payment if isinstance(self.found, Found) else None


async def ask(
    d: Deployment,
    payment_id: str,
    *,
    deadline_seconds: float,
    parent_payment_id: str | None = None,
    granted: bool = False,
) -> Found | NotFound | NoAnswer:
    """Ask the provider about one payment, without applying the answer.

    An answer about another payment is no answer. `parent_payment_id` is what is known of a child whose
    answer does not name its parent. A read that was not `granted` beforehand is drawn from the budget.
    """
    if not granted:
        await transact_single(d.pool, lambda tx: asks.draw(tx, 1))
    found = await d.provider.get_payment(payment_id, deadline_seconds=deadline_seconds)
    if not isinstance(found, Found):
        return found
    if found.payment.payment_id != payment_id:
        return NoAnswer("the answer is about another payment")
    if parent_payment_id is not None and found.payment.parent_payment_id is None:
        return replace(found, payment=replace(found.payment, parent_payment_id=parent_payment_id))
    return found


async def ask_and_apply(
    d: Deployment,
    payment_id: str,
    *,
    deadline_seconds: float,
    parent_payment_id: str | None = None,
    granted: bool = False,
) -> Asked:
    """Ask the provider about one payment and apply its answer like any word of its own."""
    found = await ask(
        d,
        payment_id,
        deadline_seconds=deadline_seconds,
        parent_payment_id=parent_payment_id,
        granted=granted,
    )
    if not isinstance(found, Found):
        return Asked(found, None)
    return Asked(found, await facts.hear_answer(d, found.payment, found.raw))


async def ask_about_all(
    d: Deployment, payments: Iterable[Payment], *, deadline_seconds: float
) -> dict[str, Asked]:
    """Ask about several payments at once, all within one deadline."""
    known = tuple(payments)
    answers = await asyncio.gather(
        *(ask_and_apply(d, p.payment_id, deadline_seconds=deadline_seconds) for p in known)
    )
    return {p.payment_id: asked for p, asked in zip(known, answers, strict=True)}
