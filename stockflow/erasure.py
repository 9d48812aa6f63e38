"""Erasure: what the log says of people is destroyed, and the chain holds."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections, transaction

from stockflow import contexts
from stockflow.contexts import Circumstances
from stockflow.deletion import follow
from stockflow.domain.errors import InvalidInstant, UnknownLifecycle
from stockflow.domain.events import TOPICS
from stockflow.eventstore.chain import SAID, columns, digest_of
from stockflow.eventstore.expressions import clock_of, payload_of
from stockflow.eventstore.payloads import lasting, outlasts
from stockflow.eventstore.sequencer import lock
from stockflow.fence.reconciling import RECONCILE, TOLD
from stockflow.fence.subjects import fenced_tables
from stockflow.moments import SCHEDULE
from stockflow.routing import refuse_parted
from stockflow.subjects import locked_rows, stock_fields, subject_of
from stockflow.tables import STOCKFLOW, Event, Kind, ScheduledTransition

if TYPE_CHECKING:
    from stockflow.models import StockflowModel

__all__ = ["erase"]

_APPEND = (
    "INSERT INTO stockflow_event (application, originator, version, topic, model, field, kind, "
    "source, target, source_facets, target_facets, occurred_at, recorded_at, actor, reason, "
    "correlation, payload) "
    "SELECT application, originator, version + 1, %s, model, field, %s, target, target, "
    "target_facets, target_facets, occurred_at, {clock}, %s, %s, %s, {payload} "
    "FROM stockflow_event WHERE application = %s AND originator = %s "
    "ORDER BY version DESC LIMIT 1"
)
"""The object stays where the last event left it, and nothing is later than it was: what waits for
its instant, or is told late, finds all as before."""

_EMPTY = (
    "UPDATE stockflow_event SET actor = '', reason = '', correlation = '', payload = %s "
    "WHERE id = %s"
)
_UNSALT = "UPDATE stockflow_position SET salt = NULL, digest = %s WHERE event = %s"

_OURS = {
    (actor.encode(), reason.encode())
    for actor, reason in (("", ""), (SCHEDULE, ""), (RECONCILE, TOLD.reason))
}
"""The actors and reasons that name no person."""


def erase(*objects: "StockflowModel | UUID | str", using: str | None = None) -> int:
    """Destroy what the log says of who, why and with what data of each of the *objects*.

    Where they were and when stays, so no number changes, and the hash chain holds. What is
    destroyed is gone for ever: actors, reasons, correlations, data, and the keys of objects that
    left. An event of kind *erased* says so, and by whom; it is the last to name its own actor.
    It is dated as the event before it, so that nothing which may still happen to the object moves:
    its ``recorded_at`` says when it was. The error of a timer is emptied, too. Facets stay: let
    none of them name a person. Delete an object before its history is erased, or its deletion
    names its key again.

    An instance that goes on is read anew first, since its version rises:
    ``refresh_from_db()``. The sequencer waits until the transaction ends.

    Example::

        lifecycle = customer.stock_lifecycle
        customer.delete()
        with stockflow.context(actor=request.user, reason="asked for, ticket 42"):
            erase(lifecycle)

    Args:
        objects: Instances, or lifecycles of objects that may be deleted by now.
        using: The alias of the database; an instance's own, ``default`` for a lifecycle.

    Returns:
        How many events said something that is destroyed now. An object whose events said nothing
        gets no event.

    Raises:
        UnknownLifecycle: If nothing is recorded of an object there. Nothing is erased then.
        InvalidInstant: If a context gives an instant: an erasure cannot be dated.
    """
    told = contexts.current()
    if told.at is not None:
        raise InvalidInstant(
            f"erase() in a context with at={told.at.isoformat()}: an erasure cannot be dated. Call it "
            "in a context without at=."
        )
    found: dict[str, set[str]] = {}
    for one in objects:
        alias, lifecycle = _named(one, using)
        found.setdefault(alias, set()).add(lifecycle)
    number = 0
    with ExitStack() as transactions:
        for alias in found:
            transactions.enter_context(transaction.atomic(using=alias))
        for alias, lifecycles in found.items():
            number += _erase_all(alias, sorted(lifecycles), told)
    return number


def _named(one: Any, using: str | None) -> tuple[str, str]:
    """Return the database and the lifecycle of one of the objects."""
    if isinstance(one, UUID):
        return using or DEFAULT_DB_ALIAS, str(one)
    if isinstance(one, str):
        try:
            return using or DEFAULT_DB_ALIAS, str(UUID(one))
        except ValueError:
            raise UnknownLifecycle(
                f"{one!r} is no lifecycle: a UUID such as {UUID(int=0)} is."
            ) from None
    if isinstance(one, type) or not hasattr(one, "stock_lifecycle"):
        raise TypeError(
            f"erase() takes objects that have a stock history, or their lifecycles, not {one!r}."
        )
    if one.stock_lifecycle is None:
        raise UnknownLifecycle(
            f"{one._meta.label} {one.pk!r} has no history yet: it begins with its first transition."
        )
    return using or one._state.db or DEFAULT_DB_ALIAS, str(one.stock_lifecycle)


def _erase_all(using: str, lifecycles: Iterable[str], told: Circumstances) -> int:
    # All rows before the sequencer's lock: who waits for a row must not hold up the others.
    rows = {one: _locked_row(using, one) for one in lifecycles}
    lock(connections[using], STOCKFLOW)
    return sum(_erase(using, one, row, told) for one, row in rows.items())


def _locked_row(using: str, lifecycle: str) -> Any:
    """Return the locked row; None if it is gone."""
    for table in _tables(using, _last(using, lifecycle)):
        row = locked_rows(table, using).filter(stock_lifecycle=lifecycle).first()
        if row is not None:
            refuse_parted(row)
            return row
    return None


def _last(using: str, lifecycle: str) -> Event:
    events = Event.objects.using(using).filter(application=STOCKFLOW, originator=lifecycle)
    last = events.order_by("-version").first()
    if last is None:
        raise UnknownLifecycle(
            f"Nothing is recorded of lifecycle {lifecycle} in the database {using!r}: give its own "
            "by using=."
        )
    return last


def _tables(using: str, last: Event) -> Iterator[Any]:
    """Yield the models in whose tables the row of an object may be, by its *last* event."""
    try:
        model = apps.get_model(last.model or "")
    except (LookupError, ValueError):
        model = None
    if model is not None and stock_fields(model):
        yield from dict.fromkeys((model, subject_of(model).table))  # a child may be gone alone
    if last.target is not None:  # the model was renamed, and the log has the name of then
        yield from (fenced.model for fenced in reversed(fenced_tables(using)))


def erasable(lifecycle: UUID | str, using: str) -> int:
    """Return how many events of a lifecycle say what :func:`erase` would destroy."""
    return len(_saying(connections[using], str(lifecycle)))


def _erase(using: str, lifecycle: str, row: Any, told: Circumstances) -> int:
    connection = connections[using]
    timers = ScheduledTransition.objects.using(using).filter(lifecycle=lifecycle)
    timers.exclude(error="").update(error="erased")
    saying = _saying(connection, lifecycle)
    if not saying:
        return 0
    _append(connection, lifecycle, told)
    if row is not None:
        follow(using, row, 1, row.stock_changed_at)
    emptied = [(lasting(event[-1] and bytes(event[-1])), event[0]) for _, *event in saying]
    digests = [(digest_of(salt, event), event[0]) for salt, *event in saying if salt is not None]
    with connection.cursor() as cursor:
        cursor.executemany(_EMPTY, emptied)
        cursor.executemany(_UNSALT, digests)
    return len(saying)


def _saying(connection: Any, lifecycle: str) -> list[tuple[Any, ...]]:
    """Return the salt and the columns of each event that says what can be erased."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT p.salt, {columns(connection)} FROM stockflow_event e "
            "LEFT JOIN stockflow_position p ON p.event = e.id "
            "WHERE e.application = %s AND e.originator = %s AND e.kind <> %s ORDER BY e.version",
            [STOCKFLOW, lifecycle, Kind.ERASED.value],
        )
        return [found for found in cursor.fetchall() if _says(found[1:])]


def _says(event: Iterable[Any]) -> bool:
    """Whether an event, its columns, says something of people: what stockflow says is nothing."""
    actor, reason, correlation, payload = (
        value and bytes(value) for value in [*event][-len(SAID) :]
    )
    return bool((actor, reason) not in _OURS or correlation or not outlasts(payload))


def _append(connection: Any, lifecycle: str, told: Circumstances) -> None:
    clock, clock_values = clock_of(connection)
    payload, payload_values = payload_of(connection, told)
    values = [TOPICS[Kind.ERASED], Kind.ERASED.value, *clock_values]
    values += [told.actor, told.reason, told.correlation, *payload_values, STOCKFLOW, lifecycle]
    with connection.cursor() as cursor:
        cursor.execute(_APPEND.format(clock=clock, payload=payload), values)
