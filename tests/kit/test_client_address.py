"""Client addresses: the socket's, and a forwarded one only from a proxy that is trusted."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_orders.kit.client_address import ClientAddresses

TRUSTED = ClientAddresses(["10.0.0.0/8", "2001:db8::/32"])


def scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
    return {
        "client": None if peer is None else (peer, 1234),
        "headers": [(b"x-forwarded-for", line.encode("latin-1")) for line in forwarded],
    }


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.7", (), "198.51.100.7"),
        ("198.51.100.7", ("203.0.113.9",), "198.51.100.7"),
        ("10.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", ("192.0.2.1, 203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", ("192.0.2.1", "203.0.113.9"), "203.0.113.9"),
        ("10.0.0.1", ("203.0.113.9, 10.0.0.2",), "203.0.113.9"),
        ("10.0.0.1", ("203.0.113.9:4711",), "203.0.113.9"),
        ("10.0.0.1", ("[2a00::1]:4711",), "2a00::1"),
        ("10.0.0.1", ("2a00::1",), "2a00::1"),
        ("2001:db8::5", ("::ffff:203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", ("10.0.0.3, 10.0.0.2",), "10.0.0.3"),
        ("10.0.0.1", ("203.0.113.9, unknown",), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.9, nonsense, 10.0.0.2",), "10.0.0.2"),
        ("10.0.0.1", ("",), "10.0.0.1"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("::ffff:10.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        (None, ("203.0.113.9",), "local"),
    ],
)
def test_the_rightmost_address_that_is_no_trusted_proxy_counts(
    peer: str | None, forwarded: tuple[str, ...], address: str
) -> None:
    assert TRUSTED.of(scope(peer, *forwarded)) == address


def test_without_trusted_proxies_a_forwarded_address_counts_nothing() -> None:
    assert ClientAddresses().of(scope("10.0.0.1", "203.0.113.9")) == "10.0.0.1"


def test_a_network_that_is_none_fails_at_start_up() -> None:
    with pytest.raises(ValueError, match="host bits"):
        ClientAddresses(["10.0.0.1/8"])


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=80))
def test_no_header_makes_it_fail(text: str) -> None:
    assert TRUSTED.of(scope("10.0.0.1", text))
