"""What ``sequence()`` costs: ``python -m tests.benchmarks.sequencing [--count N] [--database NAME]``.

Many events that lack their positions, of large transactions and of one each; on PostgreSQL those
two differ, since the events of one transaction stay together.
"""

import argparse
import sys
from time import perf_counter
from typing import Any

from tests.benchmarks.databases import DATABASES, each, made


def main() -> int:
    """Measure and print; return what a run of one database ended with."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.sequencing", description=__doc__
    )
    parser.add_argument("--count", type=int, default=60_000, help="events")
    parser.add_argument("--database", choices=DATABASES, help="one database only")
    options = parser.parse_args()
    if not options.database:
        return each("tests.benchmarks.sequencing")
    with made(options.database):
        _measure(options.database, options.count)
    return 0


def _measure(database: str, count: int) -> None:
    from tests.benchmarks import bulk_peers
    from tests.benchmarks.models import FacetTicket

    print(f"\n| {database}, {count:,} events | a second |\n|---|---:|")
    bulk_peers.make(count, only=(FacetTicket,))
    print(f"| of transactions of {bulk_peers.MADE:,} | {_sequence(count):,.0f} |", flush=True)
    FacetTicket._default_manager.transition("close")
    _part()
    print(f"| of transactions of one | {_sequence(count):,.0f} |", flush=True)


def _part() -> None:
    """Let each event that waits be of a transaction of its own."""
    from django.db.models import F

    from stockflow.tables import Unsequenced

    Unsequenced.objects.update(transaction_id=F("event"))


def _sequence(count: int) -> float:
    """Return how many events a second get their positions."""
    from stockflow.eventstore.sequencer import sequence

    start = perf_counter()
    found: Any = sequence()
    if found != count:
        raise RuntimeError(f"{found:,} of {count:,} events got a position")
    return count / (perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())
