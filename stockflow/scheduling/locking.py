"""The timers of locked objects, as they are by now, and put right where they are not."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections, models
from django.db.models import F, Q

from stockflow import conf
from stockflow.domain.instants import to_micros
from stockflow.fields import family
from stockflow.rows import Among
from stockflow.scheduling.outcomes import Chunk
from stockflow.subjects import stock_fields, subject_of
from stockflow.tables import ScheduledTransition


class Timer(NamedTuple):
    """What firing needs to know of a timer whose object is locked."""

    id: int
    lifecycle: UUID
    field: str
    version: int
    transition: str
    due_at: int


Timers = dict[UUID, dict[str, Timer]]
"""Timers by lifecycle and field."""


def timers_under_lock(lifecycles: Sequence[str], using: str) -> Timers:
    """Return the timers of the locked objects as they are by now, those of other fields too."""
    now = to_micros(conf.now(using))
    timers = ScheduledTransition.objects.using(using).filter(Among(F("lifecycle"), lifecycles))
    waiting = timers.filter(Q(retry_at=None) | Q(retry_at__lte=now), parked_at=None)
    found: Timers = {}
    for timer in map(Timer._make, waiting.values_list(*Timer._fields)):
        found.setdefault(timer.lifecycle, {})[timer.field] = timer
    return found


def put_right(
    model: type[models.Model],
    timers: Timers,
    rows: Mapping[UUID, Mapping[str, Any]],
    using: str,
    chunk: Chunk,
) -> None:
    """Mend or delete those of *timers* that are not what their objects say.

    Those of objects that another writer has locked are taken out.

    Args:
        model: The class of the objects.
        timers: Of the objects that were to be locked.
        rows: The attributes of those that are locked, by lifecycle.
        using: The alias of the database.
        chunk: Where to count.
    """
    missing = timers.keys() - rows.keys()
    busy: set[UUID] = set()
    if missing and connections[using].features.has_select_for_update_skip_locked:
        everyone: models.QuerySet[Any] = models.QuerySet(model, using=using)
        seen = everyone.filter(stock_lifecycle__in=missing)
        busy = set(seen.values_list("stock_lifecycle", flat=True))
    for lifecycle in busy:
        chunk.busy |= {timer.id for timer in timers.pop(lifecycle).values()}
    names = {field.name: field.due_name for field in stock_fields(model)}
    relatives = family(subject_of(model).table)
    others = {field.name for relative in relatives for field in stock_fields(relative)} - {*names}
    for lifecycle, its in timers.items():
        row = rows.get(lifecycle)
        for timer in its.values():
            if row is not None and timer.field in others:
                continue  # a child's, which its own class looks at
            stored = None if row is None else row.get(names.get(timer.field, ""))
            if stored is not None and to_micros(stored) == timer.due_at:
                continue
            chunk.obsolete += 1
            unchanged = ScheduledTransition.objects.using(using).filter(id=timer.id)
            if stored is None:
                unchanged.delete()
            else:  # else it would be found due for ever
                unchanged.update(due_at=to_micros(stored))
