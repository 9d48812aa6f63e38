"""The timers that go with a save: one row per object and field that decays."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stockflow.domain.decay import earliest
from stockflow.domain.instants import to_micros
from stockflow.ledgers import Pending
from stockflow.machines import machine_of
from stockflow.subjects import subject_of
from stockflow.tables import Kind

if TYPE_CHECKING:
    from stockflow.models import StockflowModel

RESTART = (
    " ON CONFLICT (lifecycle, field) DO UPDATE SET version = excluded.version, "
    "transition = excluded.transition, due_at = excluded.due_at, attempts = 0, error = '', "
    "parked_at = NULL"
)
_UPSERT = (
    "INSERT INTO stockflow_scheduledtransition "
    "(lifecycle, model, field, version, transition, due_at, attempts, error) VALUES {}" + RESTART
)
_DELETE = "DELETE FROM stockflow_scheduledtransition WHERE lifecycle = %s AND field IN ({})"


def write(instance: "StockflowModel", cursor: Any, events: Sequence[Pending]) -> None:
    """Start and end the timers of the fields that *events* moved, the last of them at its version."""
    _execute(instance, cursor, *changes(instance, events))


def changes(
    instance: "StockflowModel", events: Sequence[Pending]
) -> tuple[list[tuple[Any, ...]], list[str]]:
    """Return the timers that *events* start, without their lifecycle, and the fields whose end."""
    subject = subject_of(type(instance))
    started: list[tuple[Any, ...]] = []
    ended: list[str] = []
    for field in subject.fields:
        entering = _entering(instance, field.name, events)
        if entering is None:
            continue
        version, had_timer = entering
        due_at = instance.__dict__[field.due_name]
        if due_at is not None:
            transition = _earliest(instance, field)
            label = instance._meta.label_lower
            started.append((label, field.name, version, transition, to_micros(due_at)))
        elif had_timer:
            ended.append(field.name)
    return started, ended


def restart(instance: "StockflowModel", cursor: Any, versions: Mapping[str, int]) -> None:
    """Make the timers of the fields in *versions* what the instance says, entered at these."""
    started: list[tuple[Any, ...]] = []
    ended: list[str] = []
    for field in subject_of(type(instance)).fields:
        due_at, version = instance.__dict__[field.due_name], versions.get(field.name)
        if version is None:
            continue
        if due_at is None:
            ended.append(field.name)
        else:
            label, transition = instance._meta.label_lower, _earliest(instance, field)
            started.append((label, field.name, version, transition, to_micros(due_at)))
    _execute(instance, cursor, started, ended)


def _execute(
    instance: "StockflowModel", cursor: Any, started: list[tuple[Any, ...]], ended: list[str]
) -> None:
    if started:
        lifecycle = _lifecycle(instance, cursor)
        rows = ", ".join(["(%s, %s, %s, %s, %s, %s, 0, '')"] * len(started))
        cursor.execute(_UPSERT.format(rows), [v for row in started for v in (lifecycle, *row)])
    if ended:
        end(instance, cursor, ended)


def end(instance: "StockflowModel", cursor: Any, fields: Sequence[str]) -> None:
    """End the timers of the *fields*."""
    names = ", ".join(["%s"] * len(fields))
    cursor.execute(_DELETE.format(names), [_lifecycle(instance, cursor), *fields])


def _lifecycle(instance: "StockflowModel", cursor: Any) -> Any:
    column = subject_of(type(instance)).columns["stock_lifecycle"]
    return column.get_db_prep_value(instance.stock_lifecycle, cursor.db, prepared=False)


def _entering(
    instance: "StockflowModel", name: str, events: Sequence[Pending]
) -> tuple[int, bool] | None:
    """Return the version of the event that entered the state, and whether a timer ran before."""
    first = instance.stock_version - len(events) + 1
    moves = [
        (version, event)
        for version, event in enumerate(events, first)
        if event.field == name and (event.changes_state or event.kind is Kind.ENTERED)
    ]
    return (moves[-1][0], moves[0][1].had_timer) if moves else None


def _earliest(instance: "StockflowModel", field: Any) -> str:
    decays = machine_of(type(instance), field.name).decays(instance.__dict__[field.name])
    if len(decays) == 1:
        return decays[0].transition
    first = earliest(decays, instance.__dict__[field.since_name], instance)
    return first[0].transition if first else ""
