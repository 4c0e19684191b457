"""What is told of a bucket, and which bucket an address draws on."""

import pytest

from crypto_orders.domain.rate_limit import (
    ADMIN_POLICY,
    CUSTOMER_POLICY,
    FAILURE_POLICY,
    Allowance,
    Policy,
    allowance,
    bucket_of_address,
)


def test_the_defaults_are_those_of_the_api_page() -> None:
    assert CUSTOMER_POLICY == (120, 20)
    assert ADMIN_POLICY == (300, 50)
    assert FAILURE_POLICY == (60, 1)


@pytest.mark.parametrize(
    ("policy", "tokens"),
    [
        (Policy(120, 20), 20),
        (Policy(300, 50.9), 50),
        (Policy(60, 1), 1),
        (Policy(5, 0.1), 1),
        (Policy(3, 100), 3),
    ],
)
def test_a_slice_is_at_most_a_seconds_refill(policy: Policy, tokens: int) -> None:
    assert policy.slice_tokens == tokens


@pytest.mark.parametrize(
    ("tokens", "granted", "told"),
    [
        (119.0, True, Allowance(True, 120, 119, 1, 1)),
        (120.0, True, Allowance(True, 120, 120, 0, 1)),
        (20.5, True, Allowance(True, 120, 20, 5, 1)),
        (0.5, False, Allowance(False, 120, 0, 6, 1)),
    ],
)
def test_what_is_left_and_when_it_is_full_again_is_told(
    tokens: float, granted: bool, told: Allowance
) -> None:
    assert allowance(Policy(120, 20), tokens, granted=granted) == told


def test_a_slow_bucket_names_the_wait_for_its_next_token() -> None:
    assert allowance(Policy(2, 0.1), 0.25, granted=False).retry_after_seconds == 8


@pytest.mark.parametrize(
    ("address", "bucket"),
    [
        ("198.51.100.7", "address:198.51.100.7"),
        ("2a00:1:2:3::1", "address:2a00:1:2:3::"),
        ("2a00:1:2:3:ffff::9", "address:2a00:1:2:3::"),
        ("2a00:1:2:4::1", "address:2a00:1:2:4::"),
        ("::ffff:198.51.100.7", "address:198.51.100.7"),
        ("::ffff:198.51.100.8", "address:198.51.100.8"),
        ("local", "address:local"),
    ],
)
def test_ipv6_neighbours_share_a_bucket(address: str, bucket: str) -> None:
    assert bucket_of_address(address) == bucket
