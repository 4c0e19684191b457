"""Listening addresses: taken, free and shared ones."""

import pytest

from crypto_orders.kit.server import address_of, bind


def test_port_0_takes_a_free_one() -> None:
    with bind("127.0.0.1", 0) as bound:
        host, port = address_of(bound)
        assert host == "127.0.0.1"
        assert port > 0


def test_a_taken_port_is_an_error_and_leaves_nothing_open() -> None:
    with bind("127.0.0.1", 0) as first:
        first.listen()
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", address_of(first)[1])


def test_processes_may_share_a_port_on_purpose() -> None:
    with bind("127.0.0.1", 0, reuse_port=True) as first:
        first.listen()
        with bind("127.0.0.1", address_of(first)[1], reuse_port=True) as second:
            second.listen()
            assert address_of(second) == address_of(first)


def test_ipv6_is_spoken() -> None:
    with bind("::1", 0) as bound:
        assert address_of(bound)[0] == "::1"
