"""The log of objects' histories as an ``eventsourcing`` application."""

from typing import cast
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.persistence import ApplicationRecorder

from stockflow.domain.history import History
from stockflow.eventstore.recorders import StockRecorder


class StockLog(Application[str]):
    """Reads one object's events back as a :class:`~stockflow.domain.history.History`.

    Args:
        using: The alias of the database that has the object's row.
    """

    name = "stockflow"

    def __init__(self, using: str = "default") -> None:
        self.using = using
        super().__init__({"PERSISTENCE_MODULE": "eventsourcing.popo"})

    def construct_recorder(self) -> ApplicationRecorder:
        # One object's log needs no positions, so an aggregate recorder serves.
        return cast("ApplicationRecorder", StockRecorder(self.using))

    def history(self, lifecycle: UUID | str) -> History:
        """Return what happened to the object of *lifecycle*; empty if nothing did."""
        return History(self.events.get(str(lifecycle)))  # type: ignore[arg-type]
