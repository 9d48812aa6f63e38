"""Restatements: what became known later, and how it changed what had been said."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from stockflow import conf
from stockflow.domain.errors import InvalidInstant
from stockflow.domain.instants import to_micros
from stockflow.domain.intervals import Bucket, Grain
from stockflow.domain.measures.changes import Change
from stockflow.domain.measures.levels import in_order
from stockflow.domain.measures.sums import Sums, sums
from stockflow.projections.answers import begun, bounds_of
from stockflow.projections.facets import By, lookup_of, value_of
from stockflow.projections.measured import Countable
from stockflow.projections.query import counted, merged
from stockflow.projections.statements import Known, known_sql, run
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
    position = known_sql({"as_known_at": earlier}, now)
    late = f"CASE WHEN p.position <= ({position}) THEN 0 ELSE 1 END"
    statement = counted(
        bounds, stock.using, opening=True, split=lookup is not None or stock.is_narrowed, more=late
    )
    found, holds = run(statement, [stock.reference], using=stock.using, now=now, known=known)
    if isinstance(earlier, int) and earlier > (holds.position or 0):
        raise InvalidInstant(
            f"earlier is {earlier}, which is after the position {holds.position} that it is "
            "compared with: exchange the two."
        )
    before, after = ([row for row in found if row[8] == late] for late in (0, 1))
    known_then, known_since = list(merged(bounds, before)), list(merged(bounds, after))
    rows = (row for row in _rows(stock, cut, known_then, known_since, lookup) if any(row[4:8]))
    units = dict.fromkeys(RestatementRow._fields[2:8], "item")
    return Table(rows, RestatementRow._fields, holds, units=units, by=lookup)


def _rows(
    stock: Countable,
    cut: Sequence[Bucket],
    earlier: list[Change],
    later: list[Change],
    lookup: str | None,
) -> Iterator[RestatementRow]:
    read, lengths = value_of(stock.reference, lookup), [0] * len(cut)
    earlier_own, later_own = stock.own(earlier), stock.own(later)
    known = [*earlier_own, *later_own]
    was = sums(earlier_own, lengths=lengths, stock=stock.places, value_of=read)
    became = sums(known, lengths=lengths, stock=stock.places, value_of=read)
    nothing, values = [Sums()] * len(cut), in_order({*was, *became})
    for n, bucket in enumerate(cut):
        for value in values:
            pair = was.get(value, nothing)[n], became.get(value, nothing)[n]
            yield _row(*bucket, *pair, value)


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
