"""What many transitions at once cost: ``python -m tests.benchmarks.bulk [--count N] [--small] [--memory]``.

Ours against a pair of statements written by hand for the same tables, which is the floor, and
against what one writes without us: ``bulk_create`` of log rows and ``update()``.
"""

import argparse
import resource
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

from tqdm import tqdm

from tests.benchmarks.databases import DATABASES, each, made

HAND = "INSERT ... SELECT + UPDATE by hand"
ORM = "bulk_create() of log rows like ours + update()"
SHORT = "bulk_create() of log rows of 5 columns + update()"
SET = "transition(), empty method"
METHOD = "transition(), method with a body"
TIMER = "transition(), empty method, timer starts or ends"
MOST_OVER_HAND, MOST_OVER_ORM, LEAST_UNDER_ORM = 1.5, 2.0, 2.0
MOST_MEGABYTES = 200
SMALL, NOISE = 5_000, 2.0
"""How many objects a small run has, and how much wider its bounds are."""


def main() -> int:
    """Measure, print, and return how many databases missed a target."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bulk", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="objects")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="under half a minute, wider bounds")
    parser.add_argument("--memory", action="store_true", help="measure the memory instead")
    parser.add_argument("--database", choices=DATABASES, help="one database only")
    options = parser.parse_args()
    if not options.database:
        return each("tests.benchmarks.bulk")
    with made(options.database):
        if options.memory:
            return _memory(options.database, options.count)
        count = min(options.count, SMALL) if options.small else options.count
        found = _measure(count, options.rounds)
        return _report(options.database, found, NOISE if options.small else 1.0)


def _measure(count: int, rounds: int) -> dict[str, float]:
    """Return the medians in microseconds for each object; every round moves there and back."""
    from tests.benchmarks import bulk_peers as peers

    found: dict[str, list[float]] = {}
    peers.make(count)
    for _, step in peers.STEPS:  # the first time is another one: nothing is in memory yet
        step()
    for _ in tqdm(range(rounds), disable=None):
        for name, step in peers.STEPS:
            micros = _timed(step) / count
            found.setdefault(name, []).append(micros)
    return {name: median(times) for name, times in found.items()}


def _timed(step: Callable[[], Any]) -> float:
    start = perf_counter()
    step()
    return (perf_counter() - start) * 1e6


def _report(database: str, medians: dict[str, float], noise: float) -> int:
    print(f"\n| {database} | µs per object | × by hand | × ORM |\n|---|---:|---:|---:|")
    for name, micros in medians.items():
        print(
            f"| {name} | {micros:.1f} | {micros / medians[HAND]:.2f} | {micros / medians[ORM]:.2f} |"
        )
    bounds = {
        f"{SET} over {HAND}": (medians[SET] / medians[HAND], MOST_OVER_HAND),
        f"{SET} over {ORM}": (medians[SET] / medians[ORM], 1 / LEAST_UNDER_ORM),
        f"{METHOD} over {ORM}": (medians[METHOD] / medians[ORM], MOST_OVER_ORM),
    }
    missed = [
        f"missed: {what} is {x:.2f}, the bound {y * noise:.2f}"
        for what, (x, y) in bounds.items()
        if x > y * noise
    ]
    print("", *missed, sep="\n", flush=True)
    return 1 if missed else 0


def _memory(database: str, count: int) -> int:
    from tests.benchmarks import bulk_peers as peers
    from tests.benchmarks import models

    peers.make(count, only=(models.FacetTicket, models.WorkingTicket))
    found = {"before": _peak()}
    for name, step in peers.STEPS:
        if name in (SET, METHOD):
            step()
            found[name] = _peak()
    print(f"\n| {database}, {count:,} objects | peak MB |\n|---|---:|")
    print(*(f"| {name} | {size:.0f} |" for name, size in found.items()), sep="\n", flush=True)
    return 1 if max(found.values()) > MOST_MEGABYTES else 0


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
