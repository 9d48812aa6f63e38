"""Flows as they are declared: what they lead from and to, and the events that took them."""

from collections.abc import Callable, Collection, Iterable
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack, cast

from django.apps import apps
from django.db import router
from django.db.models import Q, QuerySet

from stockflow.domain.errors import InvalidMeasure
from stockflow.domain.measures.changes import FLOW_KINDS, Change, Place
from stockflow.errors import InvalidDeclaration
from stockflow.projections import registry
from stockflow.projections.belonging import led
from stockflow.projections.declaring import check_splits, checked_facets
from stockflow.projections.event_callables import EventCallable, listed
from stockflow.projections.facets import By
from stockflow.projections.stocks import Stock

if TYPE_CHECKING:
    from stockflow.fields import StockReference
    from stockflow.projections.flows import Flow

End = Stock | str | None
"""Where a flow starts or ends: a stock, a state that no stock stands for, or the outside."""

ANY: Final[Any] = object()
"""Stands for each source, or each sink, of a flow."""


class Options(TypedDict, total=False):
    """What any flow may be declared with; see :class:`~stockflow.projections.flows.Flow`."""

    facets: Iterable[By]
    frequency: str | None
    event_callables: "Iterable[EventCallable | Callable[..., Any]]"
    event_model: Any
    name: str
    description: str


class FlowDeclaration:
    """What a flow says of itself.

    Attributes:
        sources: Where it starts: stocks, states that no stock stands for, None for the outside.
        sinks: Where it ends, likewise.
        stocks: The stocks among them.
        facets: What its records are split by.
        frequency: How often the schedule writes its record.
        event_callables: What is called with each of its events.
        event_model: The model of its events, with a key to the subject; None for the log's own.
    """

    def __init__(
        self,
        slug: str,
        *,
        sources: Iterable[End],
        sinks: Iterable[End],
        **options: Unpack[Options],
    ) -> None:
        self.slug, self.sources, self.sinks = slug, tuple(sources), tuple(sinks)
        self.stocks = _checked_stocks(slug, self.sources, self.sinks)
        self.description = options.get("description", "")
        self.facets = checked_facets("Flow", slug, options.get("facets", ()))
        check_splits([stock.reference for stock in self.stocks], self.facets)
        self.frequency = options.get("frequency")
        self.event_callables = listed(slug, options.get("event_callables", ()))
        self.event_model = options.get("event_model")
        if self.event_model is not None:
            from stockflow.projections.flow_events import checked_model  # noqa: PLC0415  needs the app registry

            checked_model(slug, self.event_model, self.subject_model)
        registry.register(registry.declared.flows, cast("Flow", self))
        if any(one.inline for one in self.event_callables):
            for label in self._models:
                registry.declared.inline.setdefault(label, []).append(cast("Flow", self))
        self.name = options.get("name") or registry.readable(slug)

    def __repr__(self) -> str:
        return f"<Flow: {self.slug}>"

    @property
    def reference(self) -> "StockReference":
        """The stock field whose facets split it: that of the first stock."""
        return self.stocks[0].reference

    @property
    def subject_model(self) -> Any:
        """The model of its objects."""
        return self.reference.model

    @property
    def using(self) -> str:
        """The alias of the database that answers."""
        return self.stocks[0].using

    @property
    def written_to(self) -> str:
        """The alias of the database that its records are written to."""
        return router.db_for_write(self.subject_model)

    @property
    def definition(self) -> str:
        """What it is, to be read."""
        ends = [" or ".join(map(_name, ends)) for ends in (self.sources, self.sinks)]
        return f"{self.reference.label} from {ends[0]} to {ends[1]}"

    @property
    def is_narrowed(self) -> bool:
        """Whether facets narrow one of its stocks."""
        return any(stock.is_narrowed for stock in self.stocks)

    @property
    def recorded(self) -> "QuerySet[Any]":
        """Its events as rows of the log, in no order."""
        return self._of(apps.get_model("stockflow", "Event"))

    @property
    def events(self) -> "QuerySet[Any]":
        """The events of the flow, in order of time, as rows of its model of events."""
        model = self.event_model or apps.get_model("stockflow", "Event")
        return self._of(model).order_by("occurred_at", "id")

    def _of(self, model: Any) -> "QuerySet[Any]":
        found: QuerySet[Any] = model._default_manager.using(self.using)
        return found.filter(_ends("source", self.sources), _ends("target", self.sinks)).filter(
            kind__in=FLOW_KINDS, field=self.reference.name, model__in=self._models
        )

    def all(self, source: End = ANY, sink: End = ANY) -> "QuerySet[Any]":
        """Return its events, in order of time: all, or those of one source or sink.

        Raises:
            InvalidMeasure: If it has no such source or sink.
        """
        return self.part(source, sink).events

    def part(self, source: End = ANY, sink: End = ANY) -> "FlowDeclaration":
        """Return the part of it that leads from one source or to one sink; not declared itself.

        Raises:
            InvalidMeasure: If it has no such source or sink.
        """
        if source is ANY and sink is ANY:
            return self
        part = copy(self)
        for name in ("_models", "source_places", "sink_places"):
            part.__dict__.pop(name, None)
        part.__dict__["_models"] = self._models
        for kind, end in ("source", source), ("sink", sink):
            ends: tuple[End, ...] = getattr(self, f"{kind}s")
            if end is ANY:
                continue
            if end not in ends:
                known = ", ".join(map(_name, ends))
                raise InvalidMeasure(
                    f"Flow {self.slug!r} has no {kind} {_name(end)} (it has: {known})."
                )
            setattr(part, f"{kind}s", (end,))
        return part

    def own(self, changes: Iterable[Change]) -> list[Change]:
        """Return *changes* as it counts them: cells that facets exclude are elsewhere."""
        listed = list(changes)
        return led(listed, self.sources, self.sinks) if self.is_narrowed else listed

    def takes(self, change: Change) -> bool:
        """Whether *change* leads from a source to a sink of it."""
        (own,) = self.own([change])
        source = Place(own.model, own.field, own.source)
        target = Place(own.model, own.field, own.target)
        return source in self.source_places and target in self.sink_places

    def source_of(self, event: Any) -> End:
        """Return the first of its sources that an event left; None is the outside."""
        return _end(event, event.source, event.source_facets, self.sources)

    def sink_of(self, event: Any) -> End:
        """Return the first of its sinks that an event reached; None is the outside."""
        return _end(event, event.target, event.target_facets, self.sinks)

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

    def _places(self, ends: Iterable[End]) -> frozenset[Place]:
        places: set[Place] = set()
        for end in ends:
            if isinstance(end, Stock):
                places.update(end.places)
            else:
                places.update(Place(model, self.reference.name, end) for model in self._models)
        return frozenset(places)


def _name(end: End) -> str:
    if end is None:
        return "the outside"
    return repr(end) if isinstance(end, str) else end.slug


def _end(event: Any, state: str | None, facets: str | None, ends: Collection[End]) -> End:
    for end in ends:
        if not isinstance(end, Stock):
            if end == state:
                return end
        elif Place(event.model, event.field, state) in end.places and end.holds(facets):
            return end
    return None


def _ends(column: str, ends: Iterable[End]) -> Q:
    match = Q()
    for end in ends:
        if end is None:
            match |= Q(**{f"{column}__isnull": True})
        elif isinstance(end, str):
            match |= Q(**{column: end})
        else:
            own = Q(**{f"{column}__in": end.states, "model__in": end.reference.model_labels})
            match |= own & end.event_condition(f"{column}_facets")
    return match


def _checked_stocks(
    slug: str, sources: tuple[End, ...], sinks: tuple[End, ...]
) -> tuple[Stock, ...]:
    ends = (*sources, *sinks)
    for end in ends:
        if not isinstance(end, Stock | str | None):
            raise InvalidDeclaration(
                f"Flow {slug!r}: {end!r} is no Stock, nor a state, nor None for the outside."
            )
    stocks = tuple(end for end in ends if isinstance(end, Stock))
    if not sources or not sinks or not stocks:
        raise InvalidDeclaration(
            f"Flow {slug!r} needs sources and sinks, with a Stock among them; None is the outside."
        )
    for stock in stocks:
        if stock.is_sampled:
            raise InvalidDeclaration(
                f"Flow {slug!r} cannot lead to or from {stock.slug!r}: it is sampled, so nobody "
                "sees who comes and goes. Give it states of a stock field."
            )
    first = stocks[0].reference
    for stock in stocks:
        if stock.reference.field != first.field:
            raise InvalidDeclaration(
                f"Flow {slug!r} cannot lead from {first.label} to {stock.reference.label}: nothing "
                "moves from one field to another, so declare a flow for each."
            )
    for end in ends:
        if isinstance(end, str) and end not in first.states and not first.open_states:
            known = ", ".join(map(repr, sorted(first.states)))
            raise InvalidDeclaration(
                f"Flow {slug!r}: {end!r} is no Stock, nor a state of {first.label} (it has: {known})."
            )
    return stocks
