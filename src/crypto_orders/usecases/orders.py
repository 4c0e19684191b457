"""What customers and operators do to one order: cancel it, note something, have the provider asked."""

from datetime import timedelta
from uuid import UUID

from crypto_orders.domain import actions
from crypto_orders.domain.errors import Conflict, DomainError, NotFound, Unavailable
from crypto_orders.domain.order import Decision, Order, Status
from crypto_orders.domain.payment import WAITING
from crypto_orders.store import asks, audit, notes, orders
from crypto_orders.store.connection import Tx
from crypto_orders.store.failures import CommitUnknown
from crypto_orders.store.transaction import transact, transact_single
from crypto_orders.usecases import asking, observed
from crypto_orders.usecases.deployment import Deployment

CANCEL_DEADLINE_SECONDS = 2.0
ENDED_BY_CANCEL = (Status.CANCELLED, Status.FAILED)
ASK_AT_MOST_EVERY = timedelta(minutes=1)


async def cancel(d: Deployment, account_id: UUID, order_id: str) -> Order:
    """Cancel a pending order, after asking the provider about every payment of it.

    Inside the pay window the order is cancelled, past it it fails as expired.

    Raises:
        NotFound: the account has no such order.
        Conflict: the order is not pending, or the provider said something else than waiting.
        Unavailable: past the window the provider did not answer; nothing changed.
    """
    async with d.pool.acquire() as conn:
        order = await orders.get(conn, account_id, order_id)
        payments = await orders.payments_of(conn, account_id, order_id)
    if order is None:
        raise NotFound
    if order.status is not Status.PENDING:
        raise _not_cancellable(order)
    answers = await asking.ask_about_all(d, payments, deadline_seconds=CANCEL_DEADLINE_SECONDS)
    said = {payment_id: a.answer for payment_id, a in answers.items() if a.answer is not None}
    if any(answer.payment_status != WAITING for answer in said.values()):
        observed.refused("cancel_money_seen", order_id=order_id)
        raise _not_cancellable(order)

    async def work(tx: Tx) -> tuple[Order, Decision]:
        locked = await orders.lock(tx, account_id, order_id)
        if locked is None:
            raise NotFound
        decision = actions.cancel(locked.order, locked.payments, frozenset(said), locked.now)
        await orders.save(tx, locked, decision)
        return locked.order, decision

    try:
        before, decision = await transact(d.pool, work)
    except CommitUnknown:
        return await _as_cancelled(d, order)
    observed.decided(before, decision, ())
    return decision.order


def _not_cancellable(order: Order) -> Conflict:
    return Conflict(
        f"The order can no longer be cancelled: it is {order.status} or its payment is under way.",
        resource="crypto_order",
        field="status",
    )


async def _as_cancelled(d: Deployment, asked: Order) -> Order:
    """After a lost COMMIT the order itself tells whether it was cancelled."""
    async with d.pool.acquire() as conn:
        order = await orders.get(conn, asked.account_id, asked.order_id)
    if order is None or order.version != asked.version + 1 or order.status not in ENDED_BY_CANCEL:
        raise Unavailable("It is not certain that the order was cancelled; please look again.", 1)
    return order


async def set_customer_note(d: Deployment, account_id: UUID, order_id: str, note: str | None) -> Order:
    """Change the customer's note in any status; an empty text is none.

    Raises:
        NotFound: the account has no such order.
    """
    order = await transact_single(
        d.pool, lambda tx: notes.set_customer_note(tx, account_id, order_id, note or None)
    )
    if order is None:
        raise NotFound
    return order


async def set_internal_note(
    d: Deployment, order_id: str, note: str | None, entry: audit.Entry, *, replaced: bytes | None = None
) -> Order:
    """Change support's note in any status, with an audit row; an empty text is none.

    `replaced` is the digest of the note that was read before, where another one must not be lost.

    Raises:
        NotFound: there is no such order.
        Conflict: somebody has changed the note since it was read.
    """

    async def work(tx: Tx) -> Order | DomainError:
        account_id = await orders.account_of(tx, order_id)
        if account_id is None:
            await audit.record(tx, audit.with_result(entry, "not_found"))
            return NotFound()
        order = await notes.set_internal_note(tx, account_id, order_id, note or None, replaced)
        if order is None:
            await audit.record(tx, audit.with_result(entry, "refused", "changed since", account_id))
            return Conflict(
                "Somebody changed the note since you read it. Your text is kept below; keeping it again "
                "replaces theirs.",
                resource="crypto_order",
                field="internal_note",
            )
        await audit.record(tx, audit.with_result(entry, "done", account_id=account_id))
        return order

    done = await transact(d.pool, work)
    if isinstance(done, DomainError):
        raise done
    return done


async def ask_soon(d: Deployment, order: Order) -> None:
    """Queue a provider read of an order's open payments, at most one a minute; nobody waits for it."""
    await transact_single(
        d.pool, lambda tx: asks.ask_soon(tx, order.account_id, order.order_id, ASK_AT_MOST_EVERY)
    )
