"""Little's law over a finite window: what is exact, and how far the usual form is from it."""

from collections.abc import Iterable
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


def little(spells: Iterable[Spell], start: int, end: int) -> Little:
    """Return the check of the stays from *start* on and before *end*, in microseconds.

    >>> little([Spell("a", "hot", 0, 2 * DAY, "won"), Spell("b", "hot", DAY, None)], 0, 4 * DAY)[:3]
    (1.25, 0.5, 2.5)
    """
    known = list(spells)
    elapsed = end - start
    there = sum(spell.is_member(start) for spell in known)
    came = sum(start <= spell.entered < end for spell in known)
    exposure = sum(
        max(0, (end if s.left is None else min(s.left, end)) - max(s.entered, start)) for s in known
    )
    durations = completed(s for s in known if s.left is not None and start <= s.left < end)
    if elapsed <= 0:
        return Little(None, None, None, None, None, None)
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
