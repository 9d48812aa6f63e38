"""Little's law over a finite window: what is exact, and how far the usual form is from it."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from stockflow.domain.measures.spells import Spell, completed
from stockflow.domain.measures.sums import DAY


class Little(NamedTuple):
    """The average level, and what it should be by Little's law.

    ``average_level == items_per_day * days_per_item``, exactly: both count who was there at the
    start as well as who came. The usual form counts arrivals and the mean dwell of those who
    left, and agrees only where the stock is steady.

    Attributes:
        average_level: Exposure over elapsed time, in items.
        items_per_day: Those there at the start and those who came, per day.
        days_per_item: Exposure of each of them within the window, in days.
        arrivals_per_day: Those who came, per day.
        mean_dwell: Of the stays completed within the window, in days.
        gap: The average level less ``arrivals_per_day * mean_dwell``, as its share: not 0 where
            the stock ages or grows, or the window is short.
    """

    average_level: float | None
    items_per_day: float | None
    days_per_item: float | None
    arrivals_per_day: float | None
    mean_dwell: float | None
    gap: float | None


def little(spells: Iterable[Spell], bounds: Sequence[int]) -> list[Little]:
    """Return the check of each bucket.

    >>> stays = [Spell("a", "hot", 0, 2 * DAY, "won"), Spell("b", "hot", DAY, None)]
    >>> little(stays, [0, 4 * DAY])[0][:3]
    (1.25, 0.5, 2.5)

    Args:
        spells: Stays, in any order.
        bounds: Ascending instants in microseconds; the first bucket lies between the first two.
    """
    buckets = len(bounds) - 1
    there, whole = [0] * (buckets + 2), [0] * (buckets + 2)
    came, exposure = [0] * buckets, [0] * buckets
    durations: list[list[int]] = [[] for _ in range(buckets)]
    for spell in spells:
        left = bounds[-1] if spell.left is None else min(spell.left, bounds[-1])
        # Buckets wholly within the stay are counted by steps, the two at its ends by hand.
        first, last = bisect_right(bounds, spell.entered) - 1, bisect_right(bounds, left) - 1
        if 0 <= first < buckets:
            came[first] += 1
            exposure[first] += min(left, bounds[first + 1]) - spell.entered
        if first < last < buckets:
            exposure[last] += left - bounds[last]
        if first + 1 < last:
            whole[first + 1] += 1
            whole[last] -= 1
        until = (
            buckets if spell.left is None else min(bisect_right(bounds, spell.left) - 1, buckets)
        )
        if first + 1 <= until:
            there[first + 1] += 1
            there[until + 1] -= 1
        if spell.left is not None and 0 <= until < buckets:
            durations[until] += completed([spell])
    return [
        _check(bounds[n + 1] - bounds[n], *row)
        for n, row in enumerate(
            zip(accumulate(there), came, exposure, accumulate(whole), durations, strict=False)
        )
    ]


def _check(
    elapsed: int, there: int, came: int, exposure: int, whole: int, durations: Sequence[int]
) -> Little:
    if elapsed <= 0:
        return Little(None, None, None, None, None, None)
    exposure += whole * elapsed
    average, rate = exposure / elapsed, came * DAY / elapsed
    dwell = sum(durations) / len(durations) / DAY if durations else None
    return Little(
        average,
        (there + came) * DAY / elapsed,
        exposure / (there + came) / DAY if there + came else None,
        rate,
        dwell,
        (average - rate * dwell) / average if average and dwell is not None else None,
    )
