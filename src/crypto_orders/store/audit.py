"""The audit trail: one row for every administrative action and every refusal, beside what it changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class Trail:
    """What one request left here so far: the action that it named last, and the ids of its rows.

    A row whose transaction was rolled back is among them and does not exist.
    """

    entry: "Entry | None" = None
    rows: list[UUID] = field(default_factory=list[UUID])

    def follow(self, entry: "Entry") -> "Entry":
        """The entry of an action that begins, whose rows are told to this trail."""
        self.entry = replace(entry, trail=self)
        return self.entry


class Entry(Struct, frozen=True, kw_only=True):
    """One action as it is kept: what was asked of what, and what came of it; `trail` is told of every row."""

    actor: Actor
    action: str
    target: str | None
    request: Mapping[str, object]
    result: str = "done"
    account_id: UUID | None = None
    detail: Mapping[str, object] = {}
    trail: Trail | None = None


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
    audit_id = ids.uuid7()
    if entry.trail is not None:
        entry.trail.rows.append(audit_id)
    await tx.execute(INSERT, audit_id, *_values(entry))


# Rows that were taken back, or never written, count for nothing.
INSERT_UNLESS_KEPT = """
INSERT INTO audit_log (audit_id, at, actor, remote_addr, request_id, action, target, account_id, request, result, detail)
SELECT $1::uuid, date_trunc('milliseconds', clock_timestamp()), $2::text, $3::text, $4::text, $5::text, $6::text,
       $7::uuid, $8::jsonb, $9::text, $10::jsonb
 WHERE NOT EXISTS (SELECT FROM audit_log WHERE audit_id = ANY ($11::uuid[]))
"""


async def record_unless_kept(tx: Tx, entry: Entry, rows: Sequence[UUID]) -> bool:
    """Keep one action unless one of these rows tells of it already; whether it was kept now."""
    return await tx.execute(INSERT_UNLESS_KEPT, ids.uuid7(), *_values(entry), list(rows)) == "INSERT 0 1"


def _values(entry: Entry) -> tuple[object, ...]:
    return (
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
