"""The additive base: flow counts by day, folded by the database alone, a batch at a time."""

from datetime import tzinfo
from typing import TYPE_CHECKING, Any, Final

from django.db import connections

from stockflow import conf
from stockflow.domain.days import SIZES
from stockflow.projections.base import Projection, register_projection
from stockflow.projections.batches import events_between
from stockflow.projections.local_days import ORDINAL, days_of, with_rules, zone_of
from stockflow.projections.stages import empty, fill

if TYPE_CHECKING:
    from django.db import models

    from stockflow.projections.models import Generation

NAME: Final = "flow_counts"
VERSION: Final = 1
"""Raised when the rows of a rebuild would differ: generations of another version do not serve."""

_STAGES: Final = {
    "stockflow_batch": "at bigint, path bigint",
    "stockflow_met": "model text, field text, kind text, transition text, source text, target text,"
    " source_facets text, target_facets text",
    "stockflow_counted": "day integer, path bigint, number bigint, seconds bigint, micros bigint",
}
"""Temporary tables: when each event of a batch took which path; where one of them was never taken
before, all of them in the words of the log; and what the batch counts."""

_BATCH: Final = """
INSERT INTO stockflow_batch
SELECT e.occurred_at, w.id FROM (SELECT e.* {batch}) e
LEFT JOIN stockflow_projections_cell s ON s.model = e.model AND s.field = e.field
 AND s.state = e.source AND s.facets = coalesce(e.source_facets, '')
LEFT JOIN stockflow_projections_cell t ON t.model = e.model AND t.field = e.field
 AND t.state = e.target AND t.facets = coalesce(e.target_facets, '')
LEFT JOIN stockflow_projections_path w ON w.model = e.model AND w.field = e.field
 AND w.kind = coalesce(e.kind, '') AND w.transition = coalesce(e.transition, '')
 AND w.source = CASE WHEN e.source IS NULL THEN 0 ELSE s.id END
 AND w.target = CASE WHEN e.target IS NULL THEN 0 ELSE t.id END"""
_UNKNOWN: Final = "SELECT 1 FROM stockflow_batch WHERE path IS NULL LIMIT 1"
_MET: Final = """
INSERT INTO stockflow_met
SELECT DISTINCT e.model, e.field, coalesce(e.kind, ''), coalesce(e.transition, ''),
       e.source, e.target, coalesce(e.source_facets, ''), coalesce(e.target_facets, '')
{batch}"""
DIGEST: Final = {
    "postgresql": "encode(sha256(convert_to(json_build_array("
    "c.model, c.field, c.state, c.facets)::text, 'UTF8')), 'hex')",
    "sqlite": "SHA256(json_array(c.model, c.field, c.state, c.facets))",
}
# In one order, so that two generations that meet the same new cells do not lock each other out.
_CELLS: Final = """
INSERT INTO stockflow_projections_cell (model, field, state, facets, digest)
SELECT c.model, c.field, c.state, c.facets, {digest} FROM (
    SELECT model, field, source AS state, source_facets AS facets FROM stockflow_met
    WHERE source IS NOT NULL
    UNION
    SELECT model, field, target, target_facets FROM stockflow_met WHERE target IS NOT NULL
) c WHERE true ORDER BY 5 ON CONFLICT (digest) DO NOTHING"""
_PATHS: Final = """
INSERT INTO stockflow_projections_path (source, target, model, field, kind, transition)
SELECT coalesce(s.id, 0), coalesce(t.id, 0), b.model, b.field, b.kind, b.transition
FROM stockflow_met b
LEFT JOIN stockflow_projections_cell s ON s.model = b.model AND s.field = b.field
 AND s.state = b.source AND s.facets = b.source_facets
LEFT JOIN stockflow_projections_cell t ON t.model = b.model AND t.field = b.field
 AND t.state = b.target AND t.facets = b.target_facets
WHERE true ORDER BY 1, 2, 3, 4, 5, 6 ON CONFLICT DO NOTHING"""
_COUNTED: Final = """
INSERT INTO stockflow_counted
SELECT {day}, b.path, count(*), sum(b.at / 1000000), sum(b.at %% 1000000)
FROM stockflow_batch b GROUP BY 1, 2 ORDER BY 1, 2"""
_COUNTS: Final = """
INSERT INTO stockflow_projections_flowcount AS kept
       (generation, day, path, number, seconds, micros)
SELECT %s, c.day, c.path, c.number, c.seconds, c.micros FROM stockflow_counted c
WHERE true ON CONFLICT (generation, day, path) DO UPDATE SET number = kept.number + excluded.number,
seconds = kept.seconds + excluded.seconds, micros = kept.micros + excluded.micros"""
_LEVELS: Final = " UNION ALL ".join(
    f"SELECT {level} AS level, {size} AS size" for level, size in enumerate(SIZES)
)
_NETS: Final = f"""
INSERT INTO stockflow_projections_net AS kept (generation, level, block, cell, number)
SELECT %s, l.level, m.day / l.size, m.cell, sum(m.number) FROM (
    SELECT c.day, w.target AS cell, c.number
    FROM stockflow_counted c JOIN stockflow_projections_path w ON w.id = c.path
    WHERE w.target <> 0
    UNION ALL
    SELECT c.day, w.source, -c.number
    FROM stockflow_counted c JOIN stockflow_projections_path w ON w.id = c.path
    WHERE w.source <> 0
) m CROSS JOIN ({_LEVELS}) l
WHERE true GROUP BY l.level, m.day / l.size, m.cell HAVING sum(m.number) <> 0
ON CONFLICT (generation, level, block, cell) DO UPDATE SET number = kept.number + excluded.number"""


@register_projection
class FlowCounts(Projection):
    """How often each path between cells was taken on each local day, and by how much levels changed."""

    name = NAME
    version = VERSION
    read_models = ("stockflow_projections.flowcount", "stockflow_projections.net")

    def zone(self) -> str:
        return with_rules(conf.time_zone())

    def compared(self, rows: "models.QuerySet[Any]") -> "models.QuerySet[Any]":
        # What came and went is a row of 0 where it was added up, and none where it was not.
        return rows.exclude(number=0)

    def fold(self, generation: "Generation", after: int, until: int, *, using: str) -> None:
        with connections[using].cursor() as cursor:
            if cursor.db.vendor == "postgresql":
                # It would take what is new to be few, and compare each with each (29 s for
                # 20,000 events).
                cursor.execute("SET LOCAL enable_nestloop = off; SET LOCAL jit = off")
            empty(cursor, _STAGES)
            _stage(cursor, events_between(cursor, after, until))
            _count(cursor, zone_of(generation.zone))
            cursor.execute(_COUNTS, [generation.pk])
            cursor.execute(_NETS, [generation.pk])
            if cursor.db.vendor == "postgresql":
                cursor.execute("SET LOCAL enable_nestloop = DEFAULT; SET LOCAL jit = DEFAULT")


def _stage(cursor: Any, events: str) -> None:
    """Find the path of each event, having added those that were never taken before."""
    cursor.execute(_BATCH.format(batch=events))
    cursor.execute(_UNKNOWN)
    if cursor.fetchone():
        fill(cursor, "stockflow_met", _MET.format(batch=events), [])
        cursor.execute(_CELLS.format(digest=DIGEST[cursor.db.vendor]))
        cursor.execute(_PATHS)
        cursor.execute("DELETE FROM stockflow_batch")
        cursor.execute(_BATCH.format(batch=events))


def _count(cursor: Any, zone: tzinfo) -> None:
    """Add the batch up by local day and path."""
    days = days_of(cursor, "SELECT at FROM stockflow_batch", zone)
    day = ORDINAL[cursor.db.vendor].format(at="b.at")
    fill(cursor, "stockflow_counted", _COUNTED.format(day=day), days)
