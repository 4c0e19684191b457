"""The provider: NOWPayments' API as calls with typed outcomes."""

from crypto_orders.provider.client import ProviderClient
from crypto_orders.provider.outcomes import (
    CIRCUIT_OPEN,
    KEY_REFUSED,
    RATE_LIMITED,
    Available,
    Call,
    CreateOutcome,
    CreatePayment,
    Currencies,
    Found,
    Minted,
    Mismatched,
    NoAnswer,
    NotFound,
    NotMade,
    PaymentAnswer,
    Refused,
    Unknown,
)

__all__ = [
    "CIRCUIT_OPEN",
    "KEY_REFUSED",
    "RATE_LIMITED",
    "Available",
    "Call",
    "CreateOutcome",
    "CreatePayment",
    "Currencies",
    "Found",
    "Minted",
    "Mismatched",
    "NoAnswer",
    "NotFound",
    "NotMade",
    "PaymentAnswer",
    "ProviderClient",
    "Refused",
    "Unknown",
]
