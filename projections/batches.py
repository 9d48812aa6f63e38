"""The events of a batch of positions, as SQL: no database reads the whole log to find them."""

from typing import Any, Final, NamedTuple

from stockflow.projections.statements import STOCKFLOW

_FROM: Final = {
    # Events and positions are hashed, for which it would read all events but for their range.
    "postgresql": "FROM stockflow_position p JOIN stockflow_event e ON e.id = p.event"
    " AND e.id BETWEEN {first} AND {last}",
    # CROSS JOIN keeps the order of the loops: each event of a position by its key.
    "sqlite": "FROM stockflow_position p CROSS JOIN stockflow_event e ON e.id = p.event",
}
_POSITIONS: Final = (
    f"p.application = '{STOCKFLOW}' AND p.position > {{after}} AND p.position <= {{until}}"
)


class Batch(NamedTuple):
    """The positions after one and up to another, and between which ids their events lie."""

    after: int
    until: int
    first: int
    last: int

    def sql(self, vendor: str) -> str:
        """Return the events of stock, *e*, from FROM on to conditions that more may be added to."""
        return (
            f"{_FROM[vendor]} WHERE {_POSITIONS}"
            " AND e.model IS NOT NULL AND e.occurred_at IS NOT NULL"
        ).format(**self._asdict())


def batch(cursor: Any, after: int, until: int) -> Batch:
    """Look up what a batch needs to know of its events."""
    if cursor.db.vendor != "postgresql":
        return Batch(after, until, 0, 0)
    positions = _POSITIONS.format(after=after, until=until)
    cursor.execute(f"SELECT min(event), max(event) FROM stockflow_position p WHERE {positions}")
    first, last = cursor.fetchone()
    return Batch(after, until, first or 0, last or 0)
