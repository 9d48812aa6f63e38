"""Flows: what moves from some stocks to others, how much and how fast."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, Unpack, cast, overload

from stockflow import conf
from stockflow.domain.errors import InvalidInstant
from stockflow.domain.instants import MICROSECOND
from stockflow.domain.intervals import Bucket, Grain, require_range
from stockflow.domain.measures.changes import Value
from stockflow.domain.measures.levels import in_order
from stockflow.domain.measures.rates import flow_counts, rate
from stockflow.projections import forecasts, query
from stockflow.projections.answers import Series, begun, bounds_of
from stockflow.projections.facets import By, lookup_of, value_of
from stockflow.projections.flow_declarations import ANY, End
from stockflow.projections.flow_measures import FlowMeasures
from stockflow.projections.flow_records import FlowRecords
from stockflow.projections.statements import Holds, Known

BEGINNING: Final = datetime(1, 1, 3, tzinfo=UTC)
"""Before everything, with room for any zone's offset."""


class Flow(FlowRecords, FlowMeasures):
    """The events that lead from a source stock to a sink stock.

    ::

        winning = Flow("winning", sources=[pipeline], sinks=[won])
        arriving = Flow("arriving", sources=[None], sinks=[hot])
        winning.rate(start, end, per="week")
        winning.count(source=pipeline)

    A flow is made of events that entered, moved or left; a changed facet and an object taken
    over when tracking began are none. An event from a stock to itself is one only where that
    stock is a source and a sink.

    Args:
        slug: What identifies it among the flows.
        sources: Stocks that it leaves, or the name of a state that no stock stands for; None is
            the outside.
        sinks: Stocks that it reaches, likewise.
        facets: What its records are split by: facets, or pairs of a facet and a prefix.
        frequency: How often the periodic schedule writes a record of what happened since the
            one before, such as ``"daily"``.
        event_callables: Functions that are called with each of its events, or
            :class:`~stockflow.projections.event_callables.EventCallable` to say how.
        event_model: A :class:`~stockflow.projections.flow_events.FlowEvent` of your own, as which
            its events are given, with a key to the subject.
        name: What to show; made from the slug where it is not given.
        description: What to say about it.

    Raises:
        InvalidDeclaration: If the slug is taken, an end is missing, the stocks are of
            different fields, or one is sampled.
    """

    @overload
    def count(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        by: None = None,
        *,
        source: End = ...,
        sink: End = ...,
        **known: Unpack[Known],
    ) -> int: ...
    @overload
    def count(
        self,
        start: datetime | None,
        end: datetime | None,
        by: By,
        *,
        source: End = ...,
        sink: End = ...,
        **known: Unpack[Known],
    ) -> dict[Any, int]: ...
    @overload
    def count(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        by: By,
        source: End = ...,
        sink: End = ...,
        **known: Unpack[Known],
    ) -> dict[Any, int]: ...
    def count(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        by: By | None = None,
        *,
        source: End = ANY,
        sink: End = ANY,
        **known: Unpack[Known],
    ) -> int | dict[Any, int]:
        """Return how many events happened from *start* on and before *end*.

        Args:
            start: The first instant of the window; the beginning of time where it is not given.
            end: The first instant after it; just after now where it is not given.
            by: The facet to split by: the value of the cell reached or, where the object
                left, of the cell that it left.
            source: Only those that left this one of its sources.
            sink: Only those that reached this one of its sinks.
            known: ``as_known_at=`` a position of the log or an instant, or ``sequenced=True``
                (:class:`~stockflow.projections.statements.Known`).

        Returns:
            A number of events; with *by* a mapping from facet value to number, without the
            values that have no event.

        Raises:
            InvalidInstant: If a bound is not an aware datetime.
            InvalidBuckets: If *end* is not after *start*.
            UnknownFacet: If the field does not declare the facet.
            InvalidMeasure: If it has no such source or sink.
        """
        now = conf.now(self.using)
        start, end = (
            BEGINNING if start is None else start,
            now + MICROSECOND if end is None else end,
        )
        window = Bucket(*require_range(start, end))
        lookup, part = lookup_of(self.reference, by), cast(Flow, self.part(source, sink))
        found, _ = part._counts((window,), window.start, lookup, now, known)
        if by is None:
            return found[None][0]
        return {value: found[value][0] for value in in_order(found)}

    def series(
        self,
        start: datetime,
        end: datetime,
        *,
        every: Grain | timedelta,
        by: By | None = None,
        tz: tzinfo | None = None,
        **known: Unpack[Known],
    ) -> Series:
        """Return the number of events in each bucket.

        Buckets are those of :meth:`Stock.series`; with *by* there is one row for each bucket
        and each facet value that has an event in some bucket.

        Raises:
            InvalidInstant: If a bound is not an aware datetime.
            InvalidBuckets: If the range or *every* cannot be cut.
            UnknownFacet: If the field does not declare the facet.
        """
        lookup, now = lookup_of(self.reference, by), conf.now(self.using)
        cut = begun(start, end, every, tz, now)
        found, (settled_until, position) = self._counts(cut, start, lookup, now, known)
        return Series(cut, found, settled_until, lookup, position)

    def scheduled(
        self,
        start: datetime,
        end: datetime,
        *,
        every: Grain | timedelta,
        tz: tzinfo | None = None,
    ) -> Series:
        """Return how many decays of the flow are due in each bucket, if nobody acts before.

        The decays of states that objects are in now: what follows after them is not known, and
        parked ones are not counted. Buckets may lie in the future.

        Raises:
            InvalidInstant: If a bound is not an aware datetime.
            InvalidBuckets: If the range or *every* cannot be cut.
        """
        return forecasts.scheduled(self, start, end, every, tz)

    def rate(
        self, start: datetime, end: datetime, *, per: Grain | timedelta, **known: Unpack[Known]
    ) -> float:
        """Return how many events happened per *per*, over the time that has passed.

        An hour, a day of 24 hours, a week of 7 days or a ``timedelta`` divides the elapsed
        time; a month, quarter or year is that of ``STOCKFLOW_TIME_ZONE``, and a part of one
        counts as its share of that one's true length. Of a range that ends in the future only
        the part until now counts.

        Raises:
            InvalidInstant: If a bound is not an aware datetime, or *start* is not past.
            InvalidBuckets: If *end* is not after *start*, or *per* is unknown.
        """
        start, end = require_range(start, end)
        now = conf.now(self.using)
        if start >= now:
            raise InvalidInstant(
                f"start is {start.isoformat()}, but it is only {now.isoformat()}: "
                "a rate needs time that has passed."
            )
        found, _ = self._counts((Bucket(start, end),), start, None, now, known)
        return rate(found[None][0], start, min(end, now), per=per, tz=conf.time_zone())

    def _counts(
        self,
        cut: Sequence[Bucket],
        start: datetime,
        lookup: str | None,
        now: datetime,
        known: Known,
    ) -> tuple[dict[Value, list[int]], Holds]:
        counted = query.changes(
            [stock.reference for stock in self.stocks],
            bounds_of(start, cut),
            using=self.using,
            now=now,
            known=known,
            opening=False,
            split=lookup is not None or self.is_narrowed,
        )
        found = flow_counts(
            self.own(counted.changes),
            buckets=len(cut),
            sources=self.source_places,
            sinks=self.sink_places,
            value_of=value_of(self.reference, lookup),
        )
        return found, counted.holds
