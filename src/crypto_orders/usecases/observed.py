"""Every decision about an order as a log event and a metric, in one place."""

from prometheus_client import Counter, Histogram

from crypto_orders.domain.order import Decision, Order, Verdict, Via
from crypto_orders.kit import log
from crypto_orders.kit.metrics import REGISTRY
from crypto_orders.provider import Call
from crypto_orders.store.flags import Found
from crypto_orders.store.orders import Raised

_log = log.get()

TRANSITIONS = Counter(
    "crypto_orders_transitions", "Order transitions.", ("status", "source"), registry=REGISTRY
)
FACTS = Counter("crypto_orders_facts", "Facts of the provider.", ("via", "verdict"), registry=REGISTRY)
FLAGS = Counter("crypto_orders_flags_raised", "Flags opened or seen again.", ("kind",), registry=REGISTRY)
IDEMPOTENCY = Counter(
    "crypto_orders_idempotency", "Checkouts by idempotency outcome.", ("outcome",), registry=REGISTRY
)
MINTING = Counter("crypto_orders_minting", "Create calls by outcome.", ("outcome",), registry=REGISTRY)
RESOLVED = Counter(
    "crypto_orders_flags_resolved", "Flags a person closed.", ("kind", "resolution"), registry=REGISTRY
)
SWEPT = Counter("crypto_orders_swept", "Orders a sweep looked at.", ("outcome",), registry=REGISTRY)
PROVIDER_CALLS = Counter(
    "crypto_orders_provider_calls", "Calls to the provider.", ("operation", "outcome"), registry=REGISTRY
)
PROVIDER_SECONDS = Histogram(
    "crypto_orders_provider_seconds", "Seconds a provider call took.", ("operation",), registry=REGISTRY
)
REFUSALS = Counter(
    "crypto_orders_refusals", "Requests a rule refused, by rule.", ("rule",), registry=REGISTRY
)


def provider_call(call: Call) -> None:
    """A call to the provider ended."""
    PROVIDER_CALLS.labels(call.operation, call.outcome).inc()
    PROVIDER_SECONDS.labels(call.operation).observe(call.seconds)
    if call.reason is not None:
        _log.info(
            "crypto_provider_call",
            operation=call.operation,
            outcome=call.outcome,
            reason=call.reason,
            seconds=round(call.seconds, 3),
            attempts=call.attempts,
        )


def started(order: Order) -> None:
    """A new order was stored."""
    TRANSITIONS.labels(order.status, "create").inc()
    _log.info(
        "crypto_order_created",
        account_id=str(order.account_id),
        order_id=order.order_id,
        product=order.product,
    )


def replayed(order: Order, differing_fields: tuple[str, ...]) -> None:
    """A repeated idempotency key was met; one with another body is loud."""
    IDEMPOTENCY.labels("body_mismatch" if differing_fields else "replay").inc()
    keys = {"account_id": str(order.account_id), "order_id": order.order_id}
    if differing_fields:
        _log.warning(
            "crypto_checkout_idempotency_body_mismatch", differing_fields=list(differing_fields), **keys
        )
    else:
        _log.info("crypto_checkout_idempotency_replay", **keys)


def coin_chosen(order: Order, coin: str) -> None:
    """A payer chose a coin, and its create call begins."""
    _log.info(
        "crypto_order_coin_chosen",
        account_id=str(order.account_id),
        order_id=order.order_id,
        pay_currency=coin,
    )


def minting(order: Order, outcome: str, reason: str | None) -> None:
    """A create call ended."""
    MINTING.labels(outcome).inc()
    write = _log.info if outcome == "minted" else _log.warning
    write(
        "crypto_order_minting",
        account_id=str(order.account_id),
        order_id=order.order_id,
        outcome=outcome,
        reason=reason,
    )


def decided(before: Order, decision: Decision, raised: tuple[Raised, ...]) -> None:
    """A decision was stored: its transition, if any, and its flags."""
    event = decision.event
    if event is not None:
        TRANSITIONS.labels(event.status, event.source).inc()
        _log.info(
            "crypto_order_transition",
            account_id=str(before.account_id),
            order_id=before.order_id,
            from_status=before.status,
            to_status=event.status,
            source=event.source,
            via=event.via,
            actor=event.actor,
            payment_id=event.detail.payment_id,
        )
    for flag in raised:
        FLAGS.labels(flag.kind).inc()
        _log.warning(
            "crypto_order_flagged",
            account_id=str(before.account_id),
            order_id=before.order_id,
            kind=flag.kind,
            times_seen=flag.times_seen,
        )


def applied(via: Via, payment_id: str | None, verdict: Verdict, why: str, order: Order | None) -> None:
    """A fact got its verdict, or waits for the provider."""
    if verdict in {Verdict.UNMATCHED, Verdict.MALFORMED}:
        FLAGS.labels("unmatched").inc()
    FACTS.labels(via, verdict).inc()
    _log.info(
        "crypto_fact_settled" if verdict is not Verdict.WAITING else "crypto_fact_waits",
        via=via,
        verdict=verdict,
        why=why,
        payment_id=payment_id,
        order_id=order.order_id if order else None,
    )


def resolved(flag: Found, how: str) -> None:
    """A person closed a flag."""
    RESOLVED.labels(flag.kind, how).inc()
    _log.info(
        "crypto_flag_resolved",
        flag_id=str(flag.flag_id),
        kind=flag.kind,
        resolution=how,
        order_id=flag.order_id,
        payment_id=flag.payment_id,
    )


def ipn_rejected(remote_address: str, *, signatures: int) -> None:
    """A notification came without a signature of ours; it is counted and never stored."""
    REFUSALS.labels("ipn_signature").inc()
    _log.warning("crypto_ipn_rejected", remote_address=remote_address, signatures=signatures)


def swept(expired: int, healed: int, skipped: int, *, capped: bool) -> None:
    """A sweep ended."""
    for outcome, count in (("expired", expired), ("healed", healed), ("skipped", skipped)):
        SWEPT.labels(outcome).inc(count)
    _log.info("crypto_orders_swept", expired=expired, healed=healed, skipped=skipped, capped=capped)


def refused(rule: str, **keys: object) -> None:
    """A rule refused a request."""
    REFUSALS.labels(rule).inc()
    _log.info("crypto_request_refused", rule=rule, **keys)
