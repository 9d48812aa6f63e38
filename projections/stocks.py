"""Stocks: named sets of states, and how many objects are in them at any instant."""

from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Unpack, overload
from uuid import UUID

from django.db import router

from stockflow import conf
from stockflow.domain.errors import InvalidInstant
from stockflow.domain.instants import from_micros, require_instant, to_micros
from stockflow.domain.intervals import Grain
from stockflow.domain.measures.changes import Place
from stockflow.domain.measures.levels import in_order, levels
from stockflow.errors import InvalidDeclaration
from stockflow.projections import as_known, query, registry
from stockflow.projections.answers import Answer, Member, Series, begun, bounds_of
from stockflow.projections.facets import By, lookup_of, value_of, values_of
from stockflow.projections.statements import Known
from stockflow.projections.stock_cohorts import StockCohorts
from stockflow.projections.stock_measures import StockMeasures
from stockflow.projections.stock_spells import StockSpells

if TYPE_CHECKING:
    from django.db import models

    from stockflow.fields import StockReference

_CHUNK: Final = 500


class Stock(StockMeasures, StockSpells, StockCohorts):
    """The objects whose stock field is in one of some states.

    ::

        pipeline = Stock("pipeline", Lead.temperature, states=["hot", "warm"])
        pipeline.count(at=march_3, by="channel")

    Every answer comes from the log, by one statement, so one about the past stays what it was.

    Args:
        slug: What identifies it among the stocks.
        reference: The stock field as its model gives it. Asked of a child or proxy, only that
            model's objects count.
        states: The states that belong to it.
        name: What to show; made from the slug where it is not given.
        description: What to say about it.

    Raises:
        InvalidDeclaration: If the slug is taken, the reference is none, or a state is unknown
            to the field.
    """

    def __init__(
        self,
        slug: str,
        reference: "StockReference",
        *,
        states: Iterable[str],
        name: str = "",
        description: str = "",
    ) -> None:
        self.slug, self.reference, self.description = slug, reference, description
        _check_reference(slug, reference)
        self.states = _checked_states(slug, reference, states)
        registry.register(registry.declared.stocks, self)
        self.name = name or registry.readable(slug)

    def __repr__(self) -> str:
        return f"<Stock: {self.slug}>"

    @cached_property
    def places(self) -> frozenset[Place]:
        """Where its objects are: each model, field and state."""
        reference = self.reference
        return frozenset(
            Place(model, reference.name, state)
            for model in reference.model_labels
            for state in self.states
        )

    @property
    def using(self) -> str:
        """The alias of the database that answers."""
        return router.db_for_read(self.reference.model)

    @overload
    def count(self, at: datetime | None = None, by: None = None, **known: Unpack[Known]) -> int: ...
    @overload
    def count(
        self, at: datetime | None = None, *, by: By, **known: Unpack[Known]
    ) -> dict[Any, int]: ...
    @overload
    def count(self, at: datetime | None, by: By, **known: Unpack[Known]) -> dict[Any, int]: ...
    def count(
        self, at: datetime | None = None, by: By | None = None, **known: Unpack[Known]
    ) -> int | dict[Any, int]:
        """Return the level: how many objects are in it.

        Args:
            at: The instant asked about, inclusive: what happened then has happened. Now,
                which is all that the log holds, where it is not given.
            by: The facet to split by.
            known: ``as_known_at=`` a position of the log or an instant: what was known then of
                *at*; or ``sequenced=True``
                (:class:`~stockflow.projections.statements.Known`).

        Returns:
            A number of objects; with *by* a mapping from facet value to number, without the
            values that have no object. Events from before the facet was declared count
            under ``NOT_RECORDED``.

        Raises:
            InvalidInstant: If *at* is not an aware datetime, or in the future.
            UnknownFacet: If the field does not declare the facet.
        """
        using, lookup = self.using, lookup_of(self.reference, by)
        now = conf.now(using)
        counted = as_known.changes(
            [self.reference],
            [_after(at, now)],
            using=using,
            now=now,
            known=known,
            split=lookup is not None,
        )
        found = levels(
            counted.changes,
            buckets=0,
            stock=self.places,
            value_of=value_of(self.reference, lookup),
        )
        if lookup is None:
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
        """Return the level at each bucket's end.

        What happens at exactly a bucket's end belongs to the next bucket. The first and the
        last bucket are clipped to the range; those that have not begun yet are left out.

        Args:
            start: The first instant of the first bucket.
            end: The first instant after the last bucket.
            every: ``"hour"``, ``"day"``, ``"week"``, ``"month"``, ``"quarter"``, ``"year"``
                or a fixed length.
            by: The facet to split by: one row for each bucket and each value that has an
                object at some bucket's end.
            tz: The zone in which days are cut; ``STOCKFLOW_TIME_ZONE`` where it is not given.

        Raises:
            InvalidInstant: If a bound is not an aware datetime.
            InvalidBuckets: If the range or *every* cannot be cut.
            UnknownFacet: If the field does not declare the facet.
        """
        answers = level_series([self], start, end, every=every, by=by, tz=tz, known=known)
        return answers[self.slug]

    def members(self, at: datetime | None = None, **known: Unpack[Known]) -> Answer[Member]:
        """Return the objects behind the number, in the order of their keys in the log.

        The log alone decides who is one; the objects are then fetched as they are now.

        Args:
            at: As for :meth:`count`.
            known: As for :meth:`count`; since when is what was known then.

        Raises:
            InvalidInstant: As for :meth:`count`.
        """
        using = self.using
        now = conf.now(using)
        found, holds = as_known.members(
            self.reference, self.states, _after(at, now), using=using, now=now, known=known
        )
        lifecycles = [UUID(row[0]) for row in found]
        objects = _fetch(self.reference.model, using, lifecycles)
        facets_in = values_of(self.reference)
        return Answer(
            (
                Member(key, objects.get(key), state, from_micros(since), dict(facets_in(facets)))
                for key, (_, state, facets, since) in zip(lifecycles, found, strict=True)
            ),
            *holds,
        )


def level_series(
    stocks: Iterable[Stock],
    start: datetime,
    end: datetime,
    *,
    every: Grain | timedelta,
    by: By | None,
    tz: tzinfo | None,
    known: Known,
) -> dict[str, Series]:
    """Return the series of several stocks of one database, by slug, from one statement."""
    asked = list(stocks)
    lookups = [lookup_of(stock.reference, by) for stock in asked]
    using = asked[0].using
    now = conf.now(using)
    cut = begun(start, end, every, tz, now)
    counted = as_known.changes(
        [stock.reference for stock in asked],
        bounds_of(start, cut),
        using=using,
        now=now,
        known=known,
        split=by is not None,
    )
    answers = {}
    for stock, lookup in zip(asked, lookups, strict=True):
        found = levels(
            counted.changes,
            buckets=len(cut),
            stock=stock.places,
            value_of=value_of(stock.reference, lookup),
        )
        ends = {value: level[1:] for value, level in found.items()}
        answers[stock.slug] = Series(
            cut, ends, counted.holds.settled_until, lookup, counted.holds.position
        )
    return answers


def _after(at: datetime | None, now: datetime) -> int:
    """Return the bound just after *at*: microseconds are whole, so as-of is a bound too."""
    if at is None:
        return query.END
    at = require_instant(at, "at")
    if at > now:
        raise InvalidInstant(
            f"at is {at.isoformat()}, but it is only {now.isoformat()}: nobody knows a level yet to come."
        )
    return to_micros(at) + 1


def _fetch(model: "type[models.Model]", using: str, lifecycles: list[UUID]) -> dict[UUID, Any]:
    objects: dict[UUID, Any] = {}
    for first in range(0, len(lifecycles), _CHUNK):
        rows = model._base_manager.using(using).filter(
            stock_lifecycle__in=lifecycles[first : first + _CHUNK]
        )
        objects.update((row.stock_lifecycle, row) for row in rows)  # type: ignore[attr-defined]
    return objects


def _check_reference(slug: str, reference: object) -> None:
    from stockflow.fields import StockReference  # noqa: PLC0415  importable without the app registry

    if not isinstance(reference, StockReference):
        raise InvalidDeclaration(
            f"Stock {slug!r} needs a stock field as its model gives it, such as "
            f"Lead.temperature, not {reference!r}."
        )
    if reference.model._meta.abstract:
        raise InvalidDeclaration(
            f"Stock {slug!r}: {reference.label} is abstract and has no objects; declare a stock "
            "for each of its children."
        )


def _checked_states(
    slug: str, reference: "StockReference", states: Iterable[str]
) -> frozenset[str]:
    known = ", ".join(map(repr, sorted(reference.states)))
    asked = frozenset([states] if isinstance(states, str) else states)
    if isinstance(states, str) or not asked:
        raise InvalidDeclaration(
            f"Stock {slug!r} needs a list of states of {reference.label}, not {states!r} (it has: {known})."
        )
    unknown = asked - reference.states
    if unknown and not reference.open_states:
        names = ", ".join(map(repr, sorted(unknown)))
        raise InvalidDeclaration(
            f"Stock {slug!r}: {reference.label} has no state {names} (it has: {known})."
        )
    return asked
