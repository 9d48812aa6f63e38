"""What goes past the fence, in a test: rows as a restore or an older release leaves them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import connections

from stockflow.fence import installing


@contextmanager
def fence_down(using: str = "default", operations: Iterable[str] | None = None) -> Iterator[None]:
    """Take the fence down inside the block, or what of it watches *operations*."""
    connections[using].check_constraints()  # a table with deferred checks cannot be altered
    installing.take_down(using, operations)
    try:
        yield
    finally:
        connections[using].check_constraints()
        installing.install(using)
