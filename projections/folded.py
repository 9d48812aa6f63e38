"""SQL over the folded rows and what was not folded yet: parts of the one statement of an answer."""

import json
from datetime import tzinfo
from typing import Any, Final

from stockflow.projections import flow_counts
from stockflow.projections.ranges import Ranges

_JSON: Final = {
    "postgresql": ("jsonb_array_elements(%s::jsonb)", "(value->>{})::bigint"),
    "sqlite": ("json_each(%s)", "json_extract(value, '$[{}]')"),
}
_SERVING: Final = """
serving AS (
    SELECT g.id, g.position FROM stockflow_projections_generation g
    WHERE g.projection = %s AND g.version = %s AND g.zone = %s AND g.status = 'serving'
)"""

UNLESS_SERVING: Final = " AND NOT EXISTS (SELECT 1 FROM serving)"
"""Ends the part that counts the whole log, which is asked only where nothing is folded."""

# A level is a sum of what came and went: these rows stand for all events of those blocks.
_BLOCKS: Final = """
SELECT 0, c.model, c.field, 'standing', NULL, c.state, NULL, {target_facets}, sums.number, 0, 0
FROM (
    SELECT n.cell, CAST(sum(n.number) AS bigint) AS number
    FROM serving s CROSS JOIN blocks b CROSS JOIN stockflow_projections_net n{by_net}
    WHERE n.generation = s.id AND n.level = b.level AND n.block >= b.first AND n.block < b.last
    GROUP BY n.cell
) sums CROSS JOIN stockflow_projections_cell c CROSS JOIN asked a
WHERE c.id = sums.cell AND a.model = c.model AND a.field = c.field AND sums.number <> 0"""
_DAYS: Final = """
SELECT sums.bucket, p.model, p.field, p.kind, s.state, t.state, {source_facets}, {target_facets},
       sums.number, sums.seconds, sums.micros
FROM (
    SELECT w.bucket, n.path, CAST(sum(n.number) AS bigint) AS number,
           CAST(sum(n.seconds) AS bigint) AS seconds, CAST(sum(n.micros) AS bigint) AS micros
    FROM serving s CROSS JOIN whole w CROSS JOIN stockflow_projections_flowcount n{by_day}
    WHERE n.generation = s.id AND n.day >= w.first AND n.day < w.last
    GROUP BY w.bucket, n.path
) sums CROSS JOIN stockflow_projections_path p CROSS JOIN asked a
LEFT JOIN stockflow_projections_cell s ON s.id = p.source
LEFT JOIN stockflow_projections_cell t ON t.id = p.target
WHERE p.id = sums.path AND a.model = p.model AND a.field = p.field"""
_SUMS: Final = """{columns}, count(*),
       CAST(sum(e.occurred_at / 1000000) AS bigint), CAST(sum(e.occurred_at %% 1000000) AS bigint)"""
# A lateral query or a cross join keeps the order of the loops: each piece reads its range of
# the index, and what is not folded is found by its position.
_PIECES: Final = {
    "postgresql": """
SELECT r.bucket, counted.* FROM serving CROSS JOIN asked a CROSS JOIN pieces r CROSS JOIN LATERAL (
    SELECT {sums} FROM stockflow_event e WHERE e.model = a.model AND e.field = a.field
    AND e.occurred_at >= r.start AND e.occurred_at < r.stop GROUP BY {group}
) counted""",
    "sqlite": """
SELECT r.bucket, {sums} FROM serving CROSS JOIN asked a CROSS JOIN pieces r
CROSS JOIN stockflow_event e INDEXED BY stockflow_event_occurred
  ON e.model = a.model AND e.field = a.field AND e.occurred_at >= r.start AND e.occurred_at < r.stop GROUP BY r.bucket, {group}""",
}
_LATE: Final = """
SELECT w.bucket, {sums} FROM (
    SELECT p.event FROM serving s CROSS JOIN stockflow_position p
    WHERE p.application = '{application}' AND p.position > s.position
    UNION ALL
    SELECT u.event FROM serving s CROSS JOIN stockflow_unsequenced u
    WHERE u.application = '{application}'
) late {event} CROSS JOIN asked a CROSS JOIN whole w
WHERE e.id = late.event AND e.model = a.model AND e.field = a.field
AND e.occurred_at >= w.start AND e.occurred_at < w.stop GROUP BY w.bucket, {group}"""


# With its LIMIT it stays a look-up by key: a log without statistics would be read for each event.
_BY_KEY: Final = {
    "postgresql": "CROSS JOIN LATERAL"
    " (SELECT x.* FROM stockflow_event x WHERE x.id = late.event LIMIT 1) e",
    "sqlite": "CROSS JOIN stockflow_event e",
}


def tables(ranges: Ranges, zone: tzinfo, *, vendor: str) -> tuple[str, list[Any]]:
    """Return the common table expressions of the parts, and their values."""
    named = {
        "blocks(level, first, last)": ranges.blocks,
        "whole(bucket, first, last, start, stop)": ranges.whole,
        "pieces(bucket, start, stop)": ranges.pieces,
    }
    function, column = _JSON[vendor]
    parts, values = [_SERVING], [flow_counts.NAME, flow_counts.VERSION, str(zone)]
    for name, rows in named.items():
        columns = ", ".join(column.format(n) for n in range(name.count(",") + 1))
        parts.append(f"{name} AS (SELECT {columns} FROM {function} AS listed(value))")
        values.append(json.dumps(rows))
    if vendor == "sqlite":  # which knows no names for the columns of a table-valued function
        parts = [part.replace(" AS listed(value)", "") for part in parts]
    return ", ".join(parts), values


def selects(*, split: bool, vendor: str) -> str:
    """Return the parts that are added to the count of the log, without values."""
    columns = "e.model, e.field, e.kind, e.source, e.target, "
    columns += "e.source_facets, e.target_facets" if split else "NULL, NULL"
    group = "e.model, e.field, e.kind, e.source, e.target"
    words = {
        "sums": _SUMS.format(columns=columns),
        "group": group + (", e.source_facets, e.target_facets" if split else ""),
        "source_facets": "nullif(s.facets, '')" if split else "NULL",
        "target_facets": "nullif(t.facets, '')" if split else "NULL",
        "application": flow_counts.APPLICATION,
        "event": _BY_KEY[vendor],
    }
    # SQLite would rather make an index of its own over all rows, for each question.
    for word, index in (("by_net", "stockflow_net"), ("by_day", "stockflow_flowcount")):
        words[word] = f" INDEXED BY {index}" if vendor == "sqlite" else ""
    standing = words | {"target_facets": "nullif(c.facets, '')" if split else "NULL"}
    return " UNION ALL ".join(
        [
            _BLOCKS.format(**standing),
            *(part.format(**words) for part in (_DAYS, _PIECES[vendor], _LATE)),
        ]
    )
