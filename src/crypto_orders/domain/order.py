"""What an order is, what may be said about it, and what a decision about it holds."""

from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from uuid import UUID

from msgspec import Struct, field

from crypto_orders.domain.payment import Payment
from crypto_orders.domain.provider_payment import ProviderPayment


class Status(StrEnum):
    """The six states of an order; paid, failed and cancelled are terminal for the provider's words."""

    PENDING = "pending"
    CONFIRMING = "confirming"
    PARTIAL = "partial"
    PAID = "paid"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Source(StrEnum):
    """What raised an event; `ipn` is any status of the provider that was applied."""

    CREATE = "create"
    IPN = "ipn"
    CANCEL = "cancel"
    EXPIRED = "expired"
    SWEPT = "swept"


class Via(StrEnum):
    """By which way a word of the provider reached us."""

    IPN = "ipn"
    POLL = "poll"
    OPERATOR = "operator"


class FlagKind(StrEnum):
    """What a person has to look at; a closed list."""

    LATE_PAYMENT = "late_payment"
    FAILED_WITH_MONEY = "failed_with_money"
    REVERSED_AFTER_PAID = "reversed_after_paid"
    OVERPAID = "overpaid"
    ORDER_MISMATCH = "order_mismatch"
    AMOUNT_MISMATCH = "amount_mismatch"
    WRONG_ASSET = "wrong_asset"
    REDEPOSIT = "redeposit"
    PAYMENT_ADOPTED = "payment_adopted"
    UNMATCHED = "unmatched"
    UNKNOWN_STATUS = "unknown_status"
    PROVIDER_MISMATCH = "provider_mismatch"
    STUCK = "stuck"


class Verdict(StrEnum):
    """What became of a fact; `received` and `waiting` are open, the others settled."""

    RECEIVED = "received"
    WAITING = "waiting"
    APPLIED = "applied"
    NO_CHANGE = "no_change"
    FLAGGED = "flagged"
    SUPERSEDED = "superseded"
    UNKNOWN_STATUS = "unknown_status"
    UNMATCHED = "unmatched"
    MALFORMED = "malformed"


class Order(Struct, frozen=True, kw_only=True):
    """One order as stored. `version` is the seq of its last event; prices are integer cents."""

    account_id: UUID
    order_id: str
    product: str
    price_cents: int
    price_currency: str
    status: Status
    version: int
    payment_id: str | None
    pay_currency: str | None
    customer_note: str | None
    internal_note: str | None
    window_ends_at: datetime
    created_at: datetime
    updated_at: datetime
    paid_at: datetime | None
    mint_due_at: datetime | None

    @property
    def expires_at(self) -> datetime | None:
        """When the pay window ends, while that still matters to anybody."""
        return self.window_ends_at if self.status is Status.PENDING else None


class EventDetail(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What admins see of an event beyond its status."""

    payment_id: str | None = None
    provider_status: str | None = None
    notification_id: UUID | None = None
    reason: str | None = None
    override: bool = False
    honour: bool = False


class Event(Struct, frozen=True, kw_only=True):
    """One line of the timeline: the status reached, what raised it, by which way and by whom."""

    seq: int
    status: Status
    source: Source
    at: datetime
    via: Via | None = None
    actor: str | None = None
    detail: EventDetail = field(default_factory=EventDetail)


class Evidence(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fact behind a flag. `fingerprint` says whether it is news: a status with an amount."""

    at: datetime
    via: Via | None = None
    provider_status: str | None = None
    actually_paid: Decimal | None = None
    pay_currency: str | None = None
    notification_id: UUID | None = None
    note: str | None = None

    @property
    def fingerprint(self) -> str:
        """`<status>:<amount>`; facts with the same one are the same news."""
        return f"{self.provider_status or ''}:{_plain(self.actually_paid) if self.actually_paid else ''}"


def _plain(amount: Decimal) -> str:
    """Write an amount in full, without an exponent or idle zeros; nothing is rounded."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class Flag(Struct, frozen=True, kw_only=True):
    """A flag to raise. `subject` makes it one: the payment, or what stands for it.

    `closed_because` is set when it closes by itself the moment it is raised.
    """

    kind: FlagKind
    subject: str
    payment_id: str | None
    evidence: Evidence
    closed_because: str | None = None


class WebhookEvent(Struct, frozen=True, kw_only=True):
    """What the customer's systems are told of a transition."""

    event_type: str
    order_id: str
    product: str
    price_cents: int
    price_currency: str
    payment_id: str | None
    at: datetime
    reason: str | None = None


class Decision(Struct, frozen=True, kw_only=True):
    """Everything one fact does to one order, to be stored in one transaction."""

    order: Order
    verdict: Verdict
    why: str
    event: Event | None = None
    flags: tuple[Flag, ...] = ()
    webhook: WebhookEvent | None = None
    payments: tuple[Payment, ...] = ()


class Ask(Enum):
    """Why there is no answer of the provider beside a fact."""

    NOT_YET = "not_yet"
    NOT_FOUND = "not_found"


class ProviderSaid(Struct, frozen=True, kw_only=True):
    """One word of the provider about one payment, as it came.

    `answer` is what the provider itself said when it was asked on account of this fact; an answer
    that came by a poll, or confirmed an operator's claim, is its own. `override` is an operator's
    word against the provider's: amounts are not checked and it is not heard as the provider's.
    `own_attempt` says that a create of ours for this order has no known payment yet.
    """

    payment: ProviderPayment
    via: Via
    notification_id: UUID | None
    answer: ProviderPayment | Ask = Ask.NOT_YET
    actor: str | None = None
    reason: str | None = None
    override: bool = False
    own_attempt: bool = False


class Rules(Struct, frozen=True, kw_only=True):
    """The deployment's settings that decisions depend on."""

    tolerance: Decimal = Decimal("0.01")
    pay_window: timedelta = timedelta(minutes=60)
