"""What folding costs and saves: ``python -m tests.benchmarks.projections [--count N] [--small]``.

With ``--memory`` it only replays, and tells the peak of the process.

A replay of the flow counts and of the spells against one ``INSERT ... SELECT`` written by hand
that fills the same table, the former against one by ``eventsourcing`` too; a count by one facet as
of a quarter, a half and all of the history; and what the folded spells save.
"""

import argparse
import resource
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

from stockflow.domain.days import span_sql
from tests.benchmarks.databases import DATABASES, each, made

SMALL, LATE, NOTIFIED, PEER = 20_000, 10_000, 5_000, 200_000
MOST_OVER_HAND, MOST_OVER_HAND_OF_SPELLS, LEAST_UNDER_PEER, MOST_MEGABYTES = 3.0, 4.0, 3.0, 300
MOST_MILLIS, MOST_MILLIS_LATE = 10.0, 50.0
NOISE = 3.0
"""How much wider the bounds of a small run are: what each statement costs weighs more there."""

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

_SPELLS_BY_HAND = f"""
INSERT INTO stockflow_projections_spell (generation, originator, field, cell, version, source,
    entered, is_truncated, left_at, exit_to, is_censored, span)
SELECT -1, e.originator, e.field, c.id, e.version, e.source, e.at, {{false}}, e.left_at, e.exit_to,
       e.left_at IS NULL, {span_sql("e.at", "e.left_at")}
FROM (SELECT e.*, e.occurred_at AS at, lead(e.occurred_at) OVER next AS left_at,
             lead(e.target) OVER next AS exit_to FROM stockflow_event e
      WINDOW next AS (PARTITION BY e.originator ORDER BY e.version)) e
JOIN stockflow_projections_cell c ON c.model = e.model AND c.field = e.field
 AND c.state = e.target AND c.facets = e.target_facets"""

Figure = tuple[str, float, str, float]
"""What is measured, the figure, its unit, and the most that it may be."""


def main() -> int:
    """Measure, print, and return how many databases missed a target."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.projections")
    parser.add_argument("--count", type=int, default=1_000_000, help="events")
    parser.add_argument("--small", action="store_true", help="few events, wider bounds")
    parser.add_argument("--database", choices=DATABASES, help="one database only")
    parser.add_argument("--memory", action="store_true", help="replay only, and tell the memory")
    parser.add_argument("--keep", action="store_true", help="keep the log, for the next run to use")
    options = parser.parse_args()
    if not options.database:
        return each("tests.benchmarks.projections")
    count = min(options.count, SMALL) if options.small else options.count
    with made(options.database, kept_as=f"stockflow_benchmark_of_{count}" if options.keep else ""):
        report = _memory if options.memory else _report
        return report(options.database, count, NOISE if options.small else 1.0)


def _report(name: str, count: int, noise: float) -> int:
    from django.db import transaction

    from tests.benchmarks import history

    _write(count)
    figures = _replays(count)
    history.vacuum()
    _spells_saved(count)
    figures += [
        _count(share, count, f"{share} % of history", MOST_MILLIS) for share in (25, 50, 100)
    ]
    with transaction.atomic():
        late = min(LATE, count // 10)
        history.write(count, count + late - 1, count)
        figures += [_count(101, count, f"its end, {late:,} events not folded", MOST_MILLIS_LATE)]
        transaction.set_rollback(True)
    return _told(name, count, noise, [*figures, _peak()])


def _memory(name: str, count: int, noise: float) -> int:
    from stockflow.projections import runner
    from tests.benchmarks.history import seconds

    _write(count)
    figures = [_peak("before")]
    for projection in ("flow_counts", "spells"):
        took = seconds(lambda projection=projection: list(runner.rebuild(names=[projection])))
        figures += [_peak(f"after {took:.0f} s of {projection}")]
    return _told(name, count, noise, figures)


def _write(count: int) -> None:
    from tests.benchmarks import history

    if not history.execute("SELECT 1 FROM stockflow_event LIMIT 1"):
        history.write(0, count - 1, count)
    history.vacuum()


def _peak(when: str = "memory") -> Figure:
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return when, megabytes, "MB at most", MOST_MEGABYTES


def _told(name: str, count: int, noise: float, figures: list[Figure]) -> int:
    """Print the figures, and return 1 if one is missed."""
    print(f"\n{name}, {count:,} events\n")
    missed = 0
    for what, figure, unit, most in figures:
        is_missed = figure > most * noise
        missed += is_missed
        print(f"- {what}: {figure:.2f} {unit}" + is_missed * f" (missed: {most:.2f})")
    return int(missed > 0)


def _replays(count: int) -> list[Figure]:
    from django.db import connection

    from stockflow.projections import runner
    from tests.benchmarks.history import execute, seconds, vacuum

    if not execute("SELECT 1 FROM stockflow_projections_path LIMIT 1"):
        # Meets the cells and paths; what is measured is built beside it, and drops it.
        list(runner.rebuild(names=["flow_counts", "spells"]))
        vacuum()
    hand, replay = _compared("flow_counts", "flowcount", _HAND)
    false = "false" if connection.vendor == "postgresql" else "0"
    spells_hand, spells = _compared("spells", "spell", _SPELLS_BY_HAND.format(false=false))
    share = min(PEER, count)
    peer = seconds(lambda: _peer(share)) * count / share
    print(f"flow counts: {replay:.2f} s, by hand {hand:.2f} s, eventsourcing {peer:.2f} s")
    print(f"spells: {spells:.2f} s, by hand {spells_hand:.2f} s")
    return [
        ("replay of flow counts", replay / hand, "times by hand", MOST_OVER_HAND),
        ("the same", replay / peer, "of eventsourcing", 1 / LEAST_UNDER_PEER),
        ("replay of spells", spells / spells_hand, "times by hand", MOST_OVER_HAND_OF_SPELLS),
    ]


def _compared(name: str, table: str, by_hand: str) -> tuple[float, float]:
    """Return how long it takes by hand and by a replay."""
    from stockflow.projections import runner
    from tests.benchmarks.history import execute, seconds, vacuum

    hand = seconds(lambda: execute(by_hand))
    execute(f"DELETE FROM stockflow_projections_{table} WHERE generation = -1")
    vacuum()
    return hand, seconds(lambda: list(runner.rebuild(names=[name])))


def _spells_saved(count: int) -> None:
    """Print how long questions take with folded spells, and from the log."""
    from django.db import transaction

    from stockflow.projections import Stock
    from tests.benchmarks.history import at, days, execute, seconds
    from tests.benchmarks.models import FacetTicket

    ones, both = (Stock(slug, FacetTicket.state, states=["open"]) for slug in ("ones", "both"))
    ones._states, both._states = frozenset(["s1"]), frozenset(["s1", "s2"])  # those of the history
    asked: dict[str, Callable[[], Any]] = {
        "members at 50 %": lambda: ones.members(at(50, count)),
        "members at 100 %": lambda: ones.members(at(100, count)),
        "ages at 50 %": lambda: ones.ages(at(50, count)),
        "dwell of a hundredth": lambda: ones.dwell(at(50, count), at(51, count), every="day"),
        "the same of two states": lambda: both.dwell(at(50, count), at(51, count), every="day"),
        "conversion of a hundredth": lambda: ones.conversion(
            both, at(50, count), at(51, count), every="day", within=timedelta(1)
        ),
        "survival of all": ones.survival,
        "lifecycle of all": lambda: both.lifecycle(at(0, count), at(100, count), every="year"),
        "retention of all": lambda: ones.retention(at(0, count), at(100, count), every="quarter"),
    }
    print(f"\nmilliseconds of {days(count)} days, folded and from the log:")
    for what, ask in asked.items():
        folded = seconds(ask)
        with transaction.atomic():
            execute("UPDATE stockflow_projections_generation SET version = version + 1")
            log = seconds(ask)
            transaction.set_rollback(True)
        print(f"- {what}: {folded * 1000:,.0f}, {log * 1000:,.0f}", flush=True)


def _peer(count: int) -> Counter[Any]:
    """Count as a projection of ``eventsourcing`` would that reads its notifications in batches."""
    from stockflow.eventstore.applications import StockLog

    log, found = StockLog(), Counter[Any]()
    for first, following in pairwise([*range(1, count + 1, NOTIFIED), count + 1]):
        for one in log.recorder.select_notifications(first, following - first):
            e: Any = log.mapper.to_domain_event(one)
            cells = (
                (e.source, e.source_facets.get("channel")),
                (e.target, e.target_facets["channel"]),
            )
            found[e.occurred_at.date(), e.kind, e.transition, *cells] += 1
    assert found.total() == count
    return found


def _count(share: int, count: int, what: str, most: float) -> Figure:
    from stockflow.domain.cells import decode_facets
    from stockflow.domain.instants import to_micros
    from stockflow.domain.measures.changes import Place
    from stockflow.domain.measures.levels import levels
    from stockflow.projections import query
    from tests.benchmarks.history import at, seconds
    from tests.benchmarks.models import FacetTicket

    def ask() -> None:
        found = query.changes(
            [FacetTicket.state],
            [to_micros(at(share, count))],
            using="default",
            now=datetime.now(UTC),
        )
        stock = {Place("benchmarks.facetticket", "state", "s1")}
        value = lambda text: decode_facets(text).get("channel")  # noqa: E731
        assert levels(found.changes, buckets=0, stock=stock, value_of=value)

    return (
        f"count by a facet at {what}",
        median(seconds(ask) for _ in range(20)) * 1000,
        "ms",
        most,
    )


if __name__ == "__main__":
    sys.exit(main())
