"""What the stays in a stock tell: how long they take, where they lead, how old members are."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Unpack
from uuid import UUID

from stockflow import conf
from stockflow.domain.errors import InvalidInstant
from stockflow.domain.instants import MICROSECOND, from_micros, require_instant, to_micros
from stockflow.domain.measures.ages import Ages, ages
from stockflow.domain.measures.levels import in_order
from stockflow.domain.measures.spells import Dwell, completed, dwell
from stockflow.domain.measures.survival import curve, stretches
from stockflow.projections.facets import By, lookup_of, value_of
from stockflow.projections.measured import Countable, Cutting
from stockflow.projections.spells import Stays, stays
from stockflow.projections.statements import Known
from stockflow.projections.stays import observe
from stockflow.projections.survivals import Survival
from stockflow.projections.tables import Table

_EDGES = ("start", "end")
_PARTIAL = ("is_partial", "facet")
Row = tuple[Any, ...]


class StayRow(NamedTuple):
    """One stay of one object; see :class:`~stockflow.domain.measures.spells.Spell`."""

    lifecycle: UUID
    state: str
    entered: datetime
    left: datetime | None
    exit_to: str | None
    is_truncated: bool
    is_censored: bool


class StockSpells:
    """The measures of a stock that are made of stays, each from one statement.

    A stay lasts from coming into the stock to leaving it, whatever its states meanwhile; with
    ``merged=False`` each state is a stay, and each transition to the state itself begins a new
    one. With *by* it counts for the facet value with which it began. Days are 24 hours. Other
    arguments are those of :class:`~stockflow.projections.stock_measures.StockMeasures`.
    """

    def stays(
        self: Countable,
        at: datetime | None = None,
        *,
        merged: bool = True,
        **known: Unpack[Known],
    ) -> Table[StayRow]:
        """Return all stays that began by *at*, as they looked then, in order of entry."""
        found = _stays(self, at, known, merged=merged)
        rows = (
            StayRow(
                UUID(one.lifecycle),
                one.state,
                from_micros(one.entered),
                None if one.left is None else from_micros(one.left),
                one.exit_to,
                one.is_truncated,
                one.is_censored,
            )
            for one in sorted(found.spells, key=lambda s: (s.entered, s.lifecycle, s.version))
        )
        return Table(rows, StayRow._fields, found.holds, units={})

    def dwell(
        self: Countable,
        start: datetime,
        end: datetime,
        *,
        merged: bool = True,
        passing: bool = True,
        **cutting: Unpack[Cutting],
    ) -> Table[Row]:
        """Return how long the stays took that ended in each bucket, in days.

        Completed ones only: see :class:`~stockflow.domain.measures.spells.Dwell` for the columns
        and for what that leaves out. ``passing=False`` leaves out those that took no time.
        """
        seen = observe(self, start, end, cutting, merged=merged, earlier=False, ended=True)
        durations: dict[Any, list[list[int]]] = {}
        for value, own in seen.by_value().items():
            ended = durations[value] = [[] for _ in seen.bounds]
            for spell in own:
                bucket = seen.bucket_of(spell.left)
                if bucket is not None:
                    ended[bucket] += [n for n in completed([spell]) if n or passing]
        rows = [
            (*bound.bucket, *dwell(ended[n]), bound.is_partial, value)
            for n, bound in enumerate(seen.bounds)
            for value, ended in durations.items()
        ]
        units = dict.fromkeys(("mean", "median", "p90", "shortest", "longest"), "day")
        units |= dict.fromkeys(("completed", "passing"), "item")
        fields = (*_EDGES, *Dwell._fields, *_PARTIAL)
        return Table(rows, fields, seen.holds, units=units, by=seen.lookup)

    def survival(
        self: Countable,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        by: By | None = None,
        merged: bool = True,
        **known: Unpack[Known],
    ) -> dict[Any, Survival]:
        """Return which share stays longer than any age and where the others went, by facet value.

        Without *by* there is one, under None. Who is still there counts as long as seen, so
        nothing is lost on those who take long. From *start* on, stays that had begun before are
        observed from the age that they had by then (delayed entry). An object that was adopted
        has no known age; such stays are left out and counted as *truncated*.
        """
        lookup, now = lookup_of(self.reference, by), conf.now(self.using)
        read = value_of(self.reference, lookup)
        last = now if end is None else min(require_instant(end, "end"), now)
        until = to_micros(last) + (last == now)  # what happens now is seen, at the end it is not
        first = None if start is None else to_micros(require_instant(start, "start"))
        found = _stays(self, from_micros(until - 1), known, merged=merged, since=first)
        groups: dict[Any, list[Any]] = {} if lookup else {None: []}
        for spell in found.spells:
            groups.setdefault(read(spell.facets), []).append(spell)
        return {
            value: Survival(
                curve(*stretches(groups[value], first, until, to_micros(last))), found.holds
            )
            for value in in_order(groups)
        }

    def ages(
        self: Countable,
        at: datetime | None = None,
        *,
        bands: Sequence[timedelta] = (),
        by: By | None = None,
        **known: Unpack[Known],
    ) -> Table[Row]:
        """Return how long the members at *at* had been there, in days.

        *bands* are the ages at which to part them; see
        :class:`~stockflow.domain.measures.ages.Ages` for the columns.

        Raises:
            InvalidMeasure: If *bands* do not ascend.
        """
        lookup, now = lookup_of(self.reference, by), conf.now(self.using)
        before = to_micros(now if at is None else require_instant(at, "at")) + 1
        read = value_of(self.reference, lookup)
        found = _stays(self, from_micros(before - 1), known, merged=True, since=before)
        groups: dict[Any, list[Any]] = {} if lookup else {None: []}
        for spell in found.spells:
            if lookup is None or spell.is_member(before):
                groups.setdefault(read(spell.facets), []).append(spell)
        parts = [band // MICROSECOND for band in bands]
        rows = [(*ages(groups[value], before, parts), value) for value in in_order(groups)]
        units = dict.fromkeys(("members", "unknown", "bands"), "item")
        units |= dict.fromkeys(("mean", "median", "p90"), "day") | {"total": "item day"}
        return Table(rows, (*Ages._fields, "facet"), found.holds, units=units, by=lookup)


def _stays(
    stock: Countable,
    at: datetime | None,
    known: Known,
    *,
    merged: bool,
    since: int | None = None,
) -> Stays:
    now = conf.now(stock.using)
    at = now if at is None else require_instant(at, "at")
    if at > now:
        raise InvalidInstant(
            f"at is {at.isoformat()}, but it is only {now.isoformat()}: nobody knows a stay yet to come."
        )
    return stays(
        stock.reference,
        stock.states,
        to_micros(at) + 1,
        using=stock.using,
        now=now,
        known=known,
        merged=merged,
        since=since,
    )
