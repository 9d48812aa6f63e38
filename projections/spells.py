"""Spells from the log: one row for each stay of each object, in one statement.

The seam under which a folded table can be slipped: whoever asks for stays asks here.
"""

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from stockflow.domain.measures.spells import Spell
from stockflow.projections.statements import Holds, Known, Statement, run

if TYPE_CHECKING:
    from stockflow.fields import StockReference

_CROSSES: Final = (
    "CASE WHEN e.target IN (SELECT name FROM states) THEN 1 ELSE 0 END"
    " <> CASE WHEN e.source IN (SELECT name FROM states) THEN 1 ELSE 0 END"
)
# Inside, a stay ends where a transition is made, be it to the state itself, or a state is renamed.
_RESTARTS: Final = (
    " OR e.target IN (SELECT name FROM states)"
    " AND (e.source <> e.target OR e.kind NOT IN ('reclassified', 'reconciled'))"
)
# Only events at which a stay begins or ends are put in order, so each is the last one's end.
_STAYS: Final = """
SELECT s.originator, s.target, s.at, s.left_at, s.exit_to, s.kind, s.exit_kind, s.target_facets,
       s.version
FROM (SELECT e.originator, e.version, e.target, e.target_facets, e.kind, e.occurred_at AS at,
             lead(e.occurred_at) OVER following AS left_at, lead(e.target) OVER following AS exit_to,
             lead(e.kind) OVER following AS exit_kind
      FROM asked a JOIN {{log}} WHERE e.occurred_at < %s AND ({boundary})
      WINDOW following AS (PARTITION BY e.originator ORDER BY e.version)) s
WHERE s.target IN (SELECT name FROM states)"""

_ALLUVIAL: Final = """
SELECT count(*), was, became FROM (
  SELECT max(CASE WHEN o.is_before = 1 AND o.back = 1 THEN o.target END) AS was,
         max(CASE WHEN o.back_of_all = 1 THEN o.target END) AS became
  FROM (SELECT e.originator, e.target, CASE WHEN e.occurred_at < {start} THEN 1 ELSE 0 END AS is_before,
               row_number() OVER (PARTITION BY e.originator,
                 CASE WHEN e.occurred_at < {start} THEN 1 ELSE 0 END ORDER BY e.version DESC) AS back,
               row_number() OVER (PARTITION BY e.originator ORDER BY e.version DESC) AS back_of_all
        FROM asked a JOIN {{log}} WHERE e.occurred_at < {end}) o
  GROUP BY o.originator) m
WHERE was IS NOT NULL OR became IS NOT NULL GROUP BY was, became"""

_UNSEEN: Final = frozenset({"adopted", "reconciled", "reclassified"})


class Stays(NamedTuple):
    """Stays in no order, and how far they hold."""

    spells: list[Spell]
    holds: Holds


def stays(
    reference: "StockReference",
    states: Collection[str],
    before: int,
    *,
    using: str,
    now: datetime,
    known: Known,
    merged: bool = True,
) -> Stays:
    """Return each stay in *states* that began before an instant, as it looked just before it.

    Args:
        reference: The field asked about.
        states: Those of the stock.
        before: The instant just after the one asked about, in microseconds: a stay that ended
            later is still going on.
        using: The alias of the database.
        now: What is due by then and has not fired is not settled.
        known: What is known of the log.
        merged: One stay from coming into the stock to leaving it; else one for each state, and
            one for each time that a state was entered anew from itself.
    """
    boundary = _CROSSES if merged else _CROSSES + _RESTARTS
    statement = Statement(_STAYS.format(boundary=boundary), [before], 9)
    rows, holds = run(statement, [reference], using=using, now=now, known=known, states=states)
    return Stays([_spell(*row) for row in rows], holds)


def moved_between(
    reference: "StockReference", start: int, end: int, *, using: str, now: datetime, known: Known
) -> tuple[list[tuple[str | None, str | None, int]], Holds]:
    """Count objects by where they were just before each of two instants; None is the outside."""
    statement = Statement(_ALLUVIAL.format(start=start, end=end), [], 3)
    rows, holds = run(statement, [reference], using=using, now=now, known=known)
    return [(was, became, number) for number, was, became in rows], holds


def _spell(
    lifecycle: str,
    state: str,
    entered: int,
    left: int | None,
    exit_to: str | None,
    kind: str,
    exit_kind: str | None,
    facets: str | None,
    version: int,
) -> Spell:
    is_censored = exit_kind is None or exit_kind in _UNSEEN
    is_truncated = kind in _UNSEEN
    return Spell(
        lifecycle, state, entered, left, exit_to, is_truncated, is_censored, facets, version
    )
