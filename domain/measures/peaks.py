"""Peaks and lows: between which levels a stock was within each bucket."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Run(NamedTuple):
    """What the level of one facet value did in one bucket.

    Attributes:
        bucket: Its number, 0 for all before the first.
        delta: By how much the level changed.
        peak: The highest level after an instant at which something happened.
        low: The lowest such level.
        first: The first such instant, in microseconds.
    """

    bucket: int
    delta: int
    peak: int
    low: int
    first: int


class Extremes(NamedTuple):
    """The highest and the lowest level of a bucket."""

    peak: int
    low: int


def within(runs: Iterable[Run], bounds: Sequence[int]) -> list[Extremes]:
    """Return peak and low of each bucket; one in which nothing happened has its opening level.

    The opening level counts unless something happened at the very start, since then it held
    before the bucket only.

    >>> within([Run(0, 4, 4, 4, 0), Run(2, -1, 6, 3, 25)], [10, 20, 30])
    [Extremes(peak=4, low=4), Extremes(peak=6, low=3)]

    Args:
        runs: Those of one facet value, at most one for each bucket.
        bounds: Ascending instants in microseconds; bucket 1 lies between the first two.
    """
    known = {run.bucket: run for run in runs}
    level = known[0].delta if 0 in known else 0
    found = []
    for bucket, start in enumerate(bounds[:-1], start=1):
        run = known.get(bucket)
        if run is None:
            found.append(Extremes(level, level))
            continue
        held = [run.peak, run.low, *([level] if run.first > start else [])]
        found.append(Extremes(max(held), min(held)))
        level += run.delta
    return found
