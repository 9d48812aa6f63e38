"""Which cells belong to stocks, where facets narrow some of them."""

from collections.abc import Collection, Iterable
from typing import Any, Final

from stockflow.domain.measures.changes import Change, Place

ELSEWHERE: Final = "\0"
"""The state, in no stock, of a cell that is in a stock's states and does not belong to it."""


def within(changes: Iterable[Change], stocks: Collection[Any]) -> list[Change]:
    """Return *changes* with the cells that belong to none of *stocks* moved elsewhere."""
    return led(changes, stocks, stocks)


def led(
    changes: Iterable[Change], sources: Collection[Any], sinks: Collection[Any]
) -> list[Change]:
    """Return *changes* with what belongs to none of the sources, or sinks, moved elsewhere.

    Ends that are no stocks are whole.
    """
    return [
        change._replace(
            source=_kept(change, change.source, change.source_facets, sources),
            target=_kept(change, change.target, change.target_facets, sinks),
        )
        for change in changes
    ]


def _kept(
    change: Change, state: str | None, facets: str | None, ends: Collection[Any]
) -> str | None:
    if state is None:
        return None
    place = Place(change.model, change.field, state)
    for end in ends:
        if end is None:
            continue
        if isinstance(end, str):
            if end == state:
                return state
        elif place in end.places and end.holds(facets):
            return state
    return ELSEWHERE
