"""What a sandbox is told when it starts: its secrets, its state, and how it plays the provider."""

from pathlib import Path
from typing import Literal

import msgspec

PAYMENT_VALID_SECONDS = 7 * 24 * 60 * 60
"""How long the provider watches an address for a deposit; afterwards the payment is ``expired``."""

ESTIMATE_VALID_SECONDS = 20 * 60
"""How long the provider holds the rate of an estimate."""


class IpnFormat(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the notification bodies seen in the wild the sandbox sends.

    The defaults are those of the bodies captured since 2024: keys sorted, numbers as numbers, ``fee``
    present, ``updated_at`` in epoch milliseconds, nothing sent while a payment is ``waiting``.
    """

    key_order: Literal["sorted", "2023"] = "sorted"
    """``2023``: ``payment_id`` first, unsorted, no ``fee``; the signature still covers the sorted form."""
    all_strings: bool = False
    """The dashboard's "All-Strings": every number is quoted; null and arrays stay."""
    fee_as_text: bool = False
    """The parts of ``fee`` are strings while the top-level amounts are numbers (captured in 2026)."""
    with_updated_at: bool = True
    announce_waiting: bool = False
    """Send a notification for the status a payment starts in."""
    at_fiat: Literal["never", "children", "always"] = "children"
    """Which notifications name a real ``actually_paid_at_fiat``; the others say 0."""


class SandboxConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a sandbox needs to know; only the first five have no default."""

    state_dir: Path
    """Where its database lies; made (0700) when missing. One process at a time."""
    api_key: str
    ipn_secret: str | None
    """None or blank: no notification is ever sent, as with an account that never made a secret."""
    email: str
    """With ``password``: what ``POST /v1/auth`` gives a token for. Compared with case."""
    password: str

    ipn: IpnFormat = IpnFormat()
    ipn_callback_url: str | None = None
    """The dashboard's URL, for payments that were created without one of their own."""
    ipn_timeout_seconds: float = 3.0
    ipn_retry_count: int = 3
    """Further attempts after a failed one (no answer in time, or none of 2xx)."""
    ipn_retry_interval_seconds: float = 60.0

    step_ms: int = 100
    """From one status of a walk to the next."""
    payment_valid_seconds: int = PAYMENT_VALID_SECONDS
    estimate_valid_seconds: int = ESTIMATE_VALID_SECONDS
    outcome_currency: str | None = None
    """The coin the merchant is paid out in; None: the coin that was paid, without conversion."""
    child_final_status: Literal["finished", "partially_paid"] = "finished"
    """Where a re-deposit ends; an account setting at the provider."""
    children_readable: bool = True
    """Whether ``GET /v1/payment/{id}`` knows re-deposits; it is unknown whether the real one does."""
    fixed_rate_as_objects: bool = True
    """``GET /v1/currencies?fixed_rate=true`` lists objects (as live) instead of codes (as documented)."""
    estimate_as_text: bool = True
    """``estimated_amount`` is a string (as live) instead of a number (as documented)."""
    pay_amount_as_text: bool = False
    """``pay_amount`` of a created payment is a string, as one client met it."""
    invoice_page_url: str = "https://sandbox.nowpayments.io/payment/"
