"""The timers of locked objects, as they are by now, and put right where they are not."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.db import connections, models
from django.db.models import Q

from stockflow import conf
from stockflow.domain.instants import to_micros
from stockflow.scheduling.outcomes import Chunk
from stockflow.tables import ScheduledTransition

Timers = dict[tuple[UUID, str], ScheduledTransition]
"""Timers by lifecycle and field."""


def timers_under_lock(lifecycles: Sequence[UUID], using: str) -> Timers:
    """Return the timers of the locked objects as they are by now, those of other fields too."""
    now = to_micros(conf.now(using))
    timers = ScheduledTransition.objects.using(using).filter(lifecycle__in=lifecycles)
    waiting = timers.filter(Q(retry_at=None) | Q(retry_at__lte=now), parked_at=None)
    return {(timer.lifecycle, timer.field): timer for timer in waiting}


def put_right(
    model: type[models.Model],
    timers: Timers,
    due: Mapping[UUID, Mapping[str, datetime | None]],
    using: str,
    chunk: Chunk,
) -> None:
    """Take out of *timers* those that are not what their objects say, and mend or delete them."""
    missing = {lifecycle for lifecycle, _ in timers} - due.keys()
    busy: set[UUID] = set()
    if missing and connections[using].features.has_select_for_update_skip_locked:
        rows = model._base_manager.using(using).filter(stock_lifecycle__in=missing)
        busy = set(rows.values_list("stock_lifecycle", flat=True))
    for key, timer in list(timers.items()):
        lifecycle, name = key
        if lifecycle in busy:
            chunk.busy.add(timer.id)
            del timers[key]
            continue
        stored = due.get(lifecycle, {}).get(name)
        if stored is not None and to_micros(stored) == timer.due_at:
            continue
        chunk.obsolete += 1
        unchanged = ScheduledTransition.objects.using(using).filter(id=timer.id)
        if stored is None:
            unchanged.delete()
            del timers[key]
        else:  # else it would be found due for ever
            unchanged.update(due_at=to_micros(stored))
