"""The published pages as Markdown: which there are, in which order, and where they are."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from typing import Final, NamedTuple

PREFIX: Final = "/docs"
INDEX_PATH: Final = PREFIX
API_PATH: Final = f"{PREFIX}/api"
TRY_PATH: Final = f"{PREFIX}/try"
SEARCH_PATH: Final = f"{PREFIX}/search"

RUNBOOK: Final = "crypto-orders-ops-runbook"
ERRORS: Final = "errors"


class Shelf(NamedTuple):
    """Pages for one kind of reader, in the order they are best read."""

    title: str
    names: tuple[str, ...]


SHELVES: Final = (
    Shelf(
        "For customers",
        (
            "billing-crypto-overview",
            "billing-crypto-integration-guide",
            "crypto-orders-polling-vs-webhooks",
            "idempotency-keys",
            "webhooks",
            "webhooks-crypto-events",
            ERRORS,
        ),
    ),
    Shelf("For support", (RUNBOOK, "admin-csv-export", "admin-api-pagination")),
)

NAMES: Final = tuple(name for shelf in SHELVES for name in shelf.names)
"""Every page, each at `/docs/<name>`."""

_PLACEHOLDER = re.compile(r"%([A-Z][A-Z_]+)%")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the pages tell of this deployment; the fields have the names and units of the settings.

    `header_prefix` is what the service's own headers start with, `key_mode` the middle of a customer's key.
    """

    brand_name: str
    brand_slug: str
    header_prefix: str
    key_prefix: str
    key_mode: str
    public_url: str
    error_type_base: str
    default_pay_currency: str
    pay_window_minutes: int
    pay_tolerance_percent: Decimal
    open_orders_max: int
    unpaid_orders_per_day_max: int
    sweep_every_minutes: int
    sweep_older_than_hours: int
    idempotency_mismatch: str
    rate_limit_customer_capacity: int
    rate_limit_customer_per_second: int
    rate_limit_admin_capacity: int
    rate_limit_admin_per_second: int


def placeholders(facts: Facts) -> Mapping[str, str]:
    """What stands for each `%NAME%` in a page: the name of a fact in capitals."""
    return {name.upper(): str(getattr(facts, name)) for name in Facts.__dataclass_fields__}


def source(name: str, facts: Facts) -> str:
    """A page's Markdown with this deployment's words. KeyError when it asks for one that there is not."""
    words = placeholders(facts)
    text = files("crypto_orders.docs").joinpath("pages", f"{name}.md").read_text(encoding="utf-8")
    return _PLACEHOLDER.sub(lambda found: words[found[1]], text)
