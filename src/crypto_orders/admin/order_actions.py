"""What support does to one order from its drawer; each action says what came of it, or why it was refused."""

from typing import Any, Final, cast

import msgspec
from starlette.responses import Response

from crypto_orders.admin import delivery_words
from crypto_orders.admin.flag_words import resolved
from crypto_orders.admin.order_answers import OUTCOMES, anchor_about, compared, more_on, refused_in_words
from crypto_orders.admin.order_page import NOTHING_TYPED, Result, ShownIn, Typed, draw, read_view
from crypto_orders.admin.order_query import PATH
from crypto_orders.admin.refusals import unconfirmed
from crypto_orders.admin.runbook import section
from crypto_orders.admin.services import AdminServices
from crypto_orders.admin.session import AdminCall, Form, Operator, action, audited
from crypto_orders.domain.errors import BadRequest, Conflict, DomainError, Forbidden, NotFound
from crypto_orders.domain.operator import OVERRIDE
from crypto_orders.kit import ids
from crypto_orders.kit.http import Endpoint
from crypto_orders.store import deliveries, flag_lists, order_views, payments
from crypto_orders.usecases import deliveries as delivering
from crypto_orders.usecases import flags, operators, orders
from crypto_orders.usecases.flags import Resolution
from crypto_orders.usecases.operators import Claim

REASON_CHARS_MAX: Final = 2000
REFERENCE_CHARS_MAX: Final = 200
NOTE_CHARS_MAX: Final = 2000
PAYMENT_ID_CHARS_MAX: Final = 128
STATUS_CHARS_MAX: Final = 64

RESOLUTIONS: Final = {
    "honour": "The order is paid now, and the customer's system is told.",
    "credited": "The flag is resolved with its credit. The order was left as it is.",
    "dismissed": "The flag is resolved. The order was left as it is.",
}


class OrderForm(Form, frozen=True, kw_only=True):
    """What every form about an order says: where it was drawn."""

    shown_in: ShownIn = "page"


class ReplayForm(OrderForm, frozen=True, kw_only=True):
    """The notification that was lost; another payment's id counts before the chosen one."""

    payment_id: str = ""
    other_payment_id: str = ""
    provider_status: str = ""
    reason: str = ""
    override: str = ""


class NoteForm(OrderForm, frozen=True, kw_only=True):
    """Support's own note; `replaced` names the one that was shown, so that no colleague's is lost."""

    internal_note: str = ""
    replaced: str = ""


class ResolveForm(OrderForm, frozen=True, kw_only=True):
    """How a flag is resolved, and why; `override` honours an order against the provider."""

    resolution: str = ""
    reason: str = ""
    reference: str = ""
    override: str = ""


async def ask_provider(call: AdminCall[OrderForm, None]) -> Response:
    """Ask the provider about the order's payments and apply what it says."""
    order_id = call.text("order_id")
    try:
        told = await operators.ask_provider(
            call.deps.deployment, order_id, audited(call, "ask_provider", order_id)
        )
    except DomainError as refusal:
        return await _refused(call, refusal, "stuck-in-pending")
    # The outcome is the current payment's; what another payment's answer moved is told all the same.
    outcome = "applied" if told.applied else told.outcome
    return await _answered(call, outcome, None, None, told.snapshot)


async def replay_ipn(call: AdminCall[ReplayForm, None]) -> Response:
    """Replay a lost notification: the provider is asked, and has the last word unless it is overridden."""
    order_id, form, services = call.text("order_id"), call.body, call.deps
    payment_id = form.other_payment_id.strip() or form.payment_id
    override = bool(form.override)
    typed = Typed("replay", _typed(form))
    anchor = "override" if override else "replay-ipn"
    entry = audited(
        call,
        "apply_ipn",
        order_id,
        payment_id=payment_id[:PAYMENT_ID_CHARS_MAX],
        provider_status=form.provider_status[:STATUS_CHARS_MAX],
        reason=form.reason[:REASON_CHARS_MAX] or None,
        override=override,
    )
    try:
        _check_length("payment id", payment_id, PAYMENT_ID_CHARS_MAX)
        _check_length("status", form.provider_status.strip(), STATUS_CHARS_MAX)
        _check_length("reason", form.reason, REASON_CHARS_MAX, chars_min=0)
        claim = Claim(
            order_id=order_id,
            payment_id=payment_id,
            provider_status=form.provider_status.strip().lower(),
            reason=form.reason.strip() or None,
            override=override,
            may_override=call.principal.allows(OVERRIDE),
        )
        applied = await operators.apply_ipn(services.deployment, claim, entry)
    except DomainError as refusal:
        return await _refused(call, refusal, anchor, typed, payment_id, form.provider_status)
    async with services.pool.acquire() as conn:
        order = await order_views.one(conn, order_id)
        known = await payments.snapshot_of(conn, order.order.account_id, payment_id) if order else None
    snapshot = known.snapshot.encode() if known and known.snapshot else None
    return await _answered(call, applied.verdict.value, anchor, payment_id, snapshot, form.provider_status)


async def set_note(call: AdminCall[NoteForm, None]) -> Response:
    """Change support's own note."""
    order_id, note = call.text("order_id"), call.body.internal_note
    entry = audited(call, "set_internal_note", order_id, characters=len(note))
    try:
        _check_length("note", note, NOTE_CHARS_MAX, chars_min=0)
        replaced = _digest_in(call.body.replaced)
        await orders.set_internal_note(call.deps.deployment, order_id, note, entry, replaced=replaced)
    except DomainError as refusal:
        return await _refused(call, refusal, "timeline", Typed("note", _typed(call.body)))
    text = "Only support sees it." if note else "There is none now."
    return await _done(call, Result(tone="good", lead="The note is kept.", text=text))


def _digest_in(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text) or None
    except ValueError:
        return b""


async def resolve_flag(call: AdminCall[ResolveForm, None]) -> Response:
    """Resolve a flag of the order, once and with a reason."""
    order_id, flag_id, form = call.text("order_id"), call.uuid("flag_id"), call.body
    shown_id = ids.prefixed("flg", flag_id)
    typed = Typed(shown_id, _typed(form))
    entry = audited(
        call,
        "resolve_flag",
        shown_id,
        resolution=form.resolution[:STATUS_CHARS_MAX],
        reason=form.reason[:REASON_CHARS_MAX],
        reference=form.reference[:REFERENCE_CHARS_MAX] or None,
        override=bool(form.override),
    )
    may_override = call.principal.allows(OVERRIDE)
    anchor = "honour" if form.resolution == "honour" else "resolve"
    try:
        await _check_flag(call, order_id)
        if form.resolution not in RESOLUTIONS:
            raise BadRequest("Choose how the flag is resolved.")
        _check_length("reason", form.reason.strip(), REASON_CHARS_MAX)
        _check_length("reference", form.reference, REFERENCE_CHARS_MAX, chars_min=0)
        asked = Resolution(
            flag_id=flag_id,
            how=form.resolution,
            reason=form.reason.strip(),
            reference=form.reference.strip() or None,
            may_override=may_override and bool(form.override),
        )
        await flags.resolve(call.deps.deployment, asked, entry)
    except DomainError as refusal:
        why = refusal
        if isinstance(refusal, Forbidden) and may_override:
            why = Conflict(unconfirmed(may_override=True), resource="flag", field="override")
        return await _refused(call, why, anchor, typed)
    lead = f"Flag {resolved(form.resolution)}."
    return await _done(call, Result(tone="good", lead=lead, text=RESOLUTIONS[form.resolution]))


async def _check_flag(call: AdminCall[Any, Any], order_id: str) -> None:
    async with call.deps.pool.acquire() as conn:
        flag = await flag_lists.get(conn, call.uuid("flag_id"))
    if flag is None or flag.order_id != order_id:
        raise NotFound


async def resend_webhook(call: AdminCall[OrderForm, None]) -> Response:
    """Send a webhook of the order again, with the same event id."""
    order_id, delivery_id = call.text("order_id"), call.uuid("delivery_id")
    entry = audited(call, "replay_webhook_delivery", ids.prefixed("wdl", delivery_id))
    try:
        async with call.deps.pool.acquire() as conn:
            shown = await order_views.one(conn, order_id)
            known = await deliveries.of_order(conn, shown.order.account_id, order_id) if shown else ()
        meant = [told for told in known if told.delivery.delivery_id == delivery_id]
        if not meant:
            raise NotFound
        await delivering.replay(call.deps.pool, None, delivery_id, entry)
    except DomainError as refusal:
        return await _refused(call, refusal, "dead-webhooks")
    receiver, more = meant[0].receiver, section("dead-webhooks")
    if receiver.holds:
        why = delivery_words.why_held(receiver)
        text = f"It goes out when the customer resumes the endpoint, with the same event id: {why}."
        return await _done(call, Result(tone="info", lead="The webhook is kept.", text=text, more=more))
    text = "It goes out within a second, with the same event id; its attempts count anew."
    return await _done(call, Result(tone="good", lead="The webhook is sent again.", text=text, more=more))


async def _done(call: AdminCall[Any, None], result: Result) -> Response:
    view = await read_view(call, call.text("order_id"))
    return draw(call, view, call.body.shown_in, result=result)


async def _answered(
    call: AdminCall[Any, None],
    outcome: str,
    anchor: str | None,
    payment_id: str | None,
    snapshot: bytes | None,
    claim: str = "",
) -> Response:
    """What the provider's word did, and that word beside ours and the operator's.

    Without an anchor the section of the runbook is the one about the order's state.
    """
    async with call.deps.pool.acquire() as conn:
        shown = await order_views.one(conn, call.text("order_id"))
    rows = ()
    if shown is not None:
        wanted = payment_id or shown.order.payment_id
        payment = next((each for each in shown.payments if each.payment_id == wanted), None)
        rows = compared(shown.order, payment, snapshot, claim.strip().lower())
        anchor = anchor or anchor_about(shown.order.status)
    tone, lead, text = OUTCOMES.get(outcome, ("warn", "Not moved.", f"The outcome is {outcome}."))
    return await _done(
        call, Result(tone=tone, lead=lead, text=text, more=more_on(outcome, anchor or "states"), rows=rows)
    )


async def _refused(
    call: AdminCall[Any, None],
    refusal: DomainError,
    anchor: str,
    typed: Typed = NOTHING_TYPED,
    payment_id: str | None = None,
    claim: str = "",
) -> Response:
    """Why it was refused, with what was typed kept; NotFound when the order itself is not there."""
    view = await read_view(call, call.text("order_id"))
    status, lead, text = refused_in_words(refusal)
    more, rows = section(anchor), ()
    if isinstance(refusal, Conflict):
        outcome = str(refusal.extras.get("outcome", ""))
        if outcome in OUTCOMES:
            _, lead, text = OUTCOMES[outcome]
            more = more_on(outcome, anchor)
        async with call.deps.pool.acquire() as conn:
            known = await order_views.one(conn, view.order.order_id)
        wanted = payment_id or view.order.payment_id
        payment = next((p for p in known.payments if p.payment_id == wanted), None) if known else None
        snapshot = cast("msgspec.Raw | None", refusal.extras.get("snapshot"))
        kept = bytes(snapshot) if snapshot is not None else None
        rows = compared(view.order, payment, kept, claim.strip().lower())
    result = Result(tone="bad", lead=lead, text=text, more=more, rows=rows)
    return draw(call, view, call.body.shown_in, status=status, result=result, typed=typed)


def _typed(form: OrderForm) -> dict[str, str]:
    values = msgspec.structs.asdict(form)
    return {name: text for name, text in values.items() if name not in {"csrf", "shown_in"}}


def _check_length(what: str, text: str, chars_max: int, *, chars_min: int = 1) -> None:
    if len(text) < chars_min:
        detail = f"The {what} is missing."
        raise BadRequest(detail)
    if len(text) > chars_max:
        detail = f"The {what} may have at most {chars_max} characters; this one has {len(text)}."
        raise BadRequest(detail)


_ORDER: Final = f"{PATH}/{{order_id:order_id}}"

ENDPOINTS: Final[tuple[Endpoint[AdminServices, Operator, Any, Any], ...]] = (
    action(f"{_ORDER}/ask", ask_provider, body=OrderForm),
    action(f"{_ORDER}/replay", replay_ipn, body=ReplayForm),
    action(f"{_ORDER}/note", set_note, body=NoteForm),
    action(f"{_ORDER}/flags/{{flag_id:flg}}/resolve", resolve_flag, body=ResolveForm),
    action(f"{_ORDER}/deliveries/{{delivery_id:wdl}}/resend", resend_webhook, body=OrderForm),
)
