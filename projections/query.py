"""The one place that counts: SQL over the log, one statement for each answer.

Everything that is asked of a stock or a flow is a sum of additive changes between bounds.
Bounds are instants cut in Python; the database only sorts events into the buckets between
them, so it needs to know no time zone.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.db import NotSupportedError, connections

from stockflow.domain.instants import from_micros, to_micros
from stockflow.domain.measures.changes import Change

if TYPE_CHECKING:
    from stockflow.fields import StockReference

BEGINNING: Final = to_micros(datetime.min.replace(tzinfo=UTC))
END: Final = to_micros(datetime.max.replace(tzinfo=UTC)) + 1

_ASKED: Final = {
    "postgresql": "asked(model, field) AS (SELECT * FROM unnest(%s::text[], %s::text[]))",
    "sqlite": "asked(model, field) AS (SELECT a.value, b.value"
    " FROM json_each(%s) a JOIN json_each(%s) b ON a.key = b.key)",
}
_COUNTED: Final = {
    # One pass over the range and a binary search: a join would leave the planner the choice
    # of comparing every event with every bucket.
    "postgresql": """
SELECT width_bucket(e.occurred_at, %s::bigint[]), e.model, e.field, e.kind, e.source, e.target,
       {facets}, count(*), {instants}
FROM asked a JOIN stockflow_event e ON e.model = a.model AND e.field = a.field
WHERE e.occurred_at >= %s AND e.occurred_at < %s
GROUP BY {group}""",
    # CROSS JOIN keeps the order of the loops: for each bucket its range of the index.
    "sqlite": """
SELECT b.key, e.model, e.field, e.kind, e.source, e.target, {facets}, count(*), {instants}
FROM asked a CROSS JOIN json_each(%s) b CROSS JOIN stockflow_event e
  ON e.model = a.model AND e.field = a.field AND e.occurred_at >= json_extract(b.value, '$[0]')
 AND e.occurred_at < json_extract(b.value, '$[1]')
GROUP BY {group}""",
}
# Seconds and the rest apart: the sum of microseconds overflows 64 bits.
_INSTANTS: Final = (
    "CAST(sum(e.occurred_at / 1000000) AS bigint), CAST(sum(e.occurred_at %% 1000000) AS bigint)"
)
_SPLIT: Final = "e.source_facets, e.target_facets"
_OVERDUE: Final = """
UNION ALL
SELECT {nulls}, min(t.due_at)
FROM asked a JOIN stockflow_scheduledtransition t ON t.model = a.model AND t.field = a.field
WHERE t.parked_at IS NULL AND t.due_at <= %s"""
_MEMBERS: Final = """
SELECT last.originator, last.target, last.target_facets, last.since FROM (
  SELECT e.originator, e.target, e.target_facets,
         row_number() OVER (PARTITION BY e.originator ORDER BY e.version DESC) AS back,
         max(CASE WHEN e.kind <> 'reclassified' THEN e.occurred_at END)
           OVER (PARTITION BY e.originator) AS since
  FROM asked a JOIN stockflow_event e ON e.model = a.model AND e.field = a.field
  WHERE e.occurred_at < %s
) last WHERE last.back = 1 AND last.target IN ({states})"""


class Counted(NamedTuple):
    """Changes, and the instant up to which every decay that was due is among them."""

    changes: list[Change]
    settled_until: datetime


class Found(NamedTuple):
    """Members as (lifecycle, state, facets, since in microseconds), settled as :class:`Counted`."""

    members: list[tuple[str, str, str | None, int]]
    settled_until: datetime


def changes(
    references: Iterable["StockReference"],
    bounds: Sequence[int],
    *,
    using: str,
    now: datetime,
    opening: bool = True,
    split: bool = True,
) -> Counted:
    """Count what happened between *bounds*, by bucket and cells, in one statement.

    Args:
        references: The fields asked about.
        bounds: Ascending instants in microseconds; bucket 1 lies between the first two.
        using: The alias of the database.
        now: What is due by then and has not fired is not settled.
        opening: Whether bucket 0, all before the first bound, is counted too.
        split: Whether cells differ by their facets; without, the facets are None.
    """
    vendor = _vendor(using)
    sql = _COUNTED[vendor].format(
        facets=_SPLIT if split else "NULL, NULL",
        instants=_INSTANTS,
        group=", ".join(map(str, range(1, 9 if split else 7))),
    )
    first = BEGINNING if opening else bounds[0]
    if vendor == "postgresql":
        values: list[Any] = [list(bounds), first, bounds[-1]]
    else:
        # An empty range keeps bucket 0 in place where the opening is not asked for.
        values = [json.dumps([*zip([first, *bounds], bounds, strict=False)])]
    rows, settled_until = _run(sql, values, references, using, now, columns=11)
    return Counted([_change(bounds, *row) for row in rows], settled_until)


def members(
    reference: "StockReference", states: Iterable[str], before: int, *, using: str, now: datetime
) -> Found:
    """Find who is in one of *states* just before an instant, in one statement.

    The object's last event before the instant says where it is: the highest version, since
    several events may have happened at one instant.
    """
    names = sorted(states)
    sql = _MEMBERS.format(states=", ".join(["%s"] * len(names)))
    rows, settled_until = _run(sql, [before, *names], [reference], using, now, columns=4)
    return Found(rows, settled_until)


def _change(bounds: Sequence[int], bucket: int, *columns: Any) -> Change:
    *cells, number, seconds, rest = columns
    offset = seconds * 1_000_000 + rest - number * bounds[bucket - 1] if bucket else 0
    return Change._make((bucket, *cells, number, offset))


def _run(
    sql: str,
    values: list[Any],
    references: Iterable["StockReference"],
    using: str,
    now: datetime,
    *,
    columns: int,
) -> tuple[list[tuple], datetime]:  # type: ignore[type-arg]  # as wide as the statement
    vendor = _vendor(using)
    pairs = sorted({(model, asked.name) for asked in references for model in asked.model_labels})
    asked = [[model for model, _ in pairs], [field for _, field in pairs]]
    overdue = _OVERDUE.format(nulls=", ".join(["NULL"] * (columns - 1)))
    parameters: list[Any] = [
        *(asked if vendor == "postgresql" else map(json.dumps, asked)),
        *values,
    ]
    with connections[using].cursor() as cursor:
        cursor.execute(f"WITH {_ASKED[vendor]}{sql}{overdue}", [*parameters, to_micros(now)])
        found = cursor.fetchall()
    # The row of the overdue is the one without a first column; a union has no order.
    due = next(row[-1] for row in found if row[0] is None)
    rows = [row for row in found if row[0] is not None]
    return rows, now if due is None else from_micros(due)


def _vendor(using: str) -> str:
    vendor: str = connections[using].vendor
    if vendor not in _ASKED:
        raise NotSupportedError(
            f"Database {using!r} is {vendor}: stockflow counts on SQLite and PostgreSQL only."
        )
    return vendor
