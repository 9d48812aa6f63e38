"""Lifecycles: who is new in a stock, who stayed, who came back, who went."""

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
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


def growth(lives: Iterable[Sequence[Spell]], start: int, end: int) -> Growth:
    """Return what became of each object between two instants, in microseconds.

    >>> stays = [[Spell("a", "hot", 0, None)], [Spell("b", "hot", 5, 7)], [Spell("c", "hot", 6, None)]]
    >>> growth(stays, 4, 9)
    Growth(retained=1, new=1, resurrected=0, dormant=0, transient=1)
    """
    found = dict.fromkeys(Growth._fields, 0)
    for own in lives:
        opened = any(spell.is_member(start) for spell in own)
        closed = any(spell.is_member(end) for spell in own)
        before = any(spell.entered < start for spell in own)
        if opened:
            found["retained" if closed else "dormant"] += 1
        elif closed:
            found["resurrected" if before else "new"] += 1
        elif any(start <= spell.entered < end for spell in own):
            found["transient"] += 1
    return Growth(**found)


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
    buckets = list(pairwise(bounds))
    cohorts: list[list[Sequence[Spell]]] = [[] for _ in buckets]
    for own in lives:
        if not own[0].is_truncated:
            for n, (start, end) in enumerate(buckets):
                if start <= own[0].entered < end:
                    cohorts[n].append(own)
    found = []
    for n, cohort in enumerate(cohorts):
        counts: list[int | None] = []
        for _, end in buckets[n:]:
            if end > observed_until:
                counts.append(None)
                continue
            counts.append(sum(_is_there(own, end, or_after=or_after) for own in cohort))
        found.append(Cohort(len(cohort), tuple(counts)))
    return found


def _is_there(own: Sequence[Spell], end: int, *, or_after: bool) -> bool:
    if any(spell.is_member(end) for spell in own):
        return True
    return or_after and any(spell.entered >= end for spell in own)
