"""A key that was opened once signs for exactly as long as the endpoint's sealed secrets stay the same."""

from uuid import UUID

import pytest

from crypto_orders.domain.webhook_signature import make_secret, signing_key
from crypto_orders.kit import clock
from crypto_orders.kit.sealing import SealBrokenError, Sealer
from crypto_orders.store.delivery_queue import Claimed
from crypto_orders.usecases import signing_keys
from crypto_orders.usecases.signing_keys import SigningKeys
from crypto_orders.usecases.webhooks import place_of_previous, place_of_secret

OLD_SEAL, NEW_SEAL = "aa" * 32, "bb" * 32
FIRST, SECOND = make_secret(bytes(24)), make_secret(bytes(range(24)))
ENDPOINT, OTHER = UUID(int=1), UUID(int=2)


def sealed(secret: str, endpoint_id: UUID = ENDPOINT, seal: str = OLD_SEAL) -> bytes:
    return Sealer(seal).seal(secret.encode(), place_of_secret(endpoint_id))


def claimed(secret: bytes, previous: bytes | None = None, endpoint_id: UUID = ENDPOINT) -> Claimed:
    now = clock.utc_now()
    return Claimed(
        account_id=UUID(int=9),
        delivery_id=UUID(int=8),
        endpoint_id=endpoint_id,
        event_id=UUID(int=7),
        event_type="crypto.order.paid",
        attempts=1,
        attempt_no=1,
        at=now,
        created_at=now,
        url="https://example.com/",
        body=b"{}",
        secret_sealed=secret,
        prev_secret_sealed=previous,
        proven=True,
    )


def test_a_rotation_its_grace_and_the_end_of_it_are_followed_at_once() -> None:
    keys = SigningKeys(Sealer(OLD_SEAL))
    first, second = sealed(FIRST), sealed(SECOND)
    previous = Sealer(OLD_SEAL).seal(FIRST.encode(), place_of_previous(ENDPOINT))
    for _ in range(2):
        assert keys.of(claimed(first)) == (signing_key(FIRST),)
        assert keys.of(claimed(second, previous)) == (signing_key(SECOND), signing_key(FIRST))
        assert keys.of(claimed(second)) == (signing_key(SECOND),)


def test_a_secret_sealed_anew_is_opened_anew() -> None:
    keys = SigningKeys(Sealer(f"{OLD_SEAL},{NEW_SEAL}"))
    assert keys.of(claimed(sealed(FIRST))) == (signing_key(FIRST),)
    assert keys.of(claimed(sealed(FIRST, seal=NEW_SEAL))) == (signing_key(FIRST),)
    only_old = SigningKeys(Sealer(OLD_SEAL))
    assert only_old.of(claimed(sealed(FIRST))) == (signing_key(FIRST),)
    for _ in range(2):
        with pytest.raises(SealBrokenError, match="unknown key"):
            only_old.of(claimed(sealed(FIRST, seal=NEW_SEAL)))


def test_a_sealed_secret_that_was_opened_opens_for_no_other_endpoint() -> None:
    keys = SigningKeys(Sealer(OLD_SEAL))
    first = sealed(FIRST)
    assert keys.of(claimed(first)) == (signing_key(FIRST),)
    with pytest.raises(SealBrokenError, match="changed or moved"):
        keys.of(claimed(first, endpoint_id=OTHER))


def test_no_more_keys_are_kept_than_the_limit_and_all_sign_as_before() -> None:
    keys = SigningKeys(Sealer(OLD_SEAL))
    first = claimed(sealed(FIRST))
    for number in range(signing_keys.KEPT_MAX + 2):
        endpoint_id = UUID(int=number)
        assert keys.of(claimed(sealed(SECOND, endpoint_id), endpoint_id=endpoint_id)) == (
            signing_key(SECOND),
        )
    assert keys.of(first) == (signing_key(FIRST),)
    assert len(keys) < signing_keys.KEPT_MAX
