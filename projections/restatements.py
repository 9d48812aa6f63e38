"""Restatements: what became known later, and how it changed what had been said."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from stockflow import conf
from stockflow.domain.errors import InvalidInstant
from stockflow.domain.instants import to_micros
from stockflow.domain.intervals import Bucket, Grain
from stockflow.domain.measures.levels import in_order
from stockflow.domain.measures.sums import Sums, sums
from stockflow.projections import as_known
from stockflow.projections.answers import begun, bounds_of
from stockflow.projections.facets import By, lookup_of, value_of
from stockflow.projections.measured import Countable
from stockflow.projections.statements import Known, known_sql
from stockflow.projections.tables import Table


class RestatementRow(NamedTuple):
    """What was said of one bucket, and what is said of it now that more is known, in items.

    Attributes:
        was: The closing level as it was known earlier.
        became: As it was known later.
        change: By how much the level was restated.
        inflow: By how much the bucket's inflow was.
        outflow: By how much its outflow was.
        reclassified: By how much what came without a flow was.
    """

    start: datetime
    end: datetime
    was: int
    became: int
    change: int
    inflow: int
    outflow: int
    reclassified: int
    facet: Any = None


def restatement(
    stock: Countable,
    start: datetime,
    end: datetime,
    *,
    earlier: int | datetime,
    later: int | datetime | None,
    every: Grain | timedelta,
    by: By | None,
    tz: tzinfo | None,
) -> Table[RestatementRow]:
    """Return the rows of buckets and facet values that were restated, from one statement."""
    lookup, now = lookup_of(stock.reference, by), conf.now(stock.using)
    cut = begun(start, end, every, tz, now)
    bounds = [min(bound, to_micros(now) + 1) for bound in bounds_of(start, cut)]
    known: Known = {"sequenced": True} if later is None else {"as_known_at": later}
    if isinstance(earlier, datetime) and isinstance(later, datetime) and earlier > later:
        raise InvalidInstant(
            f"earlier is {earlier.isoformat()}, which is after {later.isoformat()} that it is "
            "compared with: exchange the two."
        )
    found = as_known.restated(
        [stock.reference],
        bounds,
        using=stock.using,
        now=now,
        earlier=known_sql({"as_known_at": earlier}, now),
        known=known,
        split=lookup is not None or stock.is_narrowed,
    )
    if isinstance(earlier, int) and earlier > (found.holds.position or 0):
        raise InvalidInstant(
            f"earlier is {earlier}, which is after the position {found.holds.position} that it is "
            "compared with: exchange the two."
        )
    rows = (row for row in _rows(stock, cut, found, lookup) if any(row[4:8]))
    units = dict.fromkeys(RestatementRow._fields[2:8], "item")
    return Table(rows, RestatementRow._fields, found.holds, units=units, by=lookup)


def _rows(
    stock: Countable, cut: Sequence[Bucket], found: as_known.Restated, lookup: str | None
) -> Iterator[RestatementRow]:
    read, lengths = value_of(stock.reference, lookup), [0] * len(cut)
    earlier_own, later_own = stock.own(found.earlier), stock.own(found.later)
    known = [*earlier_own, *later_own]
    was = sums(earlier_own, lengths=lengths, stock=stock.places, value_of=read)
    became = sums(known, lengths=lengths, stock=stock.places, value_of=read)
    nothing, values = [Sums()] * len(cut), in_order({*was, *became})
    for n, bucket in enumerate(cut):
        for value in values:
            earlier, later = was.get(value, nothing)[n], became.get(value, nothing)[n]
            yield _row(*bucket, earlier, later, value)


def _row(start: datetime, end: datetime, was: Sums, became: Sums, value: Any) -> RestatementRow:
    return RestatementRow(
        start,
        end,
        was.closing,
        became.closing,
        became.closing - was.closing,
        became.inflow - was.inflow,
        became.outflow - was.outflow,
        became.reclassified - was.reclassified,
        value,
    )
