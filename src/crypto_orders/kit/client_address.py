"""Tell the address a request came from: the socket's, or what proxies that we trust say."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

# What a connection without an address is called, such as one over a Unix socket.
NO_ADDRESS = "local"
# More hops than this are a loop or an attempt to make us work.
_HOPS_MAX = 32


class ClientAddresses:
    """Reads addresses of clients; ``X-Forwarded-For`` counts only from proxies in the given networks."""

    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        """ValueError when a network is none, such as ``10.0.0.1/8`` with bits of the host."""
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(map(ip_network, trusted_proxies))

    def of(self, scope: Scope) -> str:
        """The client's address: the rightmost forwarded one that is not itself a trusted proxy."""
        client = scope.get("client")
        if not client or not client[0]:
            return NO_ADDRESS
        peer: str = client[0]
        if not self._networks:
            return peer
        address = _parse(peer)
        if address is None or not self._trusts(address):
            return peer
        for hop in reversed(_forwarded(scope)):
            named = _parse(hop)
            if named is None:
                # A proxy that we trust passed on nonsense; what it received it from is the last thing known.
                break
            address = named
            if not self._trusts(address):
                break
        return str(address)

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


def _forwarded(scope: Scope) -> list[str]:
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return [hop.strip() for hop in ",".join(lines).split(",")][-_HOPS_MAX:] if lines else []


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """An address as proxies write it: bare, with a port, or in brackets."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
