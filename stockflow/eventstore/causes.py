"""The cause of a decay: its timer, told by the version that set the clock and the due instant.

Once a decay is recorded its timer is another one or gone. So which version it named is read by the
statement that appends the event, or known from the events before.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stockflow.contexts import Cause
from stockflow.facets import Fragment
from stockflow.ledgers import Pending
from stockflow.tables import ScheduledTransition

Clocks = Mapping[Cause, int | None]
"""The version that set the clock of each cause; None where only the timer knows."""

_OF_TIMER = (
    "(SELECT version FROM stockflow_scheduledtransition WHERE lifecycle = %s AND field = %s)"
)


def clocks_of(events: Sequence[Pending], base: int) -> Clocks:
    """Return the clocks of the causes among *events*, whose versions follow *base*."""
    found: dict[Cause, int | None] = {}
    known: dict[str, int] = {}
    for version, event in enumerate(events, base + 1):
        cause = event.circumstances.cause
        if cause is not None:
            found.setdefault(cause, known.get(cause.field, cause.clock))
        if event.sets_clock:
            known[event.field] = version
    return found


def clock_of(connection: Any, clocks: Clocks, event: Pending, originator: str) -> Fragment | None:
    """Return the expression of the version that set the clock; None for what is no decay."""
    cause = event.circumstances.cause
    if cause is None:
        return None
    version = clocks[cause]
    if version is not None:
        return str(version), ()
    column = ScheduledTransition._meta.get_field("lifecycle")
    lifecycle = column.get_db_prep_value(originator, connection, prepared=False)
    return _OF_TIMER, (lifecycle, cause.field)
