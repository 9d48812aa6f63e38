"""What the tests read back: rows, events and timers, past the instance in memory."""

import json
from itertools import pairwise
from typing import Any
from uuid import UUID

from stockflow.domain.instants import to_micros
from stockflow.models import Event, ScheduledTransition, StockflowModel
from stockflow.subjects import subject_of


def events_of(lifecycle: object) -> list[Event]:
    """Return the events of one lifecycle, oldest first."""
    return list(Event.objects.filter(originator=str(lifecycle)).order_by("version"))


def lifecycle_of(instance: StockflowModel) -> UUID:
    """Return the lifecycle of an object that has one."""
    assert instance.stock_lifecycle is not None
    return instance.stock_lifecycle


def trail(instance: StockflowModel, field: str | None = None) -> list[str]:
    """Return the object's events in words: ``moved hot>warm``."""
    return [
        f"{event.kind} {event.source or ''}>{event.target or ''}"
        for event in events_of(instance.stock_lifecycle)
        if field in (None, event.field)
    ]


def last_event(instance: StockflowModel) -> Event:
    """Return the object's newest event."""
    return events_of(instance.stock_lifecycle)[-1]


def row_of(instance: StockflowModel) -> dict[str, Any]:
    """Return what the table holds of state, version and facets."""
    subject = subject_of(type(instance))
    names = [*subject.columns, *subject.facet_columns]
    return dict(type(instance)._base_manager.values(*names).get(pk=instance.pk))


def memory_of(instance: StockflowModel) -> dict[str, Any]:
    """Return the same of the instance."""
    subject = subject_of(type(instance))
    return {name: getattr(instance, name) for name in (*subject.columns, *subject.facet_columns)}


def timers_of(instance: StockflowModel) -> dict[str, ScheduledTransition]:
    """Return the object's timers by field."""
    timers = ScheduledTransition.objects.filter(lifecycle=lifecycle_of(instance))
    return {timer.field: timer for timer in timers}


def facets_of(event: Event) -> tuple[Any, Any]:
    """Return an event's facets, before and after."""
    return (
        json.loads(event.source_facets) if event.source_facets else None,
        json.loads(event.target_facets) if event.target_facets else None,
    )


def assert_whole(instance: StockflowModel) -> None:
    """Memory, row, log and timers of one object agree, and its log is without a break."""
    row, log = row_of(instance), events_of(instance.stock_lifecycle)
    subject = subject_of(type(instance))

    assert memory_of(instance) == row
    assert [event.version for event in log] == list(range(1, row["stock_version"] + 1))
    instants = [event.occurred_at or 0 for event in log]
    assert instants == sorted(instants)
    due = {f.name: row[f.due_name] for f in subject.fields if row[f.due_name]}
    assert {name: timer.due_at for name, timer in timers_of(instance).items()} == {
        name: micros(at) for name, at in due.items()
    }
    for field in subject.fields:
        assert_linked([event for event in log if event.field == field.name])
        last = [event for event in log if event.field == field.name][-1]
        own = {
            lookup: path.to_json(row[path.attname])
            for lookup, path in subject.facets(field.name).items()
            if path.is_own
        }
        assert last.target == row[field.name]
        assert own.items() <= (facets_of(last)[1] or {}).items()


def assert_linked(log: list[Event]) -> None:
    """Each event of a field leaves the cell that the one before entered."""
    assert (log[0].source, log[0].source_facets) == (None, None)
    for before, after in pairwise(log):
        assert (before.target, before.target_facets) == (after.source, after.source_facets)


def micros(at: Any) -> int:
    """Return an instant as the log keeps it."""
    return to_micros(at)
