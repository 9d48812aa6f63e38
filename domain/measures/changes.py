"""Additive changes: how often something moved from one cell to another in one bucket."""

from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

OPENING: Final = 0
"""The bucket of everything before the first bound; the buckets asked for count from 1."""

FLOW_KINDS: Final = frozenset({"entered", "moved", "left"})
"""The kinds of event that are flows: tracking begun or a facet changed moves nobody."""


class Change(NamedTuple):
    """*number* events of one kind from one cell to another in one bucket.

    A cell is a state with its facets as canonical JSON text; the outside has neither.

    Attributes:
        offset: How long after its bucket's start each event was, added up, in microseconds: what
            exposure needs. Python's integers do not overflow. 0 in the opening, which has no start.
    """

    bucket: int
    model: str
    field: str
    kind: str
    source: str | None
    target: str | None
    source_facets: str | None
    target_facets: str | None
    number: int
    offset: int = 0


class Place(NamedTuple):
    """Where an object is on one side of a change: a state of a field of a model, or outside."""

    model: str
    field: str
    state: str | None


Value = Hashable
"""What a stock is split by: the value of one facet, or None for the whole."""

ValueOf = Callable[[str | None], Value]
"""Gives the facet value that is asked for from a cell's canonical JSON text."""


def whole(facets: str | None) -> None:
    """Do not split: every cell has the same value, None.

    >>> whole('{"channel":"web"}') is None
    True
    """
