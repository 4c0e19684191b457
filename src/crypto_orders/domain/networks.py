"""Tells public addresses from all others: the one list that decides what webhooks may be sent to.

`ipaddress.is_global` is no such filter: it lets NAT64 and 6to4 forms of private addresses, IPv4-compatible
addresses, site-local ones and multicast through.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

IPAddress = IPv4Address | IPv6Address

REFUSED_IPV4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host on this network
        "10.0.0.0/8",  # private use
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, where clouds serve their metadata
        "172.16.0.0/12",  # private use
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private use
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

ALLOWED_IPV6: Final = IPv6Network("2000::/3")
"""All of global unicast. What lies outside (loopback, ULA, link-local, NAT64, multicast …) is refused."""

REFUSED_IPV6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which carries any IPv4 address inside
        "3fff::/20",  # documentation
    )
)


def is_public(address: IPAddress) -> bool:
    """Tell whether an address is on the public internet; an IPv4-mapped one is judged as what it maps."""
    plain = unmapped(address)
    if isinstance(plain, IPv4Address):
        return not any(plain in network for network in REFUSED_IPV4)
    return plain in ALLOWED_IPV6 and not any(plain in network for network in REFUSED_IPV6)


def is_loopback(address: IPAddress) -> bool:
    """Tell whether an address is this machine's own: 127.0.0.0/8, ::1, or either of them IPv4-mapped."""
    return unmapped(address).is_loopback


def unmapped(address: IPAddress) -> IPAddress:
    """Return the IPv4 address inside an IPv4-mapped IPv6 address (::ffff:0:0/96), else the address itself."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
