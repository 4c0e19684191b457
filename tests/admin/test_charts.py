"""The geometry of charts: what is drawn where, in numbers."""

import pytest

from crypto_orders.admin.charts import bars, grid_step, spark


@pytest.mark.parametrize(
    ("most", "step"), [(0, 1), (1, 1), (3, 1), (4, 2), (7, 5), (30, 10), (45, 20), (900, 500), (12_480, 5000)]
)
def test_about_three_lines_cover_the_bars_in_steps_that_people_count_in(most: int, step: int) -> None:
    assert grid_step(most) == step


def test_parts_of_a_bar_stand_on_each_other_and_what_is_none_is_not_drawn() -> None:
    drawn = bars([[("paid", 2), ("open", 0), ("lost", 1)], []], ["00:00", None])
    assert [(part.tone, part.y, part.height) for part in drawn.segments] == [
        ("paid", "63.5", "102.5"),
        ("lost", "11.5", "50.5"),
    ]
    assert [(line.y, line.label) for line in drawn.grid] == [
        ("166", "0"),
        ("114", "1"),
        ("62", "2"),
        ("10", "3"),
    ]
    assert [tick.label for tick in drawn.ticks] == ["00:00"]


def test_one_failure_among_thousands_is_seen() -> None:
    drawn = bars([[("paid", 100_000), ("lost", 1)]], [None])
    assert [part.height for part in drawn.segments if part.tone == "lost"] == ["2"]


def test_a_line_runs_from_left_to_right_and_there_is_none_over_nothing() -> None:
    drawn = spark([0, 5, 10], "Orders by hour")
    assert drawn is not None
    assert drawn.line == "0,28 100,15 200,2"
    assert drawn.area == "0,30 0,28 100,15 200,2 200,30"
    assert spark([0, 0, 0], "Nothing") is None
    assert spark([], "Nothing") is None
