"""Who is in a stock: found by the folded spells and the log, in one statement."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stockflow.projections.folded_spells import UNLESS_BUILT, candidates
from stockflow.projections.statements import (
    STOCKFLOW,
    Holds,
    Known,
    Statement,
    knows_all,
    run,
    vendor_of,
)

if TYPE_CHECKING:
    from stockflow.fields import StockReference
    from stockflow.projections.narrowing import Narrowing

# The object's last event says where it is: the highest version, since several events may have
# happened at one instant. It is there since what a row's own *since* says: facets that changed or
# were reconciled, and a state renamed, let it stay.
_MEMBERS: Final = """
SELECT last.originator, last.target, last.target_facets, last.since FROM (
  SELECT e.originator, e.target, e.target_facets,
         row_number() OVER (PARTITION BY e.originator ORDER BY e.version DESC) AS back,
         max(CASE WHEN e.kind NOT IN ('reclassified', 'erased') AND (
               e.kind <> 'reconciled' OR e.source IS NULL OR e.source <> e.target
             ) THEN e.occurred_at END)
           OVER (PARTITION BY e.originator) AS since
  FROM {events}
) last WHERE last.back = 1 AND last.target IN (SELECT name FROM states){unless}"""
_LOG: Final = "asked a JOIN {log} WHERE e.occurred_at < %s"
_OF_OBJECTS: Final = {
    "postgresql": """candidates k CROSS JOIN LATERAL (
    SELECT e.* FROM stockflow_event e
    WHERE e.application = '{application}' AND e.originator = k.originator OFFSET 0
  ) e WHERE""",
    # A plus keeps a column from being looked up by another index.
    "sqlite": """candidates k CROSS JOIN stockflow_event e
  WHERE e.application = '{application}' AND e.originator = k.originator AND""",
}
_PART: Final = "SELECT * FROM ({sql}) m{where}{limit}"
_POSITION: Final = {"postgresql": "strpos", "sqlite": "instr"}
_ASKED_FOR: Final = (
    " (+e.occurred_at) < %s AND (e.model || '', e.field || '') IN (SELECT model, field FROM asked)"
)


class Found(NamedTuple):
    """Members as (lifecycle, state, facets, since in microseconds), and how far they hold."""

    members: list[tuple[Any, ...]]
    holds: Holds


def members(
    reference: "StockReference",
    states: Iterable[str],
    before: int,
    *,
    using: str,
    now: datetime,
    known: Known,
    narrowing: "Narrowing | None" = None,
    part: slice = slice(None),
) -> Found:
    """Find who is in one of *states* just before an instant, in the order of their lifecycles.

    Where spells are folded they tell who may be there; the log of those tells the rest.

    Args:
        reference: The stock field.
        states: Its states.
        before: The instant, in microseconds.
        using: The alias of the database.
        now: The instant of asking.
        known: As of what is known.
        narrowing: What facets they must have.
        part: Which of them to return: from where on and before where.
    """
    vendor = vendor_of(using)
    statement = Statement(_MEMBERS.format(events=_LOG, unless=""), [before], 4)
    if knows_all(known):
        found = candidates(before, vendor=vendor)
        events = _OF_OBJECTS[vendor].format(application=STOCKFLOW) + _ASKED_FOR
        sql = _MEMBERS.format(events=_LOG, unless=UNLESS_BUILT)
        sql += " UNION ALL " + _MEMBERS.format(events=events, unless="")
        tables = [*found.tables, f"candidates AS ({found.sql})"]
        statement = Statement(sql, [before, before], 4, tables)
    statement = _cut(statement, narrowing, part, vendor)
    rows, holds = run(statement, [reference], using=using, now=now, known=known, states=states)
    return Found(sorted(rows), holds)


def _cut(
    statement: Statement, narrowing: "Narrowing | None", part: slice, vendor: str
) -> Statement:
    where, values = "", list(statement.values)
    if narrowing is not None:
        condition, texts = narrowing.in_sql("m.target_facets", _POSITION[vendor])
        where, values = f" WHERE {condition}", values + texts
    limit = ""
    if part.stop is not None:
        first = part.start or 0
        limit = f" ORDER BY m.originator LIMIT {max(part.stop - first, 0)} OFFSET {first}"
    sql = _PART.format(sql=statement.sql, where=where, limit=limit)
    return statement._replace(sql=sql, values=values)
