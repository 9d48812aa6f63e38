"""SQL over the folded rows and what was not folded yet: parts of the one statement of an answer."""

import json
from collections.abc import Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from stockflow.projections import flow_counts
from stockflow.projections.local_days import with_rules
from stockflow.projections.ranges import Ranges
from stockflow.projections.statements import STOCKFLOW

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
    FROM serving s CROSS JOIN blocks b {nets}
    GROUP BY n.cell
) sums CROSS JOIN stockflow_projections_cell c CROSS JOIN asked a
WHERE c.id = sums.cell AND a.model = c.model AND a.field = c.field AND sums.number <> 0"""
_DAYS: Final = """
SELECT sums.bucket, p.model, p.field, p.kind, s.state, t.state, {source_facets}, {target_facets},
       sums.number, sums.seconds, sums.micros
FROM (
    SELECT w.bucket, n.path, CAST(sum(n.number) AS bigint) AS number,
           CAST(sum(n.seconds) AS bigint) AS seconds, CAST(sum(n.micros) AS bigint) AS micros
    FROM serving s CROSS JOIN whole w {counts}
    GROUP BY w.bucket, n.path
) sums CROSS JOIN stockflow_projections_path p CROSS JOIN asked a
LEFT JOIN stockflow_projections_cell s ON s.id = p.source
LEFT JOIN stockflow_projections_cell t ON t.id = p.target
WHERE p.id = sums.path AND a.model = p.model AND a.field = p.field"""
_NETS: Final = """stockflow_projections_net n{} WHERE n.generation = s.id
    AND n.level = b.level AND n.block >= b.first AND n.block < b.last"""
_COUNTS: Final = """stockflow_projections_flowcount n{} WHERE n.generation = s.id
    AND n.day >= w.first AND n.day < w.last"""
# Rows of an index's range for each block and bucket: OFFSET keeps PostgreSQL from reading all rows
# instead, and SQLite would rather make an index of its own over them, for each question.
_RANGE: Final = {
    "postgresql": "CROSS JOIN LATERAL (SELECT n.* FROM {} OFFSET 0) n",
    "sqlite": "CROSS JOIN {}",
}
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
  ON e.model = a.model AND e.field = a.field AND e.occurred_at >= r.start AND e.occurred_at < r.stop GROUP BY {group}, r.bucket""",
}
_LATE: Final = """
SELECT w.bucket, {sums} FROM (
    {late}
) late {event} CROSS JOIN asked a CROSS JOIN whole w
WHERE e.model = a.model AND e.field = a.field
AND e.occurred_at >= w.start AND e.occurred_at < w.stop GROUP BY {group}, w.bucket{hashed}"""

# Below a second bound PostgreSQL takes them to be few, as they are: beyond one bound that it does
# not know it takes a third of the log to be.
LATE: Final = f"""
SELECT p.event FROM stockflow_position p WHERE p.application = '{STOCKFLOW}'
AND p.position > (SELECT position FROM {{serving}})
AND p.position <= (SELECT position FROM {{serving}}) + {10**15}
UNION ALL
SELECT u.event FROM {{serving}} s CROSS JOIN stockflow_unsequenced u
WHERE u.application = '{STOCKFLOW}'"""
"""The events that a serving generation has not folded."""

# With its LIMIT it stays a look-up by key: a log without statistics would be read for each event.
BY_KEY: Final = {
    "postgresql": "CROSS JOIN LATERAL"
    " (SELECT x.* FROM stockflow_event x WHERE x.id = late.event LIMIT 1) e",
    "sqlite": "CROSS JOIN stockflow_event e ON e.id = late.event",
}
# A type that cannot be sorted: PostgreSQL takes sorting for as cheap as hashing here, and it is not.
_HASHED: Final = {"postgresql": ", CAST('0' AS xid)", "sqlite": ""}


def tables(ranges: Ranges, zone: ZoneInfo, *, vendor: str) -> tuple[list[str], list[Any]]:
    """Return the common table expressions of the parts, and their values."""
    named: dict[str, Sequence[Sequence[int]]] = {
        "blocks(level, first, last)": ranges.blocks,
        "whole(bucket, first, last, start, stop)": ranges.whole,
        "pieces(bucket, start, stop)": ranges.pieces,
    }
    parts, values = [_SERVING], [flow_counts.NAME, flow_counts.VERSION, with_rules(zone)]
    for name, rows in named.items():
        sql, bound = _listed(rows, name.count(",") + 1, vendor)
        parts.append(f"{name} AS ({sql})")
        values += bound
    return parts, values


def _listed(rows: Sequence[Sequence[int]], width: int, vendor: str) -> tuple[str, list[Any]]:
    """Return *rows* as a query; of arrays PostgreSQL knows how many rows they make."""
    if vendor == "postgresql":
        arrays = ", ".join(["%s::bigint[]"] * width)
        return f"SELECT * FROM unnest({arrays})", [[row[n] for row in rows] for n in range(width)]
    columns = ", ".join(f"json_extract(value, '$[{n}]')" for n in range(width))
    return f"SELECT {columns} FROM json_each(%s)", [json.dumps(rows)]


def selects(*, split: bool, vendor: str) -> str:
    """Return the parts that are added to the count of the log, without values."""
    columns = "e.model, e.field, e.kind, e.source, e.target, "
    columns += "e.source_facets, e.target_facets" if split else "NULL, NULL"
    # What differs most comes first: where a database sorts by them it compares less.
    group = "e.target, e.source, e.kind, e.field, e.model"
    words = {
        "sums": _SUMS.format(columns=columns),
        "group": ("e.target_facets, e.source_facets, " if split else "") + group,
        "source_facets": "nullif(s.facets, '')" if split else "NULL",
        "target_facets": "nullif(t.facets, '')" if split else "NULL",
        "late": LATE.format(serving="serving"),
        "hashed": _HASHED[vendor],
        "event": BY_KEY[vendor],
    }
    named = (("nets", _NETS, "stockflow_net"), ("counts", _COUNTS, "stockflow_flowcount"))
    for word, rows, index in named:
        by_index = f" INDEXED BY {index}" if vendor == "sqlite" else ""
        words[word] = _RANGE[vendor].format(rows.format(by_index))
    standing = words | {"target_facets": "nullif(c.facets, '')" if split else "NULL"}
    return " UNION ALL ".join(
        [
            _BLOCKS.format(**standing),
            *(part.format(**words) for part in (_DAYS, _PIECES[vendor], _LATE)),
        ]
    )
