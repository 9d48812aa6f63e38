"""The parts of a process's page: each a picture and the table of the same numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Final

from django.utils import dateformat

from stockflow.domain.intervals import Grain
from stockflow.projections.answers import Series, SeriesRow
from stockflow.projections.charts import Chart, line_chart
from stockflow.projections.facets import Facet

_PERIODS: Final[dict[Grain, str]] = {
    "hour": "Y-m-d H:i",
    "day": "Y-m-d",
    "week": "Y-m-d",
    "month": "M Y",
    "quarter": "M Y",
    "year": "Y",
}


@dataclass(frozen=True)
class Cut:
    """How the series of a page are cut and split.

    Attributes:
        every: The period.
        zone: The zone in which it is cut.
        facet: What splits them, if anything.
        now: Rows that end later are not complete.
    """

    every: Grain
    zone: tzinfo
    facet: Facet | None
    now: datetime


@dataclass(frozen=True)
class TableRow:
    """The numbers of one period."""

    period: str
    numbers: tuple[str, ...]
    is_partial: bool


@dataclass(frozen=True)
class Section:
    """A picture with its table."""

    title: str
    chart: Chart
    names: tuple[str, ...]
    rows: tuple[TableRow, ...]
    meaning: str


def sections(
    title: str, named: Sequence[tuple[str, Series]], cut: Cut, meaning: str
) -> list[Section]:
    """Return one section for the *named* series, or one for each where a facet splits them."""
    if cut.facet is None:
        return [_section(title, named, cut, meaning)]
    return [
        _section(f"{name} by {cut.facet.name.lower()}", _by_value(series, cut.facet), cut, meaning)
        for name, series in named
    ]


def _by_value(series: Series, facet: Facet) -> list[tuple[str, list[SeriesRow]]]:
    split: dict[Any, list[SeriesRow]] = {}
    for row in series:
        split.setdefault(row.facet, []).append(row)
    return [(facet.label(value), rows) for value, rows in split.items()]


def _section(
    title: str, named: Iterable[tuple[str, Sequence[SeriesRow]]], cut: Cut, meaning: str
) -> Section:
    columns = [(name, rows) for name, rows in named if rows]
    return Section(
        title,
        line_chart(title, columns, cut.zone),
        tuple(name for name, _ in columns),
        tuple(_row(across, cut) for across in zip(*(rows for _, rows in columns), strict=True)),
        meaning,
    )


def _row(across: Sequence[SeriesRow], cut: Cut) -> TableRow:
    start = across[0].start.astimezone(cut.zone)
    return TableRow(
        dateformat.format(start, _PERIODS[cut.every]),
        tuple(f"{row.value:,}" for row in across),
        across[0].end > cut.now,
    )
