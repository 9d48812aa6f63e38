"""Deletion: the closing events of an object, before its row goes."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from django.db import connections, models

from stockflow import listening, timers
from stockflow.contexts import Circumstances
from stockflow.domain.events import TOPICS
from stockflow.domain.instants import to_micros
from stockflow.eventstore.expressions import clock_of, payload_of
from stockflow.ledgers import ledger_of
from stockflow.moments import moment
from stockflow.routing import refuse_parted
from stockflow.settling import settle
from stockflow.subjects import locked_rows, subject_of
from stockflow.tables import STOCKFLOW, Kind

_CLOSE = (
    "INSERT INTO stockflow_event (application, originator, version, topic, model, field, kind, "
    "source, source_facets, occurred_at, recorded_at, actor, reason, correlation, payload) "
    "SELECT application, originator, "
    "(SELECT max(m.version) + 1 FROM stockflow_event m "
    "WHERE m.application = l.application AND m.originator = l.originator), "
    "%s, model, field, %s, target, target_facets, %s, {clock}, %s, %s, %s, {payload} "
    "FROM stockflow_event l WHERE application = %s AND originator = %s AND field = %s "
    "AND target IS NOT NULL AND version = (SELECT max(f.version) FROM stockflow_event f "
    "WHERE f.application = l.application AND f.originator = l.originator AND f.field = l.field)"
)
"""The closing event follows from the last one; nothing is inserted where that closed already."""

_closed: ContextVar[frozenset[Any]] = ContextVar("stockflow_closed", default=frozenset())


def close(sender: type[Any], instance: Any, using: str, **kwargs: Any) -> None:
    """Record that *instance* left, after the decays that were due before.

    Connected to ``pre_delete``, so that it runs for ``delete()``, querysets and cascades, in
    their transaction.
    """
    if instance.stock_lifecycle in _closed.get():
        return _forget(instance)
    row = locked_rows(sender, using).filter(pk=instance.pk).first()
    if row is None or row.stock_lifecycle is None:
        return None
    refuse_parted(row)
    with listening.told(row._meta.label_lower, using):
        at, told = moment(row)
        if settle(row, at):
            row.save(using=using)
        at = max(at, row.stock_changed_at)
        # The tables of parents have signals of their own, unless the parents are kept.
        own = [f.name for f in subject_of(sender).fields if _is_of(sender, f)]
        stream, key = row.stock_lifecycle, str(row.pk)
        closed = sum(close_field(using, stream, name, Kind.LEFT, at, told, key=key) for name in own)
        # Another table's fields may leave after these, or stay.
        if closed and not subject_of(sender).has_one_field:
            follow(using, row, closed, at)
        with connections[using].cursor() as cursor:
            timers.execute(cursor, timers.ending(row, cursor.db, own))
    _forget(instance)
    return None


@contextmanager
def closed(lifecycles: Collection[Any]) -> Iterator[None]:
    """Let the objects of *lifecycles* go without more: their closing events are written."""
    token = _closed.set(frozenset(lifecycles) | _closed.get())
    try:
        yield
    finally:
        _closed.reset(token)


def _forget(instance: Any) -> None:
    ledger = ledger_of(instance)
    ledger.pending, ledger.unconfirmed = [], []


def _is_of(sender: type[Any], field: Any) -> bool:
    return bool(field.model._meta.concrete_model is sender._meta.concrete_model)


def follow(using: str, row: Any, number: int, at: datetime) -> None:
    """Keep the row at the version of its log, to which *number* events were appended."""
    table = subject_of(type(row)).table
    rows: models.QuerySet[Any] = models.QuerySet(table, using=using)
    rows = rows.filter(stock_lifecycle=row.stock_lifecycle)
    rows.update(stock_version=row.stock_version + number, stock_changed_at=at)


def close_field(
    using: str,
    lifecycle: Any,
    field: str,
    kind: Kind,
    at: datetime,
    told: Circumstances,
    *,
    key: str | None = None,
) -> int:
    """Append the event that closes *field* of a lifecycle, unless it is closed; return how many."""
    connection = connections[using]
    clock, clock_values = clock_of(connection)
    payload, payload_values = payload_of(connection, told, key=key)
    values = [TOPICS[kind], kind.value, to_micros(at), *clock_values]
    values += [told.actor, told.reason, told.correlation, *payload_values]
    values += [STOCKFLOW, str(lifecycle), field]
    with connection.cursor() as cursor:
        cursor.execute(_CLOSE.format(clock=clock, payload=payload), values)
        return int(cursor.rowcount)
