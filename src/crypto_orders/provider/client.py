"""The NOWPayments client: calls with a deadline each, outcomes as values, a circuit that spares both sides.

A create call is never repeated here: the provider knows no idempotency, so a second one may make a second
payment. Reads are repeated within their deadline.
"""

import asyncio
import random
import re
import ssl
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from http import HTTPStatus
from typing import Self, TypeVar

import msgspec

from crypto_orders.domain.ipn_signature import UnreadableJsonError
from crypto_orders.provider import reading
from crypto_orders.provider.circuit import Circuit
from crypto_orders.provider.coins import CoinList
from crypto_orders.provider.outcomes import (
    CIRCUIT_OPEN,
    Available,
    Call,
    CreateOutcome,
    CreatePayment,
    Currencies,
    Estimated,
    Minimum,
    NoAnswer,
    NotFound,
    Outcome,
    PaymentAnswer,
    Refused,
)
from crypto_orders.provider.transport import Failure, Reply, Transport

CREATE_DEADLINE_SECONDS = 8.0
READ_DEADLINE_SECONDS = 10.0
COINS_DEADLINE_SECONDS = 2.0
"""A checkout waits for the first list of coins, and goes on without it."""

READ_PAUSES_SECONDS = (0.2, 0.6)
"""What a read waits before each of its repeats, give or take half of it."""

_PAYMENT_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_COIN_FORM = re.compile(r"[a-z0-9]{2,32}")
_KEY_FORM = re.compile(r"[\x21-\x7e]*")
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
_encode = msgspec.json.Encoder(decimal_format="number").encode

_Read = TypeVar("_Read", bound=Outcome)


def _ignore(_: Call) -> None:
    """Let a call go unobserved."""


class ProviderClient:
    """Asks the provider, as an asynchronous context; none of its calls raises for what the provider does.

    Every deadline is the whole call's, on the wall clock. ``observe`` hears of each call when it has ended.
    The circuit and the list of coins are this process's own.
    """

    def __init__(  # The last two are there for tests and private authorities.
        self,
        base_url: str,
        api_key: str,
        *,
        observe: Callable[[Call], None] = _ignore,
        user_agent: str = "crypto-orders/1.0",
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the API's address, with or without its ``/v1``, and our key.

        Raises ValueError for an address that is no plain http or https one, or a key with blanks in it.
        """
        if not _KEY_FORM.fullmatch(api_key):
            msg = "the provider's API key holds characters no key has"
            raise ValueError(msg)
        self._api_key = api_key
        self._transport = Transport(base_url, {"x-api-key": api_key, "User-Agent": user_agent}, tls)
        self._observe = observe
        self._clock = clock
        self._circuit = Circuit(clock)
        self._coins = CoinList(lambda: self.currencies(deadline_seconds=COINS_DEADLINE_SECONDS), clock)

    async def __aenter__(self) -> Self:
        """Get ready to connect; nothing is sent yet."""
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give up what still runs and close all connections."""
        await self._coins.close()
        await self._transport.__aexit__()

    async def create_payment(
        self, asked: CreatePayment, *, deadline_seconds: float = CREATE_DEADLINE_SECONDS
    ) -> CreateOutcome:
        """Ask for a payment, once; the outcome says whether one was made, surely not made, or maybe made."""
        started = self._clock()
        answer = await self._exchange("POST", "/payment", deadline_seconds, body=_create_body(asked))
        outcome = reading.read_create(asked, answer)
        if isinstance(outcome, Refused) and self._api_key:
            outcome = Refused(outcome.code, outcome.message.replace(self._api_key, "***"))
        self._tell("create_payment", outcome, started, 1)
        return outcome

    async def get_payment(
        self, payment_id: str, *, deadline_seconds: float = READ_DEADLINE_SECONDS
    ) -> PaymentAnswer:
        """Ask for what the provider knows of a payment made with our key.

        An id that no payment of theirs can have is not found without asking. Asking for the payment ``1``
        tells whether our key is good: ``NotFound``, or ``NoAnswer`` with the reason ``key_refused``.
        """
        if not _PAYMENT_ID.fullmatch(payment_id):
            return NotFound()
        return await self._ask(
            "get_payment",
            lambda answer: reading.read_payment(payment_id, answer),
            f"/payment/{payment_id}",
            deadline_seconds,
        )

    async def currencies(self, *, deadline_seconds: float = READ_DEADLINE_SECONDS) -> Currencies | NoAnswer:
        """Ask for the list of coins."""
        return await self._ask("currencies", reading.read_currencies, "/currencies", deadline_seconds)

    async def coins(self) -> frozenset[str] | None:
        """The codes of all coins, by a list some minutes old at most while the provider answers.

        When it does not, an older list serves; before the first one it is None.
        """
        return await self._coins.known()

    async def knows_coin(self, coin: str) -> bool:
        """Tell whether the provider lists a coin, by a list some minutes old at most while it answers.

        When it does not, an older list serves; before the first one, whatever looks like a coin is known.
        """
        code = coin.lower()
        codes = await self.coins()
        return _COIN_FORM.fullmatch(code) is not None if codes is None else code in codes

    async def estimate(
        self,
        price_cents: int,
        price_currency: str,
        pay_currency: str,
        *,
        deadline_seconds: float = READ_DEADLINE_SECONDS,
    ) -> Decimal | None:
        """Ask what a price is about in a coin; None when there is no answer."""
        query = {
            "amount": f"{Decimal(price_cents) / 100:f}",
            "currency_from": price_currency.lower(),
            "currency_to": pay_currency.lower(),
        }
        told = await self._ask("estimate", reading.read_estimate, "/estimate", deadline_seconds, query)
        return told.amount if isinstance(told, Estimated) else None

    async def minimum_amount(
        self,
        pay_currency: str,
        *,
        payout_currency: str | None = None,
        deadline_seconds: float = READ_DEADLINE_SECONDS,
    ) -> Decimal | None:
        """Ask for the least amount of a coin that can be paid; None when there is no answer.

        The floor depends on what the merchant is paid out in. Without it the provider takes the account's own
        setting, and was seen to be wrong by an order of magnitude.
        """
        query = {"currency_from": pay_currency.lower()}
        if payout_currency is not None:
            query["currency_to"] = payout_currency.lower()
        told = await self._ask("minimum_amount", reading.read_minimum, "/min-amount", deadline_seconds, query)
        return told.amount if isinstance(told, Minimum) else None

    async def status(self, *, deadline_seconds: float = READ_DEADLINE_SECONDS) -> Available | NoAnswer:
        """Ask whether the provider is up; it answers this whatever our key is."""
        return await self._ask("status", reading.read_status, "/status", deadline_seconds)

    async def _ask(
        self,
        operation: str,
        read: Callable[[Reply | Failure], _Read],
        path: str,
        deadline_seconds: float,
        query: Mapping[str, str] | None = None,
    ) -> _Read:
        """Make a read, repeated while that may help and the deadline allows, and tell of it."""
        started = self._clock()
        ends_at = started + deadline_seconds
        attempts = 1
        answer = await self._exchange("GET", path, deadline_seconds, query=query)
        for pause in READ_PAUSES_SECONDS:
            pause_seconds = pause * random.uniform(0.5, 1.5)  # noqa: S311 - Spreads repeats, hides nothing.
            if not _is_passing(answer) or self._clock() + pause_seconds >= ends_at:
                break
            await asyncio.sleep(pause_seconds)
            answer = await self._exchange("GET", path, ends_at - self._clock(), query=query)
            attempts += 1
        outcome = read(answer)
        self._tell(operation, outcome, started, attempts)
        return outcome

    async def _exchange(
        self,
        method: str,
        path: str,
        deadline_seconds: float,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply | Failure:
        """Make one request where the circuit admits it, and tell the circuit how it went."""
        if not self._circuit.admits():
            return Failure(CIRCUIT_OPEN, sent=False)
        try:
            answer = await self._transport.send(
                method, path, deadline_seconds=deadline_seconds, query=query, body=body
            )
        except BaseException:
            self._circuit.abandoned()
            raise
        if _is_failure(answer):
            self._circuit.failed()
        else:
            self._circuit.succeeded()
        return answer

    def _tell(self, operation: str, outcome: Outcome, started: float, attempts: int) -> None:
        reason: str | None = getattr(outcome, "reason", None) or getattr(outcome, "code", None)
        self._observe(
            Call(
                operation=operation,
                outcome=_CAPITAL.sub("_", type(outcome).__name__).lower(),
                reason=reason,
                seconds=self._clock() - started,
                attempts=attempts,
            )
        )


def _create_body(asked: CreatePayment) -> bytes:
    """Write a create call; the price is an exact JSON number, a setting left open is left out."""
    fields: dict[str, object] = {
        "price_amount": Decimal(asked.price_cents) / 100,
        "price_currency": asked.price_currency.lower(),
        "pay_currency": asked.pay_currency.lower(),
        "order_id": asked.order_id,
        "order_description": asked.order_description,
        "ipn_callback_url": asked.ipn_callback_url,
        "is_fixed_rate": asked.is_fixed_rate,
        "is_fee_paid_by_user": asked.is_fee_paid_by_user,
        "case": asked.case,
    }
    return _encode({name: value for name, value in fields.items() if value is not None})


def _is_failure(answer: Reply | Failure) -> bool:
    """Tell whether the provider failed; a refusal (400, 401, 404) is an answer like any other."""
    if isinstance(answer, Failure):
        return True
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return True
    is_success = HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES
    return is_success and isinstance(reading.read_document(answer), UnreadableJsonError)


def _is_passing(answer: Reply | Failure) -> bool:
    """Tell whether a failed read is worth repeating soon: not when told to slow down, or for a certificate.

    A lost connection is not either: the HTTP library has repeated such a read once by itself.
    """
    if isinstance(answer, Failure):
        return answer.reason not in {CIRCUIT_OPEN, "timeout", "tls_failed", "connection_lost"}
    return _is_failure(answer) and answer.status != HTTPStatus.TOO_MANY_REQUESTS
