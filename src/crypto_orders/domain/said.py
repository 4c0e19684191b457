"""What one word of the provider does to one order: binding, rank, the transition table, money checks."""

from datetime import datetime
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from crypto_orders.domain.money import (
    Full,
    Mismatch,
    MoneyCheck,
    NeedsAnswer,
    Over,
    Under,
    check_money,
    exceeds,
    said_price,
)
from crypto_orders.domain.order import (
    Ask,
    Decision,
    Event,
    EventDetail,
    Evidence,
    Flag,
    FlagKind,
    Order,
    ProviderSaid,
    Rules,
    Source,
    Status,
    Verdict,
    WebhookEvent,
)
from crypto_orders.domain.payment import Origin, Payment, brings_money, first_record, hear, hear_reversal
from crypto_orders.domain.provider_payment import ProviderPayment, is_failed_class, rank, shows_money

ORDER_STATUS = {
    "waiting": Status.PENDING,
    "confirming": Status.CONFIRMING,
    "confirmed": Status.CONFIRMING,
    "sending": Status.CONFIRMING,
    "spending": Status.CONFIRMING,
    "partially_paid": Status.PARTIAL,
    "finished": Status.PAID,
}
"""Provider status to order status; the failed class maps to failed, anything else to nothing."""

WRONG_ASSET_STATUS = "wrong_asset_confirmed"
PROGRESS = (Status.PENDING, Status.CONFIRMING, Status.PARTIAL, Status.PAID)


def order_status_of(payment_status: str) -> Status | None:
    """The order status a provider status stands for; None for a word we do not know."""
    if is_failed_class(payment_status):
        return Status.FAILED
    return ORDER_STATUS.get(payment_status)


class _Case(Struct, frozen=True, kw_only=True):
    """One fact held against one order: the payment before and after hearing it."""

    order: Order
    fact: ProviderSaid
    now: datetime
    rules: Rules
    before: Payment
    after: Payment
    others: tuple[Payment, ...]
    flags: tuple[Flag, ...] = ()

    @property
    def said(self) -> ProviderPayment:
        return self.fact.payment

    @property
    def new_money(self) -> bool:
        return brings_money(self.before, self.said)

    @property
    def is_child(self) -> bool:
        return self.before.is_child or self.said.parent_payment_id is not None

    @property
    def is_current(self) -> bool:
        return self.order.payment_id == self.before.payment_id

    @property
    def order_hangs_on_it(self) -> bool:
        """Whether this is the current payment and no other payment of the order has seen money."""
        return self.is_current and not any(p.money_seen and not p.is_child for p in self.others)


def decide_said(
    order: Order, payments: tuple[Payment, ...], fact: ProviderSaid, now: datetime, rules: Rules
) -> Decision:
    """Decide what a provider's word does. Applying the same word again decides "no change"."""
    said = fact.payment
    known = next((p for p in payments if p.payment_id == said.payment_id), None)
    others = tuple(p for p in payments if p.payment_id != said.payment_id)
    for word in (said, fact.answer) if known else (said,):
        if isinstance(word, ProviderPayment) and word.order_id not in {None, order.order_id}:
            return _of_another_order(order, fact, word, now)
    flags: tuple[Flag, ...] = ()
    if known is None:
        taken_in = _take_in(order, fact, now)
        if isinstance(taken_in, Decision):
            return taken_in
        order, known, flags = taken_in
    after = known if fact.override else hear(known, said, now)
    case = _Case(
        order=order, fact=fact, now=now, rules=rules, before=known, after=after, others=others, flags=flags
    )
    return _by_status(case)


def _of_another_order(order: Order, fact: ProviderSaid, word: ProviderPayment, now: datetime) -> Decision:
    flag = _flag(FlagKind.ORDER_MISMATCH, fact, now, note=f"it names order {(word.order_id or '')[:64]}")
    why = "the payment belongs to this order, the words name another"
    return Decision(order=order, verdict=Verdict.FLAGGED, why=why, flags=(flag,))


# ---------------------------------------------------------------- payments met for the first time


def _take_in(
    order: Order, fact: ProviderSaid, now: datetime
) -> tuple[Order, Payment, tuple[Flag, ...]] | Decision:
    """Record a payment nobody knew, or say why it has to wait or is not this order's."""
    said, answer = fact.payment, fact.answer
    if answer is Ask.NOT_YET:
        return _waiting(order, "the provider is asked about a payment we did not know")
    if said.parent_payment_id is not None:
        if answer is Ask.NOT_FOUND:
            return order, first_record(said, "child", now), ()
        if answer.order_id in {None, order.order_id}:
            # The provider's answers do not always name the parent.
            parent_id = answer.parent_payment_id or said.parent_payment_id
            return order, _record(replace(answer, parent_payment_id=parent_id), "child", fact, now), ()
    if not isinstance(answer, ProviderPayment) or answer.order_id != order.order_id:
        why = "the provider does not know it as this order's payment"
        flag = _flag(FlagKind.UNMATCHED, fact, now, note=why)
        return Decision(order=order, verdict=Verdict.UNMATCHED, why=why, flags=(flag,))
    if (
        said_price(answer) != order.price_cents
        or (answer.price_currency or "").upper() != order.price_currency
    ):
        why = "an unknown payment of this order has another price"
        flag = _flag(FlagKind.AMOUNT_MISMATCH, fact, now, note=why)
        return Decision(order=order, verdict=Verdict.FLAGGED, why=why, flags=(flag,))
    payment = _record(answer, "child" if answer.parent_payment_id else "adopted", fact, now)
    if payment.is_child:
        return order, payment, ()
    flag = _flag(FlagKind.PAYMENT_ADOPTED, fact, now, note="it carries our order id and price")
    if fact.own_attempt:
        flag = replace(flag, closed_because="our own create call made it")
    if order.payment_id is None:
        order = replace(order, payment_id=payment.payment_id, updated_at=now, mint_due_at=None)
    return order, payment, (flag,)


def _record(answer: ProviderPayment, origin: Origin, fact: ProviderSaid, now: datetime) -> Payment:
    """Record the provider's answer; the word that brought it is heard next, unless it is an operator's.

    Then the answer's status stands, while its money waits to be heard and flagged as the provider's word.
    """
    payment = first_record(answer, origin, now)
    if not fact.override:
        return payment
    heard = hear(payment, answer, now)
    return replace(payment, provider_status=heard.provider_status, best_rank=heard.best_rank)


def _waiting(
    order: Order, why: str, flags: tuple[Flag, ...] = (), payments: tuple[Payment, ...] = ()
) -> Decision:
    return Decision(order=order, verdict=Verdict.WAITING, why=why, flags=flags, payments=payments)


# ---------------------------------------------------------------- the rules of rank and class


def _by_status(case: _Case) -> Decision:
    status = case.said.payment_status
    target = order_status_of(status)
    if target is None:
        kind = FlagKind.WRONG_ASSET if status == WRONG_ASSET_STATUS else FlagKind.UNKNOWN_STATUS
        kinds = dict.fromkeys((kind, *_kinds_of_new_money(case)))
        return _stay(case, Verdict.UNKNOWN_STATUS, f"no order status stands for {status[:64]}", *kinds)
    below = (rank(status) or 0) < case.before.best_rank
    if case.is_child:
        return _on_child(case, below=below)
    if target is Status.FAILED and case.order.status in {Status.PARTIAL, Status.PAID}:
        return _on_failed_after_money(case)
    if below:
        return _on_lower_rank(case)
    return _table(case, target)


def _on_lower_rank(case: _Case) -> Decision:
    """A word that the provider has gone beyond; only money that it is the first to show is still news."""
    kinds = _kinds_of_new_money(case)
    if kinds:
        return _stay(case, Verdict.FLAGGED, "money that was not known before", *kinds)
    return _stay(case, Verdict.NO_CHANGE, "the provider has said more of this payment before")


def _kinds_of_new_money(case: _Case) -> tuple[FlagKind, ...]:
    """What money not known before raises when the word that shows it cannot move the order."""
    if not case.new_money:
        return ()
    if case.is_child:
        return (_kind_of_child(case),)
    match case.order.status:
        case Status.PENDING | Status.CONFIRMING | Status.PARTIAL:
            return (FlagKind.FAILED_WITH_MONEY,) if is_failed_class(case.before.provider_status) else ()
        case Status.PAID:
            expected = case.is_current and not exceeds(case.before, case.said.actually_paid, case.rules)
            return () if expected else (FlagKind.OVERPAID,)
        case Status.FAILED | Status.CANCELLED:
            return (FlagKind.LATE_PAYMENT,)
        case _:
            assert_never(case.order.status)


def _on_child(case: _Case, *, below: bool) -> Decision:
    if not case.after.money_seen or (below and not case.new_money):
        return _stay(case, Verdict.NO_CHANGE, "a child payment without new money")
    return _stay(case, Verdict.FLAGGED, "a child payment never moves the order", _kind_of_child(case))


def _kind_of_child(case: _Case) -> FlagKind:
    parent_id = case.before.parent_payment_id or case.said.parent_payment_id
    parent = next((p for p in case.others if p.payment_id == parent_id), None)
    coin = case.said.pay_currency or case.after.pay_currency
    other_coin = (
        parent is not None and coin is not None and coin.lower() != (parent.pay_currency or "").lower()
    )
    return FlagKind.WRONG_ASSET if other_coin else FlagKind.REDEPOSIT


def _on_failed_after_money(case: _Case) -> Decision:
    """A failed-class word on an order that has money counts only when the provider itself confirms it."""
    order, fact = case.order, case.fact
    if order.status is Status.PAID and not case.is_current:
        return _other_payment_of_paid(case)
    if order.status is Status.PARTIAL and not case.order_hangs_on_it and not case.after.money_seen:
        return _superseded(case)
    if not fact.override:
        match fact.answer:
            case Ask.NOT_YET | Ask.NOT_FOUND:
                return _waiting(order, "the provider is asked to confirm the failure", case.flags)
            case answer if not is_failed_class(answer.payment_status):
                held = replace(case, after=case.before)
                return _stay(held, Verdict.NO_CHANGE, "the provider itself does not say that it failed")
            case _:
                case = replace(case, after=hear_reversal(case.before, case.said, case.now))
    if order.status is Status.PAID:
        why = "the payment that paid the order was reversed"
        return _stay(case, Verdict.FLAGGED, why, FlagKind.REVERSED_AFTER_PAID)
    if not case.order_hangs_on_it:
        return _superseded(case)
    return _move(case, Status.FAILED, FlagKind.FAILED_WITH_MONEY)


# ---------------------------------------------------------------- the transition table


def _table(case: _Case, target: Status) -> Decision:
    match case.order.status:
        case Status.PENDING | Status.CONFIRMING | Status.PARTIAL:
            return _forward(case, target)
        case Status.PAID:
            return _on_paid(case)
        case Status.FAILED | Status.CANCELLED:
            return _on_ended(case, target)
        case _:
            assert_never(case.order.status)


def _forward(case: _Case, target: Status) -> Decision:
    if target is Status.FAILED:
        if not case.order_hangs_on_it:
            return _superseded(case)
        return _move(case, target, *([FlagKind.FAILED_WITH_MONEY] if case.after.money_seen else []))
    if target is Status.PAID:
        return _on_finished(case)
    if PROGRESS.index(target) > PROGRESS.index(case.order.status):
        return _move(case, target)
    return _stay(case, Verdict.NO_CHANGE, f"the order is {case.order.status} already")


def _on_finished(case: _Case) -> Decision:
    outcome: MoneyCheck = Full()
    if not case.fact.override:
        outcome = check_money(case.order, case.before, case.said, case.fact.answer, case.rules)
    match outcome:
        case NeedsAnswer(missing):
            # What was heard is kept at once: nobody may end an order that waits for an amount.
            why = f"the provider is asked for {missing}"
            return _waiting(case.order, why, case.flags, (case.after,))
        case Mismatch(kind, why):
            return _stay(case, Verdict.FLAGGED, why, kind)
        case Under():
            if case.order.status is Status.PARTIAL:
                return _stay(case, Verdict.NO_CHANGE, "less than the price arrived, and the order is partial")
            return _move(case, Status.PARTIAL)
        case Full():
            return _move(case, Status.PAID)
        case Over():
            return _move(case, Status.PAID, FlagKind.OVERPAID)
        case _:
            assert_never(outcome)


def _on_paid(case: _Case) -> Decision:
    if not case.is_current:
        return _other_payment_of_paid(case)
    if exceeds(case.before, case.said.actually_paid, case.rules):
        return _stay(case, Verdict.FLAGGED, "more than the price arrived", FlagKind.OVERPAID)
    return _stay(case, Verdict.NO_CHANGE, "the order is paid")


def _other_payment_of_paid(case: _Case) -> Decision:
    if shows_money(case.said):
        return _stay(case, Verdict.FLAGGED, "money on another payment of a paid order", FlagKind.OVERPAID)
    verdict = Verdict.SUPERSEDED if is_failed_class(case.said.payment_status) else Verdict.NO_CHANGE
    return _stay(case, verdict, "another payment paid the order")


def _on_ended(case: _Case, target: Status) -> Decision:
    said_before = (rank(case.said.payment_status) or 0) <= case.before.best_rank
    if case.before.is_reversed and said_before and not case.new_money:
        # Its money was flagged when the failure ended the order; this is an older word, come again.
        held = replace(case, after=case.before)
        return _stay(held, Verdict.NO_CHANGE, "the payment has failed since this was said")
    if case.new_money or target in {Status.CONFIRMING, Status.PARTIAL, Status.PAID}:
        return _stay(case, Verdict.FLAGGED, f"money on a {case.order.status} order", FlagKind.LATE_PAYMENT)
    return _stay(case, Verdict.NO_CHANGE, f"the order is {case.order.status}")


# ---------------------------------------------------------------- decisions


def _superseded(case: _Case) -> Decision:
    """A failure that is not the order's: no move, but money on it is never lost sight of."""
    why = "another payment of the order counts"
    if case.after.money_seen:
        return _stay(case, Verdict.SUPERSEDED, why, FlagKind.FAILED_WITH_MONEY)
    return _stay(case, Verdict.SUPERSEDED, why)


def _stay(case: _Case, verdict: Verdict, why: str, *kinds: FlagKind) -> Decision:
    flags = case.flags + tuple(_flag(kind, case.fact, case.now, note=why) for kind in kinds)
    return Decision(order=case.order, verdict=verdict, why=why, flags=flags, payments=(case.after,))


def _move(case: _Case, status: Status, *kinds: FlagKind) -> Decision:
    fact, now = case.fact, case.now
    order = moved(case.order, status, now)
    if status is Status.PAID:
        order = replace(order, payment_id=case.before.payment_id)
    detail = EventDetail(
        payment_id=case.before.payment_id,
        provider_status=case.said.payment_status,
        notification_id=fact.notification_id,
        reason=fact.reason,
        override=fact.override,
    )
    event = Event(
        seq=order.version,
        status=status,
        source=Source.IPN,
        at=now,
        via=fact.via,
        actor=fact.actor,
        detail=detail,
    )
    flags = case.flags + tuple(_flag(kind, fact, now, note=f"the order became {status}") for kind in kinds)
    if status is Status.PAID:
        flags += second_money(case.others, now)
    return Decision(
        order=order,
        verdict=Verdict.APPLIED,
        why=f"{case.order.status} became {status}",
        event=event,
        flags=flags,
        webhook=webhook_of(order, now, reason="ipn"),
        payments=(case.after,),
    )


def moved(order: Order, status: Status, now: datetime) -> Order:
    """The order one event further; the next seq is its version."""
    paid_at = now if status is Status.PAID else order.paid_at
    return replace(
        order, status=status, version=order.version + 1, updated_at=now, paid_at=paid_at, mint_due_at=None
    )


def webhook_of(order: Order, now: datetime, *, reason: str) -> WebhookEvent | None:
    """What customers are told of reaching a status: of paid and failed, of nothing else."""
    if order.status not in {Status.PAID, Status.FAILED}:
        return None
    return WebhookEvent(
        event_type=f"crypto.order.{order.status}",
        order_id=order.order_id,
        product=order.product,
        price_cents=order.price_cents,
        price_currency=order.price_currency,
        payment_id=order.payment_id,
        at=now,
        reason=reason if order.status is Status.FAILED else None,
    )


def _flag(kind: FlagKind, fact: ProviderSaid, now: datetime, *, note: str) -> Flag:
    said = fact.payment
    evidence = Evidence(
        at=now,
        via=fact.via,
        provider_status=said.payment_status,
        actually_paid=said.actually_paid,
        pay_currency=said.pay_currency,
        notification_id=fact.notification_id,
        note=note,
    )
    return Flag(kind=kind, subject=said.payment_id, payment_id=said.payment_id, evidence=evidence)


def second_money(others: tuple[Payment, ...], now: datetime) -> tuple[Flag, ...]:
    """The flags of money that had been seen on an order's other payments when one of them paid it."""
    return tuple(
        flag_of_payment(FlagKind.OVERPAID, p, now, note="money on another payment when the order became paid")
        for p in others
        if p.money_seen and not p.is_child
    )


def flag_of_payment(kind: FlagKind, payment: Payment, now: datetime, *, note: str) -> Flag:
    """A flag raised by what is recorded of a payment, not by a word that just came."""
    evidence = Evidence(
        at=now,
        provider_status=payment.provider_status,
        actually_paid=payment.actually_paid,
        pay_currency=payment.pay_currency,
        note=note,
    )
    return Flag(kind=kind, subject=payment.payment_id, payment_id=payment.payment_id, evidence=evidence)
