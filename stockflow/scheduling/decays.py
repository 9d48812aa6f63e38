"""Firing the decays that are due, in due order, one transaction per chunk."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.apps import apps
from django.db import connections, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Cast

from stockflow import conf
from stockflow.domain.instants import from_micros, to_micros
from stockflow.listening import told
from stockflow.routing import refuse_parted_models
from stockflow.rows import Among
from stockflow.scheduling import parking, uniform
from stockflow.scheduling.hooks import committing
from stockflow.scheduling.locking import put_right, timers_under_lock
from stockflow.scheduling.objects import Decaying, Objects
from stockflow.scheduling.outcomes import Chunk
from stockflow.scheduling.setwise import Setwise
from stockflow.subjects import locked_rows, stock_fields
from stockflow.tables import ScheduledTransition

CHUNK = 2_000
"""How many timers one transaction takes where instances are loaded."""

UNIFORM_CHUNK = 5_000
"""As above, where SQL does all; PostgreSQL would compile the plans of larger ones, for nothing."""

_LIFECYCLE = Cast("lifecycle", models.TextField())  # as text: there are many, and few are read
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
    until: datetime | None = None, *, using: str = "default", chunk_size: int | None = None
) -> Iterator[Chunk]:
    """Fire every decay due at *until* or before, chained ones included, and yield what is committed.

    A decay happens at its due instant, however late this runs. It may be interrupted and
    repeated at will. On PostgreSQL any number may run at once and share the work, each passing
    over the objects that another one has locked; on SQLite, which has one writer at a time, a
    second one does no harm and gains nothing.

    Args:
        until: The last due instant to fire; not later than now, which is the default.
        using: The alias of the database.
        chunk_size: How many timers one transaction takes; by default thousands.

    Raises:
        InvalidDeclaration: If the routers put a model's objects and their log into two databases.
    """
    refuse_parted_models(using)
    now = conf.now(using)
    until = now if until is None else min(until, now)
    size = chunk_size or CHUNK
    for turn in range(_ROUNDS):
        if turn:
            time.sleep(_PAUSE)
        busy, page = False, None
        while _due(until, using, page).exists():
            done = _fire_next(page, until, using, size)
            if done is None:  # other workers have what is left
                break
            page, chunk = done
            busy = busy or bool(chunk.busy)
            size = chunk_size or (UNIFORM_CHUNK if chunk.is_uniform else CHUNK)
            yield chunk
        if not busy:
            return


class Waiting(NamedTuple):
    """What is read of a timer before its object is locked."""

    id: int
    due_at: int
    model: str


class Page(NamedTuple):
    """Some timers in due order.

    Attributes:
        timers: What is known of them so far.
        limit: The last instant up to which the decays that follow are fired with them.
    """

    timers: list[Waiting]
    limit: datetime


def next_page(after: Page | None, until: datetime, using: str, size: int) -> Page | None:
    """Return the due timers that follow the page *after*, those that no other worker has.

    They are locked on PostgreSQL. That cannot deadlock with a save, which locks its object first
    and then its timer: here an object that is locked is passed over, not waited for.
    """
    due = _due(until, using, after)
    if connections[using].features.has_select_for_update_skip_locked:
        due = due.select_for_update(skip_locked=True, no_key=True)
    timers = [*map(Waiting._make, due.values_list("id", "due_at", "model")[:size])]
    if not timers:
        return None
    is_last = len(timers) < size
    return Page(timers, until if is_last else from_micros(timers[-1].due_at))


def _due(until: datetime, using: str, after: Page | None = None) -> Any:
    now = to_micros(conf.now(using))
    timers = ScheduledTransition.objects.using(using).filter(parked_at=None)
    due = timers.filter(Q(retry_at=None) | Q(retry_at__lte=now), due_at__lte=to_micros(until))
    if after is not None:
        last = after.timers[-1]
        beyond = Q(due_at__gt=last.due_at) | Q(due_at=last.due_at, id__gt=last.id)
        due = due.filter(beyond, due_at__gte=last.due_at)
    return due.order_by("due_at", "id")


def _fire_next(
    after: Page | None, until: datetime, using: str, size: int
) -> tuple[Page | None, Chunk] | None:
    """Fire the page that follows *after*; return what is done with, and what became of it."""
    page, chunk = None, Chunk()
    try:
        with committing(chunk, using), told(None, using):
            page = next_page(after, until, using, size)
            if page is not None:
                _fire(page, using, chunk, careful=False)
        return None if page is None else (page, chunk)
    except Exception:  # one of them fails: find out which, and hold up nobody else
        if page is None or not parking.can_write(using):
            raise
    chunk = Chunk()
    try:
        with committing(chunk, using):
            _fire(page, using, chunk, careful=True)
        return page, chunk
    except Exception:  # no savepoint caught it: it came at COMMIT, or before any method was called
        if not parking.can_write(using):
            raise
        chunk = _fire_apart(page, using)
    # What follows those that were fired is due in the same page, so that is read again.
    return (after if chunk.fired else page), chunk


def _fire_apart(page: Page, using: str) -> Chunk:
    """Fire each decay in a transaction of its own: whatever that raises is its own failure."""
    chunk = Chunk()
    for timer in page.timers:
        alone = Chunk()
        try:
            with committing(alone, using):
                _fire(Page([timer], from_micros(timer.due_at)), using, alone, careful=True)
        except Exception as error:
            if not parking.can_write(using):
                raise
            alone = Chunk()
            stored = ScheduledTransition.objects.using(using).filter(id=timer.id, parked_at=None)
            with transaction.atomic(using=using):
                for one in stored.filter(due_at=timer.due_at):  # none where somebody moved it
                    parking.fail(one, error, using, alone)
        chunk.add(alone)
    return chunk


def _fire(page: Page, using: str, chunk: Chunk, *, careful: bool) -> None:
    timers = page.timers
    if not careful:
        timers = _fire_setwise(page, using, chunk)
        chunk.is_uniform = not timers
    for model, lifecycles in _by_model(timers, using, chunk):
        left = lifecycles
        if not careful and uniform.is_uniform(model):
            left = uniform.fire(model, lifecycles, page.limit, using, chunk)
        if left:
            _fire_objects(model, left, page.limit, using, chunk, careful=careful)


def _fire_setwise(page: Page, using: str, chunk: Chunk) -> list[Waiting]:
    """Fire what SQL alone can; return the timers that are left."""
    by_label: dict[str, list[int]] = {}
    for timer in page.timers:
        by_label.setdefault(timer.model, []).append(timer.id)
    done: set[int] = set()
    first, limit = page.timers[0].due_at, to_micros(page.limit)
    for label in sorted(by_label):
        model = _subject_named(label)
        if model is not None and uniform.is_uniform(model):
            done |= Setwise(model, using).fire(first, limit, by_label[label])
    chunk.fired += len(done)
    return [timer for timer in page.timers if timer.id not in done]


def _subject_named(label: str) -> type[models.Model] | None:
    """Return the model of that label; None if it is gone, or has no stock fields any more."""
    app, _, name = label.partition(".")
    model: Any = apps.all_models[app].get(name) if app in apps.all_models else None
    return model if model is not None and stock_fields(model) else None


def _by_model(
    timers: Sequence[Waiting], using: str, chunk: Chunk
) -> list[tuple[type[models.Model], list[str]]]:
    """Return the objects of each model, always in the same order of models."""
    labels: dict[str, type[Any]] = {}
    rows = ScheduledTransition.objects.using(using).filter(Among(F("id"), [t.id for t in timers]))
    named = rows.order_by("due_at", "id").values_list("id", "model", _LIFECYCLE)
    for timer, label, lifecycle in named if timers else ():
        model = _subject_named(label)
        if model is None:
            error = LookupError(f"There is no model {label!r} with stock fields any more.")
            for one in ScheduledTransition.objects.using(using).filter(id=timer):
                parking.fail(one, error, using, chunk)
            continue
        known = labels.get(lifecycle, object)
        labels[lifecycle] = model if issubclass(model, known) else known
    found: dict[type[models.Model], list[str]] = {}
    for lifecycle, model in labels.items():
        found.setdefault(model, []).append(lifecycle)
    return sorted(found.items(), key=lambda pair: pair[0]._meta.label)


def _fire_objects(
    model: type[models.Model],
    lifecycles: Sequence[str],
    limit: datetime,
    using: str,
    chunk: Chunk,
    *,
    careful: bool,
) -> None:
    rows = locked_rows(model, using, skip_locked=True)
    rows = rows.filter(Among(F("stock_lifecycle"), lifecycles)).order_by("pk")
    found = {row.stock_lifecycle: row for row in rows}
    timers = timers_under_lock(lifecycles, using)
    put_right(model, timers, {n: row.__dict__ for n, row in found.items()}, using, chunk)
    decaying = [Decaying(row, timers.get(lifecycle, {})) for lifecycle, row in found.items()]
    Objects(model, decaying, limit, using, chunk, careful=careful).fire()
