"""Stays of objects: from the folded spells and the rest of the log, in one statement."""

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from stockflow.domain.measures.lifecycles import by_object
from stockflow.domain.measures.spells import Spell
from stockflow.domain.measures.spells import merged as merge
from stockflow.projections import folded_spells
from stockflow.projections.spell_rows import UNSEEN
from stockflow.projections.statements import Holds, Known, Statement, knows_all, run, vendor_of

if TYPE_CHECKING:
    from stockflow.fields import StockReference

_CROSSES: Final = (
    "CASE WHEN e.target IN (SELECT name FROM states) THEN 1 ELSE 0 END"
    " <> CASE WHEN e.source IN (SELECT name FROM states) THEN 1 ELSE 0 END"
)
# Inside, a stay ends where a transition is made, be it to the state itself, or a state is renamed.
_RESTARTS: Final = (
    " OR e.target IN (SELECT name FROM states)"
    " AND (e.source <> e.target OR e.kind NOT IN ('reclassified', 'reconciled', 'erased'))"
)
# Only events at which a stay begins or ends are put in order, so each is the last one's end.
_STAYS: Final = """
SELECT s.originator, s.target, s.at, s.left_at, s.exit_to, {unseen}, coalesce({exit_unseen}, {true}),
       s.target_facets, s.version
FROM (SELECT e.originator, e.version, e.target, e.target_facets, e.kind, e.occurred_at AS at,
             lead(e.occurred_at) OVER following AS left_at, lead(e.target) OVER following AS exit_to,
             lead(e.kind) OVER following AS exit_kind
      FROM asked a JOIN {{log}} WHERE e.occurred_at < %s AND ({boundary})
      WINDOW following AS (PARTITION BY e.originator ORDER BY e.version)) s
WHERE s.target IN (SELECT name FROM states){unless}"""

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
    since: int | None = None,
    ended: bool = False,
) -> Stays:
    """Return each stay in *states* that began before an instant, as it looked just before it.

    What is folded is read by cell and by when a stay ended, so that a question of the last month
    does not read the log of years.

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
        since: Those that ended before it are left out, in microseconds.
        ended: Whether those that go on are left out.
    """
    vendor = vendor_of(using)
    statement = _from_log(before, vendor, merged=merged)
    if knows_all(known):
        part = folded_spells.stays(
            reference.name, before, since, ended=ended, merged=merged, vendor=vendor
        )
        log = _from_log(before, vendor, merged=merged, unless=folded_spells.UNLESS_BUILT)
        statement = Statement(
            f"{log.sql} UNION ALL {part.sql}", log.values, log.columns, part.tables
        )
    rows, holds = run(statement, [reference], using=using, now=now, known=known, states=states)
    found = [
        Spell._make((*stay, bool(truncated), bool(censored), facets, version))
        for *stay, truncated, censored, facets, version in rows
    ]
    if merged:
        found = [spell for own in by_object(found).values() for spell in merge(own, states)]
        # What left for the stock itself goes on, in a stay that was not asked for.
        found = [spell for spell in found if not (ended and spell.exit_to in states)]
    return Stays([spell for spell in found if _is_asked(spell, since, ended=ended)], holds)


def moved_between(
    reference: "StockReference", start: int, end: int, *, using: str, now: datetime, known: Known
) -> tuple[list[tuple[str | None, str | None, int]], Holds]:
    """Count objects by where they were just before each of two instants; None is the outside."""
    statement = Statement(_ALLUVIAL.format(start=start, end=end), [], 3)
    rows, holds = run(statement, [reference], using=using, now=now, known=known)
    return [(was, became, number) for number, was, became in rows], holds


def _is_asked(spell: Spell, since: int | None, *, ended: bool) -> bool:
    if spell.left is None:
        return not ended
    return since is None or spell.left >= since


def _from_log(before: int, vendor: str, *, merged: bool, unless: str = "") -> Statement:
    sql = _STAYS.format(
        boundary=_CROSSES if merged else _CROSSES + _RESTARTS,
        unseen=UNSEEN.format(e="s."),
        exit_unseen=UNSEEN.format(e="s.exit_"),
        true="true" if vendor == "postgresql" else "1",
        unless=unless,
    )
    return Statement(sql, [before], 9)
