"""The network list: 48 addresses that are not public, and public ones next door to them."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_orders.domain.networks import is_loopback, is_public

NOT_PUBLIC = [
    line
    for line in (Path(__file__).parents[1] / "data" / "not_public_addresses.txt").read_text().splitlines()
    if not line.startswith("#")
]

PUBLIC = (
    *("1.0.0.0", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"),
    *("126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0"),
    *("192.0.1.0", "192.0.3.0", "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0"),
    *("198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0"),
    *("223.255.255.255", "::ffff:8.8.8.8", "2000::1", "2001:200::1", "2001:4860:4860::8888"),
    *("2001:db7:ffff::1", "2001:db9::1", "2003::1", "2606:4700:4700::1111", "3ffe:ffff::1", "3fff:1000::1"),
)


def test_the_list_has_at_least_48_addresses() -> None:
    assert len(set(NOT_PUBLIC)) >= 48


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_an_address_off_the_public_internet_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_a_neighbour_of_the_refused_networks_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_when_mapped_into_ipv6(address: IPv4Address) -> None:
    assert is_public(IPv6Address(f"::ffff:{address}")) == is_public(address)


@given(st.ip_addresses())
def test_what_the_standard_library_calls_not_global_is_refused(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global:
        assert not is_public(address)


@pytest.mark.parametrize("text", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_known_in_both_families(text: str) -> None:
    assert is_loopback(ip_address(text))


@pytest.mark.parametrize("text", ["10.0.0.1", "0.0.0.0", "::", "::127.0.0.1", "fe80::1", "8.8.8.8"])
def test_other_addresses_are_not_loopback(text: str) -> None:
    assert not is_loopback(ip_address(text))
