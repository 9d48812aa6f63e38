"""Additive changes as the log knew them at a position, and what two positions disagree about."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stockflow.domain.measures.changes import Change
from stockflow.projections import query
from stockflow.projections.statements import Holds, Known, Statement, knows_all, run, vendor_of

if TYPE_CHECKING:
    from stockflow.fields import StockReference

BUCKET: Final = {"postgresql": "width_bucket(e.occurred_at, %s::bigint[])", "sqlite": "b.key"}
"""The bucket of event *e*; what it binds comes from :func:`bound_values`."""

BETWEEN: Final = {
    "postgresql": "FROM asked a JOIN {log}{more} WHERE e.occurred_at >= %s AND e.occurred_at < %s",
    # CROSS JOIN keeps the order of the loops: for each bucket its range of the index.
    "sqlite": "FROM asked a CROSS JOIN json_each(%s) b CROSS JOIN {log}{more}"
    " WHERE e.occurred_at >= json_extract(b.value, '$[0]')"
    " AND e.occurred_at < json_extract(b.value, '$[1]')",
}
"""The events between bounds: one pass, or a range of the index for each bucket.

``{more}`` is joined to them.
"""

_COUNTED: Final = """
SELECT {bucket}, e.model, e.field, e.kind, e.source, e.target, {facets}, {late}, count(*),
       CAST(sum(e.occurred_at / 1000000) AS bigint), CAST(sum(e.occurred_at %% 1000000) AS bigint)
{between}
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9"""

_MEMBERS: Final = """
SELECT last.originator, last.target, last.target_facets, last.since FROM (
  SELECT e.originator, e.target, e.target_facets,
         row_number() OVER (PARTITION BY e.originator ORDER BY e.version DESC) AS back,
         max(CASE WHEN e.kind <> 'reclassified' THEN e.occurred_at END)
           OVER (PARTITION BY e.originator) AS since
  FROM asked a JOIN {log} WHERE e.occurred_at < %s
) last WHERE last.back = 1 AND last.target IN (SELECT name FROM states)"""


class AsKnown(NamedTuple):
    """Changes, and how far they hold."""

    changes: list[Change]
    holds: Holds


class Restated(NamedTuple):
    """Changes known at the earlier position, those that became known after it, and how far both hold."""

    earlier: list[Change]
    later: list[Change]
    holds: Holds


def changes(
    references: Iterable["StockReference"],
    bounds: Sequence[int],
    *,
    using: str,
    now: datetime,
    known: Known,
    opening: bool = True,
    split: bool = True,
) -> AsKnown:
    """Count as :func:`query.changes` does, from what *known* knows of the log.

    What is known now comes from there, since it may be folded.
    """
    if knows_all(known):
        counted = query.changes(
            references, bounds, using=using, now=now, opening=opening, split=split
        )
        return AsKnown(counted.changes, Holds(counted.settled_until, None))
    statement = _counted(bounds, using, opening=opening, split=split, late="0")
    rows, holds = run(statement, references, using=using, now=now, known=known)
    return AsKnown([_change(bounds, row) for row in rows], holds)


def members(
    reference: "StockReference",
    states: Iterable[str],
    before: int,
    *,
    using: str,
    now: datetime,
    known: Known,
) -> tuple[list[Any], Holds]:
    """Find members as :func:`query.members` does, from what *known* knows of the log."""
    if knows_all(known):
        found = query.members(reference, states, before, using=using, now=now)
        return list(found.members), Holds(found.settled_until, None)
    statement = Statement(_MEMBERS, [before], 4)
    return run(statement, [reference], using=using, now=now, known=known, states=states)


def restated(
    references: Iterable["StockReference"],
    bounds: Sequence[int],
    *,
    using: str,
    now: datetime,
    earlier: str,
    known: Known,
    split: bool = True,
) -> Restated:
    """Count what *known* knows, apart by whether it was known at *earlier*, a statement too."""
    late = f"CASE WHEN p.position <= ({earlier}) THEN 0 ELSE 1 END"
    statement = _counted(bounds, using, opening=True, split=split, late=late)
    rows, holds = run(statement, references, using=using, now=now, known=known)
    return Restated(
        [_change(bounds, row) for row in rows if not row[8]],
        [_change(bounds, row) for row in rows if row[8]],
        holds,
    )


def bound_values(bounds: Sequence[int], using: str, *, opening: bool) -> list[Any]:
    """Return what :data:`BUCKET` and :data:`BETWEEN` bind, in this order."""
    first = query.BEGINNING if opening else bounds[0]
    if vendor_of(using) == "postgresql":
        return [list(bounds), first, bounds[-1]]
    # An empty range keeps bucket 0 in place where the opening is not asked for.
    return [json.dumps([*zip([first, *bounds], bounds, strict=False)])]


def _counted(
    bounds: Sequence[int], using: str, *, opening: bool, split: bool, late: str
) -> Statement:
    vendor = vendor_of(using)
    sql = _COUNTED.format(
        bucket=BUCKET[vendor],
        between=BETWEEN[vendor].replace("{more}", ""),
        facets="e.source_facets, e.target_facets" if split else "NULL, NULL",
        late=late,
    )
    return Statement(sql, bound_values(bounds, using, opening=opening), 12)


def _change(bounds: Sequence[int], row: Sequence[Any]) -> Change:
    bucket, *cells = row[:8]
    number, seconds, rest = row[9:]
    offset = seconds * 1_000_000 + rest - number * bounds[bucket - 1] if bucket else 0
    return Change._make((bucket, *cells, number, offset))
