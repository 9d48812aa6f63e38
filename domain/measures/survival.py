"""Survival: how long stays take when some are not over, and where they lead."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from stockflow.domain.measures.spells import Spell

_HALF: Final = 0.5 + 1e-12
"""A product of fractions may miss a half by the last bit."""


class Stretch(NamedTuple):
    """Under observation from one age to another, in microseconds since entry.

    Attributes:
        begin: The age at which observation began, 0 unless it was entered late.
        end: The age at which it ended.
        exit_to: What ended it: the state reached, or None for the outside.
        is_exit: Whether it ended with an exit at all.
    """

    begin: int
    end: int
    exit_to: str | None
    is_exit: bool


class Point(NamedTuple):
    """An age at which some left, in microseconds, with what is known up to and at it.

    Attributes:
        survival: The share that stays longer.
        exits: The share that has left by then, by where to.
    """

    age: int
    survival: float
    exits: dict[str | None, float]


class Curve(NamedTuple):
    """Kaplan and Meier's survival with Aalen and Johansen's exits: they sum to 1 at each age.

    Attributes:
        points: In order of age.
        longest: The greatest age that anyone was observed at, in microseconds.
        observed: How many stretches it is made of.
        truncated: How many stays were left out, since nobody knows when they began.
    """

    points: list[Point]
    longest: int
    observed: int
    truncated: int

    def at(self, age: int) -> Point:
        """Return what is known at *age*; beyond the longest observed it is the last known."""
        found = bisect_right(self.points, age, key=lambda point: point.age)
        return self.points[found - 1] if found else Point(0, 1.0, {})

    def median(self) -> int | None:
        """Return the first age at which half or fewer remain, None where that is not reached.

        Then it is more than *longest*.
        """
        return next((point.age for point in self.points if point.survival <= _HALF), None)

    def restricted_mean(self, until: int) -> float | None:
        """Return the mean time spent up to the age *until*: the area under the curve.

        None where nobody was observed so long, unless all had left before.
        """
        if until > self.longest and not (self.points and self.points[-1].survival == 0):
            return None
        area, age, survival = 0.0, 0, 1.0
        for point in self.points:
            if point.age >= until:
                break
            area += survival * (point.age - age)
            age, survival = point.age, point.survival
        return area + survival * (until - age)


def stretches(
    spells: Iterable[Spell], start: int | None, until: int, last: int | None = None
) -> tuple[list[Stretch], int]:
    """Return what was observed of *spells* from *start* and before *until*, and how many began unseen.

    A stay that began before *start* enters late, at the age that it had by then: only who
    stayed so long could be seen. One whose entry nobody saw has no age.

    Args:
        spells: Stays, in any order.
        start: The first instant observed, in microseconds; None for the beginning of time.
        until: The first instant not observed.
        last: Up to when who stays was seen to stay; *until* where it is not given.
    """
    found, truncated = [], 0
    last = until if last is None else last
    for spell in spells:
        end = last if spell.left is None else min(spell.left, last)
        if spell.entered >= until or (start is not None and end < start):
            continue
        if spell.is_truncated:
            truncated += 1
            continue
        is_exit = spell.left is not None and spell.left < until and not spell.is_censored
        begin = 0 if start is None else max(0, start - spell.entered)
        found.append(Stretch(begin, end - spell.entered, spell.exit_to, is_exit))
    return found, truncated


def curve(observed: Iterable[Stretch], truncated: int = 0) -> Curve:
    """Return the share that stays longer than each age, and where the others went.

    At each age those are at risk whose observation had begun by it and had not ended before it.
    Exits at the same age are taken together, before who is lost sight of at that age.

    >>> left = [Stretch(0, 2, "won", True), Stretch(0, 4, "lost", True), Stretch(0, 3, None, False)]
    >>> [(p.age, round(p.survival, 3), p.exits) for p in curve(left).points][0]
    (2, 0.667, {'won': 0.3333333333333333})
    """
    known = list(observed)
    begun = Counter(one.begin for one in known)
    ended = Counter(one.end for one in known)
    exits: dict[int, Counter[str | None]] = {}
    for one in known:
        if one.is_exit:
            exits.setdefault(one.end, Counter())[one.exit_to] += 1
    points, survival, at_risk = [], 1.0, 0
    gone: dict[str | None, float] = {}
    for age in sorted({*begun, *ended}):
        at_risk += begun[age]
        if age in exits:
            left = exits[age]
            for state, number in left.items():
                gone[state] = gone.get(state, 0.0) + survival * number / at_risk
            survival *= (at_risk - left.total()) / at_risk
            points.append(Point(age, survival, dict(gone)))
        at_risk -= ended[age]
    longest = max((one.end for one in known), default=0)
    return Curve(points, longest, len(known), truncated)
