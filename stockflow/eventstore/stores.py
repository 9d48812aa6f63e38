"""What all recorders share: a Django connection, and errors as ``eventsourcing`` names them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django import db
from django.db import connections, transaction
from eventsourcing import persistence

_of_thread = threading.local()


class DjangoStore:
    """Where a recorder keeps its rows.

    Args:
        using: The alias of the database.
        name: The application, or the consumer, whose rows they are.
    """

    def __init__(self, using: str, name: str) -> None:
        super().__init__()
        self.using = using
        self.name = name

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Translate what Django raises inside the block into ``eventsourcing``'s errors."""
        _close_with_thread(connections[self.using])
        try:
            yield
        except db.Error as error:
            raise translated(error) from error

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The same, with all that is written in the block written, or nothing."""
        with self.reading(), transaction.atomic(using=self.using):
            yield


def translated(error: db.Error) -> persistence.PersistenceError:
    """Return Django's *error* as the one of ``eventsourcing`` that has its name."""
    for kind in type(error).__mro__:
        same = getattr(persistence, kind.__name__, None)
        if isinstance(same, type) and issubclass(same, persistence.PersistenceError):
            return same(*error.args)
    return persistence.PersistenceError(*error.args)


class _Closing:
    """Closes a thread's connection when the thread ends."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def __del__(self) -> None:
        self.connection.close()


def _close_with_thread(connection: Any) -> None:
    """Have *connection* closed when this thread ends, unless it is the main one's.

    ``eventsourcing`` runs projections in threads that know nothing of Django, whose connections
    belong to the thread that opened them, and are closed by requests that nobody makes there.
    """
    if threading.current_thread() is threading.main_thread() or connection.allow_thread_sharing:
        return
    closing = _of_thread.__dict__.setdefault("closing", {})
    known = closing.get(connection.alias)
    if known is None or known.connection is not connection:
        closing[connection.alias] = _Closing(connection)
