"""What support does to orders: sweep, replay a status, ask the provider, note something, resolve a flag."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from crypto_orders.api.admin.schemas import AdminEnvelope, FlagView, read_envelope, read_flag
from crypto_orders.api.services import ApiCall, audited
from crypto_orders.kit import ids
from crypto_orders.kit.http import Endpoint
from crypto_orders.usecases import flags, operators, orders, sweep
from crypto_orders.usecases.flags import Resolution
from crypto_orders.usecases.operators import OVERRIDE_SCOPE, Claim

INTERNAL_NOTE_CHARS_MAX = 2000
REASON_CHARS_MAX = 2000


class SweepBody(Struct, frozen=True):
    """How old, in hours, and how many orders to look at."""

    older_than_hours: Annotated[int, Meta(ge=1, le=8760)] = 1
    limit: Annotated[int, Meta(ge=1, le=sweep.LIMIT_MAX)] = sweep.LIMIT_MAX


class SweepAnswer(Struct, frozen=True):
    """What the sweep did, in orders; `capped` says that candidates remain that were not looked at."""

    expired: int
    healed: int
    skipped: int
    capped: bool
    older_than_hours: int


class ApplyIpnBody(Struct, frozen=True):
    """The status that was lost. `override` sets it against the provider's word, with a reason."""

    payment_id: Annotated[str, Meta(min_length=1, max_length=128)]
    provider_status: Annotated[str, Meta(min_length=1, max_length=64)]
    reason: Annotated[str, Meta(max_length=REASON_CHARS_MAX)] | None = None
    override: bool = False


class AppliedEnvelope(AdminEnvelope, frozen=True, kw_only=True):
    """The order as it is now, and whether this call moved it."""

    applied: bool
    outcome: str


class AskAnswer(Struct, frozen=True):
    """Whether the provider was asked now, its own words, and what they did."""

    asked: bool
    snapshot: msgspec.Raw | None
    applied: bool
    outcome: str


class InternalNoteBody(Struct, frozen=True):
    """Support's own note; null or an empty text clears it."""

    internal_note: Annotated[str, Meta(max_length=INTERNAL_NOTE_CHARS_MAX)] | None


class ResolveBody(Struct, frozen=True):
    """How a flag is closed, and why. A credit names its reference."""

    resolution: Literal["honour", "credited", "dismissed"]
    reason: Annotated[str, Meta(min_length=1, max_length=REASON_CHARS_MAX)]
    reference: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


async def sweep_expired(call: ApiCall[SweepBody, None]) -> SweepAnswer:
    """Retire long-pending orders that the provider calls waiting."""
    body = call.body
    entry = audited(call, "sweep_expired", None, older_than_hours=body.older_than_hours, limit=body.limit)
    swept = await sweep.sweep(
        call.deps.deployment, older_than_hours=body.older_than_hours, limit=body.limit, entry=entry
    )
    return SweepAnswer(swept.expired, swept.healed, swept.skipped, swept.capped, swept.older_than_hours)


async def apply_ipn(call: ApiCall[ApplyIpnBody, None]) -> AppliedEnvelope:
    """Replay a lost status: the provider is asked, and has the last word unless it is overridden."""
    order_id, body = call.text("order_id"), call.body
    entry = audited(call, "apply_ipn", order_id, **msgspec.structs.asdict(body))
    claim = Claim(
        order_id=order_id,
        payment_id=body.payment_id,
        provider_status=body.provider_status.strip().lower(),
        reason=(body.reason or "").strip() or None,
        override=body.override,
        may_override=call.principal.allows(OVERRIDE_SCOPE),
    )
    applied = await operators.apply_ipn(call.deps.deployment, claim, entry)
    async with call.deps.pool.acquire() as conn:
        shown = await read_envelope(conn, order_id)
    return AppliedEnvelope(
        **msgspec.structs.asdict(shown), applied=applied.moved, outcome=applied.verdict.value
    )


async def ask_provider(call: ApiCall[None, None]) -> AskAnswer:
    """Ask the provider about an order's payments, at most once a minute, and apply what it says."""
    order_id = call.text("order_id")
    told = await operators.ask_provider(
        call.deps.deployment, order_id, audited(call, "ask_provider", order_id)
    )
    snapshot = msgspec.Raw(told.snapshot) if told.snapshot else None
    return AskAnswer(told.asked, snapshot, told.applied, told.outcome)


async def set_internal_note(call: ApiCall[InternalNoteBody, None]) -> AdminEnvelope:
    """Change support's note in any status."""
    order_id, note = call.text("order_id"), call.body.internal_note
    # The audit trail keeps that a note was changed, and how long it is; the text is the order's.
    entry = audited(call, "set_internal_note", order_id, characters=len(note or ""))
    await orders.set_internal_note(call.deps.deployment, order_id, note, entry)
    async with call.deps.pool.acquire() as conn:
        return await read_envelope(conn, order_id)


async def resolve_flag(call: ApiCall[ResolveBody, None]) -> FlagView:
    """Close a flag once, with a reason; `honour` pays the ended order it is about."""
    flag_id, body = call.uuid("flag_id"), call.body
    entry = audited(call, "resolve_flag", ids.prefixed("flg", flag_id), **msgspec.structs.asdict(body))
    asked = Resolution(
        flag_id=flag_id,
        how=body.resolution,
        reason=body.reason,
        reference=body.reference,
        may_override=call.principal.allows(OVERRIDE_SCOPE),
    )
    await flags.resolve(call.deps.deployment, asked, entry)
    async with call.deps.pool.acquire() as conn:
        return await read_flag(conn, flag_id)


_ORDER = "/v1/admin/crypto-orders/{order_id:order_id}"

ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/admin/crypto-orders/sweep-expired",
        handler=sweep_expired,
        scope="admin:write",
        body=SweepBody,
        response=SweepAnswer,
        summary="Retire long-pending orders",
        tags=("Support",),
    ),
    Endpoint(
        method="POST",
        path=f"{_ORDER}/apply-ipn",
        handler=apply_ipn,
        scope="admin:write",
        body=ApplyIpnBody,
        response=AppliedEnvelope,
        problems=("conflict", "forbidden"),
        summary="Replay a lost status",
        tags=("Support",),
    ),
    Endpoint(
        method="POST",
        path=f"{_ORDER}/ask-provider",
        handler=ask_provider,
        scope="admin:write",
        response=AskAnswer,
        problems=("conflict",),
        summary="Ask the provider about an order",
        tags=("Support",),
    ),
    Endpoint(
        method="PATCH",
        path=f"{_ORDER}/internal-note",
        handler=set_internal_note,
        scope="admin:write",
        body=InternalNoteBody,
        response=AdminEnvelope,
        summary="Change support's note",
        tags=("Support",),
    ),
    Endpoint(
        method="POST",
        path="/v1/admin/flags/{flag_id:flg}/resolve",
        handler=resolve_flag,
        scope="admin:write",
        body=ResolveBody,
        response=FlagView,
        problems=("conflict", "forbidden"),
        summary="Close a flag",
        tags=("Support",),
    ),
)
