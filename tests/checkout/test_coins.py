"""Coins in words, and the texts of QR codes."""

import re
from decimal import Decimal

import pytest

from crypto_orders.checkout.coins import POPULAR, Coin, coin_of, matching, offered
from crypto_orders.checkout.payment_uri import payment_uri, qr_svg
from crypto_orders.sandbox.coins import COINS

EVM = "0x52908400098527886E0F7030069857D2E4169EE7"


@pytest.mark.parametrize(
    ("code", "network", "title", "shown"),
    [
        ("btc", None, "Bitcoin (BTC)", "Bitcoin"),
        ("BTC", "btc", "Bitcoin (BTC)", "Bitcoin"),
        ("usdttrc20", None, "Tether USD (USDT)", "Tron (TRC-20)"),
        ("usdterc20", "eth", "Tether USD (USDT)", "Ethereum (ERC-20)"),
        ("usdtbsc", "bsc", "Tether USD (USDT)", "BNB Smart Chain (BEP-20)"),
        ("usdc", None, "USD Coin (USDC)", "Ethereum (ERC-20)"),
        ("usdcsol", None, "USD Coin (USDC)", "Solana"),
        ("bnbbsc", None, "BNB", "BNB Smart Chain (BEP-20)"),
        ("maticmainnet", None, "Polygon (MATIC)", "Polygon"),
        ("etharb", None, "Ethereum (ETH)", "Arbitrum One"),
        ("eth", "eth", "Ethereum (ETH)", "Ethereum"),
        ("sol", None, "Solana (SOL)", "Solana"),
        ("newcoin", None, "NEWCOIN", ""),
        ("newcoin", "newnet", "NEWCOIN", "NEWNET"),
        ("usdtx", None, "USDTX", ""),
    ],
)
def test_a_code_reads_as_a_coin_and_its_network(
    code: str, network: str | None, title: str, shown: str
) -> None:
    coin = coin_of(code, network)
    assert (coin.title, coin.network) == (title, shown)


def test_popular_coins_come_first_and_refused_ones_not_at_all() -> None:
    codes = [coin.code for coin in offered(COINS, frozenset({"eth"}))]
    assert codes[:3] == ["btc", "usdttrc20", "usdterc20"]
    assert "eth" not in codes
    assert len(codes) == len(COINS) - 1
    assert set(POPULAR) - {"eth"} <= set(codes)


def test_no_two_coins_of_the_sandbox_read_the_same() -> None:
    shown = [(coin.title, coin.network) for coin in offered(COINS, frozenset())]
    assert len(set(shown)) == len(shown)


def test_every_word_of_a_search_has_to_match() -> None:
    coins = [Coin("btc", "BTC", "Bitcoin", "Bitcoin"), Coin("bch", "BCH", "Bitcoin Cash", "Bitcoin Cash")]
    assert [c.code for c in matching(coins, "bitcoin")] == ["btc", "bch"]
    assert [c.code for c in matching(coins, "CASH bit")] == ["bch"]
    assert matching(coins, "bitcoin tron") == []


@pytest.mark.parametrize(
    ("code", "address", "amount", "uri"),
    [
        ("btc", "bc1qxy", "0.00131667", "bitcoin:bc1qxy?amount=0.00131667"),
        ("btc", "bc1qxy", "1E-7", "bitcoin:bc1qxy?amount=0.0000001"),
        ("btc", "bc1qxy", "12.5000", "bitcoin:bc1qxy?amount=12.5"),
        ("bch", "bitcoincash:qpm2q", "1", "bitcoincash:qpm2q?amount=1"),
        ("bch", "qpm2q", "1", "bitcoincash:qpm2q?amount=1"),
        ("xmr", "8abc", "0.5", "monero:8abc?tx_amount=0.5"),
        ("eth", EVM, "0.0316", f"ethereum:{EVM}@1?value=31600000000000000"),
        ("eth", EVM, "100", f"ethereum:{EVM}@1?value=100000000000000000000"),
        ("eth", EVM, "0.0000000000000000001", None),
        ("usdterc20", EVM, "79", None),
        ("bnbbsc", EVM, "1", None),
        ("xrp", "rabc", "158", None),
        ("btc", "1?amount=9&x=", "1", "bitcoin:1%3Famount%3D9%26x%3D?amount=1"),
    ],
)
def test_a_payment_uri_is_exact_or_there_is_none(
    code: str, address: str, amount: str, uri: str | None
) -> None:
    assert payment_uri(code, address, Decimal(amount)) == uri


def test_a_qr_code_carries_no_style_and_no_script() -> None:
    svg = qr_svg("bitcoin:bc1qxy?amount=0.00131667&label=<script>")
    assert svg.startswith("<svg viewBox=")
    assert re.findall(r"\b(?:style|class|on\w+|href)=", svg) == []
    assert set(re.findall(r"<(\w+)", svg)) == {"svg", "path"}
