"""Deliveries of webhook events: fan out, claim, send, settle, and send again on demand."""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from prometheus_client import Counter, Histogram

from crypto_orders.domain.delivery import (
    Dead,
    Delivered,
    EndpointGone,
    RetryAt,
    SendResult,
    Verdict,
    health_after,
    judge,
)
from crypto_orders.domain.errors import BadRequest, Conflict, DomainError, NotFound
from crypto_orders.domain.webhook_signature import Attempt, attempt_headers
from crypto_orders.kit import clock, ids, log
from crypto_orders.kit.metrics import REGISTRY
from crypto_orders.store import audit, deliveries, delivery_queue, webhooks
from crypto_orders.store.connection import Pool, Tx
from crypto_orders.store.deliveries import Delivery, Window
from crypto_orders.store.delivery_queue import Claimed, Health, Settled, Slots
from crypto_orders.store.transaction import transact, transact_single
from crypto_orders.usecases.deployment import Webhooks
from crypto_orders.usecases.signing_keys import SigningKeys
from crypto_orders.usecases.webhooks import deleted

FAN_OUT_BATCH: Final = 200
"""Events fanned out in one transaction, which takes some ten milliseconds."""

LEASE: Final = timedelta(seconds=30)
"""An attempt ends within ten seconds; after this long its worker is taken for dead."""

REPLAY_WINDOW_MAX: Final = timedelta(days=31)
REPLAY_BATCH: Final = 1000
"""Deliveries replayed in one transaction, far below the statement time-out."""

ERROR_CHARS_MAX: Final = 500

ATTEMPTS = Counter(
    "crypto_orders_webhook_attempts", "Attempts at webhook deliveries.", ("outcome",), registry=REGISTRY
)
ENDED = Counter(
    "crypto_orders_webhook_deliveries_ended",
    "Webhook deliveries that reached a terminal state.",
    ("state",),
    registry=REGISTRY,
)
DISABLED = Counter(
    "crypto_orders_webhook_endpoints_disabled", "Webhook endpoints disabled by themselves.", registry=REGISTRY
)
FIRST_SECONDS = Histogram(
    "crypto_orders_webhook_first_attempt_seconds",
    "Seconds from an event to the first attempt at a delivery of it.",
    registry=REGISTRY,
)

# Children are kept, since looking one up takes the library longer than counting.
_DELIVERED_ATTEMPTS = ATTEMPTS.labels("delivered")
_DELIVERED = ENDED.labels("delivered")

_log = log.get()


async def fan_out(pool: Pool) -> int:
    """Make the deliveries of the oldest events that have none yet; how many events there were."""
    return await transact_single(pool, lambda tx: delivery_queue.fan_out(tx, FAN_OUT_BATCH))


async def claim(pool: Pool, slots: Slots) -> list[Claimed]:
    """Begin attempts at what is due, as far as there are slots."""
    claimed = await transact_single(pool, lambda tx: delivery_queue.claim(tx, slots, LEASE))
    for each in claimed:
        if each.attempt_no == 1:
            FIRST_SECONDS.observe((each.at - each.created_at).total_seconds())
    return claimed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt."""

    claimed: Claimed
    result: SendResult


async def attempt(w: Webhooks, keys: SigningKeys, claimed: Claimed) -> Outcome:
    """Send one claimed delivery, signed as of its claim.

    Raises:
        SealBrokenError: its secret cannot be opened with the keys of this process.
    """
    headers = attempt_headers(
        Attempt(event_id=claimed.event_id, event_type=claimed.event_type, body=claimed.body, at=claimed.at),
        w.header_family,
        keys.of(claimed),
    )
    return Outcome(claimed, await w.sender.send(str(claimed.endpoint_id), claimed.url, headers, claimed.body))


async def settle(pool: Pool, outcomes: Sequence[Outcome]) -> None:
    """Store a batch of outcomes, what follows each, and how the endpoints fare, in one transaction."""
    names = sorted({(o.claimed.account_id, o.claimed.endpoint_id) for o in outcomes})

    async def work(tx: Tx) -> tuple[list[tuple[Outcome, Verdict, bool]], list[Health]]:
        now, locked = await delivery_queue.lock_endpoints(tx, names)
        health = {each.endpoint_id: each for each in locked}
        judged = [(o, judge(o.result, o.claimed.attempts, now, random.random())) for o in outcomes]  # noqa: S311 - spreads retries, no secret
        settled = await delivery_queue.settle(
            tx,
            [_settled(o, verdict, now, active=health[o.claimed.endpoint_id].active) for o, verdict in judged],
            now,
        )
        counted = [(o, verdict, o.claimed.delivery_id in settled) for o, verdict in judged]
        for o, verdict, counts in counted:
            if counts:
                health[o.claimed.endpoint_id] = _fares(health[o.claimed.endpoint_id], verdict, now)
        await delivery_queue.update_health(tx, tuple(health.values()), now)
        ended = [each for each in health.values() if each.active and each.disable_reason is not None]
        for each in ended:
            await webhooks.hold(tx, each.account_id, each.endpoint_id)
        return counted, ended

    told, disabled = await transact(pool, work)
    for outcome, verdict, counts in told:
        _tell(outcome, verdict, counts=counts)
    for each in disabled:
        DISABLED.inc()
        _log.warning(
            "webhook_endpoint_disabled",
            account_id=str(each.account_id),
            webhook_id=ids.prefixed("whk", each.endpoint_id),
            reason=each.disable_reason,
        )


def _settled(outcome: Outcome, verdict: Verdict, now: datetime, *, active: bool) -> Settled:
    claimed, result = outcome.claimed, outcome.result
    match verdict:
        case Delivered():
            status, due_at = "delivered", None
        case RetryAt(at):
            status, due_at = "failed" if active else "pending", at
        case Dead():
            status, due_at = "dlq", None
        case EndpointGone():
            # It waits for the endpoint, which is disabled with this very batch.
            status, due_at = "pending", now
    failure = result.failure
    return Settled(
        account_id=claimed.account_id,
        delivery_id=claimed.delivery_id,
        attempt_no=claimed.attempt_no,
        elapsed_ms=result.elapsed_ms,
        response_status=result.status,
        error=failure[:ERROR_CHARS_MAX] if failure else None,
        excerpt=result.excerpt,
        dialled_ip=result.dialled_ip,
        status=status,
        due_at=due_at,
    )


def _fares(before: Health, verdict: Verdict, now: datetime) -> Health:
    after = health_after(before.consecutive_failures, verdict)
    succeeded = isinstance(verdict, Delivered)
    return msgspec.structs.replace(
        before,
        consecutive_failures=after.consecutive_failures,
        last_success_at=now if succeeded else before.last_success_at,
        last_failure_at=before.last_failure_at if succeeded else now,
        disable_reason=before.disable_reason or after.disable_reason,
    )


def _tell(outcome: Outcome, verdict: Verdict, *, counts: bool) -> None:
    """Count an attempt, and log it unless it was the first and succeeded: its row says all of that."""
    claimed, result = outcome.claimed, outcome.result
    if result.error is not None:
        ATTEMPTS.labels(result.error.code.value).inc()
    elif result.delivered:
        _DELIVERED_ATTEMPTS.inc()
    else:
        ATTEMPTS.labels("http_error").inc()
    if not counts:
        return
    match verdict:
        case Delivered():
            _DELIVERED.inc()
            if claimed.attempts > 1:
                _log.info("webhook_delivered", elapsed_ms=result.elapsed_ms, **_names(claimed))
        case RetryAt(at):
            _log.info(
                "webhook_attempt_failed",
                reason=result.failure,
                retry_at=clock.to_iso(at),
                **_names(claimed),
            )
        case Dead():
            ENDED.labels("dlq").inc()
            _log.warning("webhook_delivery_dead", reason=result.failure, **_names(claimed))
        case EndpointGone():
            _log.warning("webhook_endpoint_gone", **_names(claimed))


def _names(claimed: Claimed) -> dict[str, object]:
    return {
        "account_id": str(claimed.account_id),
        "webhook_id": ids.prefixed("whk", claimed.endpoint_id),
        "delivery_id": ids.prefixed("wdl", claimed.delivery_id),
        "event_id": str(claimed.event_id),
        "attempt": claimed.attempts,
    }


async def replay(
    pool: Pool, account_id: UUID | None, delivery_id: UUID, entry: audit.Entry | None = None
) -> Delivery:
    """Send a delivery again, with the same event id and its attempts counted anew.

    Without an account any delivery is meant, and the audit row `entry` is kept.

    Raises:
        NotFound: there is no such delivery.
        Conflict: it is in flight, or its endpoint is deleted.
    """

    async def act(tx: Tx, delivery: Delivery) -> None:
        if delivery.status == "in_flight":
            raise Conflict(
                "The delivery is in flight; wait for its result.",
                resource="webhook_delivery",
                field="status",
            )
        await deliveries.replay(tx, delivery.account_id, delivery_id)

    return await _change(pool, account_id, delivery_id, act, entry)


async def requeue(pool: Pool, delivery_id: UUID, entry: audit.Entry) -> Delivery:
    """Send a delivery of the dead-letter queue again.

    Raises:
        NotFound: there is no such delivery.
        Conflict: it is not in the dead-letter queue, or its endpoint is deleted.
    """

    async def act(tx: Tx, delivery: Delivery) -> None:
        _check_dead(delivery)
        await deliveries.replay(tx, delivery.account_id, delivery_id)

    return await _change(pool, None, delivery_id, act, entry)


async def discard(pool: Pool, delivery_id: UUID, entry: audit.Entry) -> Delivery:
    """Take a delivery off the dead-letter queue; it stays failed until somebody replays it.

    Raises:
        NotFound: there is no such delivery.
        Conflict: it is not in the dead-letter queue.
    """

    async def act(tx: Tx, delivery: Delivery) -> None:
        _check_dead(delivery)
        await deliveries.discard(tx, delivery.account_id, delivery_id)

    return await _change(pool, None, delivery_id, act, entry, needs_endpoint=False)


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many deliveries a window holds, and how many of them were queued by this call."""

    matched: int
    queued: int


async def replay_window(
    pool: Pool,
    account_id: UUID | None,
    endpoint_id: UUID,
    window: Window,
    *,
    dry_run: bool,
    entry: audit.Entry | None = None,
) -> Replayed:
    """Replay the deliveries of a window that are neither pending nor in flight; `dry_run` only counts.

    Without an account any endpoint is meant, and every transaction keeps an audit row `entry` of its part.

    Raises:
        BadRequest: the window is empty or longer than 31 days.
        NotFound: there is no such endpoint.
        Conflict: it is deleted.
    """
    try:
        owner, matched, begun_at = await _counted(pool, account_id, endpoint_id, window)
    except DomainError as refusal:
        await _audit(pool, entry, "refused", str(refusal), account_id)
        raise
    if dry_run:
        await _audit(pool, entry, "counted", f"0 of {matched} queued", owner)
        return Replayed(matched, 0)
    queued = 0

    async def work(tx: Tx) -> int:
        batch = await deliveries.replay_window(
            tx, owner, endpoint_id, window, begun_at=begun_at, limit=REPLAY_BATCH
        )
        # Every transaction tells what it queued, and the first one even that it was nothing.
        if entry is not None and (batch or not queued):
            why = f"{batch} of {matched} queued"
            await audit.record(tx, audit.with_result(entry, "queued", why, owner))
        return batch

    while batch := await transact(pool, work):
        queued += batch
    return Replayed(matched, queued)


async def _counted(
    pool: Pool, account_id: UUID | None, endpoint_id: UUID, window: Window
) -> tuple[UUID, int, datetime]:
    """Whose endpoint it is, how many deliveries the window holds, and the time of the look."""
    if not timedelta() < window.until - window.since <= REPLAY_WINDOW_MAX:
        raise BadRequest(f"until: Must be later than since, by at most {REPLAY_WINDOW_MAX.days} days.")
    async with pool.acquire() as conn:
        owner = account_id or await webhooks.account_of(conn, endpoint_id)
        found = await webhooks.get(conn, owner, endpoint_id) if owner else None
        if found is None or owner is None:
            raise NotFound
        if found.endpoint.deleted_at is not None:
            raise deleted()
        matched = await deliveries.count_window(conn, owner, endpoint_id, window)
        return owner, matched, await deliveries.now(conn)


async def _change(
    pool: Pool,
    account_id: UUID | None,
    delivery_id: UUID,
    act: Callable[[Tx, Delivery], Awaitable[None]],
    entry: audit.Entry | None,
    *,
    needs_endpoint: bool = True,
) -> Delivery:
    """Do something to one locked delivery, with its audit row or that of the refusal."""

    async def work(tx: Tx) -> Delivery | DomainError:
        owner = account_id or await deliveries.account_of(tx, delivery_id)
        try:
            changed = await _changed(tx, owner, delivery_id, act, needs_endpoint=needs_endpoint)
        except DomainError as refusal:
            if entry is not None:
                await audit.record(tx, audit.with_result(entry, "refused", str(refusal), owner))
            return refusal
        if entry is not None:
            await audit.record(tx, audit.with_result(entry, "done", account_id=owner))
        return changed

    done = await transact(pool, work)
    if isinstance(done, DomainError):
        raise done
    return done


async def _changed(
    tx: Tx,
    owner: UUID | None,
    delivery_id: UUID,
    act: Callable[[Tx, Delivery], Awaitable[None]],
    *,
    needs_endpoint: bool,
) -> Delivery:
    delivery = await deliveries.get(tx, owner, delivery_id) if owner else None
    if delivery is None:
        raise NotFound
    # The endpoint comes before its deliveries in every lock order.
    endpoint = await webhooks.lock(tx, delivery.account_id, delivery.endpoint_id)
    if needs_endpoint and (endpoint is None or endpoint.deleted_at is not None):
        raise deleted()
    locked = await deliveries.lock(tx, delivery.account_id, delivery_id)
    await act(tx, locked or delivery)
    changed = await deliveries.get(tx, delivery.account_id, delivery_id)
    if changed is None:
        raise NotFound
    return changed


def _check_dead(delivery: Delivery) -> None:
    if delivery.status != "dlq":
        raise Conflict(
            "The delivery is not in the dead-letter queue.", resource="webhook_delivery", field="status"
        )


async def _audit(
    pool: Pool, entry: audit.Entry | None, result: str, why: str, account_id: UUID | None
) -> None:
    if entry is None:
        return
    kept = audit.with_result(entry, result, why, account_id)
    await transact(pool, lambda tx: audit.record(tx, kept))
