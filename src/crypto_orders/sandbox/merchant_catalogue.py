"""The merchant endpoints that are not about one payment: status, token, coins, rates, floors, balance."""

import re
from decimal import Decimal
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from crypto_orders.sandbox import coins
from crypto_orders.sandbox import payment as payments
from crypto_orders.sandbox.access import engine_of, keyed, make_token
from crypto_orders.sandbox.addresses import MEMO_PATTERN
from crypto_orders.sandbox.coins import COINS, FIAT_USD, Coin
from crypto_orders.sandbox.fields import Fields, body_fields, query_fields, required
from crypto_orders.sandbox.wire import (
    json_response,
    number,
    number_text,
    refuse,
    refuse_invalid,
    refuse_unknown,
)

_FIXED_RATE_MAX_USD: Final = Decimal(100_000)
_LISTED_SINCE: Final = "2022-04-12T12:08:00.000Z"


async def status(request: Request) -> Response:  # noqa: ARG001 - the framework's signature.
    """Say that the API is up, to anyone."""
    return json_response({"message": "OK"})


async def auth(request: Request) -> Response:
    """Give a token for the account's e-mail and password, both compared with case."""
    fields = await body_fields(request)
    email, password = required(fields.text("email"), "email"), required(fields.text("password"), "password")
    engine = engine_of(request)
    if (email, password) != (engine.config.email, engine.config.password):
        refuse(401, "AUTH_REQUIRED", "Invalid email or password")
    return json_response({"token": make_token(engine.token_key)})


async def currencies(request: Request) -> Response:
    """List the codes of all coins, or, for fixed rates, their least and greatest amounts."""
    if query_fields(request).flag("fixed_rate") and engine_of(request).config.fixed_rate_as_objects:
        return json_response({"currencies": [_fixed_rate_window(coin) for coin in COINS.values()]})
    return json_response({"currencies": list(COINS)})


async def currency(request: Request) -> Response:
    """Tell of one coin."""
    coin = COINS.get(request.path_params["code"].lower())
    if coin is None:
        refuse_unknown("Currency not found")
    return json_response(_described(coin))


async def full_currencies(request: Request) -> Response:  # noqa: ARG001 - the framework's signature.
    """Tell of all coins."""
    return json_response({"currencies": [_described(coin) for coin in COINS.values()]})


async def merchant_coins(request: Request) -> Response:  # noqa: ARG001 - the framework's signature.
    """List the coins the merchant takes, under the live and the documented name."""
    codes = [coin.code.upper() for coin in COINS.values() if coin.payable]
    return json_response({"selectedCurrencies": codes, "currencies": codes})


async def estimate(request: Request) -> Response:
    """Convert an amount at the present rate."""
    fields = query_fields(request)
    amount = required(fields.amount("amount"), "amount")
    source, target = _known(fields, "currency_from"), _known(fields, "currency_to")
    estimated = coins.convert(amount, source, target)
    as_text = engine_of(request).config.estimate_as_text
    return json_response(
        {
            "currency_from": source,
            "amount_from": number(amount),
            "currency_to": target,
            "estimated_amount": number_text(estimated) if as_text else number(estimated),
        }
    )


async def min_amount(request: Request) -> Response:
    """Tell the least amount of a pair."""
    fields = query_fields(request)
    source = _known(fields, "currency_from")
    target = source if fields.text("currency_to") is None else _known(fields, "currency_to")
    least = coins.minimum(
        source,
        target,
        fixed_rate=bool(fields.flag("is_fixed_rate")),
        fee_paid_by_user=bool(fields.flag("is_fee_paid_by_user")),
    )
    body: dict[str, object] = {"currency_from": source, "currency_to": target, "min_amount": number(least)}
    if fields.text("fiat_equivalent") is not None:
        body["fiat_equivalent"] = number(coins.convert(least, source, _known(fields, "fiat_equivalent")))
    return json_response(body)


async def balance(request: Request) -> Response:
    """Add up what the merchant netted, by coin."""
    totals: dict[str, Decimal] = {"eth": payments.ZERO}
    for payment in engine_of(request).ledger.settled():
        coin = payment.outcome_currency
        totals[coin] = totals.get(coin, payments.ZERO) + payments.outcome(payment)
    return json_response(
        {coin: {"amount": number(total), "pendingAmount": 0} for coin, total in sorted(totals.items())}
    )


async def validate_address(request: Request) -> Response:
    """Check the form of a payout address; the answer is the bare word OK."""
    fields = await body_fields(request)
    address = required(fields.text("address"), "address")
    code = required(fields.code("currency"), "currency")
    extra_id = fields.text("extra_id")
    if not is_address_of(code, address, extra_id):
        refuse(400, "BAD_CREATE_WITHDRAWAL_REQUEST", f"Invalid payout_address: [{code}] {address}")
    return PlainTextResponse("OK")


def is_address_of(code: str, address: str, extra_id: str | None) -> bool:
    """Whether an address, and its memo if it has one, have the form of a coin's."""
    coin = COINS.get(code)
    if coin is None or re.fullmatch(coin.shape.pattern, address, re.ASCII) is None:
        return False
    return extra_id is None or (coin.has_memo and re.fullmatch(MEMO_PATTERN, extra_id, re.ASCII) is not None)


def _known(fields: Fields, name: str) -> str:
    code = required(fields.code(name), name)
    if not coins.is_known(code):
        refuse_invalid(f"Currency {code} was not found")
    return code


def _fixed_rate_window(coin: Coin) -> dict[str, object]:
    return {
        "currency": coin.code,
        "min_amount": number(coins.minimum(coin.code, coin.code, fixed_rate=True)),
        "max_amount": number(coins.convert(_FIXED_RATE_MAX_USD, "usd", coin.code)),
    }


def _described(coin: Coin) -> dict[str, object]:
    return {
        "id": coin.number,
        "code": coin.code.upper(),
        "name": coin.name,
        "enable": True,
        "wallet_regex": coin.shape.pattern,
        "priority": coin.number,
        "extra_id_exists": coin.has_memo,
        "extra_id_regex": MEMO_PATTERN if coin.has_memo else None,
        "logo_url": f"/images/coins/{coin.code}.svg",
        "track": True,
        "cg_id": coin.ticker,
        "is_maxlimit": False,
        "network": coin.network,
        "smart_contract": coin.contract,
        "network_precision": str(coin.decimals),
        "explorer_link_hash": None,
        "precision": coin.decimals,
        "ticker": coin.ticker,
        "is_defi": False,
        "is_popular": coin.code in {"btc", "eth", "usdttrc20"},
        "is_stable": coin.usd == FIAT_USD["usd"],
        "available_for_to_conversion": coin.payable,
        "trust_wallet_id": None,
        "created_at": _LISTED_SINCE,
        "updated_at": _LISTED_SINCE,
        "available_for_payment": coin.payable,
        "available_for_payout": coin.payable,
        "extra_id_optional": False,
    }


ROUTES: Final = (
    Route("/v1/status", status),
    Route("/v1/auth", auth, methods=["POST"]),
    Route("/v1/currencies", keyed(currencies)),
    Route("/v1/currencies/{code}", keyed(currency)),
    Route("/v1/full-currencies", keyed(full_currencies)),
    Route("/v1/merchant/coins", keyed(merchant_coins)),
    Route("/v1/estimate", keyed(estimate)),
    Route("/v1/min-amount", keyed(min_amount)),
    Route("/v1/balance", keyed(balance)),
    Route("/v1/payout/validate-address", keyed(validate_address), methods=["POST"]),
)
