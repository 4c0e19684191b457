"""The coins the sandbox knows, with fixed rates, floors and addresses of a plausible shape."""

from collections.abc import Mapping
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Final

import msgspec

from crypto_orders.sandbox.addresses import Shape

_FIAT_DECIMALS = 2
SERVICE_FEE_RATE: Final = Decimal("0.005")
"""The provider's share of a payment."""
_NETWORK_FEE_USD: Final = Decimal("0.01")
_FIXED_RATE_FLOOR_FACTOR: Final = Decimal("1.2")


class Coin(msgspec.Struct, frozen=True, kw_only=True):
    """One coin on one network, as ``GET /v1/full-currencies`` tells of it."""

    number: int
    code: str
    """Lower case, coin and network glued (``usdttrc20``)."""
    name: str
    ticker: str
    network: str
    usd: Decimal
    """Dollars for one coin; fixed for ever, so that a test knows what to expect."""
    floor_usd: Decimal
    """The least value worth sending on this network, in dollars."""
    shape: Shape
    decimals: int = 8
    contract: str | None = None
    payable: bool = True
    """False: listed, but switched off for payments."""

    @property
    def has_memo(self) -> bool:
        """Whether deposits are told apart by a memo or tag instead of by the address."""
        return self.shape.memo_digits > 0


def _table() -> dict[str, Coin]:
    rows = (
        ("btc", "Bitcoin", "btc", "btc", "60000", "2", Shape.BITCOIN, 8, None),
        ("eth", "Ethereum", "eth", "eth", "2500", "2", Shape.EVM, 8, None),
        ("ltc", "Litecoin", "ltc", "ltc", "80", "0.5", Shape.LITECOIN, 8, None),
        ("xrp", "Ripple", "xrp", "xrp", "0.5", "1", Shape.RIPPLE, 6, None),
        ("xlm", "Stellar", "xlm", "xlm", "0.1", "1", Shape.STELLAR, 7, None),
        ("trx", "Tron", "trx", "trx", "0.125", "1", Shape.TRON, 6, None),
        ("sol", "Solana", "sol", "sol", "150", "1", Shape.SOLANA, 8, None),
        ("usdttrc20", "Tether USD (Tron)", "usdt", "trx", "1", "3", Shape.TRON, 6, _USDT_TRC20),
        ("usdterc20", "Tether USD (Ethereum)", "usdt", "eth", "1", "4", Shape.EVM, 6, _USDT_ERC20),
        ("usdtbsc", "Tether USD (Binance Smart Chain)", "usdt", "bsc", "1", "1", Shape.EVM, 8, _USDT_BSC),
        ("usdtmatic", "Tether USD (Polygon)", "usdt", "matic", "1", "1", Shape.EVM, 6, _USDT_MATIC),
        ("usdtsol", "Tether USD (Solana)", "usdt", "sol", "1", "1", Shape.SOLANA, 6, _USDT_SOL),
        ("usdc", "USD Coin (Ethereum)", "usdc", "eth", "1", "4", Shape.EVM, 6, _USDC_ERC20),
        ("usdcbsc", "USD Coin (Binance Smart Chain)", "usdc", "bsc", "1", "1", Shape.EVM, 8, _USDC_BSC),
        ("usdcsol", "USD Coin (Solana)", "usdc", "sol", "1", "1", Shape.SOLANA, 6, _USDC_SOL),
        ("bnbbsc", "Binance Coin (Binance Smart Chain)", "bnb", "bsc", "600", "1", Shape.EVM, 8, None),
        ("maticmainnet", "Polygon", "matic", "matic", "0.4", "1", Shape.EVM, 8, None),
        ("doge", "Dogecoin", "doge", "doge", "0.1", "1", Shape.DOGECOIN, 8, None),
        ("xmr", "Monero", "xmr", "xmr", "160", "1", Shape.MONERO, 8, None),
        ("bch", "Bitcoin Cash", "bch", "bch", "400", "1", Shape.BITCOIN_CASH, 8, None),
        ("dash", "Dash", "dash", "dash", "25", "1", Shape.DASH, 8, None),
        ("zec", "Zcash", "zec", "zec", "40", "1", Shape.ZCASH, 8, None),
        ("ada", "Cardano", "ada", "ada", "0.4", "2", Shape.CARDANO, 6, None),
        ("ton", "Toncoin", "ton", "ton", "5", "1", Shape.TON, 8, None),
        ("dai", "Dai", "dai", "eth", "1", "4", Shape.EVM, 8, _DAI_ERC20),
        ("shib", "Shiba Inu", "shib", "eth", "0.00002", "4", Shape.EVM, 2, _SHIB_ERC20),
    )
    coins = [
        Coin(
            number=100 + position, code=code, name=name, ticker=ticker, network=network, usd=Decimal(usd),
            floor_usd=Decimal(floor), shape=shape, decimals=decimals, contract=contract,
        )
        for position, (code, name, ticker, network, usd, floor, shape, decimals, contract) in enumerate(rows)
    ]  # fmt: skip
    coins.append(_SWITCHED_OFF)
    return {coin.code: coin for coin in coins}


_USDT_TRC20 = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"
_USDT_ERC20 = "0xdac17f958d2ee523a2206206994597c13d831ec7"
_USDT_BSC = "0x55d398326f99059ff775485246999027b3197955"
_USDT_MATIC = "0xc2132d05d31c914a87c6611c10748aeb04b58e8f"
_USDT_SOL = "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB"
_USDC_ERC20 = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
_USDC_BSC = "0x8ac76a51cc950d9822d68b83fe1ad97b32cd580d"
_USDC_SOL = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
_DAI_ERC20 = "0x6b175474e89094c44da98b954eedeac495271d0f"
_SHIB_ERC20 = "0x95ad61b0a150d79219dcf64e1e6cc01f0b64c4ce"

# A coin that the list of currencies names and that a payment is nevertheless refused for, as happens live.
_SWITCHED_OFF = Coin(
    number=199, code="dgb", name="DigiByte", ticker="dgb", network="dgb", usd=Decimal("0.01"),
    floor_usd=Decimal(1), shape=Shape.DIGIBYTE, payable=False,
)  # fmt: skip

COINS: Final[Mapping[str, Coin]] = _table()
"""Every coin by its lower-case code."""

FIAT_USD: Final[Mapping[str, Decimal]] = {
    "usd": Decimal(1),
    "eur": Decimal("1.08"),
    "cad": Decimal("0.73"),
    "gbp": Decimal("1.27"),
    "aud": Decimal("0.66"),
    "ils": Decimal("0.27"),
    "ron": Decimal("0.22"),
}
"""Dollars for one unit of each fiat currency the provider prices in."""


def is_known(code: str) -> bool:
    """Whether a lower-case code names a coin or a fiat currency."""
    return code in COINS or code in FIAT_USD


def usd_of(code: str) -> Decimal:
    """Dollars for one unit of a known currency; KeyError for others."""
    coin = COINS.get(code)
    return FIAT_USD[code] if coin is None else coin.usd


def decimals_of(code: str) -> int:
    """How many decimals amounts of a known currency are written with."""
    coin = COINS.get(code)
    return _FIAT_DECIMALS if coin is None else coin.decimals


def convert(amount: Decimal, source: str, target: str, *, rounding: str = ROUND_UP) -> Decimal:
    """An amount of one known currency in another, rounded to the decimals of the target."""
    exact = amount * usd_of(source) / usd_of(target)
    return round_to(exact, target, rounding=rounding)


def round_to(amount: Decimal, code: str, *, rounding: str = ROUND_UP) -> Decimal:
    """The amount in the decimals of a known currency."""
    return amount.quantize(Decimal(1).scaleb(-decimals_of(code)), rounding=rounding)


def network_fee(code: str) -> Decimal:
    """What moving a deposit costs, in the given coin; tiny for dear coins (0.00000017 btc)."""
    return convert(_NETWORK_FEE_USD, "usd", code)


def service_fee(amount: Decimal, code: str) -> Decimal:
    """The provider's share of an amount of a coin."""
    return round_to(amount * SERVICE_FEE_RATE, code, rounding=ROUND_DOWN)


def minimum(source: str, target: str, *, fixed_rate: bool = False, fee_paid_by_user: bool = False) -> Decimal:
    """The least amount of ``source`` that can be paid when the merchant gets ``target``.

    The floor of a pair is the dearer of its networks; a fixed rate and a fee on top raise it, as at the
    provider, where each changes the figure.
    """
    floor_usd = max(
        (coin.floor_usd for code in (source, target) if (coin := COINS.get(code))), default=Decimal(1)
    )
    if fixed_rate or fee_paid_by_user:
        floor_usd *= _FIXED_RATE_FLOOR_FACTOR
    if fee_paid_by_user:
        floor_usd *= 1 + SERVICE_FEE_RATE
    return convert(floor_usd, "usd", source)
