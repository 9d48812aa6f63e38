"""The timers that go with a save: one row per object and field that decays."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stockflow.domain.decay import earliest
from stockflow.domain.instants import to_micros
from stockflow.facets import Fragment, joined
from stockflow.ledgers import Pending
from stockflow.machines import machine_of
from stockflow.subjects import subject_of

if TYPE_CHECKING:
    from stockflow.models import StockflowModel

RESTART = (
    " ON CONFLICT (lifecycle, field) DO UPDATE SET version = excluded.version, "
    "transition = excluded.transition, due_at = excluded.due_at, attempts = 0, error = '', "
    "parked_at = NULL, retry_at = NULL, released_at = NULL"
)
_INSERT = (
    "INSERT INTO stockflow_scheduledtransition "
    "(lifecycle, model, field, version, transition, due_at, attempts, error) VALUES "
)
_ROW = "(%s, %s, %s, %s, %s, %s, 0, '')"
_DELETE = "DELETE FROM stockflow_scheduledtransition WHERE lifecycle = %s AND field IN ({})"
# PostgreSQL has functions for them, which can be called by the statement that updates the row.
# What the declarations fix stands in the text: each parameter costs more than its writing.
_START = "stockflow_start_timer(%s, '{}', '{}', %s, '{}', %s)"
_END = "stockflow_end_timer(%s, '{}')"


def steps(instance: "StockflowModel", connection: Any, events: Sequence[Pending]) -> list[Fragment]:
    """Return what starts and ends the timers of the fields that *events* moved.

    They are statements, on PostgreSQL calls: :func:`execute` knows.
    """
    started, ended = changes(instance, events)
    return _steps(instance, connection, started, ended) if started or ended else []


def execute(cursor: Any, found: Sequence[Fragment]) -> None:
    """Do the steps *found*."""
    if not found:
        return
    if _has_functions(cursor.db):
        calls, its = joined(found)
        found = [(f"SELECT {calls}", its)]
    for sql, values in found:
        cursor.execute(sql, values)


def _has_functions(connection: Any) -> bool:
    return bool(connection.vendor == "postgresql")


def changes(
    instance: "StockflowModel", events: Sequence[Pending]
) -> tuple[list[tuple[Any, ...]], list[str]]:
    """Return the timers that *events* start, without their lifecycle, and the fields whose end.

    The last of a field's events is the one that its timer names.
    """
    started: list[tuple[Any, ...]] = []
    ended: list[str] = []
    for field in subject_of(type(instance)).fields if events else ():
        entering = _entering(instance, field.name, events)
        if entering is None:
            continue
        version, had_timer, decay = entering
        if instance.__dict__[field.due_name] is not None:
            started.append(_timer(instance, field, version, decay))
        elif had_timer:
            ended.append(field.name)
    return started, ended


def restart(instance: "StockflowModel", cursor: Any, versions: Mapping[str, int]) -> None:
    """Make the timers of the fields in *versions* what the instance says, entered at these."""
    started: list[tuple[Any, ...]] = []
    ended: list[str] = []
    for field in subject_of(type(instance)).fields:
        version = versions.get(field.name)
        if version is None:
            continue
        if instance.__dict__[field.due_name] is None:
            ended.append(field.name)
        else:
            started.append(_timer(instance, field, version))
    execute(cursor, _steps(instance, cursor.db, started, ended))


def _timer(
    instance: "StockflowModel", field: Any, version: int, decay: str | None = None
) -> tuple[Any, ...]:
    due_at = to_micros(instance.__dict__[field.due_name])
    name = decay or _earliest(instance, field)
    return instance._meta.label_lower, field.name, version, name, due_at


def _steps(
    instance: "StockflowModel", connection: Any, started: list[tuple[Any, ...]], ended: list[str]
) -> list[Fragment]:
    ends = ending(instance, connection, ended)
    if not started:
        return ends
    lifecycle = _lifecycle(instance, connection)
    if _has_functions(connection):
        return [
            *(
                (_START.format(model, field, transition), (lifecycle, version, due_at))
                for model, field, version, transition, due_at in started
            ),
            *ends,
        ]
    rows = ", ".join([_ROW] * len(started))
    values = tuple([value for timer in started for value in (lifecycle, *timer)])
    return [(_INSERT + rows + RESTART, values), *ends]


def ending(instance: "StockflowModel", connection: Any, fields: Sequence[str]) -> list[Fragment]:
    """Return the steps that end the timers of the *fields*, if there are any."""
    if not fields:
        return []
    lifecycle = _lifecycle(instance, connection)
    if _has_functions(connection):
        return [(_END.format(name), (lifecycle,)) for name in fields]
    names = ", ".join(f"'{name}'" for name in fields)
    return [(_DELETE.format(names), (lifecycle,))]


def _lifecycle(instance: "StockflowModel", connection: Any) -> Any:
    lifecycle: Any = instance.stock_lifecycle
    return lifecycle if connection.features.has_native_uuid_field else lifecycle.hex


def _entering(
    instance: "StockflowModel", name: str, events: Sequence[Pending]
) -> tuple[int, bool, str | None] | None:
    """Return the version of the event that set the clock, and whether a timer ran before.

    And the decay that is due, where it is not simply the one whose delay is the shortest.
    """
    version, had_timer = instance.stock_version - len(events), False
    found: tuple[int, bool, str | None] | None = None
    for event in events:
        version += 1
        if event.field == name and event.sets_clock:
            had_timer = event.had_timer if found is None else had_timer
            found = version, had_timer, event.decay
    return found


def _earliest(instance: "StockflowModel", field: Any) -> str:
    decays = machine_of(type(instance), field.name).decays(instance.__dict__[field.name])
    if len(decays) == 1:
        return decays[0].transition
    first = earliest(decays, instance.__dict__[field.since_name], instance)
    return first[0].transition if first else ""
