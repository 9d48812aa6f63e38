"""Stocks: named sets of states, and how many objects are in them at any instant."""

from datetime import datetime, timedelta, tzinfo
from typing import Any, Self, Unpack, cast, overload
from uuid import UUID

from stockflow import conf
from stockflow.domain.errors import InvalidInstant
from stockflow.domain.instants import from_micros, require_instant, to_micros
from stockflow.domain.intervals import Grain
from stockflow.domain.measures.levels import in_order, levels
from stockflow.projections import query
from stockflow.projections.answers import Answer, Member, Series
from stockflow.projections.connections import Connections
from stockflow.projections.declaring import is_reference
from stockflow.projections.facets import By, is_declared, lookup_of, value_of, values_of
from stockflow.projections.level_series import level_series
from stockflow.projections.members import members
from stockflow.projections.rows import objects_of
from stockflow.projections.statements import Known
from stockflow.projections.stock_cohorts import StockCohorts
from stockflow.projections.stock_measures import StockMeasures
from stockflow.projections.stock_records import StockRecords
from stockflow.projections.stock_spells import StockSpells


class Stock(StockRecords, Connections, StockMeasures, StockSpells, StockCohorts):
    """The objects whose stock field is in one of some states.

    ::

        pipeline = Stock("pipeline", Lead.temperature, states=["hot", "warm"])
        pipeline.count(at=march_3, by="channel")
        web = Stock("web", Lead.temperature, states=["hot"], where={"channel": "web"})
        staff = Stock("staff", queryset=User.objects.filter(is_staff=True), frequency="daily")

    Every answer comes from the log, by one statement, so one about the past stays what it was.
    A *sampled* stock, as the last one is, has no log: it is counted when it is asked and at its
    frequency, and has no past but its records. So is one with a ``where=`` that is no declared
    facet. ``is_sampled`` tells, as do its repr and its definition.

    Args:
        slug: What identifies it among the stocks.
        reference: The stock field as its model gives it. Asked of a child or proxy, only that
            model's objects count.
        states: The states that belong to it.
        where: For some facets the value, or a list of values, that its objects have.
        queryset: What it is instead of all these, which makes it sampled.
        facets: What its records are split by: facets, or pairs of a facet and the prefix that
            leads to it.
        frequency: How often the periodic schedule writes its record, such as ``"daily"``.
        before_count: Functions of the stock, called before a record is written.
        after_count: Functions of the stock and its record, called afterwards.
        name: What to show; made from the slug where it is not given.
        description: What to say about it.

    Raises:
        InvalidDeclaration: If the slug is taken, the reference is none, or a state is unknown
            to the field.
        UnknownFacet: If the field does not declare one of *facets*.
        UnknownFacetValue: If a facet of *where* cannot have the value.
    """

    def __new__(cls, *args: Any, **options: Any) -> Self:
        made = kind_of(*args[1:2], **options) if cls is Stock else cls
        return cast(Self, object.__new__(made))

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
        counted = query.changes(
            [self.reference],
            [_after(at, now)],
            using=using,
            now=now,
            known=known,
            split=lookup is not None or self.is_narrowed,
        )
        found = levels(
            self.own(counted.changes),
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
        return self.part_of_members(slice(None), at, **known)

    def part_of_members(
        self, part: slice, at: datetime | None = None, **known: Unpack[Known]
    ) -> Answer[Member]:
        """Return some of the members, such as those that a page shows; no others are read.

        Args:
            part: From which one on and before which one, counted from 0.
            at: As for :meth:`count`.
            known: As for :meth:`members`.

        Raises:
            InvalidInstant: As for :meth:`count`.
        """
        using, now = self.using, conf.now(self.using)
        found, holds = members(
            self.reference,
            self.states,
            _after(at, now),
            using=using,
            now=now,
            known=known,
            narrowing=self.narrowing,
            part=part,
        )
        lifecycles = [UUID(row[0]) for row in found]
        objects = objects_of(self.reference.model, using, lifecycles)
        facets_in = values_of(self.reference)
        return Answer(
            (
                Member(key, objects.get(key), state, from_micros(since), dict(facets_in(facets)))
                for key, (_, state, facets, since) in zip(lifecycles, found, strict=True)
            ),
            *holds,
        )


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


def kind_of(reference: Any = None, **options: Any) -> type[Stock]:
    """Return which kind of stock it is that is declared so."""
    from stockflow.projections.narrowed import NarrowedStock  # noqa: PLC0415  a kind of this one
    from stockflow.projections.sampled import SampledStock  # noqa: PLC0415  as above

    where = options.get("where")
    if options.get("queryset") is not None:
        return SampledStock
    reference = options.get("reference", reference)
    if not where or not is_reference(reference):
        return Stock
    is_exact = all(is_declared(reference, by) or not isinstance(by, str) for by in where)
    return NarrowedStock if is_exact else SampledStock
