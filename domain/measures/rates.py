"""Flows: how many events lead from a set of cells to another, and how fast."""

from collections.abc import Container, Iterable
from datetime import datetime, timedelta, tzinfo

from stockflow.domain.intervals import Grain, periods
from stockflow.domain.measures.changes import FLOW_KINDS, Change, Place, Value, ValueOf, whole


def flow_counts(
    changes: Iterable[Change],
    *,
    buckets: int,
    sources: Container[Place],
    sinks: Container[Place],
    value_of: ValueOf = whole,
) -> dict[Value, list[int]]:
    """Return how many events each bucket has, by facet value.

    An event has the facet value of the cell that it leads to; one that leads outside, of the
    cell that it leaves.

    >>> moved = Change(2, "crm.lead", "state", "moved", "hot", "won", "{}", "{}", 4)
    >>> hot, won = Place("crm.lead", "state", "hot"), Place("crm.lead", "state", "won")
    >>> flow_counts([moved], buckets=3, sources={hot}, sinks={won})
    {None: [0, 4, 0]}

    Args:
        changes: Those of the buckets; what is in the opening is not counted.
        buckets: How many buckets follow the opening.
        sources: The places where the flow starts.
        sinks: The places where the flow ends.
        value_of: The facet value to split by.

    Returns:
        Lists of *buckets* counts, in events; a value that has no event is left out, the whole
        is always there.
    """
    counts: dict[Value, list[int]] = {None: [0] * buckets} if value_of is whole else {}
    for change in changes:
        if not change.bucket or change.kind not in FLOW_KINDS:
            continue
        source = Place(change.model, change.field, change.source)
        target = Place(change.model, change.field, change.target)
        if source in sources and target in sinks:
            facets = change.source_facets if change.target is None else change.target_facets
            counts.setdefault(value_of(facets), [0] * buckets)[change.bucket - 1] += change.number
    return counts


def rate(
    count: int, start: datetime, end: datetime, *, per: Grain | timedelta, tz: tzinfo
) -> float:
    """Return *count* events from *start* to *end* as events per *per*.

    The divisor is the elapsed time, so a day on which the clocks change does not look busier
    or calmer than it was; for months, quarters and years see :func:`periods`.

    >>> from datetime import UTC
    >>> rate(6, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 15, tzinfo=UTC), per="week", tz=UTC)
    3.0

    Raises:
        InvalidInstant: If a bound is not an aware datetime.
        InvalidBuckets: If no time passes or *per* is unknown.
    """
    return count / periods(start, end, per, tz)
