"""Makes the demo's data as life makes it: checkouts through the API, money through the sandbox.

The stories are what support meets. They belong to accounts of their own, so that the customers whose
keys are shown start empty.
"""

import json
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from http.client import HTTPConnection, HTTPException
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from crypto_orders.demo.telling import Origins
from crypto_orders.kit import log

CALL_SECONDS: Final = 15.0
STATUS_SECONDS: Final = 20.0
"""For a payment to walk through its statuses and for its notifications to be applied."""

POLL_SECONDS: Final = 0.1

logger: Final = log.get()


class SeedError(Exception):
    """A step of the demo's stories went otherwise than it should."""


class Pay(NamedTuple):
    """Somebody sends money: a share of what is due, confirmed by the network or not yet."""

    share: str = "1"
    confirm: bool = True


class PayAgain(NamedTuple):
    """Somebody sends money to an address that was paid before."""

    share: str


class Say(NamedTuple):
    """The provider gives the payment a status."""

    status: str


class Become(NamedTuple):
    """Wait until the order has a status."""

    status: str


class Note(NamedTuple):
    """The customer writes a note on the order."""

    text: str


class Cancel(NamedTuple):
    """The customer cancels."""


class Forget(NamedTuple):
    """The customer started the order so many hours ago and forgot it."""

    hours: int


class Repeat(NamedTuple):
    """The customer's program sends the checkout again under the same key, for another product."""

    product: str


Step = Pay | PayAgain | Say | Become | Note | Cancel | Forget | Repeat

PAID: Final = (Pay(), Become("paid"))


class Story(NamedTuple):
    """One order: what is bought, with which coin, and what happens then."""

    product: str
    coin: str
    steps: tuple[Step, ...]


STORIES: Final[Mapping[str, tuple[Story, ...]]] = {
    "Northwind Analytics": (
        Story("solo_manual", "btc", (*PAID, Note("Invoice 2026-117"))),
        Story("team_manual", "eth", PAID),
        Story("agency_manual", "usdttrc20", (Pay("0.6"), Become("partial"))),
        Story("api_builder", "ltc", (Cancel(), Become("cancelled"))),
        Story("api_starter", "btc", ()),
        Story("team_manual", "ltc", (Forget(hours=3),)),
    ),
    "Harbor Labs": (
        Story("api_scale", "usdttrc20", PAID),
        Story("api_starter", "btc", (Say("failed"), Become("failed"))),
        # The money came after the provider had given up: a flag that a person resolves.
        Story("solo_manual", "eth", (Say("expired"), Become("failed"), Say("finished"))),
        Story("team_manual", "sol", (Pay("1.5"), Become("paid"))),
        Story("agency_manual", "btc", (Pay(confirm=False), Become("confirming"))),
    ),
    "Kiln & Co": (
        # "I see two charges": the same product bought twice.
        Story("api_starter", "usdttrc20", PAID),
        Story("api_starter", "usdttrc20", PAID),
        Story("api_builder", "btc", (*PAID, PayAgain("0.5"))),
        Story("solo_manual", "xrp", (Repeat("team_manual"), Pay(), Become("paid"))),
        Story("team_manual", "doge", (Note("Please keep this open until Friday."),)),
    ),
}


class Api(NamedTuple):
    """One origin, spoken to in JSON."""

    origin: str
    headers: Mapping[str, str]

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Any:  # noqa: ANN401
        """Call and answer the JSON. Raises SeedError for anything but a success."""
        connection = HTTPConnection(urlsplit(self.origin).netloc, timeout=CALL_SECONDS)
        try:
            connection.request(
                method,
                path,
                None if body is None else json.dumps(body),
                {**self.headers, **headers, "Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException) as error:
            message = f"{method} {path}: {error or type(error).__name__}"
            raise SeedError(message) from error
        finally:
            connection.close()
        if answer.status // 100 != 2:  # noqa: PLR2004 (the class of successes)
            message = f"{method} {path}: {answer.status}"
            raise SeedError(message)
        return json.loads(text, parse_float=Decimal) if text else None


def seed(
    origins: Origins,
    keys: Mapping[str, str],
    make_older: Callable[[str, int], None],
    is_stopping: Callable[[], bool],
) -> None:
    """Let every story happen, with the key of each account by the account's name.

    `make_older` puts an order's start so many hours back, the one thing that no API does.
    A story that goes wrong is logged and left as it is: the demo works without it.
    """
    sandbox = Api(origins.sandbox_url, {})
    for name, stories in STORIES.items():
        api = Api(origins.base_url, {"Authorization": f"Bearer {keys[name]}"})
        for number, story in enumerate(stories, 1):
            if is_stopping():
                return
            try:
                _tell(api, sandbox, story, f"demo-{number}", make_older)
            except SeedError as error:
                logger.warning("demo_story_failed", account=name, product=story.product, reason=str(error))


def _tell(
    api: Api, sandbox: Api, story: Story, idempotency_key: str, make_older: Callable[[str, int], None]
) -> None:
    wanted = {"product": story.product, "pay_currency": story.coin}
    order = api.call("POST", "/v1/billing/crypto-checkout", wanted, **{"Idempotency-Key": idempotency_key})
    path = f"/v1/billing/crypto-orders/{order['order_id']}"
    due = order["pay_amount"]
    for step in story.steps:
        payment = f"/sandbox/payments/{api.call('GET', path)['payment_id']}"
        match step:
            case Pay(share, confirm):
                sandbox.call("POST", f"{payment}/pay", {"amount": _share(due, share), "confirm": confirm})
            case PayAgain(share):
                sandbox.call("POST", f"{payment}/redeposit", {"amount": _share(due, share)})
            case Say(status):
                sandbox.call("POST", f"{payment}/status", {"payment_status": status})
            case Become(status):
                _wait_for(api, path, status)
            case Note(text):
                api.call("PATCH", path, {"customer_note": text})
            case Cancel():
                api.call("POST", f"{path}/cancel")
            case Forget(hours):
                make_older(order["order_id"], hours)
            case Repeat(product):
                again = {**wanted, "product": product}
                api.call("POST", "/v1/billing/crypto-checkout", again, **{"Idempotency-Key": idempotency_key})


def _share(due: Decimal | int, share: str) -> str:
    """Answer a share of the amount due, as text so that no digit is lost on the way."""
    return f"{(Decimal(due) * Decimal(share)).quantize(Decimal('0.00000001')):f}"


def _wait_for(api: Api, path: str, status: str) -> None:
    deadline = time.monotonic() + STATUS_SECONDS
    while (found := api.call("GET", path)["status"]) != status:
        if time.monotonic() >= deadline:
            message = f"{path} is {found}, not {status}"
            raise SeedError(message)
        time.sleep(POLL_SECONDS)
