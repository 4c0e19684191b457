"""Resolve what a person had to look at: honour, credit or dismiss a flag, once and with a reason."""

from dataclasses import dataclass
from uuid import UUID

from crypto_orders.domain import actions
from crypto_orders.domain.errors import BadRequest, Conflict, DomainError, Forbidden, NotFound
from crypto_orders.domain.money import Full, Over, check_money
from crypto_orders.domain.order import Decision, FlagKind, Order, Rules, Status
from crypto_orders.domain.payment import FINISHED, Payment
from crypto_orders.provider import Found
from crypto_orders.store import audit, flags, orders
from crypto_orders.store.connection import Tx
from crypto_orders.store.transaction import transact
from crypto_orders.usecases import asking, observed
from crypto_orders.usecases.deployment import Deployment
from crypto_orders.usecases.operators import ASK_DEADLINE_SECONDS, OVERRIDE_SCOPE

HONOURABLE = (FlagKind.LATE_PAYMENT, FlagKind.FAILED_WITH_MONEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """How an operator closes a flag. `credited` names its reference."""

    flag_id: UUID
    how: str
    reason: str
    reference: str | None
    may_override: bool


@dataclass(frozen=True, slots=True)
class _Resolved:
    flag: flags.Found
    before: Order | None = None
    decision: Decision | None = None
    raised: tuple[orders.Raised, ...] = ()


async def resolve(d: Deployment, asked: Resolution, entry: audit.Entry) -> None:
    """Close an open flag with an audit row; `honour` pays the ended order it is about.

    Raises:
        NotFound: there is no such flag.
        Conflict: it is resolved already, or its order is neither failed nor cancelled.
        BadRequest: it cannot be honoured, or a credit lacks its reference.
        Forbidden: the provider does not confirm the money, and the key lacks the override scope.
    """
    found = await _ask_about(d, asked)

    async def work(tx: Tx) -> _Resolved | DomainError:
        flag = await flags.find(tx, asked.flag_id, lock=False)
        locked = None
        if flag is not None and flag.order_id is not None:
            # The order comes before the flag in every lock order.
            locked = await orders.lock(tx, flag.account_id, flag.order_id)
        flag = await flags.find(tx, asked.flag_id, lock=True)
        try:
            resolved = await _resolve(tx, d.rules, asked, flag, locked, found, entry)
        except DomainError as refusal:
            account_id = flag.account_id if flag else None
            kept = audit.with_result(entry, "refused", str(refusal), account_id)
            await audit.record(tx, kept)
            return refusal
        await audit.record(tx, audit.with_result(entry, asked.how, account_id=resolved.flag.account_id))
        return resolved

    done = await transact(d.pool, work)
    if isinstance(done, DomainError):
        observed.refused("flag_resolution", flag_id=str(asked.flag_id), how=asked.how)
        raise done
    observed.resolved(done.flag, asked.how)
    if done.before is not None and done.decision is not None:
        observed.decided(done.before, done.decision, done.raised)


async def _ask_about(d: Deployment, asked: Resolution) -> Found | None:
    """Before an order is honoured the provider is asked about the payment."""
    if asked.how != "honour":
        return None
    async with d.pool.acquire() as conn:
        flag = await flags.find(conn, asked.flag_id, lock=False)
    if flag is None or flag.payment_id is None or flag.order_id is None:
        return None
    found = await asking.ask(d, flag.payment_id, deadline_seconds=ASK_DEADLINE_SECONDS)
    return found if isinstance(found, Found) else None


async def _resolve(
    tx: Tx,
    rules: Rules,
    asked: Resolution,
    flag: flags.Found | None,
    locked: orders.Locked | None,
    found: Found | None,
    entry: audit.Entry,
) -> _Resolved:
    if flag is None:
        raise NotFound
    if flag.state != "open":
        raise Conflict("The flag is resolved already.", resource="flag", field="state")
    if not asked.reason.strip():
        raise BadRequest("A resolution needs a reason.")
    if asked.how == "credited" and not (asked.reference or "").strip():
        raise BadRequest("A credit needs the reference it was booked under.")
    resolved = _Resolved(flag)
    if asked.how == "honour":
        resolved = await _honour(tx, rules, asked, flag, locked, found, entry)
    now = locked.now if locked else await flags.now(tx)
    await flags.resolve(
        tx,
        flag,
        resolution=asked.how,
        reason=asked.reason,
        reference=asked.reference,
        by=entry.actor.name,
        now=now,
    )
    return resolved


async def _honour(
    tx: Tx,
    rules: Rules,
    asked: Resolution,
    flag: flags.Found,
    locked: orders.Locked | None,
    found: Found | None,
    entry: audit.Entry,
) -> _Resolved:
    if flag.kind not in HONOURABLE or flag.payment_id is None or locked is None:
        raise BadRequest(f"A {flag.kind} flag cannot be honoured, only credited or dismissed.")
    if locked.order.status not in {Status.FAILED, Status.CANCELLED}:
        raise Conflict(
            "Only a failed or cancelled order can be honoured.", resource="flag", field="order_status"
        )
    payment = next((p for p in locked.payments if p.payment_id == flag.payment_id), None)
    confirmed = payment is not None and found is not None and _confirms(rules, locked.order, payment, found)
    if not confirmed and not asked.may_override:
        raise Forbidden(OVERRIDE_SCOPE)
    decision = actions.honour(
        locked.order,
        flag.payment_id,
        payments=locked.payments,
        actor=entry.actor.name,
        reason=asked.reason,
        override=not confirmed,
        provider_status=found.payment.payment_status if found else None,
        now=locked.now,
    )
    raised = await orders.save(tx, locked, decision)
    return _Resolved(flag, locked.order, decision, raised)


def _confirms(rules: Rules, order: Order, payment: Payment, found: Found) -> bool:
    said = found.payment
    if said.payment_status != FINISHED or said.order_id not in {None, order.order_id} or payment.is_child:
        return False
    return isinstance(check_money(order, payment, said, said, rules), Full | Over)
