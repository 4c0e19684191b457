"""Pages of a table, newest first, by the position of the last row seen: equally quick at any depth."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar
from uuid import UUID

from crypto_orders.domain import cursor
from crypto_orders.domain.cursor import Position
from crypto_orders.domain.errors import MalformedCursor
from crypto_orders.kit import ids, pagination
from crypto_orders.kit.pagination import Page
from crypto_orders.store.connection import Conn, Row

T = TypeVar("T")


class Listing(NamedTuple):
    """A table that is read in pages: how it is selected, and the two columns that order it.

    `kind` is written into its cursors, so that none is taken for another list's.
    """

    kind: str
    select: str
    time_column: str
    id_column: str
    of_each: tuple[str, tuple[str, ...]] | None = None
    """A column that the index has before the time, and all its values: without one that is asked for, the page
    is put together from the newest rows of each."""


async def newest(
    conn: Conn,
    listing: Listing,
    read: Callable[[Row], T],
    *,
    equal: Mapping[str, object],
    limit: int,
    after: str | None,
) -> Page[T]:
    """The page behind the cursor `after` of the rows whose columns equal the values that are not None.

    Raises:
        MalformedCursor: `after` is no cursor of this list.
    """
    wanted = {column: value for column, value in equal.items() if value is not None}
    args: list[object] = [limit + 1, *wanted.values()]
    conditions = [f"{column} = ${place}" for place, column in enumerate(wanted, start=2)]
    if after is not None:
        position = cursor.decode(listing.kind, after)
        args += [position.created_at, uuid_in(position)]
        conditions.append(f"({listing.time_column}, {listing.id_column}) < (${len(args) - 1}, ${len(args)})")
    of_each = listing.of_each if listing.of_each and listing.of_each[0] not in wanted else None
    if of_each is not None:
        conditions.append(f"{of_each[0]} = each.value")
    where = " WHERE " + " AND ".join(conditions) if conditions else ""
    newest_first = f" ORDER BY {listing.time_column} DESC, {listing.id_column} DESC LIMIT $1"
    query = f"{listing.select}{where}{newest_first}"
    if of_each is not None:
        args.append(of_each[1])
        query = (
            f"SELECT page.* FROM unnest(${len(args)}::text[]) AS each (value)"
            f" CROSS JOIN LATERAL ({query}) AS page{newest_first}"
        )
    rows = await conn.fetch(query, *args)

    def behind(row: Row) -> str:
        position = Position(row[listing.time_column], str(row[listing.id_column]))
        return cursor.encode(listing.kind, position)

    page = pagination.cut(rows, limit, behind)
    return Page([read(row) for row in page.items], page.next_cursor)


def uuid_in(position: Position) -> UUID:
    """The UUID that a position names; MalformedCursor when it names something else."""
    found = ids.parse_uuid(position.id)
    if found is None:
        raise MalformedCursor
    return found
