"""Writing what many objects did: their events, their rows, their timers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connections, models

from stockflow import rows, timers
from stockflow.adapting import adapter_of
from stockflow.bulk.cells import FacetTexts
from stockflow.bulk.chunks import Last
from stockflow.contexts import Circumstances
from stockflow.domain.events import TOPICS
from stockflow.domain.instants import to_micros
from stockflow.eventstore.causes import Clocks, clocks_of
from stockflow.eventstore.expressions import clock_of
from stockflow.eventstore.payloads import payload_text
from stockflow.ledgers import Pending
from stockflow.subjects import Subject, subject_of
from stockflow.tables import STOCKFLOW, ScheduledTransition

if TYPE_CHECKING:
    from stockflow.models import StockflowModel

_EVENT = {
    "originator": "text",
    "version": "bigint",
    "topic": "text",
    "model": "text",
    "field": "text",
    "kind": "text",
    "transition": "text",
    "source": "text",
    "target": "text",
    "source_facets": "text",
    "target_facets": "text",
    "occurred_at": "bigint",
    "actor": "text",
    "reason": "text",
    "correlation": "text",
    "payload": "bytea",
}
_OCCURRED = [*_EVENT].index("occurred_at")
_TIMER = {
    "lifecycle": "uuid",
    "model": "text",
    "field": "text",
    "version": "bigint",
    "transition": "text",
    "due_at": "bigint",
}


@dataclass(frozen=True, slots=True)
class Appended:
    """What is appended to one object's log.

    Attributes:
        lifecycle: The object.
        base: The version that its row has.
        events: The events that follow, in order.
        last: The last event of each field so far.
        model: The label for an object whose log is empty.
        key: The primary key as text, kept with the event that outlives the row.
    """

    lifecycle: Any
    base: int
    events: Sequence[Pending]
    last: Mapping[str, Last]
    model: str
    key: str | None = None


def append(connection: Any, subject: Subject, appended: Sequence[Appended]) -> None:
    """Insert all events in one statement."""
    texts = FacetTexts(
        connection, subject, (e for one in appended for e in one.events if e.target is not None)
    )
    clocks = _timer_clocks(connection, appended)
    found = [row for one in appended for row in _event_rows(one, texts, clocks)]
    if found:
        found.sort(key=itemgetter(_OCCURRED))  # of each object they are in this order already
        also = {"application": (f"'{STOCKFLOW}'", ()), "recorded_at": clock_of(connection)}
        rows.insert(connection, "stockflow_event", _EVENT, found, also=also)


def _timer_clocks(
    connection: Any, appended: Sequence[Appended]
) -> dict[tuple[UUID, str], int | None]:
    """Return which version set the clocks of the objects that decay, as their timers say."""
    decaying = [
        one.lifecycle for one in appended if any(_lacks_clock(event) for event in one.events)
    ]
    if not decaying:
        return {}
    timers = ScheduledTransition.objects.using(connection.alias).filter(lifecycle__in=decaying)
    found = timers.values_list("lifecycle", "field", "version")
    return {(lifecycle, field): version for lifecycle, field, version in found}


def _lacks_clock(event: Pending) -> bool:
    cause = event.circumstances.cause
    return cause is not None and cause.clock is None


def _event_rows(
    one: Appended, texts: FacetTexts, timer_clocks: Mapping[tuple[UUID, str], int | None]
) -> Iterator[rows.Row]:
    originator, before = str(one.lifecycle), {name: last.facets for name, last in one.last.items()}
    clocks = clocks_of(one.events, one.base)
    for version, event in enumerate(one.events, one.base + 1):
        source = None if event.source is None else before.get(event.field)
        target = None if event.target is None else texts.of(event, source)
        before[event.field] = target
        told, last = event.circumstances, one.last.get(event.field)
        yield (
            originator,
            version,
            TOPICS[event.kind],
            one.model if last is None else last.model,
            event.field,
            event.kind.value,
            event.transition,
            event.source,
            event.target,
            source,
            target,
            to_micros(event.occurred_at),
            told.actor,
            told.reason,
            told.correlation,
            _payload(one, told, clocks, timer_clocks),
        )


def _payload(
    one: Appended,
    told: Circumstances,
    clocks: Clocks,
    timer_clocks: Mapping[tuple[UUID, str], int | None],
) -> bytes | None:
    clock = None
    if told.cause is not None:
        clock = clocks[told.cause] or timer_clocks.get((one.lifecycle, told.cause.field))
    text = payload_text(told, one.key, "null" if clock is None else str(clock))
    return None if text is None else text.encode()


def update_rows(
    using: str, subject: Subject, columns: Iterable[Any], changed: Sequence[tuple[Any, int, Any]]
) -> int:
    """Set *columns* of each row to what its instance has; return how many rows there were.

    Args:
        using: The alias of the database.
        subject: The model.
        columns: The fields to write.
        changed: Key, version and instance, the keys as the database keeps them and ascending.
    """
    connection, pk = connections[using], subject.table._meta.pk
    quote, fields = connection.ops.quote_name, list(columns)
    types = {"k": rows.array_type(connection, pk), "b": "bigint"}
    types |= {quote(f.column): rows.array_type(connection, f) for f in fields}
    adapters = [(f.attname, adapter_of(f, connection.vendor)) for f in fields]
    values = [
        (key, base, *[adapt(getattr(row, name), connection) for name, adapt in adapters])
        for key, base, row in changed
    ]
    return rows.update(
        connection, quote(subject.table._meta.db_table), quote(pk.column or ""), types, values
    )


def write_timers(
    using: str,
    written: Iterable[tuple["StockflowModel", Sequence[Pending], Callable[[str], Any]]],
) -> None:
    """Start and end the timers of all objects, in few statements.

    Each is given with its events, and what tells the timer of a field where it is known.
    """
    started, known = list[rows.Row](), list[int]()
    ended: dict[str, list[Any]] = {}
    for row, events, known_timer in written:
        begun, fields = timers.changes(row, events)
        if begun:
            lifecycle = lifecycle_value(type(row), using, row.stock_lifecycle)
            started += [(lifecycle, *timer) for timer in begun]
        for field in fields:
            if timer := known_timer(field):
                known.append(timer.id)
            else:
                lifecycle = lifecycle_value(type(row), using, row.stock_lifecycle)
                ended.setdefault(field, []).append(lifecycle)
    start_timers(using, started)
    end_known_timers(using, known)
    for field, lifecycles in ended.items():
        end_timers(using, lifecycles, field)


def end_known_timers(using: str, ids: Sequence[int]) -> None:
    """Delete the timers *ids*."""
    if ids:
        connection = connections[using]
        test, values = rows.among(connection, "id", ids)
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM stockflow_scheduledtransition WHERE {test}", values)


def start_timers(using: str, started: Sequence[rows.Row]) -> None:
    """Insert the timers, or let those that run already begin anew."""
    if started:
        also = {"attempts": ("0", ()), "error": ("''", ())}
        rows.insert(
            connections[using],
            "stockflow_scheduledtransition",
            _TIMER,
            started,
            also=also,
            suffix=timers.RESTART,
        )


def end_timers(using: str, lifecycles: Sequence[Any], field: str | None = None) -> None:
    """Delete the timers of *lifecycles*: of one field, or all."""
    connection = connections[using]
    test, values = rows.among(connection, "lifecycle", lifecycles)
    sql = f"DELETE FROM stockflow_scheduledtransition WHERE {test}"
    with connection.cursor() as cursor:
        if field is None:
            cursor.execute(sql, values)
        else:
            cursor.execute(f"{sql} AND field = %s", [*values, field])


def lifecycle_value(model: type[models.Model], using: str, lifecycle: Any) -> Any:
    """Return *lifecycle* as the database keeps it."""
    column = subject_of(model).columns["stock_lifecycle"]
    return column.get_db_prep_value(lifecycle, connections[using], prepared=False)
