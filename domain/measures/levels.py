"""Levels: how many objects are in a set of cells at each bucket's end."""

from collections.abc import Collection, Container, Iterable
from itertools import accumulate
from typing import Any

from stockflow.domain.cells import NOT_RECORDED
from stockflow.domain.measures.changes import Change, Place, Value, ValueOf, whole


def levels(
    changes: Iterable[Change],
    *,
    buckets: int,
    stock: Container[Place],
    value_of: ValueOf = whole,
) -> dict[Value, list[int]]:
    """Return the level at the end of the opening and of each bucket, by facet value.

    Every event takes its object out of the source cell and puts it into the target cell, so
    a level is a sum, in whatever order the changes come.

    >>> entered = Change(0, "crm.lead", "state", "entered", None, "hot", None, "{}", 5)
    >>> cooled = Change(2, "crm.lead", "state", "moved", "hot", "warm", "{}", "{}", 2)
    >>> levels([cooled, entered], buckets=3, stock={Place("crm.lead", "state", "hot")})
    {None: [5, 5, 3, 3]}

    Args:
        changes: From the beginning of time on, in any order.
        buckets: How many buckets follow the opening.
        stock: The places whose objects are counted.
        value_of: The facet value to split by.

    Returns:
        Lists of ``buckets + 1`` levels, in items; a value that never has a member is left
        out, the whole is always there.
    """
    deltas: dict[Value, list[int]] = {None: [0] * (buckets + 1)} if value_of is whole else {}
    for change in changes:
        for state, facets, sign in (
            (change.target, change.target_facets, 1),
            (change.source, change.source_facets, -1),
        ):
            if state is not None and Place(change.model, change.field, state) in stock:
                delta = deltas.setdefault(value_of(facets), [0] * (buckets + 1))
                delta[change.bucket] += sign * change.number
    found = {value: list(accumulate(delta)) for value, delta in deltas.items()}
    return {value: level for value, level in found.items() if value_of is whole or any(level)}


def in_order(values: Collection[Value]) -> list[Value]:
    """Return facet values in an order that is the same on every database.

    >>> in_order([None, "web", 3, "fair"])
    [3, 'fair', 'web', None]
    """
    return sorted(values, key=_rank)


def _rank(value: Any) -> tuple[bool, str, Any]:
    unknown = value is None or value is NOT_RECORDED
    return unknown, type(value).__name__, str(value) if unknown else value
