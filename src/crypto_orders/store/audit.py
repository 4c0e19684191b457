"""The audit trail: one row for every administrative action and every refusal, beside what it changed."""

from collections.abc import Mapping
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from crypto_orders.kit import ids
from crypto_orders.store.connection import Tx


class Actor(Struct, frozen=True, kw_only=True):
    """Who acts: a key or a person, from where, in which request."""

    name: str
    remote_address: str | None = None
    request_id: str | None = None


class Entry(Struct, frozen=True, kw_only=True):
    """One action as it is kept: what was asked of what, and what came of it."""

    actor: Actor
    action: str
    target: str | None
    request: Mapping[str, object]
    result: str = "done"
    account_id: UUID | None = None
    detail: Mapping[str, object] = {}


def with_result(entry: Entry, result: str, why: str | None = None, account_id: UUID | None = None) -> Entry:
    """The entry with what came of its action, and whose account it touched."""
    detail = {**entry.detail, "why": why} if why else entry.detail
    return replace(entry, result=result, detail=detail, account_id=account_id or entry.account_id)


INSERT = """
INSERT INTO audit_log (audit_id, at, actor, remote_addr, request_id, action, target, account_id, request, result, detail)
VALUES ($1, date_trunc('milliseconds', clock_timestamp()), $2, $3, $4, $5, $6, $7, $8::jsonb, $9, $10::jsonb)
"""


async def record(tx: Tx, entry: Entry) -> None:
    """Keep one action. It is called inside the transaction of what the action changed."""
    await tx.execute(
        INSERT,
        ids.uuid7(),
        entry.actor.name,
        entry.actor.remote_address,
        entry.actor.request_id,
        entry.action,
        entry.target,
        entry.account_id,
        msgspec.json.encode(entry.request).decode(),
        entry.result,
        msgspec.json.encode(entry.detail).decode(),
    )
