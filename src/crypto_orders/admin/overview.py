"""The overview: how the last day went against a week ago, what waits, and whether the provider is well."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

from msgspec import Struct
from starlette.responses import Response

from crypto_orders.admin import charts
from crypto_orders.admin.charts import Bars, Spark
from crypto_orders.admin.lists import address, capped
from crypto_orders.admin.services import AdminServices
from crypto_orders.admin.session import AdminCall, Operator, page, screen, see_other
from crypto_orders.domain.order import Status
from crypto_orders.kit import clock, ids
from crypto_orders.kit.http import Endpoint
from crypto_orders.pages.formats import fiat, span
from crypto_orders.store import accounts, idempotency_metrics, overview, stats
from crypto_orders.store.connection import Conn
from crypto_orders.store.overview import CreateCalls, Heard, HourCount, PaidStretch, Waiting
from crypto_orders.store.stats import DayCount, PendingAges

PATH: Final = "/admin"
TILES_PATH: Final = f"{PATH}/overview/tiles"
DAY: Final = timedelta(days=1)
WEEK: Final = timedelta(days=7)
HOURS_SHOWN: Final = 48
DAYS_SHOWN: Final = 30
SPARK_HOURS: Final = 24
SPARK_DAYS: Final = 14
WORST_SHOWN: Final = 3
KEY_USES_MAX: Final = 50_000
"""First writes of idempotency keys, and replays, that a day's strip is made of, the newest: some 50 ms."""

HOURS_BETWEEN_TICKS: Final = 6
DAYS_BETWEEN_TICKS: Final = 5
_CENT: Final = 100

TONES: Final = ("paid", "open", "ended", "lost")
TONE_OF: Final[Mapping[str, str]] = {
    Status.PAID: "paid",
    Status.PENDING: "open",
    Status.CONFIRMING: "open",
    Status.PARTIAL: "open",
    Status.FAILED: "lost",
    Status.CANCELLED: "ended",
}
TONE_WORDS: Final[Mapping[str, str]] = {
    "paid": "Paid",
    "open": "Open",
    "ended": "Cancelled",
    "lost": "Failed",
}

CALL_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "minted": ("made a payment", "good"),
    "mismatched": ("made another payment than asked", "bad"),
    "refused": ("refused", "warn"),
    "not_made": ("never arrived", "warn"),
    "unknown": ("no answer", "bad"),
    "sent": ("under way", "neutral"),
}


class Tile(Struct, frozen=True, kw_only=True):
    """One number with what it is compared to. `path` leads to what it counts."""

    key: str
    label: str
    figures: tuple[str, ...]
    change: str
    path: str
    spark: Spark | None
    is_bad: bool = False


class Column(Struct, frozen=True, kw_only=True):
    """One hour or day of the chart, for its hidden table."""

    label: str
    counts: tuple[int, ...]


class Worst(Struct, frozen=True, kw_only=True):
    """An account that uses its idempotency keys wrongly."""

    path: str
    name: str
    mismatches: int
    last_at: datetime | None


class KeyUse(Struct, frozen=True, kw_only=True):
    """How idempotency keys were used; the share is of all uses."""

    first_writes: int
    replays: int
    share: str
    mismatches: int
    worst: tuple[Worst, ...]
    note: str | None


class Bucket(Struct, frozen=True):
    """Pending orders of an age, and their share of the widest bucket in percent."""

    label: str
    count: int
    percent: int


class CallLine(Struct, frozen=True, kw_only=True):
    """Calls to the provider that ended in one way."""

    words: str
    tone: str
    calls: int
    median: str
    slowest: str


class OverviewQuery(Struct, frozen=True):
    """By what the orders are counted."""

    by: Literal["hour", "day"] = "hour"


async def show_overview(call: AdminCall[None, OverviewQuery]) -> Response:
    """Everything at a glance."""
    by = call.query.by
    async with call.deps.pool.acquire() as conn:
        now = await overview.now(conn)
        tiles = await _tiles(conn, now)
        columns, ticks = await (_hours(conn, now) if by == "hour" else _days(conn, now))
        use = await _key_use(conn, now)
        ages = await stats.pending_ages(conn, now)
        calls = [_call_line(each) for each in await overview.create_calls(conn, now - DAY)]
        heard = await overview.heard(conn)
    return page(
        call,
        "overview.html",
        active="overview",
        now=now,
        tiles=tiles,
        by=by,
        columns=columns,
        chart=_chart(columns, ticks),
        chart_size=(charts.CHART_WIDTH, charts.CHART_HEIGHT),
        spark_size=(charts.SPARK_WIDTH, charts.SPARK_HEIGHT),
        tones=[(tone, TONE_WORDS[tone]) for tone in TONES],
        use=use,
        buckets=_buckets(ages),
        pending=ages.total,
        pending_value=[fiat(cents, currency) for currency, cents in ages.value_cents.items()],
        calls=calls,
        recent_orders=overview.RECENT_ORDERS,
        recent_facts=overview.RECENT_FACTS,
        heard=heard,
        waits=_waits(heard),
    )


async def show_tiles(call: AdminCall[None, None]) -> Response:
    """The tiles alone, for the page that refreshes them; whoever follows the address gets that page."""
    if call.header("hx-request") is None:
        return see_other(PATH)
    async with call.deps.pool.acquire() as conn:
        now = await overview.now(conn)
        tiles = await _tiles(conn, now)
    return page(
        call,
        "tiles.html",
        tiles=tiles,
        now=now,
        spark_size=(charts.SPARK_WIDTH, charts.SPARK_HEIGHT),
    )


async def _tiles(conn: Conn, now: datetime) -> list[Tile]:
    paid = await overview.paid_between(conn, now - DAY, now)
    before = await overview.paid_between(conn, now - DAY - WEEK, now - WEEK)
    orders = await overview.orders_between(conn, now - DAY, now)
    orders_before = await overview.orders_between(conn, now - DAY - WEEK, now - WEEK)
    hours = await overview.hourly(conn, _hour(now) - timedelta(hours=SPARK_HOURS - 1))
    waiting = await overview.waiting(conn)
    oldest = await overview.oldest_pending(conn)
    dead = await overview.dead_by_day(conn, now - SPARK_DAYS * DAY)
    flags = await overview.flags_by_day(conn, now - SPARK_DAYS * DAY)
    return [
        _volume(paid, before, now),
        Tile(
            key="orders",
            label="Orders, 24 h",
            figures=(capped(orders, overview.ORDERS_OF_A_STATUS_MAX - 1),),
            change=_against(orders, orders_before),
            path=address("/admin/orders", created_after=clock.to_iso(now - DAY)),
            spark=charts.spark(_by_hour(hours, now), "Orders by hour, 24 hours"),
        ),
        _time_to_paid(paid, before, now),
        Tile(
            key="pending",
            label="Oldest pending",
            figures=(span(now - oldest.created_at) if oldest else "—",),
            change=f"since {oldest.created_at:%b %d, %H:%M} UTC" if oldest else "nothing is pending",
            path="/admin/stuck",
            spark=charts.spark(
                _by_hour(hours, now, Status.PENDING), "Orders still pending, by the hour they were made"
            ),
        ),
        _failing(waiting, dead, now),
        Tile(
            key="flags",
            label="Open flags",
            figures=(capped(waiting.flags, overview.COUNTED_MAX),),
            change=f"oldest {span(now - waiting.oldest_flag_at)}"
            if waiting.oldest_flag_at
            else "nothing waits for a person",
            path="/admin/flags",
            spark=charts.spark(_by_day(flags, now), f"Flags raised by day, {SPARK_DAYS} days"),
            is_bad=waiting.flags > 0,
        ),
    ]


def _volume(paid: PaidStretch, before: PaidStretch, now: datetime) -> Tile:
    main = next(iter(paid.cents), None)
    by_hour = paid.hour_cents.get(main, {}) if main else {}
    changes = [
        _against(cents, before.cents.get(currency, 0)) for currency, cents in list(paid.cents.items())[:1]
    ]
    note = f" · of the newest {overview.PAID_ORDERS_MAX:,}" if paid.capped else ""
    return Tile(
        key="volume",
        label="Paid volume, 24 h",
        figures=tuple(fiat(cents, currency) for currency, cents in paid.cents.items()) or ("—",),
        change=(changes[0] if changes else _against(0, sum(before.cents.values()))) + note,
        path=_paid_path(now),
        spark=charts.spark(
            [by_hour.get(hour, 0) / _CENT for hour in range(SPARK_HOURS)], f"Paid by hour in {main}"
        ),
    )


def _paid_path(now: datetime) -> str:
    """The orders of the last day that are paid: what the tiles are made of."""
    return address("/admin/orders", status="paid", created_after=clock.to_iso(now - DAY))


def _time_to_paid(paid: PaidStretch, before: PaidStretch, now: datetime) -> Tile:
    change = "nothing was paid"
    if paid.took is not None:
        change = f"median of {paid.orders:,} orders"
        if before.took is not None:
            change += f", {span(before.took)} a week ago"
    took = paid.hour_took
    return Tile(
        key="time-to-paid",
        label="Time to paid, median",
        figures=(exact_span(paid.took) if paid.took is not None else "—",),
        change=change,
        path=_paid_path(now),
        spark=charts.spark(
            [took.get(hour, timedelta()).total_seconds() for hour in range(SPARK_HOURS)],
            "Median time to paid by hour, 24 hours",
        ),
    )


def _failing(waiting: Waiting, dead: Mapping[date, int], now: datetime) -> Tile:
    most = overview.COUNTED_MAX
    return Tile(
        key="webhooks",
        label="Failing webhooks",
        figures=(capped(waiting.failing_endpoints, most),),
        change="1 dead letter" if waiting.dlq == 1 else f"{capped(waiting.dlq, most)} dead letters",
        path=address("/admin/webhooks", failing=True),
        spark=charts.spark(_by_day(dead, now), f"Dead letters by day, {SPARK_DAYS} days"),
        is_bad=waiting.failing_endpoints > 0 or waiting.dlq > 0,
    )


def exact_span(length: timedelta) -> str:
    """A length of time in its two largest units: `6 min 12 s`."""
    seconds = int(length.total_seconds())
    for unit, word, below, lower in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= unit:
            rest = seconds % unit // below
            return f"{seconds // unit} {word} {rest} {lower}" if rest else f"{seconds // unit} {word}"
    return f"{seconds} s" if seconds else f"{int(length.total_seconds() * 1000)} ms"


def _against(value: int, before: int) -> str:
    """How a number stands to the one of a week ago, in words and with a sign."""
    if not before:
        return "nothing a week ago" if value else "as a week ago"
    change = (value - before) / before * 100
    return f"{change:+.1f} % vs. a week ago".replace("-", "−")  # noqa: RUF001 - a minus sign


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _by_hour(hours: Sequence[HourCount], now: datetime, status: str | None = None) -> list[float]:
    first = _hour(now) - timedelta(hours=SPARK_HOURS - 1)
    values = [0.0] * SPARK_HOURS
    for each in hours:
        place = int((each.hour - first) / timedelta(hours=1))
        if (status is None or each.status == status) and 0 <= place < SPARK_HOURS:
            values[place] += each.count
    return values


def _by_day(counts: Mapping[date, int], now: datetime) -> list[float]:
    today = now.astimezone(UTC).date()
    return [float(counts.get(today - timedelta(days=ago), 0)) for ago in reversed(range(SPARK_DAYS))]


async def _hours(conn: Conn, now: datetime) -> tuple[list[Column], list[str | None]]:
    first = _hour(now) - timedelta(hours=HOURS_SHOWN - 1)
    shown = [first + timedelta(hours=place) for place in range(HOURS_SHOWN)]
    counts: dict[tuple[datetime, str], int] = {}
    for each in await overview.hourly(conn, first):
        key = (each.hour.astimezone(UTC), TONE_OF[each.status])
        counts[key] = counts.get(key, 0) + each.count
    columns = [
        Column(label=f"{at:%Y-%m-%d %H:00}", counts=tuple(counts.get((at, tone), 0) for tone in TONES))
        for at in shown
    ]
    return columns, [f"{at:%H:%M}" if at.hour % HOURS_BETWEEN_TICKS == 0 else None for at in shown]


async def _days(conn: Conn, now: datetime) -> tuple[list[Column], list[str | None]]:
    today = now.astimezone(UTC).date()
    shown = [today - timedelta(days=ago) for ago in reversed(range(DAYS_SHOWN))]
    counts = _by_tone(await stats.daily(conn, today, DAYS_SHOWN))
    columns = [
        Column(label=str(at), counts=tuple(counts.get((at, tone), 0) for tone in TONES)) for at in shown
    ]
    ticks = [
        f"{at:%m-%d}" if (DAYS_SHOWN - 1 - place) % DAYS_BETWEEN_TICKS == 0 else None
        for place, at in enumerate(shown)
    ]
    return columns, ticks


def _by_tone(days: Sequence[DayCount]) -> dict[tuple[date, str], int]:
    counts: dict[tuple[date, str], int] = {}
    for each in days:
        key = (each.date, TONE_OF[each.status])
        counts[key] = counts.get(key, 0) + each.count
    return counts


def _chart(columns: Sequence[Column], ticks: Sequence[str | None]) -> Bars | None:
    if not any(any(column.counts) for column in columns):
        return None
    return charts.bars([list(zip(TONES, column.counts, strict=True)) for column in columns], ticks)


async def _key_use(conn: Conn, now: datetime) -> KeyUse:
    use = await idempotency_metrics.of_newest(conn, now - DAY, most=KEY_USES_MAX)
    worst = [each for each in use.accounts if each.body_mismatches][:WORST_SHOWN]
    names = await accounts.names(conn, [each.account_id for each in worst])
    uses = use.first_writes + use.replays
    return KeyUse(
        first_writes=use.first_writes,
        replays=use.replays,
        share=f"{use.replays / uses * 100:.1f} %" if uses else "—",
        mismatches=use.body_mismatches,
        note=f"Of the newest {KEY_USES_MAX:,} first writes and replays." if use.capped else None,
        worst=tuple(
            Worst(
                path=f"/admin/accounts/{ids.prefixed('acc', each.account_id)}",
                name=names.get(each.account_id, ids.prefixed("acc", each.account_id)),
                mismatches=each.body_mismatches,
                last_at=each.last_mismatch_at,
            )
            for each in worst
        ),
    )


def _buckets(ages: PendingAges) -> list[Bucket]:
    counted = [
        ("Under 1 h", ages.under_1h),
        ("1 to 6 h", ages.h1_to_6h),
        ("6 to 24 h", ages.h6_to_24h),
        ("Over 24 h", ages.over_24h),
    ]
    most = max(count for _, count in counted) or 1
    return [Bucket(label, count, round(count / most * 100)) for label, count in counted]


def _call_line(each: CreateCalls) -> CallLine:
    words, tone = CALL_WORDS[each.state]
    return CallLine(
        words=words,
        tone=tone,
        calls=each.calls,
        median=_milliseconds(each.median),
        slowest=_milliseconds(each.slowest_twentieth),
    )


def _milliseconds(length: timedelta | None) -> str:
    return "—" if length is None else f"{round(length / timedelta(milliseconds=1)):,} ms"


def _waits(heard: Heard) -> tuple[str, str]:
    most = overview.COUNTED_MAX
    return capped(heard.unsettled, most), capped(heard.to_ask, most)


ENDPOINTS: tuple[Endpoint[AdminServices, Operator, Any, Any], ...] = (
    screen(PATH, show_overview, query=OverviewQuery),
    screen(TILES_PATH, show_tiles),
)
