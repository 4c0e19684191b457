"""What the endpoints of the API work with, made once at the start."""

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from crypto_orders.api.auth import Principal
from crypto_orders.domain.pay_link import pay_token
from crypto_orders.kit import ids
from crypto_orders.kit.http import Call
from crypto_orders.store.audit import Actor, Entry, Trail
from crypto_orders.store.connection import Pool
from crypto_orders.usecases.deployment import Deployment, Webhooks

BodyT = TypeVar("BodyT")
QueryT = TypeVar("QueryT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One running service as its API sees it.

    `search_pool` holds connections whose statements are planned anew for every needle.
    """

    deployment: Deployment
    search_pool: Pool
    public_url: str
    brand_name: str
    brand_slug: str
    key_prefix: str
    key_mode: Literal["live", "test"]
    pay_link_key: bytes
    webhooks: Webhooks

    @property
    def pool(self) -> Pool:
        """The connections of every ordinary read."""
        return self.deployment.pool

    def checkout_url(self, order_id: str) -> str:
        """The address of an order's payment page; the same for every replay."""
        return f"{self.public_url}/pay/{pay_token(order_id, self.pay_link_key)}"


ApiCall = Call[Services, Principal, BodyT, QueryT]


def audited(
    call: Call[Services, Principal, BodyT, QueryT], action: str, target: str | None, **request: object
) -> Entry:
    """The audit row of an administrative call: who, from where, what; its result comes with what it does.

    Whatever refuses the call from here on, the row is kept: see api.refused_calls.
    """
    call.noted = call.noted or Trail()
    trail: Trail = call.noted
    return trail.follow(Entry(actor=actor_of(call), action=action, target=target, request=request))


def actor_of(call: Call[Any, Principal, Any, Any]) -> Actor:
    """The key that calls, as the audit trail names it."""
    return Actor(
        name=ids.prefixed("key", call.principal.key_id),
        remote_address=call.remote_address,
        request_id=call.request_id,
    )
