"""What to do now about an order, in a sentence or two, with the section of the runbook that says more."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, Literal

from msgspec import Struct

from crypto_orders.admin.delivery_words import why_held
from crypto_orders.admin.runbook import Section, section
from crypto_orders.domain.order import FlagKind, Source, Status
from crypto_orders.pages import formats
from crypto_orders.store.deliveries import Told
from crypto_orders.store.order_views import AdminShown

CONFIRMING_SOON: Final = timedelta(hours=24)
"""Networks settle within a day; what takes longer is worth a question."""

Tone = Literal["good", "info", "warn", "bad"]


class Advice(Struct, frozen=True):
    """What is the matter, what to do, and where more is said; `warn` and `bad` want somebody to act."""

    tone: Tone
    lead: str
    text: str
    more: Section


_ABOUT_FLAGS: Final[Mapping[FlagKind, tuple[str, str]]] = {
    FlagKind.LATE_PAYMENT: (
        "Money came after the order had ended.",
        "Once the provider says finished, honour it if no newer order was paid, else credit it.",
    ),
    FlagKind.FAILED_WITH_MONEY: (
        "A payment that had shown money failed.",
        "Ask the provider. Finished: honour. Refunded: dismiss. Still failed: open a case there and wait.",
    ),
    FlagKind.REVERSED_AFTER_PAID: (
        "The payment that paid this order was reversed.",
        "Confirm in the provider's dashboard that the money is gone; agree with the customer on a new order.",
    ),
    FlagKind.OVERPAID: (
        "More arrived than was asked.",
        "The order is fine. Credit the surplus once the provider says finished; nothing is refunded.",
    ),
    FlagKind.ORDER_MISMATCH: (
        "The provider's words name another order.",
        "Nothing was moved. Find both orders and compare with the provider's dashboard.",
    ),
    FlagKind.AMOUNT_MISMATCH: (
        "The provider's price or currency is not this order's.",
        "Nothing was moved. Compare with the provider's dashboard; an override takes proof.",
    ),
    FlagKind.WRONG_ASSET: (
        "The payer sent another coin, or by another network.",
        "Nothing was moved. See in the provider's dashboard whether it can be recovered.",
    ),
    FlagKind.REDEPOSIT: (
        "More coins arrived at a used address.",
        "A further payment never moves an order. Credit what arrived once the provider says finished.",
    ),
    FlagKind.PAYMENT_ADOPTED: (
        "A payment that we did not make carries this order's id.",
        "It counts as a payment of the order. See whether somebody made it by hand, then dismiss.",
    ),
    FlagKind.UNMATCHED: (
        "A notification matches no payment of ours.",
        "Look the payment up in the provider's dashboard, then dismiss with what it was.",
    ),
    FlagKind.UNKNOWN_STATUS: (
        "The provider used a word that we do not know.",
        "Nothing was moved. Read the evidence, and ask the provider what it means.",
    ),
    FlagKind.PROVIDER_MISMATCH: (
        "The provider made another payment than we asked for.",
        "Its address was never shown to anybody. Tell the provider; the customer starts a new order.",
    ),
    FlagKind.STUCK: (
        "A payment with money in sight is still not settled.",
        "Ask the provider, and open a case there with the payment id. Leave the flag open until the answer.",
    ),
}


def advise(shown: AdminShown, deliveries: Sequence[Told]) -> list[Advice]:
    """What to do about an order: its open flags first, then its state, then its webhooks."""
    kinds = dict.fromkeys(flag.kind for flag in shown.flags if flag.state == "open")
    advice = [Advice("warn", *_ABOUT_FLAGS[kind], section(f"flag-{kind.value}")) for kind in kinds]
    advice.append(_about_state(shown))
    advice += _about_webhooks(deliveries)
    urgent = [each for each in advice if each.tone in {"warn", "bad"}]
    return urgent or advice


def _about_webhooks(deliveries: Sequence[Told]) -> list[Advice]:
    advice: list[Advice] = []
    if any(told.delivery.status == "dlq" for told in deliveries):
        lead = "The customer's system was not told."
        text = "Every attempt at a webhook failed. Have them repair their endpoint, then send it again."
        advice.append(Advice("warn", lead, text, section("dead-webhooks")))
    held = next((told for told in deliveries if _is_held(told)), None)
    if held is not None:
        tone = "warn" if held.receiver.disabled_reason else "info"
        lead = "A webhook waits for its endpoint."
        text = (
            f"It is kept: {why_held(held.receiver)}. It is sent as soon as the customer resumes the endpoint."
        )
        advice.append(Advice(tone, lead, text, section("dead-webhooks")))
    return advice


def _is_held(told: Told) -> bool:
    return told.receiver.holds and told.delivery.is_due and told.delivery.status != "in_flight"


def _about_state(shown: AdminShown) -> Advice:
    match shown.order.status:
        case Status.PENDING:
            return _about_pending(shown)
        case Status.CONFIRMING:
            return _about_confirming(shown)
        case Status.PARTIAL:
            return _about_partial(shown)
        case Status.PAID:
            return _about_paid(shown)
        case Status.FAILED:
            return _about_failed(shown)
        case Status.CANCELLED:
            text = "The customer cancelled while nothing had arrived. Nothing is left to do."
            return Advice("info", "Cancelled by the customer.", text, section("states"))


def _about_pending(shown: AdminShown) -> Advice:
    order, more = shown.order, section("stuck-in-pending")
    ends_at = formats.full_time(order.window_ends_at)
    if shown.now < order.window_ends_at:
        if shown.payment is None:
            text = f"No address was made yet. The customer repeats the checkout, same key, until {ends_at}."
            return Advice("info", "Waiting for an address.", text, more)
        text = f"The payer has until {ends_at}. If they say that they paid, ask the provider."
        return Advice("info", "Waiting for the payer.", text, more)
    if not shown.payments:
        text = f"No address was made before the pay window ended at {ends_at}. The customer starts anew."
        return Advice("warn", "Nobody could pay this order.", text, more)
    text = (
        f"The pay window ended at {ends_at} and we have not heard of money."
        " Ask the provider: a lost notification heals by that, and an unpaid order is swept by itself."
    )
    return Advice("warn", "Nobody has paid in time, as far as we know.", text, more)


def _about_confirming(shown: AdminShown) -> Advice:
    more = section("states")
    # Not the order's own time of change, which notes move, too.
    if shown.now - shown.events[-1].at < CONFIRMING_SOON:
        text = "The network has seen the money and it is not final yet. Wait; it moves by itself."
        return Advice("info", "On its way.", text, more)
    text = "The network has seen the money and it is not final. Ask the provider; open a case there."
    return Advice("warn", "Confirming for more than a day.", text, section("stuck-in-pending"))


def _about_partial(shown: AdminShown) -> Advice:
    payment = shown.payment
    lead = "Less than the price arrived."
    if payment is not None and payment.pay_amount is not None and payment.actually_paid is not None:
        missing = payment.pay_amount - payment.actually_paid
        if missing > 0:
            lead = f"Short by {formats.crypto(missing, payment.pay_currency)}."
    text = (
        "Have the customer send nothing more: it would come as a further payment, which moves no order."
        " Ask the provider; what arrived is credited to the next billing cycle, never refunded."
    )
    return Advice("warn", lead, text, section("partial"))


def _about_paid(shown: AdminShown) -> Advice:
    if shown.events[-1].detail.override:
        text = "The provider did not confirm the price; the timeline says who decided and why. Goods are due."
        return Advice("good", "Paid by an operator's override.", text, section("override"))
    text = "The price arrived, within the tolerance, and the goods are due. Nothing is left to do."
    return Advice("good", "Paid.", text, section("states"))


def _about_failed(shown: AdminShown) -> Advice:
    more, last = section("why-failed"), shown.events[-1]
    said = last.detail.provider_status
    match last.source:
        case Source.EXPIRED:
            lead, text = "Expired.", "The customer cancelled after the pay window."
        case Source.SWEPT:
            lead, text = "Nobody paid in time.", "A sweep asked the provider and retired the order."
        case _:
            lead = f"The provider said {said}." if said else "The provider gave the payment up."
            text = "No money is known that would need a decision."
    return Advice("info", lead, f"{text} The customer starts a new order, with a new address.", more)
