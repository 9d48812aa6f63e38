"""SQL over the folded spells and what was not folded yet: parts of the one statement of an answer."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from stockflow.domain.days import spans_at
from stockflow.projections.folded import BY_KEY, LATE
from stockflow.projections.spell_rows import NAME, UNSEEN, VERSION, turns

UNLESS_BUILT: Final = " AND NOT EXISTS (SELECT 1 FROM built)"
"""Ends the part that reads the whole log, which is asked only where nothing is folded."""

# A lateral query or a cross join keeps the order of the loops: for each cell its range of an index.
_RANGE: Final = {
    "postgresql": "CROSS JOIN LATERAL (SELECT s.* FROM stockflow_projections_spell s"
    " WHERE {where} OFFSET 0) s",
    "sqlite": "CROSS JOIN stockflow_projections_spell s INDEXED BY {index} ON {where}",
}
_OF_CELL: Final = "s.generation = b.id AND s.cell = c.id AND s.entered < {before} AND "
_CELLS: Final = f"""
built AS (
    SELECT g.id, g.position FROM stockflow_projections_generation g
    WHERE g.projection = '{NAME}' AND g.version = {VERSION} AND g.status = 'serving'
), cells AS (
    SELECT c.id, c.state, nullif(c.facets, '') AS facets
    FROM asked a CROSS JOIN stockflow_projections_cell c
    WHERE c.model = a.model AND c.field = a.field AND c.state IN (SELECT name FROM states)
), late AS (
    SELECT e.originator, e.version, e.source, e.target, e.target_facets AS facets,
           e.occurred_at AS at, {UNSEEN.format(e="e.")} AS is_unseen, {{turns}} AS turns
    FROM ({LATE.format(serving="built")}) late {{event}} CROSS JOIN asked a
    WHERE e.model = a.model AND e.field = a.field
)"""

# At an instant, a stay that ended later still goes on, and nobody has seen its end.
_ROW: Final = """SELECT s.originator, c.state, s.entered,
    CASE WHEN s.left_at < {before} THEN s.left_at END AS left_at,
    CASE WHEN s.left_at < {before} THEN s.exit_to END AS exit_to, s.is_truncated,
    CASE WHEN s.left_at < {before} THEN s.is_censored ELSE {true} END AS is_censored,
    c.facets, s.version, s.source"""
# What goes on, as far as is folded, is put in order with the events that are not.
_FOUND: Final = """
found AS (
    {row} FROM built b CROSS JOIN cells c {ended}
    UNION ALL
    SELECT t.originator, t.target, t.at, t.left_at, t.exit_to, t.is_unseen, t.is_censored,
           t.facets, t.version, t.source
    FROM (
        SELECT t.*, lead(t.at) OVER following AS left_at, lead(t.target) OVER following AS exit_to,
               coalesce(lead(t.is_unseen) OVER following, {true}) AS is_censored
        FROM (
            SELECT s.originator, s.version, s.source, c.state AS target, c.facets,
                   s.entered AS at, s.is_truncated AS is_unseen
            FROM built b CROSS JOIN cells c {going_on}
            UNION ALL
            SELECT l.originator, l.version, l.source, l.target, l.facets, l.at, l.is_unseen
            FROM late l WHERE l.turns AND l.at < {before}
        ) t WINDOW following AS (PARTITION BY t.originator ORDER BY t.version)
    ) t WHERE t.target IN (SELECT name FROM states)
)"""
_COLUMNS: Final = (
    "originator, state, entered, left_at, exit_to, is_truncated, is_censored, facets, version"
)
# A stay that was entered from another state of the stock goes on from earlier ones.
_EARLIER: Final = f"""
UNION ALL
SELECT {_COLUMNS} FROM (
    {{row}} FROM built b CROSS JOIN (
        SELECT f.originator, max(f.version) AS version FROM found f
        WHERE f.source IN (SELECT name FROM states) GROUP BY f.originator
    ) f {{earlier}} JOIN cells c ON c.id = s.cell
) s"""
_MEMBERS: Final = """
SELECT s.originator FROM built b CROSS JOIN cells c {ended}
UNION SELECT s.originator FROM built b CROSS JOIN cells c {going_on}
UNION SELECT l.originator FROM late l"""
_SPANS: Final = {
    "postgresql": "unnest(ARRAY[{}]::bigint[]) AS d(span)",
    "sqlite": "(SELECT value AS span FROM json_each('[{}]')) d",
}


class Part(NamedTuple):
    """SQL for a statement: the common table expressions that it reads, and its rows."""

    tables: Sequence[str]
    sql: str


def stays(
    field: str, before: int, since: int | None, *, ended: bool, merged: bool, vendor: str
) -> Part:
    """Return stays state by state, as :func:`stockflow.projections.spells.stays` asks for them.

    Args:
        field: The name of the stock field.
        before: See there.
        since: The stays that ended before it are left out; some may be among the rows.
        ended: Whether those that go on may be left out.
        merged: Whether the stays of the same stock that lead up to them are among the rows.
        vendor: Of the database.
    """
    words: dict[str, Any] = {"before": before, "true": "true" if vendor == "postgresql" else "1"}
    row = _ROW.format(**words)
    going_on = _going_on(
        before, vendor, " AND s.originator IN (SELECT l.originator FROM late l)" * ended
    )
    found = _FOUND.format(row=row, ended=_ended(before, since, vendor), going_on=going_on, **words)
    sql = f"SELECT {_COLUMNS} FROM found"
    if merged and since is not None:
        of_object = (
            f"s.generation = b.id AND s.originator = f.originator AND s.field = '{field}'"
            f" AND s.version < f.version AND s.left_at < {since}"
        )
        sql += _EARLIER.format(row=row, earlier=_range(of_object, "stockflow_spell", vendor))
    return Part([_tables(vendor), found], sql)


def candidates(before: int, *, vendor: str) -> Part:
    """Return who may be a member just before an instant: all members are among them."""
    sql = _MEMBERS.format(ended=_ended(before, before, vendor), going_on=_going_on(before, vendor))
    return Part([_tables(vendor)], sql)


def _ended(before: int, since: int | None, vendor: str) -> str:
    """Return the stays of cell *c* that ended, not before an instant."""
    of_cell = _OF_CELL.format(before=before)
    if since is None:
        return _range(of_cell + "s.left_at IS NOT NULL", "stockflow_spell_left", vendor)
    if since < before:
        return _range(f"{of_cell}s.left_at >= {since}", "stockflow_spell_left", vendor)
    # Who was there at an instant lies in few blocks, wherever in the history it was.
    spans = _SPANS[vendor].format(", ".join(map(str, spans_at(before - 1))))
    where = f"{of_cell}s.span = d.span AND s.left_at >= {since}"
    return f"CROSS JOIN {spans} " + _range(where, "stockflow_spell_span", vendor)


def _tables(vendor: str) -> str:
    return _CELLS.format(turns=turns(vendor), event=BY_KEY[vendor])


def _going_on(before: int, vendor: str, more: str = "") -> str:
    where = _OF_CELL.format(before=before) + "s.left_at IS NULL" + more
    return _range(where, "stockflow_spell_left", vendor)


def _range(where: str, index: str, vendor: str) -> str:
    return _RANGE[vendor].format(where=where, index=index)
