"""Another writer that comes in between, and does not wait for long."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection


def elsewhere(work: Callable[[], object]) -> object:
    """Return what *work* returns on a connection of its own; None where it met a lock."""
    returned: list[object] = []

    def attempt() -> None:
        is_postgresql = connection.vendor == "postgresql"
        with connection.cursor() as cursor:
            cursor.execute(
                "SET lock_timeout = '300ms'" if is_postgresql else "PRAGMA busy_timeout = 300"
            )
        try:
            returned.append(work())
        except OperationalError:
            returned.append(None)
        finally:
            connection.close()

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return returned[0]


@contextmanager
def before(word: str, work: Callable[[], object]) -> Iterator[list[object]]:
    """Do *work* once, before the first statement that begins with *word* is executed."""
    found: list[object] = []

    def wrap(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if word in sql and not found:
            found.append(None)  # the work's own statements are let through
            found[0] = work()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wrap):
        yield found
