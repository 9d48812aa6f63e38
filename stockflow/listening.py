"""Listeners: who is told of events in the transaction that writes them, and may undo it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Protocol

from django.db import connections, transaction

from stockflow.tables import STOCKFLOW, Event


class Listener(Protocol):
    """Who wants to be told."""

    def hears(self, label: str | None) -> bool:
        """Whether events of the model *label* are for it; None: of any model."""

    def tell(self, events: Sequence[Event], using: str) -> None:
        """Be told of *events*, in the order in which they were written."""


LISTENERS: list[Listener] = []
"""All of them, in the order in which they are told."""

_telling: ContextVar[frozenset[str]] = ContextVar("stockflow_telling", default=frozenset())

_LAST: Final = "SELECT COALESCE(max(id), 0) FROM stockflow_event"
_OWN: Final = {
    # Others may have committed meanwhile.
    "postgresql": "SELECT event FROM stockflow_unsequenced WHERE event > %s AND application = %s"
    " AND transaction_id = hashint8extended(pg_current_xact_id()::text::bigint,"
    " (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint)",
    # Nobody else writes while this transaction does.
    "sqlite": "SELECT event FROM stockflow_unsequenced WHERE event > %s AND application = %s",
}


@contextmanager
def told(label: str | None, using: str) -> Iterator[None]:
    """Tell the listeners what the block writes, before its transaction ends.

    The outermost block tells; what listeners write themselves is told of anew. Where nobody
    listens to the model it costs nothing.
    """
    listeners = [one for one in LISTENERS if one.hears(label)]
    if not listeners or using in _telling.get():
        yield
        return
    token = _telling.set(_telling.get() | {using})
    try:
        last = _run(_LAST, [], using)[0]
        yield
        written = _run(_OWN[connections[using].vendor], [last, STOCKFLOW], using)
    finally:
        _telling.reset(token)
    if written:
        _tell(listeners, written, using)


def _tell(listeners: Sequence[Listener], written: Sequence[int], using: str) -> None:
    events = list(Event.objects.using(using).filter(id__in=written).order_by("id"))
    try:
        for one in listeners:
            one.tell(events, using)
    except BaseException:
        # A caller that catches it inside the block must not keep what was to be undone.
        transaction.set_rollback(True, using=using)
        raise


def _run(sql: str, values: list[Any], using: str) -> list[int]:
    with connections[using].cursor() as cursor:
        cursor.execute(sql, values)
        return [row[0] for row in cursor.fetchall()]
