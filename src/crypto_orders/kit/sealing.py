"""Seals secrets at rest with AES-256-GCM under keys from the environment, and derives keys for other uses.

The setting holds one or two keys, each 32 random bytes in base64 (`openssl rand -base64 32`; 64 hex digits do
as well), separated by a comma: the first seals, both open. To change the key without a gap: deploy `old,new`;
deploy `new,old`; reseal every row; deploy `new`.

A sealed value is: version (1 byte) | key id (8 bytes) | nonce (12 bytes) | ciphertext and tag. The additional
data is `table|column|row id|key id`, so that a value moved to another place does not open.
"""

import os
import re
from base64 import b64decode
from collections.abc import Callable
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32
KEYS_MAX: Final = 2
"""The current key and the one before it: more would only hide that a rotation was never finished."""

VERSION: Final = b"\x01"
KEY_ID_BYTES: Final = 8
NONCE_BYTES: Final = 12
"""A random 96-bit nonce (NIST SP 800-38D): safe for some four thousand million values under one key."""
TAG_BYTES: Final = 16

_HEADER_BYTES: Final = len(VERSION) + KEY_ID_BYTES
_PURPOSE_PREFIX: Final = b"crypto-orders "
_HOW_TO_MAKE: Final = "make one with: openssl rand -base64 32"
_HEX_KEY = re.compile(r"[0-9A-Fa-f]{64}")
_URL_SAFE: Final = str.maketrans("-_", "+/")


class SealingKeyError(ValueError):
    """The sealing key setting cannot be used; the message never repeats any of it."""


class SealBrokenError(Exception):
    """A sealed value does not open: unknown key, changed bytes, or moved from another place."""


class SealedPlace(NamedTuple):
    """Where a sealed value lives; it opens nowhere else."""

    table: str
    column: str
    row_id: str


class _Key(NamedTuple):
    key_id: bytes
    cipher: AESGCM
    master: bytes


class Sealer:
    """Seals under the current key and opens under the current or the previous one."""

    def __init__(self, setting: str, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        """Read one or two keys. Raises SealingKeyError with a sentence that says what is wrong."""
        self._keys = tuple(_key(master) for master in parse_sealing_keys(setting))
        self._random_bytes = random_bytes

    def __repr__(self) -> str:
        """Name the keys by their ids alone."""
        return f"Sealer({', '.join(key.key_id.hex() for key in self._keys)})"

    @property
    def current_header(self) -> bytes:
        """The first 9 bytes of every value sealed under the current key: a query finds the others by it."""
        return VERSION + self._keys[0].key_id

    def seal(self, plain: bytes, place: SealedPlace) -> bytes:
        """Seal a value for one place under the current key."""
        key = self._keys[0]
        nonce = self._random_bytes(NONCE_BYTES)
        return VERSION + key.key_id + nonce + key.cipher.encrypt(nonce, plain, _bound_to(place, key.key_id))

    def open(self, sealed: bytes, place: SealedPlace) -> bytes:
        """Open a value in its place. Raises SealBrokenError, which tells nothing about the content."""
        if len(sealed) < _HEADER_BYTES + NONCE_BYTES + TAG_BYTES or sealed[:1] != VERSION:
            message = f"the value in {place.table}.{place.column} is not a sealed value"
            raise SealBrokenError(message)
        key_id = sealed[1:_HEADER_BYTES]
        key = next((key for key in self._keys if key.key_id == key_id), None)
        if key is None:
            message = (
                f"the value in {place.table}.{place.column} is sealed under the unknown key {key_id.hex()}"
            )
            raise SealBrokenError(message)
        nonce = sealed[_HEADER_BYTES : _HEADER_BYTES + NONCE_BYTES]
        try:
            return key.cipher.decrypt(nonce, sealed[_HEADER_BYTES + NONCE_BYTES :], _bound_to(place, key_id))
        except InvalidTag:
            message = f"the value in {place.table}.{place.column} was changed or moved"
            raise SealBrokenError(message) from None

    def reseal(self, sealed: bytes, place: SealedPlace) -> bytes | None:
        """Seal a value again under the current key, or return None when it already is.

        Raises SealBrokenError when it does not open.
        """
        if sealed[:_HEADER_BYTES] == self.current_header:
            return None
        return self.seal(self.open(sealed, place), place)

    def derive(self, purpose: str) -> bytes:
        """Return 32 bytes for another use of the current key, independent for every purpose (RFC 5869)."""
        return _derived(self._keys[0].master, purpose)

    def derive_all(self, purpose: str) -> tuple[bytes, ...]:
        """Return the derived bytes of every active key: sign with the first, accept all of them."""
        return tuple(_derived(key.master, purpose) for key in self._keys)


def parse_sealing_keys(setting: str) -> tuple[bytes, ...]:
    """Read the setting's one or two keys of 32 bytes in base64 or hex, the current one first.

    Raises SealingKeyError with a sentence for the operator.
    """
    texts = [text.strip() for text in setting.split(",")]
    if texts == [""]:
        message = f"the sealing key is empty; {_HOW_TO_MAKE}"
        raise SealingKeyError(message)
    if len(texts) > KEYS_MAX:
        message = (
            f"the sealing key setting holds {len(texts)} keys; it takes the current one and the previous one"
        )
        raise SealingKeyError(message)
    keys = tuple(_decoded(text) for text in texts)
    if len(set(keys)) != len(keys):
        message = "the sealing key setting holds the same key twice"
        raise SealingKeyError(message)
    return keys


def _decoded(text: str) -> bytes:
    if _HEX_KEY.fullmatch(text):
        return bytes.fromhex(text)
    try:
        # Both alphabets of RFC 4648 are taken, with and without padding: tools differ in what they print.
        key = b64decode(
            text.translate(_URL_SAFE).rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True
        )
    except ValueError:
        message = f"a sealing key must be base64 or hex; {_HOW_TO_MAKE}"
        raise SealingKeyError(message) from None
    if len(key) != KEY_BYTES:
        message = f"a sealing key must be {KEY_BYTES} bytes, not {len(key)}; {_HOW_TO_MAKE}"
        raise SealingKeyError(message)
    return key


def _key(master: bytes) -> _Key:
    # The key id is derived too: it names the key, and says nothing of it.
    return _Key(
        _derived(master, "sealing key id")[:KEY_ID_BYTES], AESGCM(_derived(master, "sealing")), master
    )


def _derived(master: bytes, purpose: str) -> bytes:
    info = _PURPOSE_PREFIX + purpose.encode()
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(master)


def _bound_to(place: SealedPlace, key_id: bytes) -> bytes:
    if any("|" in part for part in place):
        message = "the names of a sealed place must not contain |, which separates them"
        raise ValueError(message)
    return "|".join((*place, key_id.hex())).encode()
