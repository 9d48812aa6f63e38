"""The log of objects' histories as an ``eventsourcing`` application."""

from uuid import UUID

from django.db import DEFAULT_DB_ALIAS
from eventsourcing.application import Application
from eventsourcing.persistence import ApplicationRecorder
from eventsourcing.utils import Environment, EnvType

from stockflow.domain.history import History
from stockflow.eventstore.recorders import StockRecorder


class StockLog(Application[str]):
    """Reads one object's events back as a :class:`~stockflow.domain.history.History`.

    It is an application like others to ``eventsourcing``: a ``ProjectionRunner`` can follow it.

    Args:
        using: The alias of the database that has the object's row.
    """

    name = "stockflow"

    def __init__(self, env: EnvType | None = None, *, using: str = DEFAULT_DB_ALIAS) -> None:
        self.using = using
        super().__init__(env)

    def construct_env(self, name: str, env: EnvType | None = None) -> Environment:
        """Return an environment of its own: the columns are neither encrypted nor compressed."""
        return Environment(name, env)

    def construct_recorder(self) -> ApplicationRecorder:
        return StockRecorder(self.using)

    def history(self, lifecycle: UUID | str) -> History:
        """Return what happened to the object of *lifecycle*; empty if nothing did."""
        return History(self.events.get(str(lifecycle)))  # type: ignore[arg-type]
