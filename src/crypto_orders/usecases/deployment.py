"""What use cases work with: the database, the provider, the sender, and the settings that decide."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from crypto_orders.domain.order import Rules
from crypto_orders.domain.webhook_url import UrlPolicy
from crypto_orders.kit.sealing import Sealer
from crypto_orders.provider import ProviderClient
from crypto_orders.sender.webhook_sender import WebhookSender
from crypto_orders.store.connection import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutTerms:
    """How orders are started. A limit of 0 is none; `default_coin` None leaves the choice to the payer."""

    pay_window: timedelta = timedelta(minutes=60)
    default_coin: str | None = "btc"
    open_max: int = 5
    per_day_max: int = 10
    mismatch_rejects: bool = False
    callback_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One running service, as far as a use case is concerned."""

    pool: Pool
    provider: ProviderClient
    rules: Rules
    terms: CheckoutTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """What keeps and sends customers' webhooks. `header_family` begins the brand's own headers."""

    pool: Pool
    sender: WebhookSender
    sealer: Sealer
    policy: UrlPolicy
    header_family: str


@dataclass(frozen=True, slots=True)
class OrderName:
    """An order as it is named across accounts."""

    account_id: UUID
    order_id: str
