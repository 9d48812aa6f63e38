"""What can be measured of a flow: how fast it is, and how likely for whom it may take."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Unpack

from stockflow.domain.errors import InvalidMeasure
from stockflow.domain.intervals import Bucket
from stockflow.domain.measures import formulas
from stockflow.domain.measures.changes import Change, Place, Value
from stockflow.domain.measures.hazards import hazard
from stockflow.domain.measures.levels import in_order
from stockflow.domain.measures.rates import flow_counts
from stockflow.domain.measures.sums import DAY, Sums, sums
from stockflow.projections.answers import Answer
from stockflow.projections.belonging import within
from stockflow.projections.facets import value_of
from stockflow.projections.frames import Framed, with_facet
from stockflow.projections.measured import Cutting, MeasureSeries, Window, window

if TYPE_CHECKING:
    from stockflow.fields import StockReference
    from stockflow.projections.statements import Holds
    from stockflow.projections.stocks import Stock


class Flowing(Protocol):
    """What a flow says of itself."""

    @property
    def slug(self) -> str: ...
    @property
    def reference(self) -> "StockReference": ...
    @property
    def stocks(self) -> "tuple[Stock, ...]": ...
    @property
    def source_places(self) -> frozenset[Place]: ...
    @property
    def sink_places(self) -> frozenset[Place]: ...
    @property
    def sources(self) -> "tuple[Stock | str | None, ...]": ...
    def own(self, changes: Iterable[Change]) -> list[Change]: ...


class HazardRow(NamedTuple):
    """How often a flow was taken by those who could, in one bucket.

    Attributes:
        events: How many took it.
        exposure: Time that all items spent in its sources, in item-days.
        value: Events per item-day; None where nobody was there.
        low: Below that the truth is unlikely; None as *value*.
        high: Above that it is unlikely.
        is_partial: Whether the bucket is still running.
    """

    start: datetime
    end: datetime
    events: int
    exposure: float
    value: float | None
    low: float | None
    high: float | None
    is_partial: bool
    facet: Any = None


class HazardSeries(Answer[HazardRow], Framed):
    """A hazard for each bucket, in order of time and, where split, of facet value.

    Attributes:
        unit: ``"1/day"``.
        by: The lookup of the facet that splits it, or None.
        confidence: That of the intervals.
    """

    unit = "1/day"

    def __init__(
        self,
        cut: Sequence[Bucket],
        found: Mapping[Value, Sequence[Sums]],
        observed_until: datetime,
        holds: "Holds",
        by: str | None,
        confidence: float,
    ) -> None:
        self.by, self.confidence, self.observed_until = by, confidence, observed_until
        self._cut, self._found, self._holds = cut, found, holds
        values = in_order(found)
        super().__init__(
            (
                HazardRow(
                    bucket.start,
                    bucket.end,
                    found[value][n].outflow,
                    found[value][n].exposure / DAY,
                    *hazard(found[value][n].outflow, found[value][n].exposure, confidence),
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
        usual = ("start", "end", "events", "exposure", "value", "low", "high", "is_partial")
        return with_facet(usual, self.by)

    def over_time(self) -> "HazardSeries":
        """Return the hazard of the whole range: all events over all exposure."""
        if not self._cut:
            return self
        merged = {value: [reduce(Sums.then, parts)] for value, parts in self._found.items()}
        return self._again([Bucket(self._cut[0].start, self._cut[-1].end)], merged, self.by)

    def over_facets(self) -> "HazardSeries":
        """Return the hazard of all facet values together: all events over all exposure."""
        nothing = [Sums()] * len(self._cut)
        parts = zip(nothing, *self._found.values(), strict=True)
        return self._again(self._cut, {None: [reduce(Sums.beside, one) for one in parts]}, None)

    def _again(
        self, cut: Sequence[Bucket], found: Mapping[Value, Sequence[Sums]], by: str | None
    ) -> "HazardSeries":
        return HazardSeries(cut, found, self.observed_until, self._holds, by, self.confidence)


class FlowMeasures:
    """The measures of a flow; arguments and rows are as those of a stock's measures."""

    def rates(
        self: Flowing, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> MeasureSeries:
        """Return events per day of 24 hours in each bucket, over its true length so far.

        Unknown where no time has passed. With *by* as for :meth:`Flow.count`.
        """
        seen = window(self.stocks, start, end, cutting)
        counts = flow_counts(
            self.own(seen.changes),
            buckets=len(seen.cut),
            sources=self.source_places,
            sinks=self.sink_places,
            value_of=value_of(self.reference, seen.lookup),
        )
        found = {
            value: [
                Sums(inflow=n, elapsed=length) for n, length in zip(own, seen.lengths, strict=True)
            ]
            for value, own in counts.items()
        }
        return MeasureSeries(formulas.RATE, seen.cut, found, seen.now, seen.holds, seen.lookup)

    def hazard(
        self: Flowing,
        start: datetime,
        end: datetime,
        *,
        confidence: float = 0.95,
        **cutting: Unpack[Cutting],
    ) -> HazardSeries:
        """Return events per day and item in the sources, each with its exact Poisson interval.

        ``d / E``, between chi-squared quantiles of ``2d`` and ``2d + 2`` over ``2E``. No event
        is a hazard of 0 with an upper bound; no exposure is unknown. With *by* both count for
        the facet value with which the item was in the source.

        Raises:
            InvalidMeasure: If the flow comes from the outside, where nobody can be counted, or
                *confidence* is not between 0 and 1.
        """
        if any(place.state is None for place in self.source_places):
            raise InvalidMeasure(
                f"Flow {self.slug!r} comes from the outside, which has no level and so no "
                "exposure: ask for its rates."
            )
        seen = window(self.stocks, start, end, cutting)
        found = _taken(self, seen)
        return HazardSeries(seen.cut, found, seen.now, seen.holds, seen.lookup, confidence)


def _taken(flow: Flowing, seen: Window) -> dict[Value, list[Sums]]:
    """Return the exposure of the sources, with the flow's own events as outflow."""
    read = value_of(flow.reference, seen.lookup)
    sources = within(seen.changes, flow.sources) if seen.is_narrowed else seen.changes
    exposed = sums(sources, lengths=seen.lengths, stock=flow.source_places, value_of=read)
    # From the cell that was left: the reader is given the source's text for both.
    left = [
        change._replace(target_facets=change.source_facets) for change in flow.own(seen.changes)
    ]
    counts = flow_counts(
        left,
        buckets=len(seen.cut),
        sources=flow.source_places,
        sinks=flow.sink_places,
        value_of=read,
    )
    nothing = [0] * len(seen.cut)
    return {
        value: [
            Sums(outflow=n, exposure=one.exposure, elapsed=one.elapsed)
            for n, one in zip(counts.get(value, nothing), parts, strict=True)
        ]
        for value, parts in exposed.items()
    }
