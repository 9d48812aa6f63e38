"""Mending the log where rows went their own way: one adjustment for each difference."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

from django.apps import apps
from django.db import connections, models, transaction

from stockflow import conf, timers
from stockflow.contexts import Circumstances
from stockflow.deletion import close_field
from stockflow.domain.instants import from_micros
from stockflow.eventstore.append import append_opening
from stockflow.fence import comparing
from stockflow.fence.comparing import Difference
from stockflow.fence.subjects import Fenced
from stockflow.fields import family
from stockflow.ledgers import Pending
from stockflow.routing import refuse_parted
from stockflow.settling import due
from stockflow.subjects import Subject, subject_of
from stockflow.tables import Event, Kind, ScheduledTransition

RECONCILE = "stockflow.reconcile"
"""The actor of an adjustment."""

TOLD = Circumstances(actor=RECONCILE, reason="the row and its log disagreed")
"""What an adjustment says of itself."""


def reconcile(using: str, tables: Collection[Fenced]) -> Iterator[Difference]:
    """Record what the rows of *tables* say, and yield each difference once it is committed.

    The row is believed: its state and facets become the target of an event of kind
    ``reconciled``, and a stream without a row is closed by one. A row's version, instants and
    timers follow. May be interrupted and repeated at will.
    """
    for fenced in tables:
        for keys in comparing.chunks_of_keys(using, fenced):
            with transaction.atomic(using=using):
                mended = [found for key in keys for found in _mend(using, fenced, key)]
            yield from mended
    for fenced in tables:
        for streams in comparing.chunks_of_streams(using, fenced):
            with transaction.atomic(using=using):
                for stream in streams:
                    _close(using, *stream)
            yield from (comparing.of_stream(*stream) for stream in streams)


def _mend(using: str, fenced: Fenced, key: Any) -> list[Difference]:
    row = comparing.whole(using, fenced, key, lock=True)
    if row is None or not (found := comparing.explain(row, using)):
        return []  # another one mended it, or it is gone
    adjust(row, using)
    return found


def adjust(row: Any, using: str, also: Collection[str] = ()) -> None:
    """Append what the locked *row* says in memory, and write what follows, *also* these columns."""
    refuse_parted(row)
    last = comparing.last_events(row.stock_lifecycle, using)
    base = max((event.version for event in last.values()), default=0)
    moved = _adjust(row, using, last, base)
    _write(row, using, moved, also)


def _adjust(row: Any, using: str, last: dict[str, Event], base: int) -> dict[str, int]:
    """Append the adjustments; return the fields whose state they change, with their versions."""
    at = _instant(last, using)
    events = [
        Pending(
            name,
            Kind.RECONCILED,
            None,
            last[name].target if name in last else None,
            getattr(row, name),
            at,
            row._facet_values(),
            TOLD,
        )
        for name in comparing.unlike(row, last)
    ]
    row.stock_version = base + len(events)
    if events:
        with connections[using].cursor() as cursor:
            append_opening(cursor, *_stream(row, last), events, base)
        row.stock_changed_at = at
    return {
        event.field: version
        for version, event in enumerate(events, base + 1)
        if event.source != event.target
    }


def _stream(row: Any, last: dict[str, Event]) -> tuple[Subject, str]:
    """Return what is appended to; the model stays the one that the log names."""
    named = {event.model for event in last.values()}
    models = {m._meta.label_lower: m for m in family(type(row)) if m._meta.proxy}
    model = next((models[label] for label in named if label in models), type(row))
    return subject_of(model), str(row.stock_lifecycle)


def _instant(last: dict[str, Event], using: str) -> datetime:
    return max([conf.now(using), *(from_micros(event.occurred_at or 0) for event in last.values())])


def _write(row: Any, using: str, moved: dict[str, int], also: Collection[str]) -> None:
    """Make the row's version, instants and timers follow; its states and facets stay, but for *also*."""
    names = ["stock_version", "stock_changed_at", *also]
    for field in subject_of(type(row)).fields:
        if field.name in moved:
            due_at = due(row, field, row.stock_changed_at)
            row.__dict__.update({field.since_name: row.stock_changed_at, field.due_name: due_at})
            names += [field.since_name, field.due_name]
    values = {name: getattr(row, name) for name in names}
    # Django's own queryset: that of the base manager may hide the row, or refuse the update.
    rows: models.QuerySet[Any] = models.QuerySet(type(row), using=using)
    rows.filter(pk=row.pk).update(**values)
    with connections[using].cursor() as cursor:
        timers.restart(row, cursor, moved)


def _close(using: str, event_id: int, model: str, originator: str, field: str, state: str) -> None:
    event = Event.objects.using(using).get(pk=event_id)
    at = _instant({field: event}, using)
    close_field(using, originator, field, Kind.RECONCILED, at, TOLD)
    ScheduledTransition.objects.using(using).filter(lifecycle=originator, field=field).delete()


def fenced_model(label: str, tables: Collection[Fenced]) -> list[Fenced]:
    """Return the tables of the model *label*, of its parents and of its children.

    Raises:
        LookupError: If it is no subject.
    """
    model = apps.get_model(label)
    return [t for t in tables if issubclass(model, t.model) or issubclass(t.model, model)]
