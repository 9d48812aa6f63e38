"""What firing decays costs: ``python -m tests.benchmarks.decays [--small] [--database NAME]``.

Firing many due decays, with an empty method (SQL alone) and with a body, by one worker and, on
PostgreSQL, by two; the same by hand, as the floor; and finding the next 1,000 due among many that
wait.
"""

import argparse
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from statistics import median
from time import perf_counter
from typing import Any
from uuid import uuid4

from tests.benchmarks.databases import DATABASES, each, made

LEAST_BY_SQL, LEAST_BY_METHODS, MOST_MILLISECONDS = 30_000, 5_000, 20.0
NOISE = 10
"""How many times slower a small run on a busy machine may be: it catches what is grossly slower."""


def main() -> int:
    """Measure, print, and return how many databases missed a target."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.decays", description=__doc__)
    parser.add_argument("--small", action="store_true", help="under a minute, with wider bounds")
    parser.add_argument("--database", choices=DATABASES, help="one database only")
    options = parser.parse_args()
    if not options.database:
        return each("tests.benchmarks.decays")
    due, waiting = (5_000, 20_000) if options.small else (100_000, 1_000_000)
    with made(options.database):
        return _measure(options.database, due, waiting, NOISE if options.small else 1)


def _measure(database: str, due: int, waiting: int, noise: int) -> int:
    from tests.benchmarks.models import DecayingTicket, FadingTicket

    print(f"\n| {database}, {due:,} due | a second | peak MB more |\n|---|---:|---:|")
    missed = []
    cases: list[tuple[str, Any, int, int]] = [
        ("by SQL, empty method", FadingTicket, 1, LEAST_BY_SQL),
        ("by methods, with a body", DecayingTicket, 1, LEAST_BY_METHODS),
    ]
    if database == "postgresql":
        cases.append(("by SQL, two workers", FadingTicket, 2, 0))
        cases.append(("by methods, two workers", DecayingTicket, 2, 0))
    for name, model, workers, least in cases:
        speed, more = _fire(model, due, workers)
        print(f"| {name} | {speed:,.0f} | {more:.0f} |", flush=True)
        if speed * noise < least:
            missed.append(f"missed: {database}, {name}: {speed:,.0f} a second, not {least:,}")
    print(f"| by hand, in one transaction | {_by_hand(due):,.0f} | |", flush=True)
    found = _find(waiting)
    print(f"| the next 1,000 of {waiting:,}: {found:.1f} ms | | |")
    if found > MOST_MILLISECONDS * noise:
        missed.append(f"missed: {database}: the next 1,000 take {found:.1f} ms")
    print("", *missed, sep="\n", flush=True)
    return 1 if missed else 0


def _fire(model: Any, due: int, workers: int) -> tuple[float, float]:
    """Return how many decays a second were fired, and how many megabytes more it took."""
    from stockflow import conf
    from stockflow.scheduling.decays import fire_due
    from tests.benchmarks import bulk_peers

    bulk_peers.make(due, only=(model,))
    fired: list[int] = []

    def work() -> None:
        from django.db import connection

        fired.append(sum(chunk.fired for chunk in fire_due()))
        if workers > 1:
            connection.close()

    with _later(timedelta(days=31), conf):
        before, start = _peak(), perf_counter()
        threads = [threading.Thread(target=work) for _ in range(workers - 1)]
        for thread in threads:
            thread.start()
        work()
        for thread in threads:
            thread.join()
        took = perf_counter() - start
    if sum(fired) != due:
        raise RuntimeError(f"{sum(fired):,} of {due:,} decays were fired")
    return due / took, _peak() - before


def _by_hand(due: int) -> float:
    """Return how many a second four statements fire, with the same tables, indexes and triggers."""
    from django.db import connection, transaction
    from django.utils import timezone

    from stockflow.domain.instants import to_micros
    from tests.benchmarks import bulk_peers
    from tests.benchmarks.models import FadingTicket, Owner

    bulk_peers.make(due, only=(FadingTicket,))
    table, vendor = FadingTicket._meta.db_table, connection.vendor
    lifecycle, facets = bulk_peers.LIFECYCLE[vendor], bulk_peers.FACETS[vendor]
    due_now = "state = 'open'"
    lock = " FOR NO KEY UPDATE" if vendor == "postgresql" else ""
    start = perf_counter()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {due_now}{lock}) r")
        cursor.execute(
            "INSERT INTO stockflow_event (application, originator, version, topic, model, field, "
            "kind, transition, source, target, source_facets, target_facets, occurred_at, "
            "recorded_at, actor, reason, correlation) "
            f"SELECT 'stockflow', {lifecycle}, r.stock_version + 1, 'stockflow:moved', l.model, "
            f"'state', 'moved', t.transition, r.state, 'closed', l.target_facets, {facets}, "
            "t.due_at, %s, 'stockflow.schedule', '', '' FROM stockflow_scheduledtransition t "
            f"JOIN {table} r ON r.stock_lifecycle = t.lifecycle "
            f"JOIN {Owner._meta.db_table} o ON o.id = r.owner_id "
            "JOIN stockflow_event l ON l.application = 'stockflow' "
            f"AND l.originator = {lifecycle} AND l.version = r.stock_version ORDER BY t.due_at",
            [to_micros(timezone.now())],
        )
        cursor.execute(
            f"UPDATE {table} SET state = 'closed', state_since = state_due_at, "
            "stock_changed_at = state_due_at, state_due_at = NULL, "
            f"stock_version = stock_version + 1 WHERE {due_now}"
        )
        cursor.execute("DELETE FROM stockflow_scheduledtransition")
    return due / (perf_counter() - start)


@contextmanager
def _later(by: timedelta, conf: Any) -> Iterator[None]:
    from stockflow.testing import clock

    with clock(conf.now() + by):
        yield


def _find(waiting: int) -> float:
    """Return the milliseconds that finding the next 1,000 takes among *waiting* timers."""
    from django.db import transaction

    from stockflow import conf
    from stockflow.domain.instants import to_micros
    from stockflow.models import ScheduledTransition
    from stockflow.scheduling.decays import next_page
    from tests.benchmarks.bulk_peers import _analyze

    now = to_micros(conf.now())
    for first in range(0, waiting, 10_000):
        ScheduledTransition.objects.bulk_create(
            ScheduledTransition(
                lifecycle=uuid4(),
                model="benchmarks.fadingticket",
                field="state",
                version=1,
                transition="expire",
                due_at=now - 2_000_000 + n * 1_000,
            )
            for n in range(first, first + 10_000)
        )
    _analyze()
    times = []
    for _ in range(9):
        start = perf_counter()
        with transaction.atomic():
            page = next_page(None, conf.now(), "default", 1_000)
            times.append((perf_counter() - start) * 1000)
    if page is None or len(page.timers) != 1_000:
        raise RuntimeError("fewer than 1,000 timers were found")
    return median(times)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
