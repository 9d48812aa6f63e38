"""The additive base: flow counts by day, folded by the database alone, a batch at a time."""

from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from django.db import connections

from stockflow import conf
from stockflow.domain.days import SIZES
from stockflow.projections.base import Projection, register_projection
from stockflow.projections.local_days import BATCH, ORDINAL, days_of

if TYPE_CHECKING:
    from django.db import models

    from stockflow.projections.models import Generation

NAME: Final = "flow_counts"
VERSION: Final = 1
"""Raised when the rows of a rebuild would differ: generations of another version do not serve."""

APPLICATION: Final = "stockflow"
"""Whose positions it reads: those of stock events."""

_STAGES: Final = {
    "stockflow_batch": "day integer, model text, field text, kind text, transition text,"
    " source text, target text, source_facets text, target_facets text,"
    " number bigint, seconds bigint, micros bigint",
    "stockflow_resolved": "day integer, model text, field text, kind text, transition text,"
    " source bigint, target bigint, number bigint, seconds bigint, micros bigint",
}
"""Temporary tables: what a batch counts, by the words of the log and then by cells."""

_AGGREGATE: Final = f"""
INSERT INTO stockflow_batch
SELECT {{day}}, e.model, e.field, coalesce(e.kind, ''), coalesce(e.transition, ''),
       e.source, e.target, coalesce(e.source_facets, ''), coalesce(e.target_facets, ''),
       count(*), sum(e.occurred_at / 1000000), sum(e.occurred_at %% 1000000)
{BATCH}
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9"""
DIGEST: Final = {
    "postgresql": "encode(sha256(convert_to(json_build_array("
    "c.model, c.field, c.state, c.facets)::text, 'UTF8')), 'hex')",
    "sqlite": "SHA256(json_array(c.model, c.field, c.state, c.facets))",
}
# In one order, so that two generations that meet the same new cells do not lock each other out.
_CELLS: Final = """
INSERT INTO stockflow_projections_cell (model, field, state, facets, digest)
SELECT c.model, c.field, c.state, c.facets, {digest} FROM (
    SELECT model, field, source AS state, source_facets AS facets FROM stockflow_batch
    WHERE source IS NOT NULL
    UNION
    SELECT model, field, target, target_facets FROM stockflow_batch WHERE target IS NOT NULL
) c WHERE true ORDER BY 5 ON CONFLICT (digest) DO NOTHING"""
_RESOLVE: Final = """
INSERT INTO stockflow_resolved
SELECT b.day, b.model, b.field, b.kind, b.transition, coalesce(s.id, 0), coalesce(t.id, 0),
       b.number, b.seconds, b.micros
FROM stockflow_batch b
LEFT JOIN stockflow_projections_cell s ON s.model = b.model AND s.field = b.field
 AND s.state = b.source AND s.facets = b.source_facets
LEFT JOIN stockflow_projections_cell t ON t.model = b.model AND t.field = b.field
 AND t.state = b.target AND t.facets = b.target_facets"""
_PATHS: Final = """
INSERT INTO stockflow_projections_path (source, target, model, field, kind, transition)
SELECT DISTINCT source, target, model, field, kind, transition FROM stockflow_resolved
WHERE true ORDER BY 1, 2, 3, 4, 5, 6 ON CONFLICT DO NOTHING"""
_COUNTS: Final = """
INSERT INTO stockflow_projections_flowcount AS kept
       (generation, day, path, number, seconds, micros)
SELECT %s, r.day, p.id, r.number, r.seconds, r.micros
FROM stockflow_resolved r JOIN stockflow_projections_path p
  ON p.source = r.source AND p.target = r.target AND p.model = r.model AND p.field = r.field
 AND p.kind = r.kind AND p.transition = r.transition
WHERE true ON CONFLICT (generation, day, path) DO UPDATE SET number = kept.number + excluded.number,
seconds = kept.seconds + excluded.seconds, micros = kept.micros + excluded.micros"""
_LEVELS: Final = " UNION ALL ".join(
    f"SELECT {level} AS level, {size} AS size" for level, size in enumerate(SIZES)
)
_NETS: Final = f"""
INSERT INTO stockflow_projections_net AS kept (generation, level, block, cell, number)
SELECT %s, l.level, m.day / l.size, m.cell, sum(m.number) FROM (
    SELECT day, target AS cell, number FROM stockflow_resolved WHERE target <> 0
    UNION ALL SELECT day, source, -number FROM stockflow_resolved WHERE source <> 0
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
        return conf.time_zone().key

    def compared(self, rows: "models.QuerySet[Any]") -> "models.QuerySet[Any]":
        # What came and went is a row of 0 where it was added up, and none where it was not.
        return rows.exclude(number=0)

    def fold(self, generation: "Generation", after: int, until: int, *, using: str) -> None:
        connection, batch = connections[using], (APPLICATION, after, until)
        with connection.cursor() as cursor:
            for stage, columns in _STAGES.items():
                cursor.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS {stage} ({columns})")
                cursor.execute(f"DELETE FROM {stage}")
            days = days_of(cursor, batch, ZoneInfo(generation.zone))
            fill(
                cursor,
                "stockflow_batch",
                _AGGREGATE.format(day=ORDINAL[connection.vendor].format(at="e.occurred_at")),
                [*days, *batch],
            )
            _add(cursor, generation.pk)


def _add(cursor: Any, generation: int) -> None:
    """Add the batch that was counted to a generation's rows."""
    vendor = cursor.db.vendor
    # The new rows have no statistics yet: PostgreSQL would take them to be few, and compare
    # each with each (29 s for 20,000 events).
    if vendor == "postgresql":
        cursor.execute("SET LOCAL enable_nestloop = off; SET LOCAL jit = off")
    cursor.execute(_CELLS.format(digest=DIGEST[vendor]))
    fill(cursor, "stockflow_resolved", _RESOLVE, [])
    cursor.execute(_PATHS)
    cursor.execute(_COUNTS, [generation])
    cursor.execute(_NETS, [generation])
    if vendor == "postgresql":
        cursor.execute("SET LOCAL enable_nestloop = DEFAULT; SET LOCAL jit = DEFAULT")


def fill(cursor: Any, stage: str, sql: str, values: list[Any]) -> None:
    """Run an insert into a temporary table, of which PostgreSQL keeps no statistics by itself."""
    cursor.execute(sql, values)
    if cursor.db.vendor == "postgresql":
        cursor.execute(f"ANALYZE {stage}")
