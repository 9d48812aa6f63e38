"""Spells: stays of objects in a stock, and how long the completed ones took."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from stockflow.domain.measures.sums import DAY


class Spell(NamedTuple):
    """One stay of one object in a state or, merged, in a stock.

    Attributes:
        lifecycle: The object.
        state: The state that it entered.
        entered: When, in microseconds.
        left: When, or None where it was still there.
        exit_to: The state that it went to; None for the outside, or where it was still there.
        is_truncated: Whether its entry was not seen: it was adopted or reconciled into the
            stock, so that *entered* is only when it was there already.
        is_censored: Whether its exit was not seen: it was still there, or was reconciled or
            renamed out of the stock.
        facets: The cell that it entered, as canonical JSON text.
        version: That of the event that began it: the order of an object's stays.
    """

    lifecycle: str
    state: str
    entered: int
    left: int | None
    exit_to: str | None = None
    is_truncated: bool = False
    is_censored: bool = False
    facets: str | None = None
    version: int = 0

    def is_member(self, before: int) -> bool:
        """Whether the object was there just before an instant.

        >>> Spell("a", "hot", 10, 20).is_member(20), Spell("a", "hot", 10, 20).is_member(21)
        (True, False)
        """
        return self.entered < before and (self.left is None or self.left >= before)


def merged(own: Iterable[Spell], states: Collection[str]) -> list[Spell]:
    """Return the stays of one object in a stock, from those in its states one by one.

    >>> own = [Spell("a", "hot", 0, 5, "warm", version=1), Spell("a", "warm", 5, 8, "won", version=2)]
    >>> [(stay.entered, stay.left, stay.exit_to) for stay in merged(own, {"hot", "warm"})]
    [(0, 8, 'won')]

    Args:
        own: Its stays in single states, in order, those of the stock and perhaps others.
        states: The states of the stock.
    """
    found: list[Spell] = []
    goes_on = False
    for spell in own:
        if spell.state in states:
            if goes_on:
                found[-1] = found[-1]._replace(
                    left=spell.left, exit_to=spell.exit_to, is_censored=spell.is_censored
                )
            else:
                found.append(spell)
        goes_on = spell.state in states and spell.left is not None and spell.exit_to in states
    return found


class Dwell(NamedTuple):
    """How long completed spells took, in days of 24 hours; None where there are none.

    These are of those who left: whoever stays long is seen late, so in a young stock they are
    too short. The median of a survival curve counts those who are still there.

    Attributes:
        completed: How many spells were seen from entry to exit.
        median: Halfway between the middle two where their number is even.
        p90: Nine tenths of the way, between neighbours in proportion.
        passing: How many of them took no time at all.
    """

    completed: int
    mean: float | None
    median: float | None
    p90: float | None
    shortest: float | None
    longest: float | None
    passing: int


def completed(spells: Iterable[Spell]) -> list[int]:
    """Return the durations of the spells seen from entry to exit, in microseconds."""
    return [
        spell.left - spell.entered
        for spell in spells
        if spell.left is not None and not spell.is_truncated and not spell.is_censored
    ]


def dwell(durations: Sequence[int]) -> Dwell:
    """Return what is to say of *durations*, in microseconds.

    >>> dwell([DAY, 3 * DAY])
    Dwell(completed=2, mean=2.0, median=2.0, p90=2.8, shortest=1.0, longest=3.0, passing=0)
    """
    if not durations:
        return Dwell(0, None, None, None, None, None, 0)
    known = sorted(durations)
    return Dwell(
        len(known),
        sum(known) / len(known) / DAY,
        quantile(known, 1, 2) / DAY,
        quantile(known, 9, 10) / DAY,
        known[0] / DAY,
        known[-1] / DAY,
        known.count(0),
    )


def quantile(ascending: Sequence[int], above: int, below: int) -> float:
    """Return the value *above*/*below* of the way, between neighbours in proportion.

    >>> quantile([10, 20, 30], 1, 4)
    15.0
    """
    whole, rest = divmod((len(ascending) - 1) * above, below)
    if not rest:
        return float(ascending[whole])
    return (ascending[whole] * (below - rest) + ascending[whole + 1] * rest) / below
