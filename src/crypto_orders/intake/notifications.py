"""The provider's notifications: verified, stored before they are looked into, applied, then answered."""

import asyncio
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from crypto_orders.domain.errors import Unavailable
from crypto_orders.domain.ipn_signature import (
    UnreadableJsonError,
    Verified,
    is_well_formed,
    read_json_exact,
    verify,
)
from crypto_orders.domain.order import Via
from crypto_orders.domain.provider_payment import MalformedPayment, ProviderPayment, parse_payment
from crypto_orders.domain.rate_limit import Policy, bucket_of_address
from crypto_orders.kit import log
from crypto_orders.kit.http import PUBLIC, Call, Endpoint, RouteGroup
from crypto_orders.kit.problem import Problem, bad_request, rate_limited
from crypto_orders.store.failures import CommitUnknown, StoreUnavailable
from crypto_orders.store.notifications import Arrival
from crypto_orders.usecases import facts, observed
from crypto_orders.usecases.deployment import Deployment
from crypto_orders.usecases.facts import Word
from crypto_orders.usecases.rate_limits import RateLimiter

PATH = "/v1/webhooks/nowpayments"
BODY_BYTES_MAX = 256 * 1024
SIGNATURE_HEADER = b"x-nowpayments-sig"

RETRY_AFTER_SECONDS = 5
"""The provider repeats a refused notification by its own schedule; whatever stands between may be quicker."""

APPLY_SECONDS_MAX = 2.0
"""The provider gives up at 3 s; what waits longer for its order's lock is left to a worker."""

_log = log.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeServices:
    """What the intake works with. `ipn_secrets` are all active ones, so that they can be rotated."""

    deployment: Deployment
    ipn_secrets: tuple[str, ...]
    limiter: RateLimiter
    failure_policy: Policy


class Received(Struct, frozen=True):
    """The notification is stored. `order_state` is its order's status, null when no order is known."""

    order_state: str | None
    received: bool = True


async def receive(call: Call[IntakeServices, Any, bytes, None]) -> Received:
    """Take one notification; 200 means that it is stored for good."""
    verified = await _verified(call)
    arrival, payment, fault = _read(call.body, verified)
    if payment is not None and payment.malformed_fields:
        _log.warning(
            "crypto_ipn_odd_fields", payment_id=payment.payment_id, fields=list(payment.malformed_fields)
        )
    d = call.deps.deployment
    try:
        if payment is None:
            await facts.keep_malformed(d, arrival, fault)
            raise bad_request(f"The notification was kept, but {fault} is missing or unreadable.")
        kept = await facts.keep(d, arrival)
    except (StoreUnavailable, CommitUnknown) as error:
        _log.error("crypto_ipn_not_stored", reason=type(error).__name__)
        message = "The notification could not be stored."
        raise Unavailable(message, RETRY_AFTER_SECONDS) from error
    return Received(
        await _applied(d, Word(notification_id=kept.notification_id, payment=payment, via=Via.IPN))
    )


async def _applied(d: Deployment, word: Word) -> str | None:
    """Apply what is stored; the status of its order, None when there is none or it could not be applied."""
    try:
        async with asyncio.timeout(APPLY_SECONDS_MAX):
            applied = await facts.apply(d, word)
    except (TimeoutError, StoreUnavailable, CommitUnknown) as error:
        _log.warning(
            "crypto_ipn_apply_put_off",
            notification_id=str(word.notification_id),
            reason=type(error).__name__,
        )
        return None
    except Exception as error:  # noqa: BLE001 - it is stored: whatever went wrong, a worker applies it
        _log.warning("crypto_ipn_apply_failed", notification_id=str(word.notification_id), exc_info=error)
        return None
    return applied.order.status.value if applied.order else None


async def _verified(call: Call[IntakeServices, Any, bytes, None]) -> Verified:
    """The text whose MAC matched; a body that nobody signed draws on its sender's bucket."""
    signatures = [value for name, value in call.scope["headers"] if name == SIGNATURE_HEADER]
    if len(signatures) == 1 and is_well_formed(signature := signatures[0].decode("latin-1")):
        if not call.body:
            raise bad_request("The notification is empty.")
        verified = verify(call.body, signature, call.deps.ipn_secrets)
        if verified is not None:
            return verified
    observed.ipn_rejected(call.remote_address, signatures=len(signatures))
    allowance = await call.deps.limiter.draw(bucket_of_address(call.remote_address), call.deps.failure_policy)
    if allowance is not None and not allowance.granted:
        raise rate_limited(allowance.retry_after_seconds)
    raise Problem("unauthorized", "The signature is missing or wrong.")


def _read(raw: bytes, verified: Verified) -> tuple[Arrival, ProviderPayment | None, str]:
    """A notification as it is stored, its payment, and when there is none what is wrong with it."""
    payment, fault = None, ""
    try:
        payment = parse_payment(read_json_exact(verified.text))
    except UnreadableJsonError:
        fault = "its JSON"
    except MalformedPayment as error:
        fault = error.field
    arrival = Arrival(
        via=Via.IPN,
        digest=verified.identity(),
        body=raw,
        matched_form=verified.form,
        payment_id=payment.payment_id if payment else None,
        payment_status=payment.payment_status if payment else None,
        claimed_order_id=payment.order_id if payment else None,
    )
    return arrival, payment, fault


ENDPOINTS = (
    Endpoint(
        method="POST",
        path=PATH,
        handler=receive,
        scope=PUBLIC,
        body=bytes,
        body_bytes_max=BODY_BYTES_MAX,
        response=Received,
        problems=("unauthorized", "rate-limited"),
        summary="Notifications of the payment provider",
        tags=("Provider",),
    ),
)


def routes(services: IntakeServices) -> RouteGroup[IntakeServices, Any]:
    """The one route that the provider knows; its signature is its key."""
    return RouteGroup(deps=services, endpoints=ENDPOINTS)
