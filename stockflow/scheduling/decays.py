"""Firing the decays that are due, in due order, one transaction per chunk."""

import heapq
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import django_fsm
from django.apps import apps
from django.db import InterfaceError, OperationalError, transaction

from stockflow import conf, settling
from stockflow.domain.errors import StockflowError
from stockflow.domain.instants import from_micros, to_micros
from stockflow.subjects import locked_rows
from stockflow.tables import ScheduledTransition

logger = logging.getLogger(__name__)

ATTEMPTS = 5
"""A decay that failed this often is parked for a person to look at."""

TURNS_AT_ONE_INSTANT = 100
"""More decays of one object at one instant than this are taken for a loop."""


@dataclass(frozen=True)
class Failure:
    """A decay that could not be fired.

    Attributes:
        model: The label of the object's model.
        lifecycle: The object.
        field: The stock field.
        transition: The decay.
        error: What was raised.
        is_parked: Whether it is not tried again.
    """

    model: str
    lifecycle: UUID
    field: str
    transition: str
    error: str
    is_parked: bool

    def __str__(self) -> str:
        parked = f" It failed {ATTEMPTS} times and is parked." if self.is_parked else ""
        return f"{self.model} {self.lifecycle}, {self.transition!r} of {self.field!r}: {self.error}{parked}"


@dataclass
class Chunk:
    """What one committed chunk did.

    Attributes:
        fired: How many decays happened, chained ones included.
        settled: How many timers are done with.
        held: Decays whose conditions are false: tried again by the next run.
        failures: Decays that raised: tried again by the next run, unless parked.
    """

    fired: int = 0
    settled: int = 0
    held: set[int] = field(default_factory=set)
    failures: dict[int, Failure] = field(default_factory=dict)


def count_due(until: datetime, *, using: str = "default") -> int:
    """Return how many timers are due at *until*, parked ones aside."""
    number: int = _due(until, using).count()
    return number


def fire_due(
    until: datetime | None = None, *, using: str = "default", chunk_size: int = 500
) -> Iterator[Chunk]:
    """Fire every decay due at *until* or before, chained ones included, and yield what is committed.

    A decay happens at its due instant, however late this runs. It may be interrupted and
    repeated at will, and several may run at once.

    Args:
        until: The last due instant to fire; not later than now, which is the default.
        using: The alias of the database.
        chunk_size: How many timers one transaction takes.
    """
    until = until or conf.now(using)
    passed: set[int] = set()
    while timers := list(_due(until, using).exclude(id__in=passed)[:chunk_size]):
        limit = from_micros(timers[-1].due_at) if len(timers) == chunk_size else until
        try:
            chunk = _fire(timers, limit, using, careful=False)
        except (OperationalError, InterfaceError):
            raise
        except Exception:  # one of them fails: find out which, and hold up nobody else
            chunk = _fire(timers, limit, using, careful=True)
        passed |= chunk.held | chunk.failures.keys()
        yield chunk


def _due(until: datetime, using: str) -> Any:
    timers = ScheduledTransition.objects.using(using)
    due = timers.filter(due_at__lte=to_micros(until), parked_at=None)
    return due.order_by("due_at", "id")


def _fire(
    timers: list[ScheduledTransition], limit: datetime, using: str, *, careful: bool
) -> Chunk:
    chunk = Chunk()
    with transaction.atomic(using=using):
        objects = _locked_objects(timers, using, chunk)
        queue = [(t.due_at, t.id, t) for t in timers]
        heapq.heapify(queue)
        turns = Counter[tuple[UUID, int]]()
        while queue:
            _, _, timer = heapq.heappop(queue)
            turns[timer.lifecycle, timer.due_at] += 1
            if turns[timer.lifecycle, timer.due_at] > TURNS_AT_ONE_INSTANT:
                _park_loop(timer, using, chunk)
                continue
            following = _attempt(timer, objects, limit, using, chunk, careful=careful)
            if following is not None:
                heapq.heappush(queue, (following.due_at, following.id, following))
    return chunk


def _locked_objects(timers: list[ScheduledTransition], using: str, chunk: Chunk) -> dict[UUID, Any]:
    """Lock the objects first, always in the order of their keys, and read them as they are now."""
    labels: dict[UUID, type[Any]] = {}
    for timer in timers:
        try:
            model = apps.get_model(timer.model)
        except LookupError as error:
            _fail(timer, error, using, chunk)
            continue
        known = labels.get(timer.lifecycle, object)
        labels[timer.lifecycle] = model if issubclass(model, known) else known
    objects: dict[UUID, Any] = {}
    for model in sorted(set(labels.values()), key=lambda model: model._meta.label):
        rows = locked_rows(model, using).order_by("pk")
        chosen = [lifecycle for lifecycle, its in labels.items() if its is model]
        objects.update(
            {row.stock_lifecycle: row for row in rows.filter(stock_lifecycle__in=chosen)}
        )
    return objects


def _attempt(
    timer: ScheduledTransition,
    objects: dict[UUID, Any],
    limit: datetime,
    using: str,
    chunk: Chunk,
    *,
    careful: bool,
) -> ScheduledTransition | None:
    """Fire one timer; return the one that follows, if it is due within this chunk."""
    if timer.id in chunk.failures:
        return None
    try:
        if not careful:
            return _step(timer, objects.get(timer.lifecycle), limit, using, chunk)
        with transaction.atomic(using=using):
            return _step(timer, objects.get(timer.lifecycle), limit, using, chunk)
    except django_fsm.TransitionNotAllowed:
        chunk.held.add(timer.id)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        if not careful:
            raise
        objects.pop(timer.lifecycle, None)  # what it is in memory now is not what its row says
        _fail(timer, error, using, chunk)
    return None


def _step(
    timer: ScheduledTransition, row: Any, limit: datetime, using: str, chunk: Chunk
) -> ScheduledTransition | None:
    stored = None if row is None else row.__dict__.get(f"{timer.field}_due_at")
    if stored is None or to_micros(stored) != timer.due_at:
        _forget(timer, row, stored, using, chunk)
        return None
    overdue = settling.first_overdue(row, stored, inclusive=True)
    if overdue is None:
        state = row.__dict__[timer.field]
        raise StockflowError(
            f"no decay leaves {state!r} any more, so {timer.transition!r} cannot be fired: "
            "put it back, or call a transition on the object."
        )
    due_at, field_, decay = overdue
    settling.decay_at(row, decay.transition, due_at)
    row.save(using=using)
    chunk.fired += 1
    if field_.name != timer.field:  # another field's decay came first: this one is still due
        return timer
    following = row.__dict__[field_.due_name]
    if following is None or following > limit:
        chunk.settled += 1
        return None
    return ScheduledTransition.objects.using(using).get(
        lifecycle=timer.lifecycle, field=timer.field
    )


def _forget(
    timer: ScheduledTransition, row: Any, stored: datetime | None, using: str, chunk: Chunk
) -> None:
    """The timer is not what its object says: another worker was first, or the object is gone."""
    chunk.settled += 1
    unchanged = ScheduledTransition.objects.using(using).filter(id=timer.id, due_at=timer.due_at)
    if row is None or stored is None:
        unchanged.delete()
    else:  # else it would be found due for ever
        unchanged.update(due_at=to_micros(stored))


def _park_loop(timer: ScheduledTransition, using: str, chunk: Chunk) -> None:
    timer.attempts = ATTEMPTS - 1  # trying again would only write more of the same
    error = StockflowError(
        f"{TURNS_AT_ONE_INSTANT} decays at one instant: does a chain of decays loop without delay?"
    )
    _fail(timer, error, using, chunk)


def _fail(timer: ScheduledTransition, error: Exception, using: str, chunk: Chunk) -> None:
    timer.attempts += 1
    timer.error = f"{type(error).__name__}: {error}"
    if timer.attempts >= ATTEMPTS:
        timer.parked_at = to_micros(conf.now(using))
    timer.save(using=using, update_fields=["attempts", "error", "parked_at"])
    failure = Failure(
        timer.model,
        timer.lifecycle,
        timer.field,
        timer.transition,
        timer.error,
        timer.parked_at is not None,
    )
    chunk.failures[timer.id] = failure
    logger.error("stockflow: %s", failure, exc_info=error)
