"""Take a word of the provider: store it, then apply it under the lock of its order."""

from dataclasses import dataclass
from uuid import UUID

from crypto_orders.domain import ipn_signature
from crypto_orders.domain.order import Ask, Decision, Evidence, FlagKind, Order, ProviderSaid, Verdict, Via
from crypto_orders.domain.provider_payment import ProviderPayment
from crypto_orders.domain.said import decide_said
from crypto_orders.kit import clock, ids
from crypto_orders.store import audit, checkouts, flags, notifications, orders
from crypto_orders.store.connection import Tx
from crypto_orders.store.notifications import Arrival, Kept
from crypto_orders.store.transaction import transact, transact_single
from crypto_orders.usecases import observed
from crypto_orders.usecases.deployment import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word of the provider on its way to an order, with what was learned on account of it.

    `snapshot` is the provider's own answer as JSON; `because` an operator's reason.
    """

    notification_id: UUID
    payment: ProviderPayment
    via: Via
    answer: ProviderPayment | Ask = Ask.NOT_YET
    snapshot: bytes | None = None
    actor: str | None = None
    because: str | None = None
    override: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a word. `order` is as it is now; None when the word concerns no order of ours."""

    order: Order | None
    verdict: Verdict
    why: str
    before: Order | None = None
    decision: Decision | None = None
    raised: tuple[orders.Raised, ...] = ()

    @property
    def moved(self) -> bool:
        """Whether the order has a new event."""
        return self.decision is not None and self.decision.event is not None


async def keep(d: Deployment, arrival: Arrival) -> Kept:
    """Store a fact before it is looked into; the same one again is counted.

    Raises:
        StoreUnavailable, CommitUnknown: it is not certain to be stored.
    """
    return await transact_single(d.pool, lambda tx: notifications.keep(tx, arrival))


async def keep_malformed(d: Deployment, arrival: Arrival, field: str) -> None:
    """Store a correctly signed notification that is no payment, and flag it as unmatched."""
    why = f"{field} is missing or unreadable"

    async def work(tx: Tx) -> None:
        kept = await notifications.keep(tx, arrival)
        await notifications.settle(tx, kept.notification_id, Verdict.MALFORMED, why)
        evidence = Evidence(
            at=clock.utc_now(), via=arrival.via, notification_id=kept.notification_id, note=why
        )
        await flags.raise_unmatched(
            tx, ids.prefixed("ntf", kept.notification_id), arrival.payment_id, evidence
        )

    await transact(d.pool, work)
    observed.applied(arrival.via, arrival.payment_id, Verdict.MALFORMED, why, None)


def arrival_of(answer: ProviderPayment, raw: bytes) -> Arrival:
    """The provider's own answer as it goes into the inbox."""
    return Arrival(
        via=Via.POLL,
        digest=ipn_signature.identity(raw),
        body=raw,
        payment_id=answer.payment_id,
        payment_status=answer.payment_status,
        claimed_order_id=answer.order_id,
    )


async def hear_answer(d: Deployment, answer: ProviderPayment, raw: bytes) -> Applied:
    """Take the provider's own answer about a payment like any other word, `via: poll`.

    It is stored and applied by one transaction: what we know beside the answer, such as a child's parent,
    is not in its bytes, and would be lost on the way between two.
    """

    async def work(tx: Tx) -> tuple[Word, Applied]:
        kept = await notifications.keep(tx, arrival_of(answer, raw))
        word = Word(
            notification_id=kept.notification_id, payment=answer, via=Via.POLL, answer=answer, snapshot=raw
        )
        return word, await apply_within(d, tx, word)

    word, applied = await transact(d.pool, work)
    observe(word, applied)
    return applied


async def apply(d: Deployment, word: Word, entry: audit.Entry | None = None) -> Applied:
    """Apply a stored word under its order's lock; applying it again changes nothing.

    `entry` is the audit row of the action that brought it, kept in the same transaction with the outcome.

    Raises:
        StoreUnavailable, CommitUnknown: the word stays in the inbox, and a worker applies it.
    """
    applied = await transact(d.pool, lambda tx: apply_within(d, tx, word, entry))
    observe(word, applied)
    return applied


def observe(word: Word, applied: Applied) -> None:
    """Log and count what a word did, once its transaction is committed."""
    observed.applied(word.via, word.payment.payment_id, applied.verdict, applied.why, applied.order)
    if applied.before is not None and applied.decision is not None:
        observed.decided(applied.before, applied.decision, applied.raised)


async def apply_within(d: Deployment, tx: Tx, word: Word, entry: audit.Entry | None = None) -> Applied:
    """Apply a stored word inside the caller's transaction; the caller observes it after the commit."""
    locked = await _find(tx, word.payment)
    if locked is None:
        applied = await _unmatched(tx, word)
        if entry is not None:
            await audit.record(tx, audit.with_result(entry, applied.verdict.value, applied.why))
        return applied
    fact = ProviderSaid(
        payment=word.payment,
        via=word.via,
        notification_id=word.notification_id,
        answer=word.answer,
        actor=word.actor,
        reason=word.because,
        override=word.override,
        own_attempt=locked.own_attempt,
    )
    decision = decide_said(locked.order, locked.payments, fact, locked.now, d.rules)
    snapshot = word.snapshot if decision.payments else None
    raised = await orders.save(tx, locked, decision, notification_id=word.notification_id, snapshot=snapshot)
    if _is_our_own_attempt(decision):
        await checkouts.settle_open_attempt(tx, locked.order, word.payment.payment_id)
    if entry is not None:
        await audit.record(
            tx,
            audit.with_result(entry, decision.verdict.value, decision.why, locked.order.account_id),
        )
    return Applied(decision.order, decision.verdict, decision.why, locked.order, decision, raised)


async def _find(tx: Tx, said: ProviderPayment) -> orders.Locked | None:
    """The order a word is about: its payment's, else its parent's, else the one it names."""
    for payment_id in (said.payment_id, said.parent_payment_id):
        if payment_id is not None:
            locked = await orders.lock_by_payment(tx, payment_id)
            if locked is not None:
                return locked
    if said.order_id is None or not ids.is_order_id(said.order_id):
        return None
    account_id = await orders.account_of(tx, said.order_id)
    return None if account_id is None else await orders.lock(tx, account_id, said.order_id)


async def _unmatched(tx: Tx, word: Word) -> Applied:
    why = "neither the payment nor an order of ours is known"
    said = word.payment
    evidence = Evidence(
        at=clock.utc_now(),
        via=word.via,
        provider_status=said.payment_status,
        actually_paid=said.actually_paid,
        pay_currency=said.pay_currency,
        notification_id=word.notification_id,
        note=why,
    )
    await flags.raise_unmatched(tx, said.payment_id, said.payment_id, evidence)
    await notifications.settle(tx, word.notification_id, Verdict.UNMATCHED, why)
    return Applied(None, Verdict.UNMATCHED, why)


def _is_our_own_attempt(decision: Decision) -> bool:
    return any(f.kind is FlagKind.PAYMENT_ADOPTED and f.closed_because for f in decision.flags)
