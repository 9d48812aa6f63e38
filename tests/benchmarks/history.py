"""A long log, written by the database itself: what the benchmarks of the read side fold and ask."""

from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

MOST_DAYS, EVENTS_A_DAY = 1000, 1000
"""Each cell sees ten events a day, unless the history is longer than its days."""

STATES, CHANNELS, EVENTS_EACH = 10, 10, 10
START = datetime(2024, 1, 1, tzinfo=UTC)
_NUMBERS = {
    "postgresql": "generate_series(%s::bigint, %s::bigint) AS g(i)",
    "sqlite": "(WITH RECURSIVE g(i) AS (SELECT %s UNION ALL SELECT i + 1 FROM g WHERE i < %s)"
    " SELECT i FROM g) g",
}
# Each object's channel is fixed and its state goes round: 100 cells.
_EVENTS = """
INSERT INTO stockflow_event (id, application, originator, version, topic, model, field, kind,
    transition, source, target, source_facets, target_facets, occurred_at, recorded_at,
    actor, reason, correlation)
SELECT i, 'stockflow', '00000000-0000-4000-8000-' || substr('000000000000' || n, -12),
       i / {objects} + 1, 'stockflow:' || kind, 'benchmarks.facetticket', 'state', kind, 'go',
       CASE WHEN i < {objects} THEN NULL ELSE 's' || ((i + i / {objects} - 1) %% {states}) END,
       's' || ((i + i / {objects}) %% {states}), CASE WHEN i < {objects} THEN NULL ELSE cell END,
       cell, {start} + i * {step}, {start}, '', '', ''
FROM (SELECT i, i %% {objects} AS n,
             CASE WHEN i < {objects} THEN 'entered' ELSE 'moved' END AS kind,
             '{{"channel":"c' || (i %% {objects} / 10 %% {channels}) || '"}}' AS cell
      FROM {numbers}) numbered"""
_POSITIONS = """
INSERT INTO stockflow_position (event, application, position, sequenced_at, hash, salt)
SELECT id, 'stockflow', id + 1, 0, {empty}, {salt} FROM stockflow_event WHERE id >= %s"""


def days(count: int) -> int:
    """Return how many days a history of *count* events has."""
    return min(MOST_DAYS, max(1, count // EVENTS_A_DAY))


def at(share: int, count: int) -> datetime:
    """Return the instant at which a share of a history, in per cent, has passed."""
    return START + timedelta(days=days(count)) * share / 100


def write(first: int, last: int, count: int) -> None:
    """Write events *first* to *last*, with positions, of a history of *count* in all its days."""
    from django.db import connection

    from stockflow.domain.instants import to_micros

    numbers, empty, salt = _NUMBERS[connection.vendor], "x''", "randomblob(16)"
    words: dict[str, Any] = {
        "objects": count // EVENTS_EACH,
        "states": STATES,
        "channels": CHANNELS,
        "start": to_micros(START),
        "step": days(count) * 86_400_000_000 // count,
    }
    events = _EVENTS
    if connection.vendor == "postgresql":
        empty, salt = "''::bytea", "uuid_send(gen_random_uuid())"
        events = events.replace("substr('000000000000' || n, -12)", "lpad(n::text, 12, '0')")
    execute(events.format(numbers=numbers, **words), [first, last])
    execute(_POSITIONS.format(empty=empty, salt=salt), [first])
    execute("DELETE FROM stockflow_unsequenced")


def vacuum() -> None:
    """Bring statistics up to date, and what PostgreSQL knows to be visible."""
    from django.db import connection

    execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def execute(sql: str, values: Any = None) -> list[Any]:
    """Run a statement, and return its rows."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


def seconds(step: Any) -> float:
    """Return how long *step* takes."""
    begun = perf_counter()
    step()
    return perf_counter() - begun
