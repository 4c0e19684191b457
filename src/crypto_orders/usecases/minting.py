"""Mint an order's payment at the provider: once, recorded whatever happens, repeated only by the rule.

An order is minted in the call that starts it, or, when that named no coin, by the payer's choice of one;
when that surely failed, or its outcome is unknown and 20 s have passed, by the next retry with the same key,
by a worker or by another choice, always before the pay window ends. A coin that the provider refused is not
asked for again.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import assert_never
from uuid import UUID

from asyncpg.exceptions import UniqueViolationError
from msgspec.structs import replace

from crypto_orders.domain import actions
from crypto_orders.domain.order import Decision, Order, Status
from crypto_orders.domain.payment import Payment
from crypto_orders.kit import clock
from crypto_orders.provider import CreateOutcome, CreatePayment, Minted, Mismatched, NotMade, Refused, Unknown
from crypto_orders.store import checkouts, flags, orders, payments
from crypto_orders.store.checkouts import IN_FLIGHT, Standing
from crypto_orders.store.connection import Conn, Tx
from crypto_orders.store.failures import CommitUnknown, StoreUnavailable
from crypto_orders.store.transaction import transact, transact_single
from crypto_orders.usecases import observed
from crypto_orders.usecases.deployment import Deployment

CREATE_DEADLINE_SECONDS = 8.0
"""The customer waits for the address; the provider's create answers in one to three seconds."""

NOT_MADE_RETRY = timedelta(seconds=30)
"""A worker repeats a create call that surely failed after this; the customer's own retry may be quicker."""


@dataclass(frozen=True, slots=True)
class Minting:
    """An order, its payment while coins may be sent to it, and what may be done about its minting."""

    order: Order
    payment: Payment | None
    in_flight: bool = False
    may_mint: bool = False


@dataclass(frozen=True, slots=True)
class Choosing:
    """Whether a payer may choose a coin, and which ones the provider refused for this order."""

    is_open: bool
    refused_coins: frozenset[str] = frozenset()

    def allows(self, coin: str) -> bool:
        """Whether this coin may be chosen."""
        return self.is_open and coin not in self.refused_coins


class NotChosen(Enum):
    """Why a choice of a coin came to nothing."""

    NO_SUCH_COIN = "no_such_coin"
    """The provider does not list it, or there is no list to look it up in."""

    CLOSED = "closed"
    """The order has a payment, one is on its way, or it can no longer be paid."""

    REFUSED_BEFORE = "refused_before"
    """The provider refused this coin for this order."""


async def knows_coin(d: Deployment, coin: str) -> bool:
    """Whether the provider has a coin; when it does not answer, whether it looks like one."""
    return await d.provider.knows_coin(coin)


async def look(conn: Conn, order: Order) -> Minting:
    """Where an order's minting stands, by the database's clock."""
    seen = await checkouts.standing(conn, order.account_id, order.order_id)
    return Minting(order, None) if seen is None else _minting(seen)


def _minting(seen: Standing) -> Minting:
    order, attempt = seen.order, seen.attempt
    if actions.payable(order, seen.payment, seen.now):
        return Minting(order, seen.payment)
    open_still = order.status is Status.PENDING and seen.now < order.window_ends_at
    if not open_still or seen.payment is not None or attempt is None:
        return Minting(order, None)
    young = attempt.age < IN_FLIGHT
    may_mint = attempt.state == "not_made" or (attempt.state in {"sent", "unknown"} and not young)
    return Minting(order, None, in_flight=attempt.state == "sent" and young, may_mint=may_mint)


async def mint_first(d: Deployment, order: Order, coin: str) -> Minting:
    """Make the create call whose attempt was stored with the order."""
    return await _mint(d, order, 1, coin)


async def mint_again(d: Deployment, order: Order) -> Minting:
    """Repeat a create call where the rule allows it, checked again under the order's lock."""

    async def begin(tx: Tx) -> tuple[Minting, int, str | None]:
        await orders.lock(tx, order.account_id, order.order_id)
        seen = await checkouts.standing(tx, order.account_id, order.order_id)
        if seen is None or seen.attempt is None or not (standing := _minting(seen)).may_mint:
            return await look(tx, order), 0, None
        attempt_no, coin = seen.attempt.attempt_no + 1, seen.attempt.pay_currency
        await checkouts.begin_attempt(tx, seen.order, attempt_no, coin, seen.now)
        return standing, attempt_no, coin

    standing, attempt_no, coin = await transact(d.pool, begin)
    return standing if coin is None else await _mint(d, standing.order, attempt_no, coin)


def choosing(seen: Standing, refused_coins: frozenset[str]) -> Choosing:
    """Whether the payer of an order may choose a coin: nothing was minted, and nothing can be on its way.

    What the provider refused was surely not made; where the rule lets a worker repeat a call, the payer may
    choose another coin as well.
    """
    order, attempt = seen.order, seen.attempt
    if order.status is not Status.PENDING or seen.now >= order.window_ends_at or seen.payment is not None:
        return Choosing(is_open=False)
    is_open = attempt is None or attempt.state == "refused" or _minting(seen).may_mint
    return Choosing(is_open, refused_coins)


async def mint_chosen(d: Deployment, account_id: UUID, order_id: str, coin: str) -> Minting | NotChosen:
    """Mint an order in the coin that its payer chose, where the rule allows it under the order's lock.

    Of choices that come at once one is taken; the others find it on its way.
    """
    coins = await d.provider.coins()
    if coins is None or coin not in coins:
        return NotChosen.NO_SUCH_COIN

    async def begin(tx: Tx) -> tuple[Order, int] | NotChosen:
        await orders.lock(tx, account_id, order_id)
        seen = await checkouts.standing(tx, account_id, order_id)
        if seen is None:
            return NotChosen.CLOSED
        allowed = choosing(seen, await checkouts.refused_coins(tx, seen.order))
        if not allowed.is_open:
            return NotChosen.CLOSED
        if not allowed.allows(coin):
            return NotChosen.REFUSED_BEFORE
        attempt_no = seen.attempt.attempt_no + 1 if seen.attempt else 1
        await checkouts.begin_attempt(tx, seen.order, attempt_no, coin, seen.now)
        return replace(seen.order, pay_currency=coin), attempt_no

    begun = await transact(d.pool, begin)
    if isinstance(begun, NotChosen):
        return begun
    order, attempt_no = begun
    observed.coin_chosen(order, coin)
    # The call goes on when the payer leaves: what it makes has to be recorded.
    return await asyncio.shield(asyncio.create_task(_mint(d, order, attempt_no, coin)))


async def complete(d: Deployment, account_id: UUID, order_id: str) -> None:
    """Finish what a crash or a silent provider left half done; what may not be minted any more is let go."""

    async def let_go(tx: Tx) -> Order | None:
        locked = await orders.lock(tx, account_id, order_id)
        if locked is None:
            return None
        seen = await look(tx, locked.order)
        if seen.may_mint:
            return locked.order
        if not seen.in_flight and not (locked.own_attempt and seen.payment is None and _is_open(locked)):
            await checkouts.give_up_minting(tx, locked.order)
        return None

    order = await transact(d.pool, let_go)
    if order is not None:
        await mint_again(d, order)


def _is_open(locked: orders.Locked) -> bool:
    return locked.order.status is Status.PENDING and locked.now < locked.order.window_ends_at


# ------------------------------------------------------------------ one create call


async def _mint(d: Deployment, order: Order, attempt_no: int, coin: str) -> Minting:
    outcome = await d.provider.create_payment(
        CreatePayment(
            order_id=order.order_id,
            order_description=order.product,
            price_cents=order.price_cents,
            price_currency=order.price_currency,
            pay_currency=coin,
            ipn_callback_url=d.terms.callback_url,
        ),
        deadline_seconds=CREATE_DEADLINE_SECONDS,
    )
    try:
        if isinstance(outcome, Minted) and attempt_no == 1:
            fresh = await _record_fresh(d, order, outcome)
            if fresh is not None:
                return fresh
        await _record(d, order, attempt_no, outcome)
        async with d.pool.acquire() as conn:
            return await look(conn, order)
    except (CommitUnknown, StoreUnavailable):
        # The attempt stays as it was written: a worker or the next retry finds out.
        observed.minting(order, "not_recorded", type(outcome).__name__)
        return Minting(order, None)


async def _record_fresh(d: Deployment, order: Order, outcome: Minted) -> Minting | None:
    """Record a payment by one statement on an order that nobody has touched since it was started."""
    now = clock.utc_now()
    decision = actions.mint(order, (), outcome.payment, now)
    try:
        recorded = await transact_single(
            d.pool, lambda tx: checkouts.record_minted(tx, order, decision, 1, now)
        )
    except UniqueViolationError:
        return None
    if not recorded:
        return None
    observed.minting(order, "minted", None)
    (payment,) = decision.payments
    return Minting(decision.order, payment if actions.payable(decision.order, payment, now) else None)


async def _record(d: Deployment, order: Order, attempt_no: int, outcome: CreateOutcome) -> None:
    match outcome:
        case Minted():
            await _record_under_lock(d, order, attempt_no, outcome)
            observed.minting(order, "minted", None)
        case Mismatched(why=why):
            await _record_under_lock(d, order, attempt_no, outcome)
            observed.minting(order, "mismatched", why)
        case Refused(code=code, message=message):
            await _settle(d, order, attempt_no, "refused", f"{code}: {message}")
        case NotMade(reason=reason):
            await _settle(d, order, attempt_no, "not_made", reason)
        case Unknown(reason=reason):
            await _settle(d, order, attempt_no, "unknown", reason)
        case _:
            assert_never(outcome)


async def _settle(d: Deployment, order: Order, attempt_no: int, state: str, reason: str) -> None:
    await transact_single(
        d.pool,
        lambda tx: checkouts.settle_attempt(
            tx, order, attempt_no, state, reason=reason, retry_after=NOT_MADE_RETRY
        ),
    )
    observed.minting(order, state, reason)


async def _record_under_lock(
    d: Deployment, order: Order, attempt_no: int, outcome: Minted | Mismatched
) -> None:
    """Record a made payment on an order that others may have changed meanwhile."""
    payment_id = outcome.payment.payment_id

    async def work(tx: Tx) -> tuple[orders.Locked, Decision, tuple[orders.Raised, ...]] | None:
        locked = await orders.lock(tx, order.account_id, order.order_id)
        if locked is None:
            return None
        route = await payments.route_of(tx, payment_id)
        if route is not None and route.order_id != order.order_id:
            why = "its payment id is another order's"
            mismatched = actions.mint_mismatched(locked.order, outcome.payment, why, locked.now)
            decision = replace(mismatched, payments=())
        elif isinstance(outcome, Mismatched):
            why = outcome.why
            decision = actions.mint_mismatched(
                locked.order, outcome.payment, why, locked.now, payments=locked.payments
            )
        else:
            why = None
            decision = actions.mint(locked.order, locked.payments, outcome.payment, locked.now)
        snapshot = outcome.raw if isinstance(outcome, Mismatched) else None
        raised = await orders.save(tx, locked, decision, snapshot=snapshot)
        state = "mismatched" if why else "minted"
        await checkouts.settle_attempt(tx, locked.order, attempt_no, state, reason=why, payment_id=payment_id)
        if state == "minted":
            await flags.close_adopted(tx, order.account_id, payment_id)
        return locked, decision, raised

    done = await transact(d.pool, work)
    if done is not None:
        observed.decided(done[0].order, done[1], done[2])
