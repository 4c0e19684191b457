"""The list of orders as it is drawn: tabs, filters as chips, rows, and which filter hid what."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
from msgspec import Struct

from crypto_orders.admin import delivery_words
from crypto_orders.admin.flag_words import name_of
from crypto_orders.admin.order_query import FILTER_NAMES, PATH, Asked, address_of, without
from crypto_orders.admin.order_view import Coins, received_of
from crypto_orders.domain.order import FlagKind, Status
from crypto_orders.kit import ids
from crypto_orders.store import order_lists
from crypto_orders.store.connection import Conn
from crypto_orders.store.order_filters import ANY_FLAG
from crypto_orders.store.order_surroundings import Flagged, WebhookSummary
from crypto_orders.store.order_views import AdminShown
from crypto_orders.store.stats import Stats

PROBES_SECONDS_MAX: Final = 2.0
"""All looks for what a filter hid together: nobody waits longer to read that nothing was found."""


class Tab(Struct, frozen=True, kw_only=True):
    """One tab: how many orders there are in all, in words, and the list of them under the other filters."""

    label: str
    count: str
    address: str
    is_current: bool
    tone: str = ""


class Chip(Struct, frozen=True):
    """A filter that is on, and the list without it."""

    label: str
    value: str
    address: str


class Cell(Struct, frozen=True):
    """A word with its tone."""

    text: str
    tone: str


class OrderRow(Struct, frozen=True, kw_only=True):
    """One order in the list."""

    order_id: str
    address: str
    status: str
    price_cents: int
    price_currency: str
    received: tuple[Coins, ...]
    account_id: str
    account_name: str
    product: str
    webhook: Cell | None
    created_at: datetime
    open_flags: tuple[str, ...]


class Span(Struct, frozen=True):
    """A span of time that is one click away."""

    label: str
    address: str
    is_current: bool


def tabs_of(asked: Asked, stats: Stats, flagged: Flagged) -> list[Tab]:
    """All orders, those with open flags, and one tab for each status."""
    status, flag = asked.given.get("status"), asked.given.get("flag")
    tabs = [
        Tab(
            label="All",
            count=f"{stats.total:,}",
            address=asked.address(status=None, flag=None),
            is_current=not status and not flag,
        ),
        Tab(
            label="Needs attention",
            count=f"{flagged.orders:,}{'+' if flagged.more else ''}",
            address=asked.address(status=None, flag=ANY_FLAG),
            is_current=not status and bool(flag),
            tone="warn" if flagged.orders else "",
        ),
    ]
    tabs += [
        Tab(
            label=each.value.capitalize(),
            count=f"{stats.by_status.get(each.value, 0):,}",
            address=asked.address(status=each.value, flag=None),
            is_current=status == each.value,
        )
        for each in Status
    ]
    return tabs


def chips_of(asked: Asked, account_names: Mapping[str, str]) -> list[Chip]:
    """The filters that are on, each with the way to take it off."""
    chips: list[Chip] = []
    for name, label in FILTER_NAMES.items():
        value = asked.given.get(name)
        if value is not None:
            chips.append(Chip(label, _shown(name, value, account_names), asked.address(**{name: None})))
    return chips


def _shown(name: str, value: str, account_names: Mapping[str, str]) -> str:
    if name == "account_id":
        return account_names.get(value, value)
    if name == "flag":
        return dict(flag_choices()).get(value, value)
    return value


def spans_of(asked: Asked, now: datetime) -> list[Span]:
    """Today, yesterday and the last seven days, in UTC, under the other filters."""
    today = now.date()
    spans = (
        ("Today", today, today),
        ("Yesterday", today - timedelta(days=1), today - timedelta(days=1)),
        ("7 days", today - timedelta(days=6), today),
    )
    given = (asked.given.get("created_after"), asked.given.get("created_before"))
    return [
        Span(
            label,
            asked.address(created_after=first.isoformat(), created_before=last.isoformat()),
            given == (first.isoformat(), last.isoformat()),
        )
        for label, first, last in spans
    ]


def row_of(
    shown: AdminShown, asked: Asked, names: Mapping[UUID, str], webhooks: Mapping[str, WebhookSummary]
) -> OrderRow:
    """One order in the list; its link opens the drawer beside this very page of the list."""
    order = shown.order
    return OrderRow(
        order_id=order.order_id,
        address=asked.address(cursor=asked.cursor, order=order.order_id),
        status=order.status.value,
        price_cents=order.price_cents,
        price_currency=order.price_currency,
        received=received_of(shown.payments),
        account_id=ids.prefixed("acc", order.account_id),
        account_name=names.get(order.account_id, ""),
        product=order.product,
        webhook=_webhook(webhooks.get(order.order_id)),
        created_at=order.created_at,
        open_flags=tuple(name_of(flag.kind) for flag in shown.flags if flag.state == "open"),
    )


def _webhook(summary: WebhookSummary | None) -> Cell | None:
    if summary is None:
        return None
    words = delivery_words.SUMMARIES[summary.state]
    text = delivery_words.retrying(summary.attempts) if summary.state == "retrying" else words.name
    return Cell(text, {"warn": "warn-text", "bad": "bad-text"}.get(words.tone, "soft"))


class Hidden(Struct, frozen=True):
    """A filter that hides orders: without it some are found; `is_sure` is false when that took too long."""

    label: str
    value: str
    address: str
    finds: bool
    is_sure: bool


async def what_hides(conn: Conn, asked: Asked, chips: Sequence[Chip]) -> list[Hidden]:
    """For each filter whether leaving it out finds something, by a look for one order.

    What takes longer than the time for all of them is left open.
    """
    found: list[Hidden] = []
    active = [name for name in FILTER_NAMES if name in asked.given]
    end = asyncio.get_running_loop().time() + PROBES_SECONDS_MAX
    for name, chip in zip(active, chips, strict=True):
        finds, is_sure = False, False
        left = end - asyncio.get_running_loop().time()
        if left > 0:
            try:
                async with asyncio.timeout(left):
                    looked = await order_lists.for_support(
                        conn, without(asked.filters, name), limit=1, after=None
                    )
                finds, is_sure = bool(looked.page.items), True
            except (TimeoutError, asyncpg.QueryCanceledError):
                is_sure = False
        found.append(Hidden(chip.label, chip.value, chip.address, finds, is_sure))
    return found


def flag_choices() -> list[tuple[str, str]]:
    """The kinds of flags as a form offers them."""
    return [(ANY_FLAG, "any open flag"), *((kind.value, name_of(kind)) for kind in FlagKind)]


def newest_address(asked: Asked) -> str:
    """The first page of the same list."""
    return asked.address()


def cleared_address() -> str:
    """The list without any filter."""
    return address_of({}, PATH)
