"""Lifecycles: who is new in a stock, who stayed, who came back, who went."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby
from typing import NamedTuple

from stockflow.domain.measures.spells import Spell


class Growth(NamedTuple):
    """What became of the objects of a stock between two instants, in items.

    ``retained + new + resurrected`` is the closing level, ``retained + dormant`` the opening.

    Attributes:
        retained: There at both ends; whoever left and came back between is among them.
        new: There at the end, and never before the start.
        resurrected: There at the end, not at the start, but some time before.
        dormant: There at the start, not at the end.
        transient: At neither end, but between.
    """

    retained: int = 0
    new: int = 0
    resurrected: int = 0
    dormant: int = 0
    transient: int = 0

    @property
    def opening(self) -> int:
        """The level just before the start."""
        return self.retained + self.dormant

    @property
    def closing(self) -> int:
        """The level just before the end."""
        return self.retained + self.new + self.resurrected

    @property
    def quick_ratio(self) -> float | None:
        """New and resurrected for each dormant one; None where none went dormant."""
        return (self.new + self.resurrected) / self.dormant if self.dormant else None


def by_object(spells: Iterable[Spell]) -> dict[str, list[Spell]]:
    """Return the stays of each object in order, by lifecycle."""
    ordered = sorted(spells, key=lambda spell: (spell.lifecycle, spell.version))
    return {key: list(own) for key, own in groupby(ordered, key=lambda spell: spell.lifecycle)}


def presence(own: Iterable[Spell], bounds: Sequence[int]) -> list[tuple[int, int]]:
    """Return at which of *bounds* an object was a member just before, as ranges of their numbers.

    >>> presence([Spell("a", "hot", 0, 7), Spell("a", "hot", 8, 40)], [5, 10, 20, 50])
    [(0, 3)]
    """
    found: list[tuple[int, int]] = []
    for spell in own:
        first = bisect_right(bounds, spell.entered)
        last = len(bounds) if spell.left is None else bisect_right(bounds, spell.left)
        if first >= last:
            continue
        if found and found[-1][1] >= first:
            found[-1] = found[-1][0], last
        else:
            found.append((first, last))
    return found


def growth(lives: Iterable[Sequence[Spell]], bounds: Sequence[int]) -> list[Growth]:
    """Return what became of the objects in each bucket.

    >>> stays = [[Spell("a", "hot", 0, None)], [Spell("b", "hot", 5, 7)], [Spell("c", "hot", 6, None)]]
    >>> growth(stays, [4, 9])
    [Growth(retained=1, new=1, resurrected=0, dormant=0, transient=1)]

    Args:
        lives: The stays of each object, in order.
        bounds: Ascending instants in microseconds; the first bucket lies between the first two.
    """
    buckets = len(bounds) - 1
    steps = [0] * (buckets + 1)
    new, back, gone, passed = ([0] * (buckets + 1) for _ in range(4))
    for own in lives:
        here = presence(own, bounds)
        for first, last in here:
            steps[first] += 1
            steps[min(last - 1, buckets)] -= 1
            if first:
                (back if own[0].entered < bounds[first - 1] else new)[first - 1] += 1
            if last <= buckets:
                gone[last - 1] += 1
        for bucket in {bisect_right(bounds, spell.entered) - 1 for spell in own}:
            is_there = any(first <= bucket + 1 and bucket < last for first, last in here)
            passed[bucket] += 0 <= bucket < buckets and not is_there
    columns = (accumulate(steps), new, back, gone, passed)
    return [Growth(*row) for row in zip(*columns, strict=True)][:buckets]


class Cohort(NamedTuple):
    """Objects whose first entry lies in one bucket, and how many are there at later ends.

    Attributes:
        size: How many there are.
        members: How many were in the stock at the end of the entry's bucket, the next one's, and
            so forth; None where that end has not come yet.
    """

    size: int
    members: tuple[int | None, ...]


def retention(
    lives: Iterable[Sequence[Spell]],
    bounds: Sequence[int],
    *,
    observed_until: int,
    or_after: bool = False,
) -> list[Cohort]:
    """Return the cohort of each bucket.

    Args:
        lives: The stays of each object, in order.
        bounds: Ascending instants in microseconds; the first bucket lies between the first two.
        observed_until: The instant up to which stays are known, inclusive.
        or_after: Count who was there at an end or any time after it, instead of at the end.
    """
    buckets = len(bounds) - 1
    sizes = [0] * buckets
    steps = [[0] * (buckets + 2) for _ in range(buckets)]
    for own in lives:
        bucket = bisect_right(bounds, own[0].entered) - 1
        if own[0].is_truncated or not 0 <= bucket < buckets:
            continue
        sizes[bucket] += 1
        here = presence(own, bounds)
        if or_after:
            last = here[-1][1] if here else 0
            here = [(bucket + 1, max(last, bisect_right(bounds, own[-1].entered)))]
        for first, last in here:
            steps[bucket][first] += 1
            steps[bucket][max(first, last)] -= 1
    return [
        Cohort(
            size,
            tuple(
                number if end <= observed_until else None
                for number, end in zip(
                    list(accumulate(own))[bucket + 1 : -1], bounds[bucket + 1 :], strict=True
                )
            ),
        )
        for bucket, (size, own) in enumerate(zip(sizes, steps, strict=True))
    ]
