"""The geometry of the overview's charts: lines and stacked bars as numbers that a template draws as SVG."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

SPARK_WIDTH: Final = 200
SPARK_HEIGHT: Final = 30
_SPARK_INSET: Final = 2

CHART_WIDTH: Final = 1120
CHART_HEIGHT: Final = 190
_LEFT: Final = 36
_TOP: Final = 10
_BOTTOM: Final = 24
_BAR_SHARE: Final = 0.74
_PART_GAP: Final = 1.5
_STEPS: Final = (1, 2, 5)
_GRID_LINES: Final = 3


class Spark(Struct, frozen=True):
    """A small line: the points of its line, and those of the area below it. `words` say what it shows."""

    line: str
    area: str
    words: str


class Segment(Struct, frozen=True):
    """One part of a bar: its class, and where it stands."""

    tone: str
    x: str
    y: str
    width: str
    height: str


class Grid(Struct, frozen=True):
    """A horizontal line with its number."""

    y: str
    label: str


class Tick(Struct, frozen=True):
    """A word below the bars."""

    x: str
    label: str


class Bars(Struct, frozen=True):
    """A stacked bar chart."""

    segments: tuple[Segment, ...]
    grid: tuple[Grid, ...]
    ticks: tuple[Tick, ...]


def spark(values: Sequence[float], words: str) -> Spark | None:
    """A line through values from left to right; None where there is nothing to draw."""
    if len(values) <= 1 or not any(values):
        return None
    most, inner = max(values), SPARK_HEIGHT - 2 * _SPARK_INSET
    step = SPARK_WIDTH / (len(values) - 1)
    points = [
        f"{_n(place * step)},{_n(SPARK_HEIGHT - _SPARK_INSET - inner * value / most)}"
        for place, value in enumerate(values)
    ]
    line = " ".join(points)
    return Spark(line, f"0,{SPARK_HEIGHT} {line} {SPARK_WIDTH},{SPARK_HEIGHT}", words)


def bars(columns: Sequence[Sequence[tuple[str, int]]], ticks: Sequence[str | None]) -> Bars:
    """Stacked bars: for each column the tones and counts of its parts from the bottom, and a word or none."""
    most = max([sum(count for _, count in column) for column in columns] or [0])
    step = grid_step(most)
    top = max(step * -(-most // step), step)
    height = CHART_HEIGHT - _TOP - _BOTTOM
    slot = (CHART_WIDTH - _LEFT) / max(len(columns), 1)
    width = slot * _BAR_SHARE
    segments: list[Segment] = []
    for place, column in enumerate(columns):
        x, bottom = _LEFT + place * slot + (slot - width) / 2, float(CHART_HEIGHT - _BOTTOM)
        for tone, count in column:
            if not count:
                continue
            tall = height * count / top
            # A failure among thousands must still be seen.
            drawn = max(tall - _PART_GAP, 2.0)
            segments.append(Segment(tone, _n(x), _n(bottom - drawn), _n(width), _n(drawn)))
            bottom -= max(tall, drawn + _PART_GAP)
    grid = tuple(
        Grid(_n(CHART_HEIGHT - _BOTTOM - height * value / top), f"{value:,}")
        for value in range(0, top + 1, step)
    )
    words = tuple(
        Tick(_n(_LEFT + place * slot + slot / 2), label) for place, label in enumerate(ticks) if label
    )
    return Bars(tuple(segments), grid, words)


def grid_step(most: int) -> int:
    """The distance between grid lines: 1, 2 or 5 times a power of ten, so that three or so cover the bars."""
    wanted = max(most / _GRID_LINES, 1)
    power = 1
    while True:
        for step in _STEPS:
            if step * power >= wanted:
                return step * power
        power *= 10


def _n(value: float) -> str:
    """A coordinate to a tenth, as short as it can be written."""
    return f"{value:.1f}".removesuffix(".0")
