"""An operator's word about an order: ask the provider, replay a lost status, override with a reason."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from crypto_orders.domain import ipn_signature
from crypto_orders.domain.errors import BadRequest, Conflict, DomainError, Forbidden, NotFound
from crypto_orders.domain.order import Ask, Order, Verdict, Via
from crypto_orders.domain.provider_payment import ProviderPayment
from crypto_orders.domain.said import order_status_of
from crypto_orders.kit import ids
from crypto_orders.provider import Found, NoAnswer
from crypto_orders.provider import NotFound as UnknownToProvider
from crypto_orders.store import audit, notifications, orders, payments
from crypto_orders.store.connection import Tx
from crypto_orders.store.notifications import Arrival
from crypto_orders.store.transaction import transact, transact_single
from crypto_orders.usecases import asking, facts, observed
from crypto_orders.usecases.deployment import Deployment
from crypto_orders.usecases.facts import Applied, Word

ASK_DEADLINE_SECONDS = 5.0
ASKED_LATELY = timedelta(minutes=1)
OVERRIDE_REASON_CHARS_MIN = 10
OVERRIDE_SCOPE = "admin:override"
CONFIRMED_REASON = "the provider confirmed the operator's replay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What an operator says of a payment. `may_override` tells whether the key has the scope."""

    order_id: str
    payment_id: str
    provider_status: str
    reason: str | None
    override: bool
    may_override: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What asking the provider brought: its words as JSON, and what they did."""

    asked: bool
    snapshot: bytes | None
    applied: bool
    outcome: str


async def ask_provider(d: Deployment, order_id: str, entry: audit.Entry) -> Told:
    """Ask the provider about an order's payments and apply what it says; at most once a minute.

    Raises:
        NotFound: there is no such order.
        Conflict: the provider did not answer, with `outcome: provider_unreachable`.
    """
    order = await _order(d, order_id, entry)
    async with d.pool.acquire() as conn:
        known = await orders.payments_of(conn, order.account_id, order_id)
        last = await payments.snapshot_of(conn, order.account_id, order.payment_id or "")
    if not known:
        return await _told(
            d, order, entry, Told(asked=False, snapshot=None, applied=False, outcome="no_payment")
        )
    if last.snapshot is not None and last.age is not None and last.age < ASKED_LATELY:
        return await _told(
            d,
            order,
            entry,
            Told(asked=False, snapshot=last.snapshot.encode(), applied=False, outcome="asked_lately"),
        )
    answers = await asking.ask_about_all(d, known, deadline_seconds=ASK_DEADLINE_SECONDS)
    about = answers[order.payment_id or known[-1].payment_id]
    if about.applied is None or not isinstance(about.found, Found):
        raise await _refused(d, order, entry, _unanswered(about.found))
    moved = any(a.applied is not None and a.applied.moved for a in answers.values())
    told = Told(asked=True, snapshot=about.found.raw, applied=moved, outcome=about.applied.verdict.value)
    return await _told(d, order, entry, told)


async def _told(d: Deployment, order: Order, entry: audit.Entry, told: Told) -> Told:
    kept = audit.with_result(entry, told.outcome, account_id=order.account_id)
    await transact_single(d.pool, lambda tx: audit.record(tx, kept))
    return told


async def apply_ipn(d: Deployment, claim: Claim, entry: audit.Entry) -> Applied:
    """Replay a status that an operator says was lost; the provider is asked, and has the last word.

    Its answer confirms when it stands for the same order status. Otherwise the call is refused, and the
    answer applied on its own merits, unless the operator overrides it with a reason and the scope.

    Raises:
        NotFound: there is no such order.
        Conflict: the payment is another order's, or the provider disagrees or does not answer (`outcome`).
        BadRequest, Forbidden: an override lacks its reason or its scope.
    """
    order = await _order(d, claim.order_id, entry)
    async with d.pool.acquire() as conn:
        route = await payments.route_of(conn, claim.payment_id)
    if route is not None and route.order_id != claim.order_id:
        raise await _refused(
            d, order, entry, _conflict("The payment belongs to another order.", "other_order")
        )
    found = await asking.ask(d, claim.payment_id, deadline_seconds=ASK_DEADLINE_SECONDS)
    if isinstance(found, Found):
        if route is None and found.payment.order_id != claim.order_id:
            await facts.hear_answer(d, found.payment, found.raw)
            why = _conflict("The provider does not call it this order's payment.", "other_order", found)
            raise await _refused(d, order, entry, why)
        if _confirms(found.payment, claim):
            return await _apply(d, order, claim, found, entry)
    elif route is None:
        raise await _refused(d, order, entry, _unanswered(found))
    if claim.override:
        refusal = _override_lacks(claim)
        if refusal is None:
            return await _override(d, order, claim, found, entry)
    else:
        refusal = (
            _conflict("The provider says otherwise.", "provider_disagrees", found)
            if isinstance(found, Found)
            else _unanswered(found)
        )
    if isinstance(found, Found):
        await facts.hear_answer(d, found.payment, found.raw)
    raise await _refused(d, order, entry, refusal)


async def _order(d: Deployment, order_id: str, entry: audit.Entry) -> Order:
    async with d.pool.acquire() as conn:
        account_id = await orders.account_of(conn, order_id)
        order = await orders.get(conn, account_id, order_id) if account_id else None
    if order is None:
        await transact_single(d.pool, lambda tx: audit.record(tx, audit.with_result(entry, "not_found")))
        raise NotFound
    return order


def _confirms(answer: ProviderPayment, claim: Claim) -> bool:
    ours, theirs = order_status_of(claim.provider_status), order_status_of(answer.payment_status)
    if ours is None or theirs is None:
        return claim.provider_status == answer.payment_status
    return ours is theirs


def _override_lacks(claim: Claim) -> DomainError | None:
    if len((claim.reason or "").strip()) < OVERRIDE_REASON_CHARS_MIN:
        return BadRequest(f"An override needs a reason of at least {OVERRIDE_REASON_CHARS_MIN} characters.")
    return None if claim.may_override else Forbidden(OVERRIDE_SCOPE)


async def _apply(d: Deployment, order: Order, claim: Claim, found: Found, entry: audit.Entry) -> Applied:
    """Apply the provider's confirming answer in the operator's name."""

    async def work(tx: Tx) -> tuple[Word, Applied]:
        heard = await notifications.keep(tx, facts.arrival_of(found.payment, found.raw))
        await notifications.settle(
            tx, heard.notification_id, Verdict.SUPERSEDED, "an operator's replay carries it"
        )
        return await _say(d, tx, order, claim, entry, found.payment, found.payment, found.raw)

    return await _done(d, work)


async def _override(
    d: Deployment,
    order: Order,
    claim: Claim,
    found: Found | UnknownToProvider | NoAnswer,
    entry: audit.Entry,
) -> Applied:
    """Apply the operator's own word against the provider's, which is kept as evidence."""

    async def work(tx: Tx) -> tuple[Word, Applied]:
        answer: ProviderPayment | Ask = Ask.NOT_FOUND
        if isinstance(found, Found):
            heard = await notifications.keep(tx, facts.arrival_of(found.payment, found.raw))
            await notifications.settle(
                tx, heard.notification_id, Verdict.SUPERSEDED, "an operator overrode it"
            )
            answer = found.payment
        said = ProviderPayment(
            payment_id=claim.payment_id, payment_status=claim.provider_status, order_id=order.order_id
        )
        return await _say(d, tx, order, claim, entry, said, answer, None)

    return await _done(d, work)


async def _say(
    d: Deployment,
    tx: Tx,
    order: Order,
    claim: Claim,
    entry: audit.Entry,
    said: ProviderPayment,
    answer: ProviderPayment | Ask,
    snapshot: bytes | None,
) -> tuple[Word, Applied]:
    reason = claim.reason or CONFIRMED_REASON
    body = {
        "payment_id": claim.payment_id,
        "payment_status": claim.provider_status,
        "reason": reason,
        "override": snapshot is None,
    }
    arrival = Arrival(
        via=Via.OPERATOR,
        digest=ipn_signature.identity(ids.uuid7().bytes),
        body=msgspec.json.encode(body),
        payment_id=claim.payment_id,
        payment_status=claim.provider_status,
        claimed_order_id=order.order_id,
        actor=entry.actor.name,
        reason=reason,
    )
    kept = await notifications.keep(tx, arrival)
    word = Word(
        notification_id=kept.notification_id,
        payment=said,
        via=Via.OPERATOR,
        answer=answer,
        snapshot=snapshot,
        actor=entry.actor.name,
        because=reason,
        override=snapshot is None,
    )
    return word, await facts.apply_within(d, tx, word, entry)


async def _done(d: Deployment, work: Callable[[Tx], Awaitable[tuple[Word, Applied]]]) -> Applied:
    word, applied = await transact(d.pool, work)
    facts.observe(word, applied)
    return applied


# ------------------------------------------------------------------ refusals


def _unanswered(found: Found | UnknownToProvider | NoAnswer) -> Conflict:
    if isinstance(found, UnknownToProvider):
        return _conflict("The provider does not know the payment.", "unknown_to_provider")
    return _conflict("The provider did not answer.", "provider_unreachable")


def _conflict(detail: str, outcome: str, found: Found | None = None) -> Conflict:
    extras: dict[str, object] = {"outcome": outcome, "snapshot": msgspec.Raw(found.raw) if found else None}
    return Conflict(detail, resource="crypto_order", extras=extras)


async def _refused(d: Deployment, order: Order, entry: audit.Entry, refusal: DomainError) -> DomainError:
    """The refusal, once it is kept in the audit trail."""
    outcome = refusal.extras["outcome"] if isinstance(refusal, Conflict) else type(refusal).__name__
    kept = audit.with_result(entry, "refused", str(outcome), order.account_id)
    await transact_single(d.pool, lambda tx: audit.record(tx, kept))
    observed.refused(str(outcome), order_id=order.order_id, action=entry.action)
    return refusal
