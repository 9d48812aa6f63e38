"""Ages: how long the members of a stock have been in it."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stockflow.domain.errors import InvalidMeasure
from stockflow.domain.measures.spells import Spell, quantile
from stockflow.domain.measures.sums import DAY


class Ages(NamedTuple):
    """How long the members have been there, in days of 24 hours.

    Attributes:
        members: How many there are.
        unknown: How many of them nobody saw enter; the rest is about the others.
        bands: How many are in each band: below the first bound, from it on, and so forth.
        mean: None where nobody's age is known, as are the two below.
        total: All ages together.
    """

    members: int
    unknown: int
    bands: tuple[int, ...]
    mean: float | None
    median: float | None
    p90: float | None
    total: float


def ages(spells: Iterable[Spell], before: int, bounds: Sequence[int]) -> Ages:
    """Return the ages of those who are members just before an instant.

    >>> here = [Spell("a", "hot", 0, None), Spell("b", "hot", 2 * DAY, None), Spell("c", "hot", 0, DAY)]
    >>> ages(here, 3 * DAY + 1, [2 * DAY])[:3]
    (2, 0, (1, 1))

    Args:
        spells: Stays, in any order.
        before: The instant just after the one asked about, in microseconds.
        bounds: Ascending ages in microseconds that part the bands.

    Raises:
        InvalidMeasure: If *bounds* do not ascend.
    """
    if list(bounds) != sorted(set(bounds)):
        raise InvalidMeasure(f"The bounds of bands must ascend, not {list(bounds)!r}.")
    members = [spell for spell in spells if spell.is_member(before)]
    known = sorted(before - 1 - spell.entered for spell in members if not spell.is_truncated)
    bands = [0] * (len(bounds) + 1)
    for age in known:
        bands[bisect_right(bounds, age)] += 1
    return Ages(
        len(members),
        len(members) - len(known),
        tuple(bands),
        sum(known) / len(known) / DAY if known else None,
        quantile(known, 1, 2) / DAY if known else None,
        quantile(known, 9, 10) / DAY if known else None,
        sum(known) / DAY,
    )
