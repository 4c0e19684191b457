"""The text that a wallet reads from a QR code: a payment URI, or else the bare address."""

from decimal import Decimal
from typing import Final
from urllib.parse import quote

import segno

AMOUNT_SCHEMES: Final = {
    "btc": "bitcoin",  # BIP 21
    "ltc": "litecoin",
    "doge": "dogecoin",
    "bch": "bitcoincash",
    "dash": "dash",
    "dgb": "digibyte",
    "zec": "zcash",  # ZIP 321
    "sol": "solana",  # Solana Pay
}
"""Schemes that take `?amount=` in whole coins, by the code of the coin."""

MONERO_SCHEME: Final = "monero"
ETHEREUM_SCHEME: Final = "ethereum"
ETHEREUM_CHAIN_ID: Final = 1
WEI_DIGITS: Final = 18

QR_ERROR_LEVEL: Final = "m"
"""15 % of a code may be unreadable: enough for a scratched or glaring screen, and still coarse."""

QR_QUIET_MODULES: Final = 4
"""The blank frame that ISO/IEC 18004 asks for."""


def payment_uri(code: str, address: str, amount: Decimal | None) -> str | None:
    """The URI of a payment in a coin's own form; None where wallets agree on none.

    Tokens have none: a wallet that overlooks the token would send the network's own coin. Neither have coins
    with a memo, which such a URI would lose.
    """
    if amount is None:
        return None
    text = _plain(amount)
    if code in AMOUNT_SCHEMES:
        scheme = AMOUNT_SCHEMES[code]
        return f"{scheme}:{quote(address.removeprefix(scheme + ':'), safe='')}?amount={text}"
    if code == "xmr":
        return f"{MONERO_SCHEME}:{quote(address, safe='')}?tx_amount={text}"
    if code == "eth":
        wei = amount.scaleb(WEI_DIGITS)
        if wei == wei.to_integral_value():
            # EIP-681: the chain is named, so that no wallet pays on another one.
            return f"{ETHEREUM_SCHEME}:{quote(address, safe='')}@{ETHEREUM_CHAIN_ID}?value={wei:f}".split(
                "."
            )[0]
    return None


def qr_svg(text: str) -> str:
    """A QR code as an SVG without styles of its own, dark on light whatever the page's theme."""
    code = segno.make(text, error=QR_ERROR_LEVEL, micro=False)
    return code.svg_inline(
        border=QR_QUIET_MODULES, dark="#000", light="#fff", svgclass=None, lineclass=None, omitsize=True
    )


def _plain(amount: Decimal) -> str:
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
