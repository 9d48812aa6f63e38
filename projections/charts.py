"""Line charts as points on a canvas: where lines and ticks go, not what they mean."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from math import ceil, floor, log10
from typing import Final

from django.utils import dateformat

from stockflow import conf
from stockflow.domain.intervals import Grain, buckets
from stockflow.projections.answers import SeriesRow

WIDTH: Final = 840
HEIGHT: Final = 300
LEFT: Final = 64
RIGHT: Final = 16
TOP: Final = 12
BOTTOM: Final = 32
"""The canvas and its margins, in units of the picture."""

COLOURS: Final = 8
"""How many lines have a colour of their own; the others are grey."""

LIGHT: Final = (
    *("#b3b3b3", "#0b6fae", "#c4540a", "#1a7f4b", "#8a3fa8"),
    *("#a67c00", "#c2306e", "#17808a", "#6b5b4d"),
)
DARK: Final = (
    *("#6a6a6a", "#5cb8f2", "#ff9a52", "#5bd08f", "#cf93ea"),
    *("#e0bb45", "#f580b1", "#58cdd8", "#c6b3a1"),
)
"""The colours by number, 0 being grey, as ``pages.css`` has them for light and for dark pages."""

MOST_TICKS: Final = 11

_AXES: Final[tuple[tuple[Grain, timedelta, str], ...]] = (
    ("hour", timedelta(hours=1), "H:i"),
    ("day", timedelta(days=1), "j M"),
    ("week", timedelta(weeks=1), "j M"),
    ("month", timedelta(days=31), "M Y"),
    ("quarter", timedelta(days=92), "M Y"),
    ("year", timedelta(days=366), "Y"),
)
"""The periods whose beginnings make ticks, with their usual length and how they are written."""


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: *at* in units of the picture, with what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """One series as a line.

    Attributes:
        name: What it shows.
        colour: 1 to 8, or 0 for grey.
        points: As SVG's ``points`` wants them.
    """

    name: str
    colour: int
    points: str


@dataclass(frozen=True)
class Chart:
    """Lines over time, with their axes."""

    title: str
    lines: tuple[Line, ...]
    levels: tuple[Tick, ...]
    instants: tuple[Tick, ...]

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM

    @property
    def drawn(self) -> list[Line]:
        """The lines as they lie over one another: grey ones below."""
        return sorted(self.lines, key=lambda line: line.colour > 0)


def line_chart(title: str, series: Sequence[tuple[str, Sequence[SeriesRow]]], tz: tzinfo) -> Chart:
    """Return the chart of named series that have the same buckets, each value at its bucket's end.

    Where there are more than eight, those that end highest have a colour.
    """
    rows = [row for _, found in series for row in found]
    if not rows:
        return Chart(title, (), (), ())
    start, end = rows[0].start, max(row.end for row in rows)
    top = _ceiling(max(row.value for row in rows))
    seconds = (end - start).total_seconds()

    def x(at: datetime) -> float:
        share = (at - start).total_seconds() / seconds
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(value: int) -> float:
        return round(HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM), 1)

    colours = _colours([found[-1].value for _, found in series])
    lines = (
        Line(name, colours[n], " ".join(f"{x(row.end)},{y(row.value)}" for row in found))
        for n, (name, found) in enumerate(series)
    )
    return Chart(
        title,
        tuple(lines),
        tuple(Tick(y(value), f"{value:,}") for value in range(0, top + 1, _step(top))),
        tuple(Tick(x(at), text) for at, text in _instants(start, end, tz)),
    )


def coloured(ends: Sequence[int]) -> list[tuple[str, str]]:
    """Return the colours of lines that end at *ends*, for a light and for a dark page.

    >>> coloured([7, 2])
    [('#0b6fae', '#5cb8f2'), ('#c4540a', '#ff9a52')]
    """
    return [(LIGHT[n], DARK[n]) for n in _colours(ends)]


def _colours(ends: Sequence[int]) -> list[int]:
    """Return the number of each line's colour: of many lines those that end highest have one."""
    highest = sorted(range(len(ends)), key=lambda n: -ends[n])[:COLOURS]
    places = {n: place for place, n in enumerate(sorted(highest), 1)}
    return [places.get(n, 0) for n in range(len(ends))]


def _step(top: int) -> int:
    """Return a round distance between ticks: one, two or five times a power of ten.

    >>> [_step(top) for top in (3, 10, 70, 15_088)]
    [1, 2, 20, 5000]
    """
    least = max(top / 5, 1)
    power = 10 ** floor(log10(least))
    return int(next(n * power for n in (1, 2, 5, 10) if n * power >= least))


def _ceiling(value: int) -> int:
    """Return the lowest tick that is not below *value*.

    >>> [_ceiling(value) for value in (0, 3, 71, 15_088)]
    [1, 3, 80, 20000]
    """
    return max(ceil(value / _step(value)) * _step(value), 1)


def _instants(start: datetime, end: datetime, tz: tzinfo) -> Iterator[tuple[datetime, str]]:
    """Yield the beginnings of the shortest periods that are not too many."""
    fitting = (axis for axis in _AXES if (end - start) / axis[1] <= MOST_TICKS)
    grain, length, form = next(fitting, _AXES[-1])
    apart = next(
        n for n in (1, 2, 5, 10, 20, 50, 100, 1000) if (end - start) / length / n <= MOST_TICKS
    )
    # From just before the start: the first bucket is clipped, the others begin with a period.
    before = start - timedelta(microseconds=1)
    for begun, _ in buckets(before, end, grain, tz, first_weekday=conf.first_weekday())[1:]:
        at = begun.astimezone(tz)
        if apart == 1 or at.year % apart == 0:
            yield begun, dateformat.format(at, form)
