"""What the admin's pages work with, made once at the start."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from crypto_orders.domain.pay_link import pay_token
from crypto_orders.domain.rate_limit import CUSTOMER_POLICY, Policy
from crypto_orders.pages.site import Site, Templates
from crypto_orders.store.connection import Pool
from crypto_orders.usecases.access import OperatorAccess
from crypto_orders.usecases.deployment import Deployment, Webhooks

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminServices:
    """One running service as its admin pages see it.

    `search_pool` holds connections whose statements are planned anew for every needle; `customer_policy` is
    the rate limit of keys that have none of their own.
    """

    deployment: Deployment
    search_pool: Pool
    webhooks: Webhooks
    access: OperatorAccess
    site: Site
    templates: Templates
    key_prefix: str
    key_mode: Literal["live", "test"]
    pay_link_key: bytes
    customer_policy: Policy = CUSTOMER_POLICY

    @property
    def pool(self) -> Pool:
        """The connections of every ordinary read."""
        return self.deployment.pool

    @property
    def public_url(self) -> str:
        """Where browsers reach the service, without a slash at the end."""
        return self.site.public_url

    @property
    def public_origin(self) -> str:
        """The origin of the public URL as browsers write it: without its path and without a default port."""
        parts = urlsplit(self.public_url)
        host = parts.hostname or ""
        shown = f"[{host}]" if ":" in host else host
        if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)}:
            return f"{parts.scheme}://{shown}"
        return f"{parts.scheme}://{shown}:{parts.port}"

    @property
    def is_https(self) -> bool:
        """Whether browsers reach the service over TLS."""
        return self.public_url.startswith("https://")

    def checkout_url(self, order_id: str) -> str:
        """The address of an order's payment page."""
        return f"{self.public_url}/pay/{pay_token(order_id, self.pay_link_key)}"
