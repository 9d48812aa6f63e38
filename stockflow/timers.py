"""The timers that go with a save: one row per object and field that decays."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stockflow.domain.decay import earliest
from stockflow.domain.instants import to_micros
from stockflow.ledgers import Pending
from stockflow.machines import machine_of
from stockflow.subjects import subject_of
from stockflow.tables import Kind

if TYPE_CHECKING:
    from stockflow.models import StockflowModel

Statement = tuple[str, list[Any]]

_UPSERT = (
    "INSERT INTO stockflow_scheduledtransition "
    "(lifecycle, model, field, version, transition, due_at, attempts, error) VALUES {} "
    "ON CONFLICT (lifecycle, field) DO UPDATE SET version = excluded.version, "
    "transition = excluded.transition, due_at = excluded.due_at, attempts = 0, error = '', "
    "parked_at = NULL"
)
_DELETE = "DELETE FROM stockflow_scheduledtransition WHERE lifecycle = %s AND field IN ({})"


def statements(
    instance: "StockflowModel", connection: Any, events: Sequence[Pending]
) -> list[Statement]:
    """Return what starts and ends the timers of the fields that *events* moved, the last of them at its version."""
    rows: list[str] = []
    values: list[Any] = []
    ended: list[str] = []
    for field in subject_of(type(instance)).fields if events else ():
        entering = _entering(instance, field.name, events)
        if entering is None:
            continue
        version, had_timer = entering
        due_at = instance.__dict__[field.due_name]
        if due_at is not None:
            rows.append(f"(%s, '{instance._meta.label_lower}', '{field.name}', %s, %s, %s, 0, '')")
            lifecycle = _lifecycle(instance, connection)
            values += [lifecycle, version, _earliest(instance, field), to_micros(due_at)]
        elif had_timer:
            ended.append(field.name)
    started = [(_UPSERT.format(", ".join(rows)), values)] if rows else []
    return [*started, *ending(instance, connection, ended)]


def ending(instance: "StockflowModel", connection: Any, fields: Sequence[str]) -> list[Statement]:
    """Return what ends the timers of the *fields*, if there are any."""
    if not fields:
        return []
    names = ", ".join(f"'{name}'" for name in fields)
    return [(_DELETE.format(names), [_lifecycle(instance, connection)])]


def _lifecycle(instance: "StockflowModel", connection: Any) -> Any:
    column = subject_of(type(instance)).columns["stock_lifecycle"]
    return column.get_db_prep_value(instance.stock_lifecycle, connection, prepared=False)


def _entering(
    instance: "StockflowModel", name: str, events: Sequence[Pending]
) -> tuple[int, bool] | None:
    """Return the version of the event that entered the state, and whether a timer ran before."""
    first = instance.stock_version - len(events) + 1
    moves = [
        (version, event)
        for version, event in enumerate(events, first)
        if event.field == name and event.kind in (Kind.ENTERED, Kind.MOVED)
    ]
    return (moves[-1][0], moves[0][1].had_timer) if moves else None


def _earliest(instance: "StockflowModel", field: Any) -> str:
    decays = machine_of(type(instance), field.name).decays(instance.__dict__[field.name])
    if len(decays) == 1:
        return decays[0].transition
    first = earliest(decays, instance.__dict__[field.since_name], instance)
    return first[0].transition if first else ""
