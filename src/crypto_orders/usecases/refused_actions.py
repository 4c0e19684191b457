"""Keep every action that was refused to somebody who is known, unless what refused it kept its own row."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast

from msgspec.structs import replace

from crypto_orders.kit import log
from crypto_orders.store import audit
from crypto_orders.store.audit import Entry, Trail
from crypto_orders.store.connection import Pool
from crypto_orders.store.transaction import transact_single
from crypto_orders.usecases import observed

ACTION: Final = "admin.request"
"""What was tried, where the request was refused before it was known as one of the actions."""

TEXT_CHARS_KEPT: Final = 200
ITEMS_KEPT: Final = 20
"""What was sent is kept this far: a refusal's row stays small whatever was typed or posted."""

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_log = log.get()


async def keep(
    pool: Pool, tried: Entry, trail: Trail | None, result: Literal["denied", "refused"], why: str
) -> None:
    """Keep that an action was denied or refused, once: not beside a row that it left already.

    `tried` is kept where the request named no action of its own; `why` is the slug of the answer, or words.
    """
    followed = trail or Trail()
    named = followed.entry or tried
    entry = audit.with_result(replace(named, request=_short_items(named.request)), result, why)
    kept = await transact_single(pool, lambda tx: audit.record_unless_kept(tx, entry, followed.rows))
    if kept:
        tell(entry, result, why)


def tell(entry: Entry, result: Literal["denied", "refused"], why: str) -> None:
    """Tell log and metric alone, for what may not grow the audit trail."""
    observed.REFUSALS.labels(f"admin_{result}").inc()
    _log.warning(
        "admin_action_refused",
        result=result,
        why=why,
        action=entry.action,
        actor=entry.actor.name,
        target=entry.target,
    )


def _short_items(values: Mapping[str, object]) -> dict[str, object]:
    return {name: _short(value) for name, value in list(values.items())[:ITEMS_KEPT]}


def _short(value: object) -> object:
    if isinstance(value, str):
        return value if len(value) <= TEXT_CHARS_KEPT else f"{value[:TEXT_CHARS_KEPT]}…"
    if isinstance(value, list | tuple):
        return [_short(each) for each in cast("Sequence[object]", value)[:ITEMS_KEPT]]
    if isinstance(value, Mapping):
        return _short_items(cast("Mapping[str, object]", value))
    return value
