"""Conversions: which share of those who enter one stock reach another within some time."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stockflow.domain.measures.spells import Spell


class Conversion(NamedTuple):
    """What became of the entries of one bucket.

    Attributes:
        entries: Those old enough to have had all the time; the share is of them.
        converted: How many of those reached the other stock in time.
        immature: Entries that are too young to tell, left out of both.
        share: None where no entry is old enough.
    """

    entries: int
    converted: int
    immature: int
    share: float | None


def conversion(
    entered: Mapping[str, Sequence[Spell]],
    reached: Mapping[str, Sequence[Spell]],
    *,
    start: int,
    end: int,
    within: int,
    observed_until: int,
) -> Conversion:
    """Return what became of the entries from *start* on and before *end*.

    Success is to come into the other stock after the entry and at most *within* later, whatever
    lies between. An entry that nobody saw is none.

    Args:
        entered: The stays in the stock entered, by object, in order.
        reached: The stays in the other stock likewise.
        start: The first instant of the bucket, in microseconds.
        end: The first instant after it.
        within: How long an entry has to convert.
        observed_until: The instant up to which stays are known, inclusive.
    """
    entries = converted = immature = 0
    for lifecycle, own in entered.items():
        for spell in own:
            if spell.is_truncated or not start <= spell.entered < end:
                continue
            if spell.entered + within > observed_until:
                immature += 1
                continue
            entries += 1
            converted += any(
                other.version >= spell.version and other.entered <= spell.entered + within
                for other in reached.get(lifecycle, ())
            )
    return Conversion(entries, converted, immature, converted / entries if entries else None)
