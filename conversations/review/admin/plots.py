"""Compute the geometry of the plots as SVG attribute values. The template draws them.

Plots stretch to the available width, which would distort text, so their labels are outside the SVG.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.formats import date_format

HEIGHT = 100
SLOT = 12
"""The width of one day."""
_STEPS = (2, 4, 6, 10, 20, 40, 60)


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle. Its colour depends on the name."""

    name: str
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True)
class Slot:
    """One day of a plot: its bars, and the text of its tooltip."""

    x: str
    said: str
    bars: tuple[Bar, ...] = ()


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with days on the horizontal axis."""

    width: int
    top: int
    middle: int
    slots: list[Slot]
    labels: list[str]
    line: str = ""
    area: str = ""


def top_of(values: Sequence[int]) -> int:
    """Return an even, round number that is no less than any value."""
    highest, scale = max(values, default=0), 1
    while True:
        for step in _STEPS:
            if step * scale >= highest:
                return step * scale
        scale *= 10


def bars(
    dates: Sequence[dt.date], columns: Sequence[Sequence[Sequence[tuple[str, int]]]], said: Sequence[str]
) -> Plot:
    """Return a bar chart with one or more stacked columns per day. A stack consists of pairs of name and number."""
    top = top_of([sum(value for _name, value in stack) for day in columns for stack in day])
    slots = []
    for index, (day, words) in enumerate(zip(columns, said, strict=True)):
        width = (SLOT - 2) / max(1, len(day))
        drawn = []
        for number, stack in enumerate(day):
            above = 0
            for name, value in stack:
                above += value
                if value:
                    drawn.append(
                        Bar(
                            name=name,
                            x=_written(index * SLOT + 1 + number * width),
                            y=_written(HEIGHT - above / top * HEIGHT),
                            width=_written(width * 0.92),
                            height=_written(value / top * HEIGHT),
                        )
                    )
        slots.append(Slot(str(index * SLOT), words, tuple(drawn)))
    return Plot(len(columns) * SLOT, top, top // 2, slots, _labels(dates))


def line(dates: Sequence[dt.date], values: Sequence[int], said: Sequence[str]) -> Plot:
    """Return a line chart of one value per day, with the area below the line."""
    top, width = top_of(values), len(values) * SLOT
    points = [
        f"{_written((index + 0.5) * SLOT)},{_written(HEIGHT - value / top * HEIGHT)}"
        for index, value in enumerate(values)
    ]
    if len(points) == 1:
        # A single day becomes a horizontal line.
        height = points[0].partition(",")[2]
        points = [f"0,{height}", f"{width},{height}"]
    first, last = points[0].partition(",")[0], points[-1].partition(",")[0]
    area = " ".join([f"{first},{HEIGHT}", *points, f"{last},{HEIGHT}"])
    slots = [Slot(str(index * SLOT), words) for index, words in enumerate(said)]
    return Plot(width, top, top // 2, slots, _labels(dates), line=" ".join(points), area=area)


def share(values: Sequence[tuple[str, int]], *, whole: int) -> list[Bar]:
    """Return bars for values side by side in a strip of width 100 that represents the whole."""
    drawn, before = [], 0.0
    for name, value in values:
        width = value / whole * 100 if whole else 0
        if value:
            drawn.append(Bar(name, _written(before), "0", _written(width), "10"))
        before += width
    return drawn


def _labels(dates: Sequence[dt.date]) -> list[str]:
    chosen = [dates[0], dates[(len(dates) - 1) // 2], dates[-1]] if len(dates) > 2 else list(dates)
    return [date_format(date, "MONTH_DAY_FORMAT") for date in chosen]


def _written(number: float) -> str:
    """Return the number as SVG requires it, whatever the language of the page."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
