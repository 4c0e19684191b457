"""Token buckets: how much they hold, how they refill, and what is told of them."""

from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil
from typing import Final, NamedTuple
from uuid import UUID

# What is said to come back "now" still takes a moment; a client told 0 would spin.
RETRY_SECONDS_MIN: Final = 1

# One household or server gets a whole /64, so a bound on single addresses of it is worth nothing.
_IPV6_NETWORK_BITS: Final = 64


class Policy(NamedTuple):
    """A bucket's size, and its refill in tokens a second, which is above 0.

    A capacity of 0 means that nothing is limited.
    """

    capacity: int
    refill_per_second: float

    @property
    def limits(self) -> bool:
        """Whether this policy limits anything."""
        return self.capacity > 0

    @property
    def slice_tokens(self) -> int:
        """The most that one process may hold for itself: a second's refill, and at least one token."""
        return max(1, min(self.capacity, int(self.refill_per_second)))


class Allowance(NamedTuple):
    """The answer to one draw: whether it was granted, and what the bucket looks like to its owner."""

    granted: bool
    limit: int
    remaining: int
    reset_seconds: int
    retry_after_seconds: int


CUSTOMER_POLICY: Final = Policy(120, 20)
ADMIN_POLICY: Final = Policy(300, 50)
# Failed authentications and bad signatures of one client address together.
FAILURE_POLICY: Final = Policy(60, 1)


def allowance(policy: Policy, tokens: float, *, granted: bool) -> Allowance:
    """What is told of a bucket that now holds so many tokens over all."""
    missing = max(0.0, policy.capacity - tokens)
    next_token = max(0.0, 1 - tokens) / policy.refill_per_second
    return Allowance(
        granted=granted,
        limit=policy.capacity,
        remaining=max(0, int(tokens)) if granted else 0,
        reset_seconds=ceil(missing / policy.refill_per_second),
        retry_after_seconds=max(RETRY_SECONDS_MIN, ceil(next_token)),
    )


def bucket_of_key(key_id: UUID) -> str:
    """The name of an API key's bucket."""
    return f"key_{key_id}"


def bucket_of_address(address: str) -> str:
    """The name of the bucket for failures from an address; IPv6 addresses share one for each /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return f"address:{address}"
    if isinstance(parsed, IPv6Address):
        # A socket for both families names every IPv4 client in one /64 (RFC 4291, section 2.5.5.2).
        mapped = parsed.ipv4_mapped
        parsed = mapped or ip_network((parsed, _IPV6_NETWORK_BITS), strict=False).network_address
    return f"address:{parsed}"
