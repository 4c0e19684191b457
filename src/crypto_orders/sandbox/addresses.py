"""Addresses that look like those of each chain, with true checksums where those are a hash or a CRC."""

import base64
import hashlib
import secrets
from collections.abc import Callable
from enum import Enum
from typing import Final

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_RIPPLE: Final = "rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz"
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BASE64_URL: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

_STELLAR_ACCOUNT: Final = b"\x30"  # Version byte 6 << 3: the text begins with G.
_CRC16_XMODEM: Final = 0x1021


def _base58(raw: bytes, alphabet: str = _BASE58) -> str:
    number = int.from_bytes(raw, "big")
    digits: list[str] = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(alphabet[digit])
    zeros = len(raw) - len(raw.lstrip(b"\0"))
    return alphabet[0] * zeros + "".join(reversed(digits))


def _base58_check(version: bytes, alphabet: str = _BASE58) -> str:
    payload = version + secrets.token_bytes(20)
    checksum = hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    return _base58(payload + checksum, alphabet)


def _letters(prefix: str, alphabet: str, count: int) -> str:
    return prefix + "".join(alphabet[byte % len(alphabet)] for byte in secrets.token_bytes(count))


def _stellar() -> str:
    payload = _STELLAR_ACCOUNT + secrets.token_bytes(32)
    crc = 0
    for byte in payload:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ _CRC16_XMODEM if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return base64.b32encode(payload + crc.to_bytes(2, "little")).decode("ascii")


def _solana() -> str:
    return _base58(secrets.token_bytes(32))


class Shape(Enum):
    """A family of addresses: how to make one, what it matches, and whether deposits carry a memo."""

    BITCOIN = (
        lambda: _base58_check(b"\x05"),
        r"^([13]{1}[a-km-zA-HJ-NP-Z1-9]{26,33}|bc1[a-z0-9]{39,59})$",
        0,
    )
    LITECOIN = (lambda: _base58_check(b"\x30"), r"^(L|M|3)[A-Za-z0-9]{33}$|^(ltc1)[0-9A-Za-z]{39}$", 0)
    DOGECOIN = (lambda: _base58_check(b"\x1e"), r"^(D|A|9)[a-km-zA-HJ-NP-Z1-9]{33,34}$", 0)
    DASH = (lambda: _base58_check(b"\x4c"), r"^[X|7][0-9A-Za-z]{33}$", 0)
    DIGIBYTE = (lambda: _base58_check(b"\x1e"), r"^[DS][a-km-zA-HJ-NP-Z1-9]{33}$", 0)
    ZCASH = (lambda: _base58_check(b"\x1c\xb8"), r"^(t)[A-Za-z0-9]{34}$", 0)
    BITCOIN_CASH = (
        lambda: _letters("q", _BECH32, 41),
        r"^[13][a-km-zA-HJ-NP-Z1-9]{33}$|^((q|p)[0-9A-Za-z]{41})$",
        0,
    )
    TRON = (lambda: _base58_check(b"\x41"), r"^T[1-9A-HJ-NP-Za-km-z]{33}$", 0)
    EVM = (lambda: "0x" + secrets.token_hex(20), r"^(0x)[0-9A-Fa-f]{40}$", 0)
    SOLANA = (_solana, r"^[1-9A-HJ-NP-Za-km-z]{32,44}$", 0)
    RIPPLE = (lambda: _base58_check(b"\0", _BASE58_RIPPLE), r"^r[1-9A-HJ-NP-Za-km-z]{25,34}$", 9)
    STELLAR = (_stellar, r"^G[A-D]{1}[A-Z2-7]{54}$", 10)
    MONERO = (lambda: _letters("8", _BASE58, 94), r"^[48][0-9A-Za-z]{94}([0-9A-Za-z]{11})?$", 0)
    CARDANO = (lambda: _letters("addr1v", _BECH32, 52), r"^(addr1)[0-9A-Za-z]{53,98}$", 0)
    TON = (lambda: _letters("UQ", _BASE64_URL, 46), r"^[EU]Q[A-Za-z0-9_-]{46}$", 0)

    def __init__(self, make: Callable[[], str], pattern: str, memo_digits: int) -> None:
        self.make = make
        """Draw a new address."""
        self.pattern = pattern
        """The regular expression the provider publishes for such addresses."""
        self.memo_digits = memo_digits
        """How long the memo of a deposit is; 0 for chains without one."""


MEMO_PATTERN: Final = r"^[0-9]{1,19}$"
"""The regular expression of memos and tags, where a coin has them."""


def draw_memo(shape: Shape) -> str | None:
    """A new memo that tells one deposit from another; None where the chain has none."""
    if not shape.memo_digits:
        return None
    lowest = 10 ** (shape.memo_digits - 1)
    return str(lowest + secrets.randbelow(9 * lowest))
