"""What webhook deliveries are called wherever people meet them, and what becomes of each next."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from crypto_orders.domain.delivery import ATTEMPTS_MAX
from crypto_orders.store.deliveries import Attempt, Delivery, DeliveryStatus, Receiver
from crypto_orders.store.order_surroundings import WebhookState

_SUCCESSFUL: Final = range(200, 300)


class Words(NamedTuple):
    """A name with its tone, and why it is so where that is said beside it."""

    name: str
    tone: str
    why: str | None = None

    @property
    def whole(self) -> str:
        """The name, and why."""
        return f"{self.name}: {self.why}" if self.why else self.name


WAITING: Final = Words("Waiting", "neutral")
IN_FLIGHT: Final = Words("In flight", "info")
DELIVERED: Final = Words("Delivered", "good")
RETRYING: Final = Words("Retrying", "warn")
DISCARDED: Final = Words("Discarded", "neutral")
DEAD: Final = Words("Dead letter", "bad")
HELD: Final = Words("Held", "warn")
NOT_SENT: Final = Words("Not sent", "neutral", "the endpoint is deleted")

STATUSES: Final[Mapping[DeliveryStatus, str]] = {
    "pending": f"{WAITING.name} or held",
    "in_flight": IN_FLIGHT.name,
    "delivered": DELIVERED.name,
    "failed": f"{RETRYING.name} or discarded",
    "dlq": DEAD.name,
}
"""The statuses of the API, for filters and choices; what one delivery is called takes its endpoint, too."""

SUMMARIES: Final[Mapping[WebhookState, Words]] = {
    "dead": DEAD,
    "retrying": RETRYING,
    "held": HELD,
    "waiting": WAITING,
    "unsent": Words("Endpoint deleted", "neutral"),
    "discarded": DISCARDED,
    "delivered": DELIVERED,
}
"""How the deliveries of one order fare, by the worst of them."""


def retrying(attempts: int) -> str:
    """A delivery between two attempts, with those that were made."""
    return f"{RETRYING.name}, {attempts} of {ATTEMPTS_MAX}"


def words_of(delivery: Delivery, receiver: Receiver | None, attempts: Sequence[Attempt]) -> Words:
    """How one delivery fares; `attempts` are those at it, the oldest first."""
    match delivery.status:
        case "delivered":
            return DELIVERED._replace(name=_delivered(attempts))
        case "in_flight":
            return IN_FLIGHT
        case "dlq":
            return DEAD
        case "failed" if not delivery.is_due:
            return DISCARDED
        case "failed" | "pending":
            if receiver is not None and receiver.deleted:
                return NOT_SENT
            if receiver is not None and receiver.holds:
                return HELD._replace(why=why_held(receiver))
            if delivery.status == "failed":
                return RETRYING._replace(name=retrying(delivery.attempts))
            return WAITING


def why_held(receiver: Receiver) -> str:
    """Why an endpoint is not sent what waits for it."""
    reason = receiver.disabled_reason
    return f"the endpoint is disabled ({reason})" if reason else "the endpoint is paused"


def goes_on(delivery: Delivery, receiver: Receiver | None) -> bool:
    """Whether the next attempt at a delivery has its time."""
    return delivery.is_due and delivery.status != "in_flight" and receiver is not None and receiver.active


def _delivered(attempts: Sequence[Attempt]) -> str:
    succeeded = [attempt for attempt in attempts if succeeded_in(attempt)]
    if not succeeded or not any(failure_in(attempt) for attempt in attempts):
        return DELIVERED.name
    return f"{DELIVERED.name} at attempt {succeeded[-1].attempt_no}"


def succeeded_in(attempt: Attempt) -> bool:
    """Whether the receiver took it."""
    return attempt.status is not None and attempt.status in _SUCCESSFUL


def failure_in(attempt: Attempt) -> str | None:
    """What an attempt met; None when it succeeded, or has not ended."""
    if attempt.error is not None:
        return attempt.error
    return None if attempt.status is None or succeeded_in(attempt) else f"HTTP {attempt.status}"
