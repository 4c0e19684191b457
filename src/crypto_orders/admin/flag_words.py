"""What flags are called wherever people meet them, what each means, and how one ended."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from crypto_orders.domain.order import FlagKind


class KindWords(NamedTuple):
    """What a kind of flag means to whoever meets one, and what is done about it."""

    title: str
    meaning: str
    next_step: str


KINDS: Final[Mapping[FlagKind, KindWords]] = {
    FlagKind.LATE_PAYMENT: KindWords(
        "Late payment",
        "Money came for an order that had failed or was cancelled: the customer paid and has nothing.",
        "Once the provider says finished, honour the order if it can still be delivered at that "
        "price and no newer one was paid, else credit what arrived.",
    ),
    FlagKind.FAILED_WITH_MONEY: KindWords(
        "Failed with money",
        "A payment that had shown money failed, was refunded or expired.",
        "Ask the provider. Finished after all: honour. Refunded: dismiss. Still failed: open a case there.",
    ),
    FlagKind.REVERSED_AFTER_PAID: KindWords(
        "Reversed after paid",
        "The payment that paid an order was reversed at the provider. The order stays paid.",
        "Confirm in the provider's dashboard that the money is gone, agree with the customer, dismiss.",
    ),
    FlagKind.OVERPAID: KindWords(
        "Overpaid",
        "More arrived than was asked. The order is fine.",
        "Once the provider says finished, credit the surplus.",
    ),
    FlagKind.ORDER_MISMATCH: KindWords(
        "Order mismatch",
        "The provider's words about this payment name another order. Nothing was moved.",
        "Find both orders, compare with the provider's dashboard, tell engineering.",
    ),
    FlagKind.AMOUNT_MISMATCH: KindWords(
        "Amount mismatch",
        "The provider's price or currency for the payment is not the order's. Nothing was moved.",
        "Compare with the provider's dashboard, tell engineering.",
    ),
    FlagKind.WRONG_ASSET: KindWords(
        "Wrong asset",
        "The payer sent another coin, or by another network, than was asked. Nothing was moved.",
        "Look at the payment in the provider's dashboard, then override or dismiss with its case number.",
    ),
    FlagKind.REDEPOSIT: KindWords(
        "Further deposit",
        "More coins arrived at an address that had been used. They never move an order.",
        "Once the provider says finished, credit what arrived.",
    ),
    FlagKind.PAYMENT_ADOPTED: KindWords(
        "Payment adopted",
        "A payment carries our order id and price, and we did not make it. It counts for the order.",
        "Look whether somebody made it by hand at the provider, then dismiss.",
    ),
    FlagKind.UNMATCHED: KindWords(
        "Unmatched notification",
        "A signed notification about a payment that is not known as ours. It belongs to no order.",
        "Look it up in the provider's dashboard; dismiss with what it was.",
    ),
    FlagKind.UNKNOWN_STATUS: KindWords(
        "Unknown status",
        "The provider used a word that we do not know. Nothing was moved.",
        "Ask the provider what it means, tell engineering.",
    ),
    FlagKind.PROVIDER_MISMATCH: KindWords(
        "Provider mismatch",
        "The provider made another payment than we asked for. Its address was never shown.",
        "Tell the provider, then dismiss; the customer starts a new order.",
    ),
    FlagKind.STUCK: KindWords(
        "Stuck money",
        "A payment with money in sight is still not settled, long after it should be.",
        "Ask the provider; open a case there; leave the flag open until the answer.",
    ),
}

RESOLVED: Final[Mapping[str, str]] = {
    "honour": "honoured",
    "credited": "credited",
    "dismissed": "dismissed",
}
"""How a flag was resolved, by the word that is stored."""


def name_of(kind: FlagKind) -> str:
    """What a kind of flag is called."""
    return KINDS[kind].title


def resolved(resolution: str | None) -> str:
    """How a flag was resolved, in a word; nothing for an open one."""
    return RESOLVED.get(resolution, resolution) if resolution else ""
