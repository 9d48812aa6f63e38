"""The parts of a process's page: pictures with the table of the same numbers, and tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Final

from django.utils import dateformat

from stockflow.domain.intervals import Grain
from stockflow.projections.answers import Series, SeriesRow
from stockflow.projections.charts import Chart, line_chart
from stockflow.projections.facets import Facet
from stockflow.projections.roll_forwards import RollForward, RollForwardRow
from stockflow.projections.stocks import Stock

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
    """The numbers of one period and, in a table that is split, of one facet value."""

    period: str
    numbers: tuple[str, ...]
    is_partial: bool
    value: str = ""


@dataclass(frozen=True)
class Section:
    """A picture with its table, or a table alone.

    Attributes:
        split: The name of the facet whose values have rows of their own, else nothing.
    """

    title: str
    chart: Chart | None
    names: tuple[str, ...]
    rows: tuple[TableRow, ...]
    meaning: str
    split: str = ""


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


def roll_forward_section(
    stock: Stock, table: RollForward, names: Mapping[str, str], cut: Cut
) -> Section:
    """Return the table that explains each level of one stock, its flows under their *names*."""
    heads = (
        "Opening",
        *(f"+ {names[slug]}" for slug in table.flows_in),
        "+ other in",
        *(f"− {names[slug]}" for slug in table.flows_out),
        "− other out",
        "± reclassified",
        "Closing",
        "Unexplained",
    )
    rows = tuple(
        TableRow(
            _period(row.start, cut),
            tuple(map(_number, _lines(row))),
            row.is_partial,
            cut.facet.label(row.facet) if cut.facet else "",
        )
        for row in table
    )
    meaning = (
        f"How {stock.name} came from its opening to its closing level in each {cut.every}. "
        "Unexplained is what the rows, counted now, have more."
    )
    if cut.facet is None:
        return Section(f"{stock.name}: roll-forward", None, heads, rows, meaning)
    title = f"{stock.name}: roll-forward by {cut.facet.name.lower()}"
    return Section(title, None, heads, rows, meaning, cut.facet.name)


def _lines(row: RollForwardRow) -> tuple[int | None, ...]:
    return (
        row.opening,
        *row.flows_in.values(),
        row.other_in,
        *row.flows_out.values(),
        row.other_out,
        row.reclassified,
        row.closing,
        row.unexplained,
    )


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def period(start: datetime, every: Grain, zone: tzinfo) -> str:
    """Return what to write for the period that begins at *start*."""
    return dateformat.format(start.astimezone(zone), _PERIODS[every])


def _period(start: datetime, cut: Cut) -> str:
    return period(start, cut.every, cut.zone)


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
    return TableRow(
        _period(across[0].start, cut),
        tuple(f"{row.value:,}" for row in across),
        across[0].end > cut.now,
    )
