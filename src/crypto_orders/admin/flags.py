"""What waits for a person: the flags, the oldest open ones first, and resolving one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from msgspec import Struct
from starlette.responses import JSONResponse, Response

from crypto_orders.admin.flag_words import KINDS, KindWords, resolved
from crypto_orders.admin.lists import PAGE_ROWS, account_id_of, address, capped, paging
from crypto_orders.admin.refusals import Refusal, refusal_of, unconfirmed
from crypto_orders.admin.runbook import section
from crypto_orders.admin.services import AdminServices
from crypto_orders.admin.session import AdminCall, Form, Operator, action, audited, page, screen, see_other
from crypto_orders.domain.errors import BadRequest, DomainError, Forbidden, NotFound
from crypto_orders.domain.operator import OVERRIDE, READ
from crypto_orders.domain.order import Evidence, FlagKind, Via
from crypto_orders.kit import ids
from crypto_orders.kit.http import Endpoint
from crypto_orders.pages.formats import crypto
from crypto_orders.store import accounts, flag_lists, overview
from crypto_orders.store.connection import Conn
from crypto_orders.store.flag_lists import KeptFlag
from crypto_orders.usecases import flags
from crypto_orders.usecases.flags import HONOURABLE, Resolution

PATH: Final = "/admin/flags"
REASON_CHARS_MAX: Final = 2000
REFERENCE_CHARS_MAX: Final = 200


VIA_WORDS: Final[Mapping[Via | None, str]] = {
    Via.IPN: "A notification said",
    Via.POLL: "The provider, when asked, said",
    Via.OPERATOR: "An operator said",
    None: "It was seen here",
}

DONE: Final[Mapping[str, str]] = {
    "honour": "Honoured: the order is paid, and the customer's system is told.",
    "credited": "Resolved as credited.",
    "dismissed": "Dismissed.",
}


class EvidenceLine(Struct, frozen=True):
    """One fact behind a flag, in words."""

    at: datetime
    words: str
    note: str | None


class FlagRow(Struct, frozen=True, kw_only=True):
    """A flag as it is drawn. `order` is the address of its order's drawer."""

    path: str
    kind: FlagKind
    words: KindWords
    is_open: bool
    order_id: str | None
    order: str | None
    account: str | None
    account_name: str | None
    payment_id: str | None
    evidence: tuple[EvidenceLine, ...]
    opened_at: datetime
    last_seen_at: datetime
    times_seen: int
    runbook: str
    may_be_honoured: bool
    resolved: str
    reason: str | None
    reference: str | None
    resolved_at: datetime | None
    resolved_by: str | None


class FlagsQuery(Struct, frozen=True, kw_only=True):
    """Which flags; the open ones unless the others are asked for."""

    kind: FlagKind | None = None
    state: Literal["open", "resolved"] = "open"
    cursor: str | None = None


class DoneQuery(Struct, frozen=True):
    """What was done just now."""

    done: str | None = None


class ResolveForm(Form, frozen=True, kw_only=True):
    """How a flag is resolved, and why. A credit has a reference; `override` honours against the provider."""

    resolution: str = ""
    reason: str = ""
    reference: str = ""
    override: bool = False


async def show_counts(call: AdminCall[None, None]) -> Response:
    """What the navigation counts: open flags and dead deliveries."""
    async with call.deps.pool.acquire() as conn:
        waiting = await overview.waiting(conn)
    most = overview.COUNTED_MAX
    return JSONResponse({"flags": capped(waiting.flags, most), "dlq": capped(waiting.dlq, most)})


async def show_flags(call: AdminCall[None, FlagsQuery]) -> Response:
    """The flags of a kind and a state, the oldest first."""
    query = call.query
    async with call.deps.search_pool.acquire() as conn:
        found = await flag_lists.oldest_open_first(
            conn, kind=query.kind, state=query.state, limit=PAGE_ROWS, after=query.cursor
        )
        rows = await flag_rows(conn, list(found.items))
        by_kind = await overview.open_flags_by_kind(conn)
        waiting = await overview.waiting(conn)
        now = await overview.now(conn)
    most = overview.COUNTED_MAX
    state = query.state if query.state != "open" else None
    filters = {"kind": query.kind.value if query.kind else None, "state": state}
    return page(
        call,
        "flags.html",
        active="flags",
        rows=rows,
        now=now,
        state=query.state,
        kind=query.kind,
        tabs_shown=[
            ("Open", capped(waiting.flags, most), address(PATH, kind=filters["kind"]), query.state == "open"),
            (
                "Resolved",
                None,
                address(PATH, kind=filters["kind"], state="resolved"),
                query.state == "resolved",
            ),
        ],
        kinds=[(kind, KINDS[kind].title, capped(by_kind.get(kind, 0), most)) for kind in FlagKind],
        paging=paging(
            PATH,
            filters,
            after=query.cursor,
            following=found.next_cursor,
            words={"kind": "Kind"},
            shown={"kind": KINDS[query.kind].title} if query.kind else None,
        ),
    )


async def show_flag(call: AdminCall[None, DoneQuery]) -> Response:
    """One flag, the facts behind it, and how it can be resolved."""
    return await _flag_page(call, done=call.query.done)


async def resolve_flag(call: AdminCall[ResolveForm, None]) -> Response:
    """Resolve a flag once, with a reason; honouring one pays the ended order it is about."""
    form, flag_id = call.body, call.uuid("flag_id")
    shown_id = ids.prefixed("flg", flag_id)
    entry = audited(
        call,
        "resolve_flag",
        shown_id,
        resolution=form.resolution,
        reason=form.reason,
        reference=form.reference or None,
        override=form.override,
    )
    may_override = call.principal.allows(OVERRIDE)
    asked = Resolution(
        flag_id=flag_id,
        how=form.resolution,
        reason=form.reason.strip(),
        reference=form.reference.strip() or None,
        may_override=may_override and form.override,
    )
    try:
        _check_form(form)
        await flags.resolve(call.deps.deployment, asked, entry)
    except NotFound:
        raise
    except Forbidden:
        words = unconfirmed(may_override=may_override)
        refusal = Refusal(status=409 if may_override else 403, words=words, more=section("honour"))
        return await _flag_page(call, form=form, refusal=refusal)
    except DomainError as error:
        return await _flag_page(call, form=form, refusal=refusal_of(error, "resolve"))
    return see_other(f"{PATH}/{shown_id}?done={form.resolution}")


def _check_form(form: ResolveForm) -> None:
    if form.resolution not in DONE:
        raise BadRequest("Choose how the flag is resolved: honour, credited or dismissed.")
    if not form.reason.strip():
        raise BadRequest("Say why: a colleague reads it in a year.")
    if len(form.reason) > REASON_CHARS_MAX or len(form.reference) > REFERENCE_CHARS_MAX:
        raise BadRequest(
            f"A reason has at most {REASON_CHARS_MAX} characters, a reference {REFERENCE_CHARS_MAX}."
        )


async def _flag_page(
    call: AdminCall[Any, Any],
    *,
    form: ResolveForm | None = None,
    done: str | None = None,
    refusal: Refusal | None = None,
) -> Response:
    async with call.deps.pool.acquire() as conn:
        kept = await flag_lists.get(conn, call.uuid("flag_id"))
        if kept is None:
            raise NotFound
        rows = await flag_rows(conn, [kept])
        now = await overview.now(conn)
    # An address says that something was done; only the flag itself knows whether it was.
    was_done = done is not None and done == kept.resolution
    return page(
        call,
        "flag.html",
        status=refusal.status if refusal else 200,
        active="flags",
        flag=rows[0],
        now=now,
        form=form or ResolveForm(),
        done=DONE[done] if done is not None and was_done else None,
        refusal=refusal,
    )


async def flag_rows(conn: Conn, kept: list[KeptFlag]) -> list[FlagRow]:
    """Flags as they are drawn, with the names of their accounts."""
    names = await accounts.names(conn, {flag.account for flag in kept if flag.account})
    return [_row(flag, names) for flag in kept]


def _row(flag: KeptFlag, names: Mapping[UUID, str]) -> FlagRow:
    return FlagRow(
        path=f"{PATH}/{ids.prefixed('flg', flag.flag_id)}",
        kind=flag.kind,
        words=KINDS[flag.kind],
        is_open=flag.state == "open",
        order_id=flag.order_id,
        order=address("/admin/orders", order=flag.order_id) if flag.order_id else None,
        account=account_id_of(flag.account),
        account_name=names.get(flag.account) if flag.account else None,
        payment_id=flag.payment_id,
        evidence=tuple(_line(fact) for fact in flag.evidence),
        opened_at=flag.opened_at,
        last_seen_at=flag.last_seen_at,
        times_seen=flag.times_seen,
        runbook=section(f"flag-{flag.kind.value}").address,
        may_be_honoured=flag.kind in HONOURABLE,
        resolved=resolved(flag.resolution),
        reason=flag.reason,
        reference=flag.reference,
        resolved_at=flag.resolved_at,
        resolved_by=flag.resolved_by,
    )


def _line(fact: Evidence) -> EvidenceLine:
    said = VIA_WORDS[fact.via]
    parts = [f"{said} “{fact.provider_status}”" if fact.provider_status else said.removesuffix(" said")]
    if fact.actually_paid is not None:
        parts.append(f"{crypto(fact.actually_paid, fact.pay_currency)} arrived")
    return EvidenceLine(fact.at, ", ".join(parts) + ".", fact.note)


ENDPOINTS: tuple[Endpoint[AdminServices, Operator, Any, Any], ...] = (
    Endpoint(
        method="GET",
        path="/admin/counts",
        handler=show_counts,
        scope=READ,
        media_types=("application/json",),
        documented=False,
        from_page=True,
    ),
    screen(PATH, show_flags, query=FlagsQuery),
    screen(f"{PATH}/{{flag_id:flg}}", show_flag, query=DoneQuery),
    action(f"{PATH}/{{flag_id:flg}}/resolve", resolve_flag, body=ResolveForm),
)
