"""Coins as payers read them: a name, the ticker and the network, from the provider's codes that glue them."""

from collections.abc import Iterable
from typing import Final, NamedTuple

POPULAR: Final = (
    "btc",
    "eth",
    "usdttrc20",
    "usdterc20",
    "usdc",
    "ltc",
    "sol",
    "bnbbsc",
    "trx",
    "xrp",
    "doge",
    "xmr",
)
"""What most payers choose, in that order; they are offered first."""

NETWORKS: Final = {
    "ada": "Cardano",
    "algo": "Algorand",
    "arb": "Arbitrum One",
    "arbitrum": "Arbitrum One",
    "avax": "Avalanche",
    "avaxc": "Avalanche C-Chain",
    "base": "Base",
    "bch": "Bitcoin Cash",
    "bsc": "BNB Smart Chain (BEP-20)",
    "btc": "Bitcoin",
    "celo": "Celo",
    "dash": "Dash",
    "dgb": "DigiByte",
    "doge": "Dogecoin",
    "dot": "Polkadot",
    "eos": "EOS",
    "eth": "Ethereum",
    "ltc": "Litecoin",
    "matic": "Polygon",
    "near": "NEAR",
    "op": "Optimism",
    "sol": "Solana",
    "ton": "TON",
    "trx": "Tron",
    "xlm": "Stellar",
    "xmr": "Monero",
    "xrp": "XRP Ledger",
    "xtz": "Tezos",
    "zec": "Zcash",
}
"""Networks by the codes that the provider's payments and coins name them with."""

TOKEN_NETWORKS: Final = {
    "eth": "Ethereum (ERC-20)",
    "trx": "Tron (TRC-20)",
    "bsc": "BNB Smart Chain (BEP-20)",
}
"""Networks whose tokens go by a standard that wallets show instead of the network's name."""

NAMES: Final = {
    "ada": "Cardano",
    "algo": "Algorand",
    "avax": "Avalanche",
    "bch": "Bitcoin Cash",
    "bnb": "BNB",
    "btc": "Bitcoin",
    "busd": "Binance USD",
    "dai": "Dai",
    "dash": "Dash",
    "dgb": "DigiByte",
    "doge": "Dogecoin",
    "dot": "Polkadot",
    "eos": "EOS",
    "etc": "Ethereum Classic",
    "eth": "Ethereum",
    "link": "Chainlink",
    "ltc": "Litecoin",
    "matic": "Polygon",
    "near": "NEAR",
    "pepe": "Pepe",
    "shib": "Shiba Inu",
    "sol": "Solana",
    "ton": "Toncoin",
    "trx": "Tron",
    "tusd": "TrueUSD",
    "uni": "Uniswap",
    "usdc": "USD Coin",
    "usdd": "USDD",
    "usdt": "Tether USD",
    "xlm": "Stellar",
    "xmr": "Monero",
    "xrp": "XRP",
    "xtz": "Tezos",
    "zec": "Zcash",
}
"""Names of coins by their tickers."""

_TOKENS: Final = frozenset(
    {
        "bnb",
        "btc",
        "busd",
        "dai",
        "eth",
        "link",
        "matic",
        "pepe",
        "shib",
        "tusd",
        "uni",
        "usdc",
        "usdd",
        "usdt",
    }
)
"""Tickers that exist on several networks: only behind one of them is the rest of a code a network."""

_SUFFIXES: Final = {
    "algo": "algo",
    "arb": "arb",
    "arbitrum": "arb",
    "arc20": "avaxc",
    "avaxc": "avaxc",
    "base": "base",
    "bep20": "bsc",
    "bsc": "bsc",
    "celo": "celo",
    "erc20": "eth",
    "mainnet": "",
    "matic": "matic",
    "near": "near",
    "op": "op",
    "sol": "sol",
    "ton": "ton",
    "trc20": "trx",
    "xtz": "xtz",
}
"""What a code ends with and the network that is; `mainnet` is the ticker's own."""

_ETHEREUM_TOKENS: Final = frozenset(
    {"busd", "dai", "link", "pepe", "shib", "tusd", "uni", "usdc", "usdd", "usdt"}
)
"""Tokens whose bare ticker means their first home."""

SHOWN_MAX: Final = 60
"""So many coins are readable on a phone; more are found by searching."""


class Coin(NamedTuple):
    """A coin on a network. `network` is empty where nothing is known of it."""

    code: str
    ticker: str
    name: str
    network: str

    @property
    def title(self) -> str:
        """The name with the ticker, as `Bitcoin (BTC)`; a ticker without a name stands alone."""
        return self.ticker if self.name == self.ticker else f"{self.name} ({self.ticker})"


def coin_of(code: str, network: str | None = None) -> Coin:
    """The coin that a code of the provider means; `network` is what a payment names beside it."""
    code = code.lower()
    ticker, glued = _split(code)
    network_code = (network or "").lower() or glued
    is_token = ticker in _ETHEREUM_TOKENS or (ticker in _TOKENS and ticker != network_code)
    named = TOKEN_NETWORKS.get(network_code) if is_token else None
    shown = named or NETWORKS.get(network_code) or network_code.upper()
    return Coin(code, ticker.upper(), NAMES.get(ticker, ticker.upper()), shown)


def _split(code: str) -> tuple[str, str]:
    """The ticker and the network's code; a code of one part is a coin on its own network, if it has one."""
    for token in _TOKENS:
        network = _SUFFIXES.get(code.removeprefix(token)) if code.startswith(token) else None
        if network is not None:
            return token, network or token
    if code in _ETHEREUM_TOKENS:
        return code, "eth"
    return code, code if code in NETWORKS else ""


def offered(codes: Iterable[str], without: frozenset[str]) -> list[Coin]:
    """The coins to choose from: popular ones first, then all others by name."""
    coins = [coin_of(code) for code in codes if code not in without]
    rank = {code: position for position, code in enumerate(POPULAR)}
    return sorted(coins, key=lambda c: (rank.get(c.code, len(POPULAR)), c.name.lower(), c.network, c.code))


def matching(coins: Iterable[Coin], words: str) -> list[Coin]:
    """The coins that hold every word of a search in their code, ticker, name or network."""
    wanted = words.lower().split()
    return [c for c in coins if all(w in f"{c.code} {c.ticker} {c.name} {c.network}".lower() for w in wanted)]
