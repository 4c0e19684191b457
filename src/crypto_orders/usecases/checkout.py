"""Start an order, or answer a repeated key: the first half of a checkout, and its idempotency."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from crypto_orders.domain.errors import Conflict, DomainError, Unavailable, ValidationFailed
from crypto_orders.domain.order import Order
from crypto_orders.domain.payment import Payment
from crypto_orders.kit import ids, log
from crypto_orders.store import checkouts, orders
from crypto_orders.store.checkouts import Replayed, Start, Started
from crypto_orders.store.failures import CommitUnknown
from crypto_orders.store.transaction import transact_single
from crypto_orders.usecases import minting, observed
from crypto_orders.usecases.deployment import Deployment

TWIN_WAIT_SECONDS = 3.0
TWIN_LOOK_EVERY_SECONDS = 0.05

SENT_TEXT_LOGGED_CHARS = 16
"""What a client sends may be long; this much of it tells what it is."""

_log = log.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A checkout as it was asked for. `fingerprint` holds the fields as sent; absent ones are absent.

    `client_price` is what the client believes the price to be; it decides nothing.
    """

    account_id: UUID
    product: str
    pay_currency: str | None
    idempotency_key: str | None
    fingerprint: Mapping[str, object]
    strict: bool = False


@dataclass(frozen=True, slots=True)
class CheckedOut:
    """The order a checkout stands for, and its payment while coins may be sent to it."""

    order: Order
    payment: Payment | None
    replayed: bool = False
    differing_fields: tuple[str, ...] = ()


async def check_out(d: Deployment, asked: Asked) -> CheckedOut:
    """Start an order and mint its payment, or answer a repeated key with the order it stands for.

    Raises:
        ValidationFailed: the product or the coin is unknown.
        Conflict: a limit is reached, or in strict mode the key was used with another body or is in progress.
        Unavailable: it is not certain that the order was stored; the same key may be retried.
    """
    if asked.pay_currency is not None and not await minting.knows_coin(d, asked.pay_currency):
        return await _replay_or(d, asked, ValidationFailed({"pay_currency": ["is no coin of the provider"]}))
    coin = asked.pay_currency or d.terms.default_coin
    started = await _start(d, asked, coin)
    if started.order is None:
        return await _replay_or(d, asked, _refusal(d, started))
    _log_price_override(asked, started.order)
    observed.started(started.order)
    observed.IDEMPOTENCY.labels("first_write" if asked.idempotency_key else "no_key").inc()
    if coin is None:
        return CheckedOut(started.order, None)
    # The call goes on when the client hangs up: what it makes has to be recorded.
    minted = await asyncio.shield(asyncio.create_task(minting.mint_first(d, started.order, coin)))
    return CheckedOut(minted.order, minted.payment)


async def _start(d: Deployment, asked: Asked, coin: str | None) -> Started:
    start = Start(
        account_id=asked.account_id,
        order_id=ids.order_id(),
        product=asked.product,
        pay_currency=coin,
        window=d.terms.pay_window,
        idempotency_key=asked.idempotency_key,
        fingerprint=asked.fingerprint,
        open_max=d.terms.open_max,
        per_day_max=d.terms.per_day_max,
        mint=coin is not None,
    )
    try:
        return await transact_single(d.pool, lambda tx: checkouts.start(tx, start))
    except CommitUnknown:
        async with d.pool.acquire() as conn:
            order = await orders.get(conn, start.account_id, start.order_id)
        if order is None:
            raise Unavailable("The order could not be stored; please retry.", 1) from None
        return Started(order, product_known=True, open_orders=0, unpaid_today=0)


def _refusal(d: Deployment, started: Started) -> DomainError:
    if not started.product_known:
        return ValidationFailed({"product": ["is no product of the catalogue"]})
    terms = d.terms
    if terms.open_max and started.open_orders >= terms.open_max:
        field, limit = "open", terms.open_max
    elif terms.per_day_max and started.unpaid_today >= terms.per_day_max:
        field, limit = "per_day", terms.per_day_max
    else:
        return Unavailable("The same key was in use this moment; please retry.", 1)
    observed.refused(f"checkout_limit_{field}")
    return Conflict(
        "The account has too many unpaid crypto orders.", resource="crypto_order", field=field, limit=limit
    )


def _log_price_override(asked: Asked, order: Order) -> None:
    """A price sent by the client never decides; a different one is worth a look."""
    cents, currency = asked.fingerprint.get("price_cents"), asked.fingerprint.get("price_currency")
    other_currency = str(currency or order.price_currency).upper() != order.price_currency
    if other_currency or cents not in {None, order.price_cents}:
        _log.warning(
            "crypto_checkout_price_override_attempt",
            account_id=str(order.account_id),
            order_id=order.order_id,
            product=order.product,
            price_cents=order.price_cents,
            sent_price_cents=cents,
            sent_price_currency=str(currency)[:SENT_TEXT_LOGGED_CHARS],
        )


# ------------------------------------------------------------------ replays


async def _replay_or(d: Deployment, asked: Asked, refusal: DomainError) -> CheckedOut:
    """Answer a key that was used before; otherwise the refusal stands."""
    if asked.idempotency_key is None:
        raise refusal
    async with d.pool.acquire() as conn:
        replayed = await checkouts.find_key(conn, asked.account_id, asked.idempotency_key)
    if replayed is None:
        raise refusal
    return await _replay(d, asked, asked.idempotency_key, replayed)


async def _replay(d: Deployment, asked: Asked, key: str, replayed: Replayed) -> CheckedOut:
    differing = tuple(
        sorted(
            name
            for name in {*replayed.fingerprint, *asked.fingerprint}
            if replayed.fingerprint.get(name, ...) != asked.fingerprint.get(name, ...)
        )
    )
    order = replayed.order
    rejects = bool(differing) and (asked.strict or d.terms.mismatch_rejects)
    if rejects:
        await _count(d, order, key, differing, answered=False)
        raise Conflict(
            "The idempotency key was used with another body.",
            resource="crypto_order",
            extras={"idempotency_status": "mismatch", "differing_fields": list(differing)},
        )
    seen = await _twin(d, order)
    is_refused = seen.in_flight and asked.strict
    await _count(d, order, key, differing, answered=not is_refused)
    if is_refused:
        raise Conflict(
            "The first request with this idempotency key is still in progress.",
            resource="crypto_order",
            extras={"idempotency_status": "in_progress"},
            retry_after_seconds=1,
        )
    return CheckedOut(seen.order, seen.payment, replayed=True, differing_fields=differing)


async def _count(
    d: Deployment, order: Order, key: str, differing: tuple[str, ...], *, answered: bool
) -> None:
    """Keep a repeated key for the metrics, and log it."""
    await transact_single(
        d.pool,
        lambda tx: checkouts.count_replay(
            tx, order.account_id, key, order.order_id, differing, answered=answered
        ),
    )
    observed.replayed(order, differing)


async def _twin(d: Deployment, order: Order) -> minting.Minting:
    """The order as it is now; waits a little for an address that another request is fetching."""
    deadline = asyncio.get_running_loop().time() + TWIN_WAIT_SECONDS
    while True:
        async with d.pool.acquire() as conn:
            seen = await minting.look(conn, order)
        if seen.may_mint:
            return await asyncio.shield(asyncio.create_task(minting.mint_again(d, order)))
        if not seen.in_flight or asyncio.get_running_loop().time() >= deadline:
            return seen
        await asyncio.sleep(TWIN_LOOK_EVERY_SECONDS)
