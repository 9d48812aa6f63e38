"""Who comes, stays, converts and comes back: what stays tell of objects over time."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple, Unpack

from stockflow.domain.errors import InvalidMeasure
from stockflow.domain.instants import MICROSECOND, to_micros
from stockflow.domain.measures.changes import Value
from stockflow.domain.measures.conversions import Conversion, conversion
from stockflow.domain.measures.levels import in_order
from stockflow.domain.measures.lifecycles import Growth, by_object, growth, retention
from stockflow.domain.measures.little import Little, little
from stockflow.domain.measures.spells import Spell, merged
from stockflow.projections.measured import Countable, Cutting
from stockflow.projections.stays import Bounds, Observed, observe
from stockflow.projections.tables import Table

Row = tuple[Any, ...]
Lives = dict[str, list[Spell]]


class CohortRow(NamedTuple):
    """Objects that came first in one bucket.

    Attributes:
        size: How many there are.
        members: How many of them were there at the end of that bucket, of the next one, and so
            forth; None where that end has not come yet.
        shares: The same as shares of *size*.
    """

    start: datetime
    end: datetime
    size: int
    members: tuple[int | None, ...]
    shares: tuple[float | None, ...]
    is_partial: bool
    facet: Any = None


class StockCohorts:
    """The measures of a stock that follow objects; arguments are as for its other measures.

    With *by* an object counts for the facet value with which it first came into the stock.
    What was before the log began is not known: an adopted object seems to come then.
    """

    def lifecycle(
        self: Countable, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> Table[Row]:
        """Return how many were retained, new, resurrected, dormant and transient in each bucket.

        See :class:`~stockflow.domain.measures.lifecycles.Growth`: ``retained + new +
        resurrected`` is the closing level, ``retained + dormant`` the opening.
        """
        seen = observe(self, start, end, cutting)
        groups = _lives_by_value(seen)
        found = {value: growth(groups[value].values(), seen.edges) for value in in_order(groups)}
        rows = [
            (*bound.bucket, *own[n], bound.is_partial, value)
            for n, bound in enumerate(seen.bounds)
            for value, own in found.items()
        ]
        fields = ("start", "end", *Growth._fields, "is_partial", "facet")
        units = dict.fromkeys(Growth._fields, "item")
        return Table(rows, fields, seen.holds, units=units, by=seen.lookup)

    def retention(
        self: Countable,
        start: datetime,
        end: datetime,
        *,
        or_after: bool = False,
        **cutting: Unpack[Cutting],
    ) -> Table[CohortRow]:
        """Return for the objects that first came in each bucket how many were there later.

        One row for each cohort: at the end of its own bucket, the next one's and so forth, or
        with *or_after* at that end or any time after it, until now. Ends that have not come yet
        are None. An adopted object is of no cohort.
        """
        seen = observe(self, start, end, cutting, later=timedelta.max if or_after else timedelta(0))
        groups, until = _lives_by_value(seen), to_micros(seen.now)
        edges = [bound.start for bound in seen.bounds]
        edges += [to_micros(bound.bucket.end) for bound in seen.bounds[-1:]]
        rows = []
        for value in in_order(groups):
            cohorts = retention(
                groups[value].values(), edges, observed_until=until, or_after=or_after
            )
            for bound, (size, members) in zip(seen.bounds, cohorts, strict=True):
                shares = tuple(None if n is None or not size else n / size for n in members)
                rows.append(
                    CohortRow(*bound.bucket, size, members, shares, bound.is_partial, value)
                )
        units = {"size": "item", "members": "item"}
        return Table(rows, CohortRow._fields, seen.holds, units=units, by=seen.lookup)

    def little(
        self: Countable, start: datetime, end: datetime, **cutting: Unpack[Cutting]
    ) -> Table[Row]:
        """Return Little's check of each bucket, until now where it runs.

        See :class:`~stockflow.domain.measures.little.Little`; a stay counts for the facet value
        with which it began.
        """
        seen = observe(self, start, end, cutting, earlier=False)
        edges = [*seen.edges[:-1], *(bound.elapsed_until for bound in seen.bounds[-1:])]
        found = {value: little(own, edges) for value, own in seen.by_value().items()}
        rows = [
            (*bound.bucket, *own[n], bound.is_partial, value)
            for n, bound in enumerate(seen.bounds)
            for value, own in found.items()
        ]
        fields = ("start", "end", *Little._fields, "is_partial", "facet")
        units = {
            "average_level": "item",
            "items_per_day": "item/day",
            "days_per_item": "day",
            "arrivals_per_day": "item/day",
            "mean_dwell": "day",
        }
        return Table(rows, fields, seen.holds, units=units, by=seen.lookup)

    def conversion(
        self: Countable,
        to: Countable,
        start: datetime,
        end: datetime,
        *,
        within: timedelta,
        first_only: bool = False,
        **cutting: Unpack[Cutting],
    ) -> Table[Row]:
        """Return which share of those who came into it in each bucket came into *to* in time.

        The time runs from the entry and is up after *within*, both ends included; what lies
        between does not matter. Every entry counts, or each object's first. Entries younger than
        *within* are *immature* and left out. An entry counts for its own facet value. See
        :class:`~stockflow.domain.measures.conversions.Conversion` for the columns.

        Raises:
            InvalidMeasure: If *to* is of another field, or *within* is below 0.
        """
        _check_conversion(self, to, within)
        states = self.states | to.states
        seen = observe(
            self,
            start,
            end,
            cutting,
            merged=False,
            states=states,
            later=within,
            earlier=first_only,
        )
        lives = by_object(seen.spells)
        entered = {key: merged(own, self.states) for key, own in lives.items()}
        reached = {key: merged(own, to.states) for key, own in lives.items()}
        rows = [
            (*bound.bucket, *found, bound.is_partial, value)
            for bound, groups in zip(
                seen.bounds, _entries(seen, entered, first_only=first_only), strict=True
            )
            for value, found in _converted(seen, groups, reached, bound, within).items()
        ]
        fields = ("start", "end", *Conversion._fields, "is_partial", "facet")
        units = dict.fromkeys(("entries", "converted", "immature"), "item")
        return Table(rows, fields, seen.holds, units=units, by=seen.lookup)


def _check_conversion(stock: Countable, to: Countable, within: timedelta) -> None:
    if to.reference.field != stock.reference.field or to.using != stock.using:
        raise InvalidMeasure(
            f"Nothing converts from {stock.reference.label} to {to.reference.label}: both "
            "stocks must be of one field."
        )
    if to.is_narrowed:
        raise InvalidMeasure(
            f"Conversion to the stock {to.slug!r} cannot be asked for: it is narrowed by "
            "facets, and stays are of whole states."
        )
    if within < timedelta(0):
        raise InvalidMeasure(f"within must be 0 or longer, not {within!r}.")


def _lives_by_value(seen: Observed) -> dict[Value, Lives]:
    """Return the stays of each object in order, by the facet value with which it first came."""
    found: dict[Value, Lives] = {} if seen.lookup else {None: {}}
    until = max(seen.edges, default=0)
    for key, own in by_object(seen.spells).items():
        if own[0].entered >= until:  # of no bucket: it was asked for what came after
            continue
        found.setdefault(seen.value_of(own[0].facets), {})[key] = own
    return found


def _entries(seen: Observed, entered: Lives, *, first_only: bool) -> list[dict[Value, Lives]]:
    """Return for each bucket the stays that began in it, by facet value and object."""
    found: list[dict[Value, Lives]] = [{} if seen.lookup else {None: {}} for _ in seen.bounds]
    for key, own in entered.items():
        for spell in own[:1] if first_only else own:
            bucket = seen.bucket_of(spell.entered)
            if bucket is not None:
                lives = found[bucket].setdefault(seen.value_of(spell.facets), {})
                lives.setdefault(key, []).append(spell)
    return found


def _converted(
    seen: Observed, groups: dict[Value, Lives], reached: Lives, bound: Bounds, within: timedelta
) -> dict[Value, Conversion]:
    return {
        value: conversion(
            groups[value],
            reached,
            start=bound.start,
            end=bound.until,
            within=within // MICROSECOND,
            observed_until=to_micros(seen.now),
        )
        for value in in_order(groups)
    }
