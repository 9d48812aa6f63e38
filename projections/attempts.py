"""Attempts to fold: a range of positions is folded as a whole, or raises and leaves nothing."""

from typing import Final

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.transaction import TransactionManagementError

from stockflow.projections.base import Projection
from stockflow.projections.models import Generation

_STATES: Final = ("08", "40", "53", "55P03", "57", "58")
"""How PostgreSQL's codes begin of a lost connection, a transaction that lost against another, a full
disk or memory, a lock, a server that goes down, and a disk that fails."""

_STATEMENT: Final = 1
"""SQLite's code of a statement that cannot be executed; all its other operational errors are of the
file, its lock or the disk."""


def is_of_the_database(error: Exception) -> bool:
    """Return whether *error* is no event's fault: a lost connection, a lock, a full disk.

    The schedule asks something else, ``stockflow.scheduling.parking.can_write``: it gives up on a
    decay only for a while, and waits for none.
    """
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    state = getattr(error.__cause__, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_STATES)
    return getattr(error.__cause__, "sqlite_errorcode", None) != _STATEMENT


def attempt(
    projection: Projection,
    generation: Generation,
    after: int,
    until: int,
    *,
    using: str,
    is_checked: bool = False,
) -> None:
    """Fold the events after one position and up to another, or undo all of it.

    Args:
        projection: The projection.
        generation: Where its rows are kept.
        after: The position before the first one.
        until: The last position.
        using: The alias of the database.
        is_checked: Whether what a constraint leaves to COMMIT is looked at here.

    Raises:
        TransactionManagementError: If the projection caught an error of the database, after which
            Django undoes the whole attempt, and says so to nobody.
    """
    with transaction.atomic(using=using):
        projection.fold(generation, after, until, using=using)
        if transaction.get_rollback(using=using):
            raise TransactionManagementError(
                "an error of the database was caught, and with it all that was folded is undone: "
                "catch it around transaction.atomic(using=batch.using)"
            )
        if is_checked:
            tables = [model._meta.db_table for model in projection.models()]
            connections[using].check_constraints(table_names=tables)
