"""What is additive about a stock in a bucket: all its other numbers are made of these."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from stockflow.domain.measures.changes import FLOW_KINDS, Change, Place, Value, ValueOf, whole

DAY: Final = 86_400_000_000
"""Microseconds in the day of 24 hours in which durations are given."""

_ADJUSTING: Final = frozenset({"adopted", "reconciled"})


@dataclass(frozen=True, slots=True)
class Sums:
    """The additive quantities of one stock and one facet value in one bucket.

    ``opening + inflow - outflow + reclassified == closing``, always.

    Attributes:
        opening: Items just before the bucket.
        inflow: Flows from elsewhere into the stock: what entered, moved or left, nothing else.
        outflow: Flows out of it.
        reclassified: What came, less what went, without being a flow: a facet changed within
            the stock, a state was renamed, an object was adopted or reconciled.
        adjusted: How much of *reclassified* is adoption and reconciliation.
        closing: Items just before the bucket's end or, in a running bucket, now.
        exposure: Time spent in the stock by all its items, in item-microseconds.
        elapsed: The bucket's true length so far, in microseconds.
    """

    opening: int = 0
    inflow: int = 0
    outflow: int = 0
    reclassified: int = 0
    adjusted: int = 0
    closing: int = 0
    exposure: int = 0
    elapsed: int = 0

    def then(self, following: "Sums") -> "Sums":
        """Return the sums of this bucket and the adjoining next one: levels are never added.

        >>> Sums(5, 1, 3, closing=3, elapsed=7).then(Sums(3, 2, closing=5, elapsed=7))
        Sums(opening=5, inflow=3, outflow=3, reclassified=0, adjusted=0, closing=5, exposure=0, elapsed=14)
        """
        return Sums(
            self.opening,
            self.inflow + following.inflow,
            self.outflow + following.outflow,
            self.reclassified + following.reclassified,
            self.adjusted + following.adjusted,
            following.closing,
            self.exposure + following.exposure,
            self.elapsed + following.elapsed,
        )

    def beside(self, other: "Sums") -> "Sums":
        """Return the sums of two facet values in one bucket: its time passes once.

        >>> Sums(opening=5, closing=5, elapsed=7).beside(Sums(opening=1, closing=1, elapsed=7))
        Sums(opening=6, inflow=0, outflow=0, reclassified=0, adjusted=0, closing=6, exposure=0, elapsed=7)
        """
        return Sums(
            self.opening + other.opening,
            self.inflow + other.inflow,
            self.outflow + other.outflow,
            self.reclassified + other.reclassified,
            self.adjusted + other.adjusted,
            self.closing + other.closing,
            self.exposure + other.exposure,
            self.elapsed,
        )


class _Account:
    """What is booked for one facet value, by bucket; bucket 0 is the opening."""

    def __init__(self, buckets: int) -> None:
        self.levels, self.offsets = [0] * buckets, [0] * buckets
        self.inflow, self.outflow = [0] * buckets, [0] * buckets
        self.moved, self.adjusted = [0] * buckets, [0] * buckets

    def book(self, change: Change, sign: int, *, flows: bool) -> None:
        n = change.bucket
        self.levels[n] += sign * change.number
        self.offsets[n] += sign * change.offset
        if flows:
            (self.inflow if sign > 0 else self.outflow)[n] += change.number
        else:
            self.moved[n] += sign * change.number
            self.adjusted[n] += sign * change.number * (change.kind in _ADJUSTING)

    def sums(self, lengths: Sequence[int]) -> list[Sums]:
        found, opening = [], self.levels[0]
        for n, elapsed in enumerate(lengths, start=1):
            closing = opening + self.levels[n]
            found.append(
                Sums(
                    opening,
                    self.inflow[n],
                    self.outflow[n],
                    self.moved[n],
                    self.adjusted[n],
                    closing,
                    # Who was there stays to the end, who came or went does so from then on.
                    closing * elapsed - self.offsets[n],
                    elapsed,
                )
            )
            opening = closing
        return found

    def is_used(self) -> bool:
        """Whether it was ever more than nothing in these buckets."""
        booked = (self.levels, self.offsets, self.inflow, self.outflow, self.moved)
        return any(map(any, booked))


def sums(
    changes: Iterable[Change],
    *,
    lengths: Sequence[int],
    stock: Container[Place],
    value_of: ValueOf = whole,
) -> dict[Value, list[Sums]]:
    """Return the sums of each bucket, by facet value.

    An event is a flow where its kind is one and it crosses the stock's border; one that stays
    inside changes no number, or moves its object from one facet value to another.

    >>> entered = Change(0, "crm.lead", "state", "entered", None, "hot", None, "{}", 5)
    >>> cooled = Change(1, "crm.lead", "state", "moved", "hot", "warm", "{}", "{}", 2, 2 * 6)
    >>> (found,) = sums([cooled, entered], lengths=[10], stock={Place("crm.lead", "state", "hot")})[None]
    >>> found.opening, found.outflow, found.closing, found.exposure  # two spent 6, three all 10
    (5, 2, 3, 42)

    Args:
        changes: From the beginning of time on, in any order, with their offsets.
        lengths: How long each bucket has lasted so far, in microseconds.
        stock: The places whose objects are counted.
        value_of: The facet value to split by.

    Returns:
        One item per bucket; a value that never had a member is left out, the whole is always
        there.
    """
    buckets = len(lengths) + 1
    accounts: dict[Value, _Account] = {None: _Account(buckets)} if value_of is whole else {}
    for change in changes:
        target = Place(change.model, change.field, change.target) in stock
        source = Place(change.model, change.field, change.source) in stock
        flows = change.kind in FLOW_KINDS and target != source
        for is_inside, facets, sign in (
            (target, change.target_facets, 1),
            (source, change.source_facets, -1),
        ):
            if is_inside:
                value = value_of(facets)
                account = accounts.get(value)
                if account is None:
                    account = accounts[value] = _Account(buckets)
                account.book(change, sign, flows=flows)
    return {
        value: account.sums(lengths)
        for value, account in accounts.items()
        if value_of is whole or account.is_used()
    }
