"""Stays as the buckets of a question know of them."""

from bisect import bisect_right
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from stockflow import conf
from stockflow.domain.instants import MICROSECOND, require_instant, to_micros
from stockflow.domain.intervals import Bucket
from stockflow.domain.measures.changes import Value
from stockflow.domain.measures.levels import in_order
from stockflow.domain.measures.spells import Spell
from stockflow.projections.answers import begun
from stockflow.projections.facets import lookup_of, value_of
from stockflow.projections.measured import Countable, Cutting, known_of
from stockflow.projections.spells import stays
from stockflow.projections.statements import Holds


class Bounds(NamedTuple):
    """A bucket as stays are held against it, in microseconds.

    Attributes:
        until: Its end or, where it runs, just after now.
        elapsed_until: Its end or, where it runs, now.
    """

    bucket: Bucket
    start: int
    until: int
    elapsed_until: int
    is_partial: bool


@dataclass(frozen=True)
class Observed:
    """The stays in a stock until the last bucket's end, and what splits them."""

    spells: list[Spell]
    bounds: list[Bounds]
    now: datetime
    holds: Holds
    lookup: str | None
    value_of: Callable[[str | None], Value]

    @cached_property
    def edges(self) -> list[int]:
        """The bounds of the buckets, the last just after now where it runs."""
        return [*(bound.start for bound in self.bounds), *(b.until for b in self.bounds[-1:])]

    def bucket_of(self, at: int | None) -> int | None:
        """Return the number of the bucket that has an instant, if any has."""
        found = -1 if at is None else bisect_right(self.edges, at) - 1
        return found if 0 <= found < len(self.bounds) else None

    def by_value(self) -> dict[Value, list[Spell]]:
        """Return the stays by the facet value with which they began; the whole is always there."""
        found: dict[Value, list[Spell]] = {} if self.lookup else {None: []}
        for spell in self.spells:
            found.setdefault(self.value_of(spell.facets), []).append(spell)
        return {value: found[value] for value in in_order(found)}


def observe(
    stock: Countable,
    start: datetime,
    end: datetime,
    cutting: Cutting,
    *,
    merged: bool = True,
    states: Collection[str] | None = None,
    later: timedelta = timedelta(0),
    earlier: bool = True,
    ended: bool = False,
) -> Observed:
    """Return the stays that the buckets know of, from one statement.

    Args:
        stock: Whose stays.
        start: As for a stock's measures, as are *end* and *cutting*.
        end: See there.
        cutting: See there.
        merged: As for :func:`~stockflow.projections.spells.stays`.
        states: Those to ask for instead of the stock's.
        later: For how long after the last bucket stays are asked for, until now at most.
        earlier: Whether those that ended before the first bucket are asked for too.
        ended: Whether those that go on are left out.
    """
    known = known_of(cutting)
    lookup, now = lookup_of(stock.reference, cutting.get("by")), conf.now(stock.using)
    cut = begun(start, end, cutting["every"], cutting.get("tz"), now)
    bounds = [_bounds(bucket, now) for bucket in cut]
    first = to_micros(require_instant(start, "start"))
    found = stays(
        stock.reference,
        stock.states if states is None else states,
        _until(bounds, later, now) if bounds else first,
        using=stock.using,
        now=now,
        known=known,
        merged=merged,
        since=None if earlier else first,
        ended=ended,
    )
    return Observed(
        found.spells, bounds, now, found.holds, lookup, value_of(stock.reference, lookup)
    )


def _bounds(bucket: Bucket, now: datetime) -> Bounds:
    start, end, until = to_micros(bucket.start), to_micros(bucket.end), to_micros(now)
    return Bounds(bucket, start, min(end, until + 1), min(end, until), end > until)


def _until(bounds: list[Bounds], later: timedelta, now: datetime) -> int:
    return min(bounds[-1].until + later // MICROSECOND + bool(later), to_micros(now) + 1)
