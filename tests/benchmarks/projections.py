"""What folding costs and saves: ``python -m tests.benchmarks.projections [--count N] [--small]``.

A replay of the flow counts against one ``INSERT ... SELECT ... GROUP BY`` written by hand that
fills the same table, and a count by one facet as of a quarter, a half and all of the history.
"""

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter
from typing import Any

import django

DATABASES = ("sqlite", "postgresql")
SMALL, DAYS, STATES, CHANNELS = 20_000, 1000, 10, 10
MOST_OVER_HAND, MOST_MILLIS, MOST_MILLIS_LATE, LATE = 3.0, 10.0, 50.0, 10_000
NOISE = 3.0
"""How much wider the bounds of a small run are: what each statement costs weighs more there."""

START = datetime(2024, 1, 1, tzinfo=UTC)
_NUMBERS = {
    "postgresql": "generate_series(%s::bigint, %s::bigint) AS g(i)",
    "sqlite": "(WITH RECURSIVE g(i) AS (SELECT %s UNION ALL SELECT i + 1 FROM g WHERE i < %s)"
    " SELECT i FROM g) g",
}
# Each object has ten events; its channel is fixed and its state goes round.
_EVENTS = """
INSERT INTO stockflow_event (id, application, originator, version, topic, model, field, kind,
    transition, source, target, source_facets, target_facets, occurred_at, recorded_at,
    actor, reason, correlation)
SELECT i, 'stockflow', CAST(i %% {objects} AS text), i / {objects} + 1, 'benchmark',
       'benchmarks.facetticket', 'state', CASE WHEN i < {objects} THEN 'entered' ELSE 'moved' END, 'go',
       CASE WHEN i < {objects} THEN NULL ELSE 's' || ((i + i / {objects} - 1) %% {states}) END,
       's' || ((i + i / {objects}) %% {states}),
       CASE WHEN i < {objects} THEN NULL ELSE '{{"channel":"c' || (i %% {objects} / 10 %% {channels}) || '"}}' END,
       '{{"channel":"c' || (i %% {objects} / 10 %% {channels}) || '"}}',
       {start} + i * {step}, {start}, '', '', ''
FROM {numbers}"""
_POSITIONS = """
INSERT INTO stockflow_position (event, application, position, sequenced_at, hash)
SELECT id, 'stockflow', id + 1, 0, {empty} FROM stockflow_event WHERE id >= %s"""
_HAND = """
INSERT INTO stockflow_projections_flowcount (generation, day, path, number, seconds, micros)
SELECT -1, 700000 + e.occurred_at / 86400000000, p.id, count(*), sum(e.occurred_at / 1000000),
       sum(e.occurred_at % 1000000)
FROM stockflow_event e
LEFT JOIN stockflow_projections_cell s ON s.model = e.model AND s.field = e.field
 AND s.state = e.source AND s.facets = e.source_facets
JOIN stockflow_projections_cell t ON t.model = e.model AND t.field = e.field
 AND t.state = e.target AND t.facets = e.target_facets
JOIN stockflow_projections_path p ON p.source = coalesce(s.id, 0) AND p.target = t.id
 AND p.kind = e.kind AND p.transition = e.transition
GROUP BY 1, 2, 3"""


def main() -> int:
    """Measure, print, and return how many databases missed a target."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.projections")
    parser.add_argument("--count", type=int, default=1_000_000, help="events")
    parser.add_argument("--small", action="store_true", help="few events, wider bounds")
    parser.add_argument("--database", choices=DATABASES, help="one database only")
    options = parser.parse_args()
    if not options.database:
        command = [sys.executable, "-m", "tests.benchmarks.projections", *sys.argv[1:]]
        runs = [subprocess.run([*command, "--database", n], check=False) for n in DATABASES]
        return sum(bool(run.returncode) for run in runs)
    os.environ["BENCHMARK_DATABASE"] = options.database
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.settings"
    django.setup()
    from django.db import connection

    try:
        connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        count = min(options.count, SMALL) if options.small else options.count
        return _measure(options.database, count, NOISE if options.small else 1.0)
    finally:
        connection.creation.destroy_test_db("", verbosity=0)


def _measure(name: str, count: int, noise: float) -> int:
    from stockflow.projections import runner

    late = min(LATE, count // 10)
    _write(0, count - late - 1, count)
    _vacuum()
    list(runner.rebuild())  # meets the cells and paths for the first time
    replay = _seconds(lambda: list(runner.rebuild()))
    _vacuum()
    hand = _seconds(lambda: _execute(_HAND))
    _execute("DELETE FROM stockflow_projections_flowcount WHERE generation = -1")
    _vacuum()
    found = {f"{share} % of history, folded": _asked(share) for share in (25, 50, 99)}
    _write(count - late, count - 1, count)
    found[f"all, {late:,} events not folded"] = _asked(100)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{name}, {count:,} events, {megabytes:.0f} MB at most\n")
    print(f"- replay {replay:.2f} s, by hand {hand:.2f} s: {replay / hand:.1f} x")
    missed = replay / hand > MOST_OVER_HAND * noise
    for what, millis in found.items():
        print(f"- count by a facet at {what}: {millis:.1f} ms")
        most = MOST_MILLIS_LATE if "not" in what else MOST_MILLIS
        missed |= millis > most * noise
    if missed:
        print("A target is missed.")
    return int(missed)


def _asked(share: int) -> float:
    from stockflow.domain.cells import decode_facets
    from stockflow.domain.instants import to_micros
    from stockflow.domain.measures.changes import Place
    from stockflow.domain.measures.levels import levels
    from stockflow.projections import query
    from tests.benchmarks.models import FacetTicket

    at = to_micros(START + timedelta(days=DAYS) * share / 100)

    def count() -> None:
        found = query.changes([FacetTicket.state], [at], using="default", now=datetime.now(UTC))
        stock = {Place("benchmarks.facetticket", "state", "s1")}
        value = lambda text: decode_facets(text).get("channel")  # noqa: E731
        assert levels(found.changes, buckets=0, stock=stock, value_of=value)

    return median(_seconds(count) for _ in range(20)) * 1000


def _write(first: int, last: int, count: int) -> None:
    from django.db import connection

    from stockflow.domain.instants import to_micros

    words = {
        "objects": count // 10,
        "states": STATES,
        "channels": CHANNELS,
        "start": to_micros(START),
        "step": DAYS * 86_400_000_000 // count,
        "numbers": _NUMBERS[connection.vendor],
    }
    _execute(_EVENTS.format(**words), [first, last])
    empty = "''::bytea" if connection.vendor == "postgresql" else "x''"
    _execute(_POSITIONS.format(empty=empty), [first])
    _execute("DELETE FROM stockflow_unsequenced")


def _vacuum() -> None:
    from django.db import connection

    _execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def _execute(sql: str, values: Any = None) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def _seconds(step: Callable[[], Any]) -> float:
    begun = perf_counter()
    step()
    return perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
