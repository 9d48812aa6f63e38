"""The events of a batch of positions, as SQL: no database reads the whole log to find them."""

from typing import Any, Final

from stockflow.projections.statements import STOCKFLOW

_EVENTS: Final = {
    # Events and positions are hashed, for which it would read all events but for their range.
    "postgresql": "FROM stockflow_position p JOIN stockflow_event e ON e.id = p.event"
    " AND e.id BETWEEN {first} AND {last}",
    # CROSS JOIN keeps the order of the loops: each event of a position by its key.
    "sqlite": "FROM stockflow_position p CROSS JOIN stockflow_event e ON e.id = p.event",
}


def events_between(cursor: Any, after: int, until: int) -> str:
    """Return the events of stock after one position and up to another, as *e*, from FROM on.

    It ends with conditions, to which more may be added.
    """
    positions = f"p.application = '{STOCKFLOW}' AND p.position > {after} AND p.position <= {until}"
    events = _EVENTS[cursor.db.vendor]
    if cursor.db.vendor == "postgresql":
        cursor.execute(f"SELECT min(event), max(event) FROM stockflow_position p WHERE {positions}")
        first, last = cursor.fetchone()
        events = events.format(first=first or 0, last=last or 0)
    return f"{events} WHERE {positions} AND e.model IS NOT NULL AND e.occurred_at IS NOT NULL"
