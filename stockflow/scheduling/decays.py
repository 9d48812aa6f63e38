"""Firing the decays that are due, in due order, one transaction per chunk."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db import InterfaceError, OperationalError, models, transaction
from django.db.models import Q

from stockflow import conf
from stockflow.domain.instants import from_micros, to_micros
from stockflow.scheduling import parking, uniform
from stockflow.scheduling.locking import put_right, timers_under_lock
from stockflow.scheduling.objects import Objects
from stockflow.scheduling.outcomes import Chunk, Failure
from stockflow.subjects import locked_rows, stock_fields
from stockflow.tables import ScheduledTransition

__all__ = ["Chunk", "Failure", "count_due", "fire_due", "next_due"]

CHUNK = 2_000
"""How many timers one transaction takes."""

_ROUNDS, _PAUSE = 5, 0.1
"""How often, and after how many seconds, what another worker had locked is looked at again."""


def count_due(until: datetime, *, using: str = "default") -> int:
    """Return how many timers are to be fired at *until*: parked ones and those held back aside."""
    number: int = _due(until, using).count()
    return number


def next_due(*, using: str = "default") -> datetime | None:
    """Return when the next timer is to be looked at; it may be past. None if nothing waits."""
    waiting = ScheduledTransition.objects.using(using).filter(parked_at=None)
    fresh = waiting.filter(retry_at=None).order_by("due_at").values_list("due_at", flat=True)
    again = waiting.aggregate(first=models.Min("retry_at"))["first"]
    first = min((at for at in (fresh.first(), again) if at is not None), default=None)
    return None if first is None else from_micros(first)


def fire_due(
    until: datetime | None = None, *, using: str = "default", chunk_size: int = CHUNK
) -> Iterator[Chunk]:
    """Fire every decay due at *until* or before, chained ones included, and yield what is committed.

    A decay happens at its due instant, however late this runs. It may be interrupted and
    repeated at will. On PostgreSQL any number may run at once and share the work, each passing
    over the objects that another one has locked; on SQLite, which has one writer at a time, a
    second one does no harm and gains nothing.

    Args:
        until: The last due instant to fire; not later than now, which is the default.
        using: The alias of the database.
        chunk_size: How many timers one transaction takes.
    """
    until = until or conf.now(using)
    for turn in range(_ROUNDS):
        if turn:
            time.sleep(_PAUSE)
        busy = False
        for timers in _pages(until, using, chunk_size):
            limit = from_micros(timers[-1].due_at) if len(timers) == chunk_size else until
            chunk = _fire_chunk(timers, limit, using)
            busy = busy or bool(chunk.busy)
            yield chunk
        if not busy:
            return


def _pages(until: datetime, using: str, size: int) -> Iterator[list[ScheduledTransition]]:
    """Yield the due timers in due order; those that chained decays start on the way, too."""
    due, last = _due(until, using), None
    while True:
        following = due
        if last is not None:
            beyond = Q(due_at__gt=last.due_at) | Q(due_at=last.due_at, id__gt=last.id)
            following = due.filter(beyond, due_at__gte=last.due_at)
        timers = list(following[:size])
        if not timers:
            return
        last = timers[-1]
        yield timers


def _due(until: datetime, using: str) -> Any:
    now = to_micros(conf.now(using))
    timers = ScheduledTransition.objects.using(using).filter(parked_at=None)
    due = timers.filter(Q(retry_at=None) | Q(retry_at__lte=now), due_at__lte=to_micros(until))
    return due.order_by("due_at", "id")


def _fire_chunk(timers: Sequence[ScheduledTransition], limit: datetime, using: str) -> Chunk:
    try:
        return _fire(timers, limit, using, careful=False)
    except (OperationalError, InterfaceError):
        raise
    except Exception:  # one of them fails: find out which, and hold up nobody else
        return _fire(timers, limit, using, careful=True)


def _fire(
    timers: Sequence[ScheduledTransition], limit: datetime, using: str, *, careful: bool
) -> Chunk:
    chunk = Chunk()
    with transaction.atomic(using=using):
        for model, lifecycles in _by_model(timers, using, chunk):
            left: list[UUID] = lifecycles
            if not careful and uniform.is_uniform(model):
                left = uniform.fire(model, lifecycles, limit, using, chunk)
            if left:
                _fire_objects(model, left, limit, using, chunk, careful=careful)
    return chunk


def _by_model(
    timers: Sequence[ScheduledTransition], using: str, chunk: Chunk
) -> list[tuple[type[models.Model], list[UUID]]]:
    """Return the objects of each model, always in the same order of models."""
    labels: dict[UUID, type[Any]] = {}
    for timer in timers:
        try:
            model = apps.get_model(timer.model)
        except LookupError as error:
            parking.fail(timer, error, using, chunk)
            continue
        known = labels.get(timer.lifecycle, object)
        labels[timer.lifecycle] = model if issubclass(model, known) else known
    found: dict[type[models.Model], list[UUID]] = {}
    for lifecycle, model in labels.items():
        found.setdefault(model, []).append(lifecycle)
    return sorted(found.items(), key=lambda pair: pair[0]._meta.label)


def _fire_objects(
    model: type[models.Model],
    lifecycles: Sequence[UUID],
    limit: datetime,
    using: str,
    chunk: Chunk,
    *,
    careful: bool,
) -> None:
    rows = locked_rows(model, using, skip_locked=True).filter(stock_lifecycle__in=lifecycles)
    found = {row.stock_lifecycle: row for row in rows.order_by("pk")}
    timers = timers_under_lock(lifecycles, using)
    put_right(model, timers, {n: _due_of(row) for n, row in found.items()}, using, chunk)
    objects = Objects(model, [*found.values()], timers, limit, using, chunk, careful=careful)
    objects.fire()


def _due_of(row: Any) -> dict[str, datetime | None]:
    return {field.name: row.__dict__[field.due_name] for field in stock_fields(type(row))}
