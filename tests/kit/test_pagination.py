"""Pages: one row more than asked for tells that another page follows."""

import pytest

from crypto_orders.kit.pagination import cut


@pytest.mark.parametrize(
    ("rows", "items", "cursor"),
    [([], [], None), ([1], [1], None), ([1, 2], [1, 2], None), ([1, 2, 3], [1, 2], "after 2")],
)
def test_a_page_ends_where_the_limit_does(rows: list[int], items: list[int], cursor: str | None) -> None:
    page = cut(rows, 2, lambda item: f"after {item}")
    assert list(page.items) == items
    assert page.next_cursor == cursor
    assert page.has_more is (cursor is not None)
