"""Peaks and lows: the highest and the lowest level within each bucket."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from stockflow import conf
from stockflow.domain.cells import NOT_RECORDED
from stockflow.domain.errors import InvalidMeasure
from stockflow.domain.instants import to_micros
from stockflow.domain.intervals import Bucket
from stockflow.domain.measures.levels import in_order
from stockflow.domain.measures.peaks import Extremes, Run, within
from stockflow.projections.answers import Answer, begun, bounds_of
from stockflow.projections.facets import lookup_of
from stockflow.projections.frames import Framed, with_facet
from stockflow.projections.measured import Countable, Cutting, known_of
from stockflow.projections.query import BEGINNING, BETWEEN, BUCKET, bound_values
from stockflow.projections.statements import Holds, Statement, run, vendor_of

# What happens at one instant is added up before the level is taken; all before the first
# bucket counts as one instant.
_RUNNING: Final = """
SELECT bucket, facet, CAST(sum(delta) AS bigint), CAST(max(level) AS bigint),
       CAST(min(level) AS bigint), min(at)
FROM (SELECT bucket, facet, at, delta, sum(delta) OVER (PARTITION BY facet ORDER BY at) AS level
      FROM (SELECT {bucket} AS bucket, {facet} AS facet,
                   CASE WHEN e.occurred_at < {first} THEN {beginning} ELSE e.occurred_at END AS at,
                   sum(s.sign) AS delta
            {between} AND CASE s.sign WHEN 1 THEN e.target ELSE e.source END IN (SELECT name FROM states)
            GROUP BY 1, 2, 3) d) r
GROUP BY 1, 2"""
_SIDES: Final = " CROSS JOIN (SELECT 1 AS sign UNION ALL SELECT -1) s"
_FACETS: Final = "CASE s.sign WHEN 1 THEN e.target_facets ELSE e.source_facets END"


class ExtremeRow(NamedTuple):
    """The highest and the lowest level within one bucket, in items.

    Attributes:
        is_partial: Whether the bucket is still running.
    """

    start: datetime
    end: datetime
    peak: int
    low: int
    is_partial: bool
    facet: Any = None


class ExtremeSeries(Answer[ExtremeRow], Framed):
    """Peaks and lows, in order of time and, where split, of facet value.

    Attributes:
        unit: ``"item"``.
        by: The lookup of the facet that splits it, or None.
    """

    unit = "item"

    def __init__(self, rows: Iterable[ExtremeRow], holds: Holds, by: str | None = None) -> None:
        super().__init__(rows, *holds)
        self.by, self._holds = by, holds

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that the rows have."""
        usual = ("start", "end", "peak", "low", "is_partial")
        return with_facet(usual, self.by)

    def over_time(self) -> "ExtremeSeries":
        """Return the peak of the peaks and the low of the lows, for each facet value."""
        merged: dict[Any, ExtremeRow] = {}
        for row in self:
            before = merged.get(row.facet, row)
            merged[row.facet] = row._replace(
                start=before.start, peak=max(before.peak, row.peak), low=min(before.low, row.low)
            )
        return ExtremeSeries(merged.values(), self._holds, self.by)

    def over_facets(self) -> "ExtremeSeries":
        """Refuse: each facet value has its peak at a time of its own.

        Raises:
            InvalidMeasure: Where it is split.
        """
        if self.by is None:
            return self
        raise InvalidMeasure(
            f"Peaks by {self.by!r} do not add up to the whole's, each is at its own time: "
            "ask without by=."
        )


def extremes(stock: Countable, start: datetime, end: datetime, cutting: Cutting) -> ExtremeSeries:
    """Return peak and low of one stock in each bucket."""
    known = known_of(cutting)
    lookup, now = lookup_of(stock.reference, cutting.get("by")), conf.now(stock.using)
    cut = begun(start, end, cutting["every"], cutting.get("tz"), now)
    bounds = [min(bound, to_micros(now) + 1) for bound in bounds_of(start, cut)]
    rows, holds = run(
        _statement(stock, bounds, lookup),
        [stock.reference],
        using=stock.using,
        now=now,
        known=known,
        states=stock.states,
    )
    runs: dict[Any, list[Run]] = {}
    for bucket, facet, *columns in rows:
        runs.setdefault(_value(stock, lookup, facet), []).append(Run(bucket, *columns))
    found = {value: within(own, bounds) for value, own in runs.items()}
    used = {facet: one for facet, one in found.items() if any(map(any, one))}
    if lookup is None:
        used = {None: found.get(None, [Extremes(0, 0)] * len(cut))}
    return ExtremeSeries(_rows(cut, used, now), holds, lookup)


def _value(stock: Countable, lookup: str | None, text: str) -> Any:
    if lookup is None:
        return None
    return stock.reference.facets[lookup].to_python(json.loads(text)) if text else NOT_RECORDED


def _rows(
    cut: Sequence[Bucket], found: dict[Any, list[Extremes]], now: datetime
) -> Iterable[ExtremeRow]:
    values = in_order(found)
    for n, (start, end) in enumerate(cut):
        for value in values:
            yield ExtremeRow(start, end, *found[value][n], end > now, value)


def _statement(stock: Countable, bounds: Sequence[int], lookup: str | None) -> Statement:
    vendor = vendor_of(stock.using)
    facet = "''"
    if lookup is not None:
        path = stock.reference.facets[lookup]
        facet, _ = path.kept_sql(vendor, (_FACETS, ()), ("''", ()))
    sql = _RUNNING.format(
        bucket=BUCKET[vendor],
        facet=facet,
        first=bounds[0],
        beginning=BEGINNING,
        between=BETWEEN[vendor].replace("{more}", _SIDES),
    )
    return Statement(sql, bound_values(bounds, stock.using, opening=True), 6)
