"""The keys that sign webhooks, opened from their sealed secrets once, not for every attempt."""

from typing import Final
from uuid import UUID

from crypto_orders.domain.webhook_signature import SigningKey, signing_key
from crypto_orders.kit.sealing import Sealer
from crypto_orders.store.delivery_queue import Claimed
from crypto_orders.usecases.webhooks import place_of_previous, place_of_secret

KEPT_MAX: Final = 4096
"""Sealed secrets whose keys are kept for the next attempt; a full table is emptied."""


class SigningKeys:
    """Opens endpoints' secrets.

    A key is kept under the very bytes that were opened. Rotation of the secret, the end of its grace and
    sealing under another key all change these, so nothing signs that the claimed delivery did not bring.
    """

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._kept: dict[tuple[UUID, bytes, bytes | None], tuple[SigningKey, ...]] = {}

    def __len__(self) -> int:
        """Count the sealed secrets whose keys are kept."""
        return len(self._kept)

    def of(self, claimed: Claimed) -> tuple[SigningKey, ...]:
        """Return what signs an attempt: the secret of its endpoint and, during a grace, the one before it.

        Raises:
            SealBrokenError: one cannot be opened with the keys of this process.
        """
        name = claimed.endpoint_id, claimed.secret_sealed, claimed.prev_secret_sealed
        if (known := self._kept.get(name)) is not None:
            return known
        if len(self._kept) >= KEPT_MAX:
            self._kept.clear()
        keys = self._kept[name] = self._opened(*name)
        return keys

    def _opened(self, endpoint_id: UUID, sealed: bytes, previous: bytes | None) -> tuple[SigningKey, ...]:
        secrets = [self._sealer.open(sealed, place_of_secret(endpoint_id))]
        if previous is not None:
            secrets.append(self._sealer.open(previous, place_of_previous(endpoint_id)))
        return tuple(signing_key(secret.decode()) for secret in secrets)
