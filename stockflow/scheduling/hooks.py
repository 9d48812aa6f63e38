"""What methods leave to ``transaction.on_commit``: it runs once their chunk is committed."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction

from stockflow.scheduling.outcomes import Chunk
from stockflow.texts import told_of

logger = logging.getLogger(__name__)


@contextmanager
def committing(chunk: Chunk, using: str) -> Iterator[None]:
    """Make the block the transaction of *chunk*, and write down there which hooks raised.

    By then all is committed, so the chunk has not failed. The hooks of the other objects run too,
    which Django would drop. Inside another transaction they run at its end, as ever.
    """
    connection: Any = connections[using]
    is_outermost = connection.get_autocommit()
    with transaction.atomic(using=using):
        yield
        if is_outermost:
            connection.run_on_commit = [
                (savepoints, hook if is_robust else _noting(hook, chunk), is_robust)
                for savepoints, hook, is_robust in connection.run_on_commit
            ]


def _noting(hook: Callable[[], object], chunk: Chunk) -> Callable[[], None]:
    def run() -> None:
        try:
            hook()
        except Exception as error:
            name = getattr(hook, "__qualname__", repr(hook))
            chunk.failed_hooks.append(f"{name}: {told_of(error)}")
            logger.exception("stockflow: %s, to be run after the commit, failed", name)

    return run
