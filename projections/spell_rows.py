"""Spells folded: each stay of each object is a row, begun and ended by the database alone."""

from typing import TYPE_CHECKING, Any, Final

from django.db import connections

from stockflow.domain.days import span_sql
from stockflow.projections.base import Projection, register_projection
from stockflow.projections.batches import events_between
from stockflow.projections.flow_counts import DIGEST
from stockflow.projections.stages import empty, fill

if TYPE_CHECKING:
    from stockflow.projections.models import Generation

NAME: Final = "spells"
VERSION: Final = 1
"""Raised when the rows of a rebuild would differ: generations of another version do not serve."""

_STAGES: Final = {
    "stockflow_turns": "originator text, model text, field text, version bigint, source text,"
    " target text, facets text, at bigint, is_unseen boolean, left_at bigint, exit_to text,"
    " is_censored boolean, number integer",
    "stockflow_ends": "id bigint PRIMARY KEY, at bigint, target text, is_unseen boolean,"
    " span bigint",
}
"""Temporary tables: where stays begin and end in a batch, each with the next of its object, and
the ends of those that began before it."""

UNSEEN: Final = "({e}kind IN ('adopted', 'reconciled', 'reclassified'))"
"""Whether nobody saw what the event says: as SQL."""

_DISTINCT: Final = {"postgresql": "IS DISTINCT FROM", "sqlite": "IS NOT"}
# Versions tell the order of an object's events: several may have happened at one instant.
_TURNS: Final = """
INSERT INTO stockflow_turns
SELECT e.originator, e.model, e.field, e.version, e.source, e.target,
       coalesce(e.target_facets, ''), e.occurred_at, {unseen}, lead(e.occurred_at) OVER following,
       lead(e.target) OVER following, coalesce(lead({unseen}) OVER following, {true}),
       row_number() OVER following
{batch} AND {turns}
WINDOW following AS (PARTITION BY e.originator, e.field ORDER BY e.version)"""
# The stay that an object was in before the batch, by its key. PostgreSQL knows no generation that is
# being built, took any index of it for as good, and read all of it for each object: in the order of
# the whole key, the row before the event's is found by no other index.
_OPEN: Final = {
    "postgresql": """CROSS JOIN LATERAL (
    SELECT x.* FROM stockflow_projections_spell x
    WHERE (x.generation, x.originator, x.field, x.version)
        < (CAST(%s AS bigint), t.originator, t.field, t.version)
    ORDER BY x.generation DESC, x.originator DESC, x.field DESC, x.version DESC LIMIT 1
) x""",
    "sqlite": "CROSS JOIN stockflow_projections_spell x INDEXED BY stockflow_spell"
    " ON x.generation = %s",
}
# Of that stay the batch's first event is the end.
_ENDS: Final = f"""
INSERT INTO stockflow_ends
SELECT x.id, t.at, t.target, t.is_unseen, {span_sql("x.entered", "t.at")}
FROM stockflow_turns t {{open}} WHERE t.number = 1 AND x.generation = %s
 AND x.originator = t.originator AND x.field = t.field AND x.left_at IS NULL"""
# Rows by their keys: joined, SQLite compared each stay of the table with each end.
_KEYS: Final = {
    "postgresql": "= ANY (ARRAY(SELECT n.id FROM stockflow_ends n))",
    "sqlite": "IN (SELECT n.id FROM stockflow_ends n)",
}
_END: Final = """
UPDATE stockflow_projections_spell SET (left_at, exit_to, is_censored, span) = (
    SELECT n.at, n.target, n.is_unseen, n.span FROM stockflow_ends n
    WHERE n.id = stockflow_projections_spell.id
) WHERE id {keys}"""
_CELLS: Final = """
INSERT INTO stockflow_projections_cell (model, field, state, facets, digest)
SELECT c.model, c.field, c.state, c.facets, {digest} FROM (
    SELECT DISTINCT model, field, target AS state, facets FROM stockflow_turns
    WHERE target IS NOT NULL
) c WHERE true ORDER BY 5 ON CONFLICT (digest) DO NOTHING"""
_BEGIN: Final = f"""
INSERT INTO stockflow_projections_spell (generation, originator, field, cell, version, source,
    entered, is_truncated, left_at, exit_to, is_censored, span)
SELECT %s, t.originator, t.field, c.id, t.version, t.source, t.at, t.is_unseen, t.left_at,
       t.exit_to, t.is_censored, {span_sql("t.at", "t.left_at")}
FROM stockflow_turns t JOIN stockflow_projections_cell c ON c.model = t.model
 AND c.field = t.field AND c.state = t.target AND c.facets = t.facets"""


def turns(vendor: str) -> str:
    """Return as SQL whether at event *e* one stay ends or another begins.

    A transition to the state itself does, a facet's change does not.
    """
    return (
        f"(e.source {_DISTINCT[vendor]} e.target "
        "OR e.kind NOT IN ('reclassified', 'reconciled', 'erased'))"
    )


@register_projection
class Spells(Projection):
    """Each stay of each object in each state, from its beginning to its end."""

    name = NAME
    version = VERSION
    read_models = ("stockflow_projections.spell",)

    def fold(self, generation: "Generation", after: int, until: int, *, using: str) -> None:
        connection = connections[using]
        vendor = connection.vendor
        words = {
            "unseen": UNSEEN.format(e="e."),
            "turns": turns(vendor),
            "true": "true" if vendor == "postgresql" else "1",
        }
        with connection.cursor() as cursor:
            empty(cursor, _STAGES)
            events = events_between(cursor, after, until)
            fill(cursor, "stockflow_turns", _TURNS.format(batch=events, **words), [])
            _add(cursor, generation.pk)


def _add(cursor: Any, generation: int) -> None:
    """End the stays that the batch ends, and add those that it begins."""
    vendor = cursor.db.vendor
    fill(cursor, "stockflow_ends", _ENDS.format(open=_OPEN[vendor]), [generation, generation])
    cursor.execute(_END.format(keys=_KEYS[vendor]))
    cursor.execute(_CELLS.format(digest=DIGEST[vendor]))
    cursor.execute(_BEGIN, [generation])
