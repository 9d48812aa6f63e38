"""Brute force: each number of a stock worked out object by object, instant by instant."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from stockflow.models import Event
from tests.projections.histories import FAMILY, channel, micros

FLOWS = ("entered", "moved", "left")
ValueOf = Callable[[str | None], object]


class Piece(NamedTuple):
    """A stretch of one object's life in one cell; *end* is None where it goes on."""

    start: int
    end: int | None
    state: str
    facets: str | None


def lives(events: Iterable[Event]) -> dict[str, list[Event]]:
    """Return the events of each lead, in order."""
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for one in events:
        if one.model in FAMILY:
            found[one.originator].append(one)
    return {key: sorted(own, key=lambda e: e.version) for key, own in found.items()}


def pieces(events: Iterable[Event]) -> Iterator[Piece]:
    """Yield the stretches of all lives."""
    for own in lives(events).values():
        for one, following in pairwise([*own, None]):
            assert one is not None
            if one.target is not None:
                end = None if following is None else micros(following)
                yield Piece(micros(one), end, one.target, one.target_facets)


def whole(facets: str | None) -> None:
    """Do not split."""


def by_channel(facets: str | None) -> object:
    """Split by channel, as text."""
    return str(channel(facets))


class Brute:
    """The numbers of the stock of *states* in one bucket, for one facet value."""

    def __init__(
        self, events: list[Event], states: set[str], value_of: ValueOf, value: object
    ) -> None:
        self.events = [e for own in lives(events).values() for e in own]
        self.pieces = [
            p for p in pieces(events) if p.state in states and value_of(p.facets) == value
        ]
        self.states, self.value_of, self.value = states, value_of, value

    def level(self, before: int) -> int:
        """Count who is there just before an instant."""
        return sum(p.start < before and (p.end is None or p.end >= before) for p in self.pieces)

    def exposure(self, start: int, end: int) -> int:
        """Add up the time spent there, microsecond by microsecond."""
        return sum(
            max(0, min(end, end if p.end is None else p.end) - max(start, p.start))
            for p in self.pieces
        )

    def crossing(self, start: int, end: int, *, inward: bool) -> int:
        """Count the flows over the stock's border."""
        found = 0
        for e in self.events:
            target, source = e.target in self.states, e.source in self.states
            facets = e.target_facets if inward else e.source_facets
            found += (
                e.kind in FLOWS
                and start <= micros(e) < end
                and (target and not source if inward else source and not target)
                and self.value_of(facets) == self.value
            )
        return found

    def levels(self, start: int, end: int) -> list[int]:
        """Return the level at the start and after each instant at which something happens."""
        times = {start} | {micros(e) for e in self.events if start <= micros(e) < end}
        return [self.level(at + 1) for at in times]
