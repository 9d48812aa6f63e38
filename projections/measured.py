"""Measures as series: sums for each bucket and facet value, a formula, and a unit."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Required, cast

from stockflow import conf
from stockflow.domain.instants import to_micros
from stockflow.domain.intervals import Bucket, Grain
from stockflow.domain.measures.changes import Change, Place, Value
from stockflow.domain.measures.formulas import Measure, Number
from stockflow.domain.measures.levels import in_order
from stockflow.domain.measures.sums import Sums, sums
from stockflow.projections import query
from stockflow.projections.answers import Answer, begun, bounds_of
from stockflow.projections.facets import By, lookup_of, value_of
from stockflow.projections.frames import Framed, with_facet
from stockflow.projections.statements import Holds, Known, check_keywords

if TYPE_CHECKING:
    from django.db.models import Q, QuerySet

    from stockflow.fields import StockReference


class Cutting(Known, total=False):
    """How a measure is cut, split and known.

    Attributes:
        every: ``"hour"``, ``"day"``, ``"week"``, ``"month"``, ``"quarter"``, ``"year"`` or a
            fixed length.
        by: The facet to split by.
        tz: The zone in which days are cut; ``STOCKFLOW_TIME_ZONE`` where it is not given.
    """

    every: Required[Grain | timedelta]
    by: By | None
    tz: tzinfo | None


def known_of(cutting: Cutting) -> Known:
    """Return what of *cutting* the log is asked with.

    Raises:
        TypeError: If it has what no measure takes, or lacks *every*.
    """
    check_keywords(cutting, Cutting)
    names = cutting.keys() & Known.__optional_keys__
    return cast(Known, {name: value for name, value in cutting.items() if name in names})


class Countable(Protocol):
    """What a stock says of itself."""

    @property
    def slug(self) -> str: ...
    @property
    def reference(self) -> "StockReference": ...
    @property
    def places(self) -> frozenset[Place]: ...
    @property
    def states(self) -> frozenset[str]: ...
    @property
    def using(self) -> str: ...
    @property
    def is_narrowed(self) -> bool: ...
    @property
    def is_sampled(self) -> bool: ...
    def own(self, changes: Iterable[Change]) -> list[Change]: ...
    def all(self) -> "QuerySet[Any]": ...
    @property
    def row_condition(self) -> "Q | None": ...


class Window(NamedTuple):
    """The buckets that have begun, and what happened in them.

    Attributes:
        cut: The buckets, with the ends that the calendar gives them.
        bounds: Their bounds in microseconds; a running bucket's is just after now.
        now: The instant of asking.
        changes: What happened, and in bucket 0 all before.
        holds: How far this holds.
        lookup: The facet asked for.
        is_narrowed: Whether facets narrow one of the stocks asked about.
    """

    cut: tuple[Bucket, ...]
    bounds: list[int]
    now: datetime
    changes: list[Change]
    holds: Holds
    lookup: str | None
    is_narrowed: bool

    @property
    def lengths(self) -> list[int]:
        """How long each bucket has lasted so far, in microseconds."""
        return _lengths(self.cut, self.now)

    def sums(self, stock: Countable) -> dict[Value, list[Sums]]:
        """Return the sums of *stock* in each bucket, by the facet asked for."""
        return sums(
            stock.own(self.changes),
            lengths=self.lengths,
            stock=stock.places,
            value_of=value_of(stock.reference, self.lookup),
        )


class MeasureRow(NamedTuple):
    """A measure in one bucket, and of one facet value where the series is split.

    Attributes:
        value: In the series' unit; None where it is unknown, which is not 0.
        is_partial: Whether the bucket is still running: the value is that of the part until now.
    """

    start: datetime
    end: datetime
    value: Number
    is_partial: bool
    facet: Any = None


class MeasureSeries(Answer[MeasureRow], Framed):
    """A measure for each bucket, in order of time and, where split, of facet value.

    Its rows are not to be added up: a level is not additive over time, a ratio over nothing.
    :meth:`over_time` and :meth:`over_facets` add up what is additive and work it out anew.

    Attributes:
        name: What is measured.
        unit: In what, such as ``"item"`` or ``"day"``.
        by: The lookup of the facet that splits it, or None.
        observed_until: Until when the running bucket was observed: the instant of asking.
    """

    def __init__(
        self,
        measure: Measure,
        cut: Sequence[Bucket],
        found: Mapping[Value, Sequence[Sums]],
        observed_until: datetime,
        holds: Holds,
        by: str | None = None,
    ) -> None:
        self.name, self.unit, self.by = measure.name, measure.unit, by
        self.observed_until = observed_until
        self._measure, self._cut, self._found, self._holds = measure, cut, found, holds
        values = in_order(found)
        super().__init__(
            (
                MeasureRow(
                    bucket.start,
                    bucket.end,
                    measure.formula(found[value][n]),
                    bucket.end > observed_until,
                    value,
                )
                for n, bucket in enumerate(cut)
                for value in values
            ),
            *holds,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that the rows have."""
        usual = ("start", "end", "value", "is_partial")
        return with_facet(usual, self.by)

    def over_time(self) -> "MeasureSeries":
        """Return the measure of the whole range as one bucket, made of its parts.

        Flows and exposure add up, a level opens with the first bucket and closes with the last,
        and ratios follow from these.
        """
        if not self._cut:
            return self
        merged = {value: [reduce(Sums.then, parts)] for value, parts in self._found.items()}
        return self._again([Bucket(self._cut[0].start, self._cut[-1].end)], merged, self.by)

    def over_facets(self) -> "MeasureSeries":
        """Return the measure of all facet values together."""
        nothing = [Sums(elapsed=length) for length in _lengths(self._cut, self.observed_until)]
        parts = zip(*self._found.values(), nothing, strict=True)
        return self._again(self._cut, {None: [reduce(Sums.beside, one) for one in parts]}, None)

    def _again(
        self, cut: Sequence[Bucket], found: Mapping[Value, Sequence[Sums]], by: str | None
    ) -> "MeasureSeries":
        return type(self)(self._measure, cut, found, self.observed_until, self._holds, by)


def window(stocks: Iterable[Countable], start: datetime, end: datetime, cutting: Cutting) -> Window:
    """Count what happened in the buckets to some stocks of one database, in one statement."""
    known, asked = known_of(cutting), list(stocks)
    by, using = cutting.get("by"), asked[0].using
    lookups = {lookup_of(stock.reference, by) for stock in asked}
    now = conf.now(using)
    is_narrowed = any(stock.is_narrowed for stock in asked)
    cut = begun(start, end, cutting["every"], cutting.get("tz"), now)
    bounds = [min(bound, to_micros(now) + 1) for bound in bounds_of(start, cut)]
    counted = query.changes(
        [stock.reference for stock in asked],
        bounds if cut else bounds[:1],
        using=using,
        now=now,
        known=known,
        split=by is not None or is_narrowed,
    )
    return Window(cut, bounds, now, counted.changes, counted.holds, lookups.pop(), is_narrowed)


def measured(
    stock: Countable, measure: Measure, start: datetime, end: datetime, cutting: Cutting
) -> MeasureSeries:
    """Return *measure* of one stock."""
    seen = window([stock], start, end, cutting)
    return MeasureSeries(measure, seen.cut, seen.sums(stock), seen.now, seen.holds, seen.lookup)


def _lengths(cut: Sequence[Bucket], now: datetime) -> list[int]:
    until = to_micros(now)
    return [min(to_micros(end), until) - to_micros(start) for start, end in cut]
