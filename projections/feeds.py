"""A stock's levels as a chart's feed: points, labels and colours, for any charting library."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

from stockflow import conf
from stockflow.domain.cells import NOT_RECORDED
from stockflow.domain.intervals import Grain, latest
from stockflow.projections.charts import coloured
from stockflow.projections.counting import slug_of
from stockflow.projections.facets import By, Facet, facet_of
from stockflow.projections.sections import period
from stockflow.projections.selections import label_of

if TYPE_CHECKING:
    from stockflow.projections.stocks import Stock

_Point = tuple[datetime, str, int]
"""When, what to write on the axis, and how many."""


def line_chart_feed(
    stock: "Stock", *, every: Grain = "day", last: int = 30, by: By | None = None
) -> dict[str, Any]:
    """Return the last levels of *stock*, ready to be sent as JSON.

    Of an exact stock they are the levels at the end of the last periods, the running one until
    now: asked of the log, so no record needs to have been written, and equal to each that was.
    Of a sampled stock they are its last records, which are all that there is.

    Args:
        stock: The stock.
        every: The period; a sampled stock has its points when it was counted.
        last: How many points, the running period's included.
        by: The facet to split by: a line for each value.

    Returns:
        ``labels``, one for each point, and ``lines``, each with its ``name``, ``facet`` value,
        ``colour`` for a light page and ``dark_colour`` for a dark one, and ``points`` of ``at``
        and ``value``, in items.

    Raises:
        UnknownFacet: If the stock's field does not declare the facet.
        InvalidBuckets: If there are no such periods.
    """
    zone, now = conf.time_zone(), conf.now(stock.using)
    if stock.is_sampled:
        lines, settled_until = _of_records(stock, last, by, zone), now
    else:
        lines, settled_until = _of_log(stock, every, last, by, zone)
    return {
        "stock": stock.slug,
        "name": stock.name,
        "unit": "item",
        "is_sampled": stock.is_sampled,
        "every": None if stock.is_sampled else every,
        "zone": str(zone),
        "settled_until": settled_until.isoformat(),
        "labels": [text for _, text, _ in next(iter(lines.values()), [])],
        "lines": _drawn(stock, lines, by),
    }


def _drawn(stock: "Stock", lines: dict[Any, list[_Point]], by: By | None) -> list[dict[str, Any]]:
    colours = coloured([points[-1][2] if points else 0 for points in lines.values()])
    facet = None if by is None else facet_of(by)
    return [
        {
            "name": stock.name if by is None else _label(facet, value),
            "facet": None if value is NOT_RECORDED else _plain(value),
            "colour": light,
            "dark_colour": dark,
            "points": [{"at": at.isoformat(), "value": number} for at, _, number in points],
        }
        for (value, points), (light, dark) in zip(lines.items(), colours, strict=True)
    ]


def _of_log(
    stock: "Stock", every: Grain, last: int, by: By | None, zone: tzinfo
) -> tuple[dict[Any, list[_Point]], datetime]:
    now = conf.now(stock.using)
    start, end = latest(now, every, last, zone, first_weekday=conf.first_weekday())
    series = stock.series(start, end, every=every, by=by, tz=zone)
    lines: dict[Any, list[_Point]] = {}
    for row in series:
        at = min(row.end, now)
        lines.setdefault(row.facet, []).append((at, period(row.start, every, zone), row.value))
    return lines, series.settled_until


def _of_records(stock: "Stock", last: int, by: By | None, zone: tzinfo) -> dict[Any, list[_Point]]:
    newest = stock.records.using(stock.using).order_by("-timestamp").prefetch_related("facets")
    records: Sequence[Any] = list(newest[:last])[::-1]
    times = [(one.timestamp, period(one.timestamp, "hour", zone)) for one in records]
    if by is None:
        pairs = zip(times, records, strict=True)
        return {None: [(at, text, one.count) for (at, text), one in pairs]}
    slug = slug_of(by)
    parts = [
        {part.facet_value: part.count for part in one.facets.all() if part.facet == slug}
        for one in records
    ]
    values = dict.fromkeys(value for part in parts for value in part)
    return {
        value: [
            (at, text, part.get(value, 0)) for (at, text), part in zip(times, parts, strict=True)
        ]
        for value in values
    }


def _label(facet: Any, value: Any) -> str:
    return label_of(facet if isinstance(facet, Facet) else None, value)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | bool) else str(value)
