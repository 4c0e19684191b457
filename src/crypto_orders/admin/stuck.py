"""Orders that ought to have ended: pending past their pay window, or with money that never settles."""

from datetime import timedelta
from typing import Annotated, Any, Final

from msgspec import Meta, Struct
from starlette.responses import Response

from crypto_orders.admin.flags import FlagRow, flag_rows
from crypto_orders.admin.lists import PAGE_ROWS, address, capped, paging
from crypto_orders.admin.refusals import Refusal, refusal_of
from crypto_orders.admin.services import AdminServices
from crypto_orders.admin.session import AdminCall, Form, Operator, action, audited, page, screen, see_done
from crypto_orders.domain.errors import BadRequest, DomainError
from crypto_orders.domain.order import FlagKind
from crypto_orders.kit.http import Endpoint
from crypto_orders.store import flag_lists, overview, stuck_orders
from crypto_orders.store.connection import Conn
from crypto_orders.usecases import sweep

PATH: Final = "/admin/stuck"
HOURS_MAX: Final = 8760

Hours = Annotated[int, Meta(ge=1, le=HOURS_MAX)]


class StuckQuery(Struct, frozen=True, kw_only=True):
    """Which page, and how old what a sweep looks at is."""

    cursor: str | None = None
    older_than_hours: Hours = 1


class SweepForm(Form, frozen=True, kw_only=True):
    """How old what the sweep looks at is, in hours."""

    older_than_hours: int = 1


async def show_stuck(call: AdminCall[None, StuckQuery]) -> Response:
    """Every order that is stuck, the oldest first, and the sweep."""
    query = call.query
    return await _stuck_page(call, older_than_hours=query.older_than_hours, after=query.cursor)


async def sweep_expired(call: AdminCall[SweepForm, None]) -> Response:
    """Ask the provider about each pending order past its window, and retire those it calls waiting."""
    hours = call.body.older_than_hours
    entry = audited(call, "sweep_expired", None, older_than_hours=hours, limit=sweep.LIMIT_MAX)
    try:
        if not 1 <= hours <= HOURS_MAX:
            raise BadRequest(f"An age of 1 to {HOURS_MAX} hours.")
        swept = await sweep.sweep(
            call.deps.deployment, older_than_hours=hours, limit=sweep.LIMIT_MAX, entry=entry
        )
    except DomainError as error:
        return await _stuck_page(call, older_than_hours=1, refusal=refusal_of(error, "sweep"))
    told = (
        f"Swept: {swept.expired} retired, {swept.healed} healed because their money had come, "
        f"{swept.skipped} left as they are."
    )
    more = " More are left: sweep again." if swept.capped else ""
    return see_done(call, address(PATH, older_than_hours=hours), told + more)


async def _stuck_page(
    call: AdminCall[Any, Any],
    *,
    older_than_hours: int,
    after: str | None = None,
    refusal: Refusal | None = None,
) -> Response:
    async with call.deps.search_pool.acquire() as conn:
        found = await stuck_orders.oldest_first(conn, limit=PAGE_ROWS, after=after)
        count = await stuck_orders.count(conn)
        sweepable = await stuck_orders.count_sweepable(conn, timedelta(hours=older_than_hours))
        flagged, more_flagged = await _flagged(conn)
        now = await overview.now(conn)
    return page(
        call,
        "stuck.html",
        status=refusal.status if refusal else 200,
        active="stuck",
        rows=found.items,
        flagged=flagged,
        flagged_count=f"{len(flagged)}{'+' if more_flagged else ''}",
        count=capped(count, stuck_orders.COUNTED_MAX),
        sweepable=capped(sweepable, stuck_orders.COUNTED_MAX),
        has_sweepable=sweepable > 0,
        older_than_hours=older_than_hours,
        hours_max=HOURS_MAX,
        sweep_max=sweep.LIMIT_MAX,
        now=now,
        refusal=refusal,
        paging=paging(PATH, {}, after=after, following=found.next_cursor, words={}),
    )


async def _flagged(conn: Conn) -> tuple[list[FlagRow], bool]:
    """The oldest flags of stuck money, and whether there are more."""
    found = await flag_lists.oldest_open_first(
        conn, kind=FlagKind.STUCK, state="open", limit=PAGE_ROWS, after=None
    )
    return await flag_rows(conn, list(found.items)), found.next_cursor is not None


ENDPOINTS: tuple[Endpoint[AdminServices, Operator, Any, Any], ...] = (
    screen(PATH, show_stuck, query=StuckQuery),
    action(f"{PATH}/sweep", sweep_expired, body=SweepForm),
)
