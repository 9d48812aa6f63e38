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

# The object's last event says where it is: the highest version, since several events may have
# happened at one instant.
_MEMBERS: Final = """
SELECT last.originator, last.target, last.target_facets, last.since FROM (
  SELECT e.originator, e.target, e.target_facets,
         row_number() OVER (PARTITION BY e.originator ORDER BY e.version DESC) AS back,
         max(CASE WHEN e.kind <> 'reclassified' THEN e.occurred_at END)
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
) -> Found:
    """Find who is in one of *states* just before an instant.

    Where spells are folded they tell who may be there; the log of those tells the rest.
    """
    vendor = vendor_of(using)
    statement = Statement(_MEMBERS.format(events=_LOG, unless=""), [before], 4)
    if knows_all(known):
        part = candidates(before, vendor=vendor)
        events = _OF_OBJECTS[vendor].format(application=STOCKFLOW) + _ASKED_FOR
        sql = _MEMBERS.format(events=_LOG, unless=UNLESS_BUILT)
        sql += " UNION ALL " + _MEMBERS.format(events=events, unless="")
        tables = [*part.tables, f"candidates AS ({part.sql})"]
        statement = Statement(sql, [before, before], 4, tables)
    return Found(*run(statement, [reference], using=using, now=now, known=known, states=states))
