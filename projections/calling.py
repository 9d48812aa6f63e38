"""Calling event callables after the commit: at least once, in each object's order."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from stockflow import conf
from stockflow.eventstore.sequencer import catch_up
from stockflow.projections import registry
from stockflow.projections.checkpoints import LogCut, last_position
from stockflow.projections.event_calls import CallCheckpoint, EventCall
from stockflow.tables import STOCKFLOW, Position
from stockflow.texts import told_of

if TYPE_CHECKING:
    from stockflow.projections.event_callables import EventCallable
    from stockflow.projections.flows import Flow

logger = logging.getLogger(__name__)

ATTEMPTS = 5
"""A call that failed this often is parked for a person to look at."""

FIRST_RETRY = timedelta(minutes=1)
"""How long a call that failed is left alone; after each further failure four times as long."""

BATCH = 1000
"""How many positions one transaction looks through for events to be called with."""


class Called(NamedTuple):
    """What became of one call.

    Attributes:
        call: What was to be called.
        error: What it raised; nothing where it was done.
    """

    call: EventCall
    error: str


def run_event_callables(using: str = DEFAULT_DB_ALIAS) -> list[Called]:
    """Call what is to be called by now, and return what became of each call.

    The periodic schedule does this every minute. It may be called at any time, by any number of
    processes, from ``transaction.on_commit`` too: each call is one process's.
    """
    return list(calls(using))


def calls(using: str) -> Iterator[Called]:
    """Yield what became of each call as it is made."""
    catch_up(using, STOCKFLOW)
    for flow, one in _declared(using):
        _look(flow, one, using)
        while (done := _next(flow, one, using)) is not None:
            yield done


def begin(using: str) -> None:
    """Let callables that were not seen before begin with what comes from now on."""
    declared, tables = _declared(using), {CallCheckpoint._meta.db_table, Position._meta.db_table}
    if not declared or not tables.issubset(connections[using].introspection.table_names()):
        return  # nothing to begin, or migrated back to where there were none
    catch_up(using, STOCKFLOW)
    for flow, one in declared:
        _checkpoint(flow, one, using)


def release(waiting: "QuerySet[EventCall]") -> int:
    """Let the parked ones of *waiting* be tried again at once; return how many there were."""
    parked: Any = waiting.filter(parked_at__isnull=False)
    number: int = parked.update(parked_at=None, retry_at=None, attempts=0, error="")
    return number


def _declared(using: str) -> "list[tuple[Flow, EventCallable]]":
    return [
        (flow, one)
        for flow in registry.declared.flows.values()
        if flow.written_to == using
        for one in flow.event_callables
        if not one.inline
    ]


def _checkpoint(flow: "Flow", one: "EventCallable", using: str) -> CallCheckpoint:
    found, _ = CallCheckpoint.objects.using(using).get_or_create(
        flow=flow.slug, name=one.name, defaults={"position": last_position(using)}
    )
    return found


def _require_log(checkpoint: CallCheckpoint, last: int) -> None:
    if checkpoint.position > last:
        raise LogCut(
            f"The event callable {checkpoint.name!r} of the flow {checkpoint.flow!r}",
            checkpoint.position,
            last,
            "Give its CallCheckpoint the position after which it is to be called, such as the last.",
        )


def _look(flow: "Flow", one: "EventCallable", using: str) -> None:
    """Put the flow's new events among those to be called with, and move the checkpoint."""
    checkpoint, rows = _checkpoint(flow, one, using), CallCheckpoint.objects.using(using)
    last = last_position(using)  # read after: another worker moves both on
    _require_log(checkpoint, last)
    while checkpoint.position < last:
        until = min(checkpoint.position + BATCH, last)
        seen = rows.filter(pk=checkpoint.pk, position=checkpoint.position)
        with transaction.atomic(using=using):
            if seen.update(position=until):  # else another worker has, and puts them there
                _enlist(flow, one, checkpoint.position, until, using)
        checkpoint = _checkpoint(flow, one, using)


def _enlist(flow: "Flow", one: "EventCallable", after: int, until: int, using: str) -> None:
    given = Position.objects.using(using).filter(
        application=STOCKFLOW, position__gt=after, position__lte=until
    )
    positions = dict(given.values_list("event", "position"))
    events = flow.recorded.using(using).filter(
        id__gte=min(positions, default=0),
        id__lte=max(positions, default=0),
        id__in=given.values("event"),
    )
    EventCall.objects.using(using).bulk_create(
        [
            EventCall(
                flow=flow.slug,
                name=one.name,
                event=event,
                originator=originator,
                position=positions[event],
            )
            for event, originator in events.values_list("id", "originator")
        ]
    )


def _next(flow: "Flow", one: "EventCallable", using: str) -> Called | None:
    """Make the next call that may be made; None if there is none that another one has not."""
    rows = EventCall.objects.using(using).filter(flow=flow.slug, name=one.name)
    with transaction.atomic(using=using):
        call = _first(rows, using)
        if call is None:
            return None
        # A write before the call: where no row is locked, the second of two gives up here.
        rows.filter(pk=call.pk).update(attempts=call.attempts + 1)
        call.attempts += 1
        error = _call(flow, one, call, using)
        if error is None:
            rows.filter(pk=call.pk).delete()
            return Called(call, "")
        _fail(call, error, using)
        return Called(call, call.error)


def _first(rows: "QuerySet[EventCall]", using: str) -> EventCall | None:
    now = conf.now(using)
    earlier = rows.filter(originator=OuterRef("originator"), position__lt=OuterRef("position"))
    due = rows.filter(Q(retry_at=None) | Q(retry_at__lte=now), ~Exists(earlier), parked_at=None)
    if connections[using].features.has_select_for_update_skip_locked:
        due = due.select_for_update(skip_locked=True)
    return due.order_by("position").first()


def _call(flow: "Flow", one: "EventCallable", call: EventCall, using: str) -> Exception | None:
    try:
        with transaction.atomic(using=using):
            event = flow.events.using(using).get(id=call.event)
            rows = flow.subject_model._base_manager.using(using)
            subject = rows.filter(stock_lifecycle=UUID(call.originator)).first()
            one(subject, flow.source_of(event), flow.sink_of(event), event)
    except Exception as error:  # whatever it is: it is kept, and holds up no other object
        return error
    return None


def _fail(call: EventCall, error: Exception, using: str) -> None:
    now = conf.now(using)
    call.error = told_of(error)
    if call.attempts >= ATTEMPTS:
        call.parked_at = now
    else:
        call.retry_at = now + FIRST_RETRY * 4 ** (call.attempts - 1)
    call.save(using=using, update_fields=["error", "parked_at", "retry_at"])
    logger.error("stockflow: %s failed: %s", call, call.error, exc_info=error)
