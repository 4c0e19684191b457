"""Which orders a list, a search or an export is about, as the clauses of a statement.

Values never stand in the text of a statement: each is bound, and the text names its place.
"""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct

from crypto_orders.domain.cursor import Position
from crypto_orders.domain.order import FlagKind, Status

ANY_FLAG: Final = "any"
"""Stands for an open flag of whatever kind."""


class Filters(Struct, frozen=True, kw_only=True):
    """What orders are narrowed down to; None narrows nothing.

    `created_after` is inclusive, `created_before` exclusive. `payment_id` is exact and finds an order by
    any of its payments, children included. `flag` wants an open flag of that kind, or of any.
    """

    account_id: UUID | None = None
    product: str | None = None
    status: Status | None = None
    search: str | None = None
    payment_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    flag: FlagKind | Literal["any"] | None = None


class Clauses:
    """The FROM and WHERE of a statement under construction, and the values bound so far."""

    def __init__(self) -> None:
        self.tables: list[str] = []
        self.conditions: list[str] = []
        self.args: list[object] = []

    def bind(self, value: object) -> str:
        """Bind a value and answer its place in the text."""
        self.args.append(value)
        return f"${len(self.args)}"

    @property
    def source(self) -> str:
        """What stands after FROM; orders are called `o`."""
        return "\n  JOIN ".join(self.tables)

    def where(self, *more: str) -> str:
        """The WHERE clause of all conditions and some more, or nothing when there are none."""
        conditions = [*self.conditions, *more]
        return "\n WHERE " + "\n   AND ".join(conditions) if conditions else ""


def clauses_of(filters: Filters) -> Clauses:
    """The clauses of everything but the search."""
    c = Clauses()
    if filters.payment_id is not None:
        c.tables.append("payment_routes r")
        c.conditions.append(f"r.payment_id = {c.bind(filters.payment_id)}")
    if filters.flag is not None:
        of_kind = f" AND kind = {c.bind(filters.flag)}" if filters.flag != ANY_FLAG else ""
        c.tables.append(
            "(SELECT DISTINCT account_id, order_id FROM flags"
            f" WHERE state = 'open' AND order_id IS NOT NULL{of_kind}) f"
        )
        if filters.payment_id is not None:
            c.tables[-1] += " ON f.account_id = r.account_id AND f.order_id = r.order_id"
    if c.tables:
        named = "r" if filters.payment_id is not None else "f"
        c.tables.append(f"orders o ON o.account_id = {named}.account_id AND o.order_id = {named}.order_id")
    else:
        c.tables.append("orders o")
    for column, value in (
        ("account_id", filters.account_id),
        ("product", filters.product),
        ("status", filters.status.value if filters.status else None),
    ):
        if value is not None:
            c.conditions.append(f"o.{column} = {c.bind(value)}")
    if filters.created_after is not None:
        c.conditions.append(f"o.created_at >= {c.bind(filters.created_after)}")
    return c


def older_than(c: Clauses, filters: Filters, after: Position | None) -> str:
    """The upper bound of the list: where the last page ended, or `created_before`, never both.

    The one that is lower implies the other. With both in the statement, an index that is walked from
    `created_before` on would pass every row of the pages before.
    """
    before = filters.created_before
    if after is not None and (before is None or after.created_at < before):
        return f"(o.created_at, o.order_id) < ({c.bind(after.created_at)}, {c.bind(after.id)})"
    if before is not None:
        return f"o.created_at < {c.bind(before)}"
    return "true"
