"""The one place that counts: SQL over the log, one statement for each answer.

Everything that is asked of a stock or a flow is a sum of additive changes between bounds.
Bounds are instants cut in Python; the database only sorts events into the buckets between
them, so it needs to know no time zone.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stockflow import conf
from stockflow.domain.instants import to_micros
from stockflow.domain.measures.changes import Change
from stockflow.projections import folded
from stockflow.projections.ranges import cut
from stockflow.projections.statements import Holds, Known, Statement, knows_all, run, vendor_of

if TYPE_CHECKING:
    from stockflow.fields import StockReference

BEGINNING: Final = to_micros(datetime.min.replace(tzinfo=UTC))
END: Final = to_micros(datetime.max.replace(tzinfo=UTC)) + 1

BUCKET: Final = {"postgresql": "width_bucket(e.occurred_at, %s::bigint[])", "sqlite": "b.key"}
"""The bucket of event *e*; what it binds comes from :func:`bound_values`."""

BETWEEN: Final = {
    # One pass over the range and a binary search: a join would leave the planner the choice
    # of comparing every event with every bucket.
    "postgresql": "FROM asked a JOIN {log_by_time}{more}"
    " WHERE e.occurred_at >= %s AND e.occurred_at < %s",
    # CROSS JOIN keeps the order of the loops: for each bucket its range of the index.
    "sqlite": "FROM asked a CROSS JOIN json_each(%s) b CROSS JOIN {log_by_time}{more}"
    " WHERE e.occurred_at >= json_extract(b.value, '$[0]')"
    " AND e.occurred_at < json_extract(b.value, '$[1]')",
}
"""The events between bounds: one pass, or a range of the index for each bucket.

``{more}`` is joined to them.
"""

# Seconds and the rest apart: the sum of microseconds overflows 64 bits.
_COUNTED: Final = """
SELECT {bucket}, e.model, e.field, e.kind, e.source, e.target, {facets}{more}, count(*),
       CAST(sum(e.occurred_at / 1000000) AS bigint), CAST(sum(e.occurred_at %% 1000000) AS bigint)
{between}{unless}
GROUP BY {group}"""
_CELLS: Final = 8
"""How many columns say what was counted: the bucket and the cells."""


class Counted(NamedTuple):
    """Changes, and how far they hold."""

    changes: list[Change]
    holds: Holds


def changes(
    references: Iterable["StockReference"],
    bounds: Sequence[int],
    *,
    using: str,
    now: datetime,
    known: Known | None = None,
    opening: bool = True,
    split: bool = True,
) -> Counted:
    """Count what happened between *bounds*, by bucket and cells, in one statement.

    Args:
        references: The fields asked about.
        bounds: Ascending instants in microseconds; bucket 1 lies between the first two.
        using: The alias of the database.
        now: What is due by then and has not fired is not settled.
        known: What is known of the log; all of it, part of which may be folded, by default.
        opening: Whether bucket 0, all before the first bound, is counted too.
        split: Whether cells differ by their facets; without, the facets are None.
    """
    known = known or {}
    if knows_all(known):
        statement = _with_folded(bounds, using, opening=opening, split=split)
    else:
        statement = counted(bounds, using, opening=opening, split=split)
    rows, holds = run(statement, references, using=using, now=now, known=known)
    return Counted(list(merged(bounds, rows)), holds)


def counted(
    bounds: Sequence[int],
    using: str,
    *,
    opening: bool,
    split: bool,
    more: str = "",
    unless: str = "",
) -> Statement:
    """Return the statement that counts events of the log.

    Its rows are the bucket and the cells, *more*, and how many, their seconds and microseconds.

    Args:
        bounds: As for :func:`changes`, as are *using*, *opening* and *split*.
        using: See there.
        opening: See there.
        split: See there.
        more: By what else to count, as an expression of SQL.
        unless: Under which condition nothing is counted, as SQL.
    """
    vendor, columns = vendor_of(using), _CELLS + bool(more)
    grouped = [n for n in range(1, columns + 1) if split or n not in (7, 8)]
    sql = _COUNTED.format(
        bucket=BUCKET[vendor],
        between=BETWEEN[vendor].replace("{more}", ""),
        facets="e.source_facets, e.target_facets" if split else "NULL, NULL",
        more=more and f", {more}",
        unless=unless,
        group=", ".join(map(str, grouped)),
    )
    return Statement(sql, bound_values(bounds, using, opening=opening), columns + 3)


def bound_values(bounds: Sequence[int], using: str, *, opening: bool) -> list[Any]:
    """Return what :data:`BUCKET` and :data:`BETWEEN` bind, in this order."""
    first = BEGINNING if opening else bounds[0]
    if vendor_of(using) == "postgresql":
        return [list(bounds), first, bounds[-1]]
    # An empty range keeps bucket 0 in place where the opening is not asked for.
    return [json.dumps([*zip([first, *bounds], bounds, strict=False)])]


def merged(bounds: Sequence[int], rows: Iterable[Sequence[Any]]) -> Iterator[Change]:
    """Add up what different parts of a statement counted of one change."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        sums = found.setdefault(tuple(row[:_CELLS]), [0, 0, 0])
        for at, number in enumerate(row[-3:]):
            sums[at] += number
    for (bucket, *cells), (number, seconds, rest) in found.items():
        offset = seconds * 1_000_000 + rest - number * bounds[bucket - 1] if bucket else 0
        yield Change._make((bucket, *cells, number, offset))


def _with_folded(bounds: Sequence[int], using: str, *, opening: bool, split: bool) -> Statement:
    log = counted(bounds, using, opening=opening, split=split, unless=folded.UNLESS_SERVING)
    vendor, zone = vendor_of(using), conf.time_zone()
    ranges = cut(bounds, zone, BEGINNING, opening=opening)
    tables, values = folded.tables(ranges, zone, vendor=vendor)
    sql = f"{log.sql} UNION ALL {folded.selects(split=split, vendor=vendor)}"
    return Statement(sql, log.values, log.columns, tables, values)
