"""What may come of asking the provider: every way a call can end is a value, none is an exception."""

from dataclasses import dataclass
from decimal import Decimal

from msgspec import Struct

from crypto_orders.domain.provider_payment import ProviderPayment

KEY_REFUSED = "key_refused"
"""The reason when the provider does not accept our API key or address (401, 403)."""

RATE_LIMITED = "rate_limited"
"""The reason when the provider answers 429."""

CIRCUIT_OPEN = "circuit_open"
"""The reason when no call was made because the last ones failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePayment:
    """What a payment is asked for: a price in cents of a fiat currency, to be paid in a coin.

    ``case`` tells a sandbox how the payment is to end; production does not know the field.
    """

    order_id: str
    price_cents: int
    price_currency: str
    pay_currency: str
    ipn_callback_url: str
    order_description: str | None = None
    is_fixed_rate: bool | None = None
    is_fee_paid_by_user: bool | None = None
    case: str | None = None


class Minted(Struct, frozen=True):
    """A payment was made as asked. ``raw`` is the answer as JSON that PostgreSQL can hold."""

    payment: ProviderPayment
    raw: bytes


class Mismatched(Struct, frozen=True):
    """A payment was made, but it is not the one asked for, or has no address; ``why`` names what differs."""

    payment: ProviderPayment
    raw: bytes
    why: str


class Refused(Struct, frozen=True):
    """The provider understood and will not: asking the same again is of no use.

    ``code`` is the provider's (``AMOUNT_MINIMAL_ERROR``, ``CURRENCY_UNAVAILABLE``, …), ``message`` its words,
    cut and cleaned.
    """

    code: str
    message: str


class NotMade(Struct, frozen=True):
    """Surely no payment was made, and asking again later may help; ``reason`` is a short word."""

    reason: str


class Unknown(Struct, frozen=True):
    """A payment may have been made or not; asking again may make a second one."""

    reason: str


CreateOutcome = Minted | Mismatched | Refused | NotMade | Unknown


class Found(Struct, frozen=True):
    """The provider's own words of a payment. ``raw`` is the answer as JSON that PostgreSQL can hold."""

    payment: ProviderPayment
    raw: bytes


class NotFound(Struct, frozen=True):
    """The provider knows no such payment under our key."""


class NoAnswer(Struct, frozen=True):
    """Nothing was learnt; ``reason`` is a short word such as ``timeout``, ``http_502`` or ``not_json``."""

    reason: str


PaymentAnswer = Found | NotFound | NoAnswer


class Currencies(Struct, frozen=True):
    """The provider's coins, lower-case codes such as ``usdttrc20``."""

    codes: frozenset[str]


class Estimated(Struct, frozen=True):
    """What an amount comes to in the other currency at the present rate."""

    amount: Decimal


class Minimum(Struct, frozen=True):
    """The least amount of a pair, in its first currency, and its fiat worth where that was asked for."""

    amount: Decimal
    fiat_equivalent: Decimal | None


class Available(Struct, frozen=True):
    """The provider says that it is up."""


Outcome = CreateOutcome | PaymentAnswer | Currencies | Estimated | Minimum | Available


class Call(Struct, frozen=True, kw_only=True):
    """One call for whoever counts and logs: never a key, a body or an address.

    ``outcome`` is the outcome type's name (``not_made``), ``reason`` its reason or code, ``attempts`` tells
    how many requests the call took.
    """

    operation: str
    outcome: str
    reason: str | None
    seconds: float
    attempts: int
