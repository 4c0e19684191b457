"""Apply the facts that were stored and not applied: after a crash, or when the provider had to be asked."""

import asyncio
from dataclasses import replace

from crypto_orders.domain.ipn_signature import canonical, read_json_exact
from crypto_orders.domain.order import Ask, Verdict, Via
from crypto_orders.domain.provider_payment import ProviderPayment, parse_payment
from crypto_orders.kit import log
from crypto_orders.provider import Found, NoAnswer
from crypto_orders.store import notifications
from crypto_orders.store.failures import CommitUnknown, StoreUnavailable
from crypto_orders.store.notifications import Kept
from crypto_orders.store.transaction import transact_single
from crypto_orders.usecases import asking, facts
from crypto_orders.usecases.deployment import Deployment
from crypto_orders.usecases.facts import Word

BATCH_MAX = 20
ANSWER_DEADLINE_SECONDS = 10.0

_log = log.get()


async def apply_due(d: Deployment) -> int:
    """Try the facts that are due, asking the provider where they wait for it; how many were tried."""
    due = await transact_single(d.pool, lambda tx: notifications.claim_due(tx, BATCH_MAX))
    await asyncio.gather(*(_try(d, kept) for kept in due))
    return len(due)


async def _try(d: Deployment, kept: Kept) -> None:
    try:
        await _apply(d, kept, payment_of(kept))
    except (StoreUnavailable, CommitUnknown) as error:
        _log.warning(
            "crypto_fact_try_failed", notification_id=str(kept.notification_id), reason=type(error).__name__
        )
    except Exception as error:  # noqa: BLE001 - it is due again by itself, and the others must not wait for it
        _log.warning("crypto_fact_try_failed", notification_id=str(kept.notification_id), exc_info=error)


def payment_of(kept: Kept) -> ProviderPayment:
    """Read a stored fact again, from the text whose MAC matched."""
    text = canonical(kept.body) if kept.matched_form == "canonical" else kept.body
    return parse_payment(read_json_exact(text))


async def _apply(d: Deployment, kept: Kept, payment: ProviderPayment) -> None:
    own = payment if kept.via is Via.POLL else Ask.NOT_YET
    word = Word(
        notification_id=kept.notification_id,
        payment=payment,
        via=kept.via,
        answer=own,
        snapshot=kept.body if kept.via is Via.POLL else None,
        actor=kept.actor,
        because=kept.reason,
    )
    applied = await facts.apply(d, word)
    if applied.verdict is not Verdict.WAITING:
        return
    found = await asking.ask(d, payment.payment_id, deadline_seconds=ANSWER_DEADLINE_SECONDS)
    if isinstance(found, NoAnswer):
        return
    answer = found.payment if isinstance(found, Found) else Ask.NOT_FOUND
    await facts.apply(d, replace(word, answer=answer))
    if isinstance(found, Found):
        await facts.hear_answer(d, found.payment, found.raw)
