"""Waiting: for projections to have read what was written, and for the log to have more."""

import threading
import time
from collections.abc import Iterable
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from stockflow.domain.errors import StockflowError
from stockflow.errors import InsideTransaction
from stockflow.eventstore.sequencer import CHANNEL, catch_up
from stockflow.projections import base, checkpoints
from stockflow.tables import STOCKFLOW

__all__ = ["ProjectionBehind", "wait_for"]

_FIRST, _LONGEST = 0.01, 0.5
"""Seconds between two looks at a checkpoint: at first, and when it takes long."""

_SLICE = 0.5
"""For how many seconds a listener does not look whether it shall stop."""


class ProjectionBehind(StockflowError, TimeoutError):
    """A projection did not read far enough in time.

    Attributes:
        projection: The name of the projection.
        reached: How far it has read.
        position: How far it should have.
    """

    def __init__(self, projection: str, reached: int, position: int, timeout: float) -> None:
        super().__init__(projection, reached, position, timeout)
        self.projection, self.reached = projection, reached
        self.position, self.timeout = position, timeout

    def __reduce__(self) -> tuple[Any, ...]:
        # A TimeoutError is an OSError, which keeps no more than two arguments.
        return type(self), (self.projection, self.reached, self.position, self.timeout)

    def __str__(self) -> str:
        return (
            f"Projection {self.projection!r} has read up to position {self.reached} and not up to "
            f"{self.position} within {self.timeout} seconds: is anyone folding? Run manage.py "
            "stockflow project --follow."
        )


def wait_for(
    position: int | None = None,
    timeout: float = 5.0,
    *,
    names: Iterable[str] | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> int:
    """Wait until projections have read the log up to a position: what was written before is there.

    It waits for a runner and folds nothing itself. Events that a projection does not look at are
    passed by it, so that it waits for none in vain.

    Args:
        position: How far; by default as far as everything that is committed now.
        timeout: For how many seconds at most.
        names: Which projections; all by default.
        using: The alias of the database.

    Returns:
        The position.

    Raises:
        ProjectionBehind: If it takes longer.
        InsideTransaction: If it had to wait inside a transaction, which may see no other's rows.
        UnknownProjection: If there is none of a name.
    """
    if position is None:
        catch_up(using, STOCKFLOW)
        position = checkpoints.last_position(using)
    until, pause = time.monotonic() + timeout, _FIRST
    for projection in base.named(names, using=using):
        while (reached := _reached(projection, using)) < position:
            if connections[using].in_atomic_block:
                raise InsideTransaction(
                    "wait_for() cannot wait inside a transaction, which may not see what runners "
                    "fold meanwhile: call it outside of atomic()."
                )
            left = until - time.monotonic()
            if left <= 0:
                raise ProjectionBehind(projection.name, reached, position, timeout)
            time.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST)
    return position


def _reached(projection: base.Projection, using: str) -> int:
    serving = checkpoints.serving(projection.name, using=using)
    return -1 if serving is None else serving.position


def wait_for_more(stop: threading.Event, seconds: float, *, using: str) -> None:
    """Return after *seconds*, when *stop* is set, or when another process gave positions.

    That is heard on PostgreSQL. It is looked for all the same after *seconds*: who saves does not
    notify, since that would make all commits wait for each other.
    """
    connection = connections[using]
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        stop.wait(seconds)
        return
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
    until = time.monotonic() + seconds
    while not stop.is_set() and (left := until - time.monotonic()) > 0:
        if _heard(connection.connection, min(left, _SLICE)):
            return


def _heard(connection: Any, seconds: float) -> bool:
    own = connection.info.backend_pid
    for told in connection.notifies(timeout=seconds, stop_after=1):
        if told.pid != own and told.payload == STOCKFLOW:
            return True
    return False
