"""Flows: what moves from some stocks to others, how much and how fast."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, tzinfo
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack, overload

from django.apps import apps
from django.db.models import Q, QuerySet

from stockflow import conf
from stockflow.domain.errors import InvalidInstant
from stockflow.domain.intervals import Bucket, Grain, require_range
from stockflow.domain.measures.changes import FLOW_KINDS, Place, Value
from stockflow.domain.measures.levels import in_order
from stockflow.domain.measures.rates import flow_counts, rate
from stockflow.errors import InvalidDeclaration
from stockflow.projections import as_known, forecasts, registry
from stockflow.projections.answers import Series, begun, bounds_of
from stockflow.projections.facets import By, lookup_of, value_of
from stockflow.projections.flow_measures import FlowMeasures
from stockflow.projections.statements import Holds, Known
from stockflow.projections.stocks import Stock

if TYPE_CHECKING:
    from stockflow.fields import StockReference
    from stockflow.tables import Event


class Flow(FlowMeasures):
    """The events that lead from a source stock to a sink stock.

    ::

        winning = Flow("winning", sources=[pipeline], sinks=[won])
        arriving = Flow("arriving", sources=[None], sinks=[hot])
        winning.rate(start, end, per="week")

    A flow is made of events that entered, moved or left; a changed facet and an object taken
    over when tracking began are none. An event from a stock to itself is one only where that
    stock is a source and a sink.

    Args:
        slug: What identifies it among the flows.
        sources: Stocks that it leaves; None is the outside.
        sinks: Stocks that it reaches; None is the outside.
        name: What to show; made from the slug where it is not given.
        description: What to say about it.

    Raises:
        InvalidDeclaration: If the slug is taken, an end is missing, or the stocks are of
            different fields.
    """

    def __init__(
        self,
        slug: str,
        *,
        sources: Iterable[Stock | None],
        sinks: Iterable[Stock | None],
        name: str = "",
        description: str = "",
    ) -> None:
        self.slug, self.description = slug, description
        self.sources, self.sinks = tuple(sources), tuple(sinks)
        self.stocks = _checked_stocks(slug, self.sources, self.sinks)
        registry.register(registry.declared.flows, self)
        self.name = name or registry.readable(slug)

    def __repr__(self) -> str:
        return f"<Flow: {self.slug}>"

    @property
    def reference(self) -> "StockReference":
        """The stock field whose facets split it: that of the first stock."""
        return self.stocks[0].reference

    @property
    def using(self) -> str:
        """The alias of the database that answers."""
        return self.stocks[0].using

    @property
    def events(self) -> "QuerySet[Event]":
        """The events of the flow, in order of time."""
        event: type[Event] = apps.get_model("stockflow", "Event")
        return (
            event._default_manager.using(self.using)
            .filter(_ends("source", self.sources), _ends("target", self.sinks))
            .filter(kind__in=FLOW_KINDS, field=self.reference.name, model__in=self._models)
            .order_by("occurred_at", "id")
        )

    @overload
    def count(
        self, start: datetime, end: datetime, by: None = None, **known: Unpack[Known]
    ) -> int: ...
    @overload
    def count(
        self, start: datetime, end: datetime, by: By, **known: Unpack[Known]
    ) -> dict[Any, int]: ...
    def count(
        self, start: datetime, end: datetime, by: By | None = None, **known: Unpack[Known]
    ) -> int | dict[Any, int]:
        """Return how many events happened from *start* on and before *end*.

        Args:
            start: The first instant of the window.
            end: The first instant after it.
            by: The facet to split by: the value of the cell reached or, where the object
                left, of the cell that it left.
            known: ``as_known_at=`` a position of the log or an instant, or ``sequenced=True``
                (:class:`~stockflow.projections.statements.Known`).

        Returns:
            A number of events; with *by* a mapping from facet value to number, without the
            values that have no event.

        Raises:
            InvalidInstant: If a bound is not an aware datetime.
            InvalidBuckets: If *end* is not after *start*.
            UnknownFacet: If the field does not declare the facet.
        """
        window = Bucket(*require_range(start, end))
        now = conf.now(self.using)
        lookup = lookup_of(self.reference, by)
        found, _ = self._counts((window,), window.start, lookup, now, known)
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
        counted = as_known.changes(
            [stock.reference for stock in self.stocks],
            bounds_of(start, cut),
            using=self.using,
            now=now,
            known=known,
            opening=False,
            split=lookup is not None,
        )
        found = flow_counts(
            counted.changes,
            buckets=len(cut),
            sources=self.source_places,
            sinks=self.sink_places,
            value_of=value_of(self.reference, lookup),
        )
        return found, counted.holds

    @cached_property
    def _models(self) -> frozenset[str]:
        return frozenset(place.model for stock in self.stocks for place in stock.places)

    @cached_property
    def source_places(self) -> frozenset[Place]:
        """Where it starts: each model, field and state, the outside's state being None."""
        return self._places(self.sources)

    @cached_property
    def sink_places(self) -> frozenset[Place]:
        """Where it ends, likewise."""
        return self._places(self.sinks)

    def _places(self, ends: Iterable[Stock | None]) -> frozenset[Place]:
        places: set[Place] = set()
        for end in ends:
            if end is None:
                places.update(Place(model, self.reference.name, None) for model in self._models)
            else:
                places.update(end.places)
        return frozenset(places)


def _ends(column: str, ends: Iterable[Stock | None]) -> Q:
    match = Q()
    for end in ends:
        if end is None:
            match |= Q(**{f"{column}__isnull": True})
        else:
            match |= Q(**{f"{column}__in": end.states, "model__in": end.reference.model_labels})
    return match


def _checked_stocks(
    slug: str, sources: tuple[Stock | None, ...], sinks: tuple[Stock | None, ...]
) -> tuple[Stock, ...]:
    for end in (*sources, *sinks):
        if end is not None and not isinstance(end, Stock):
            raise InvalidDeclaration(
                f"Flow {slug!r}: {end!r} is no Stock, nor None for the outside."
            )
    stocks = tuple(end for end in (*sources, *sinks) if end is not None)
    if not sources or not sinks or not stocks:
        raise InvalidDeclaration(
            f"Flow {slug!r} needs sources and sinks, with a Stock among them; None is the outside."
        )
    first = stocks[0].reference
    for stock in stocks:
        if stock.reference.field != first.field:
            raise InvalidDeclaration(
                f"Flow {slug!r} cannot lead from {first.label} to {stock.reference.label}: nothing "
                "moves from one field to another, so declare a flow for each."
            )
    return stocks
