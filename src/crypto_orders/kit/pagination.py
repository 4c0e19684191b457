"""Cut what a keyset query returned into a page and the position after it."""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

ItemT = TypeVar("ItemT")


class Page(NamedTuple, Generic[ItemT]):
    """One page of a list, newest first, and the cursor of the next; the last page has None."""

    items: Sequence[ItemT]
    next_cursor: str | None

    @property
    def has_more(self) -> bool:
        """Whether another page follows."""
        return self.next_cursor is not None


def cut(rows: Sequence[ItemT], limit: int, cursor_after: Callable[[ItemT], str]) -> Page[ItemT]:
    """The page of a query that asked for ``limit + 1`` rows: the extra row only tells that more follow.

    ``cursor_after`` gives the cursor that stands behind an item.
    """
    if len(rows) <= limit:
        return Page(rows, None)
    return Page(rows[:limit], cursor_after(rows[limit - 1]))
