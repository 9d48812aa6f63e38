"""Firing decays by SQL alone: of models with one stock field whose every decay is an empty method.

What each object goes through is worked out from its row, and then written for all of them: one
statement for the events, one for the rows, one or two for the timers.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import models
from django.db.models import F

from stockflow.bulk import writing
from stockflow.bulk.commands import Command
from stockflow.domain.decay import Decay, Length, earliest
from stockflow.domain.machine import Machine
from stockflow.machines import machine_of
from stockflow.rows import Among
from stockflow.scheduling.locking import put_right, timers_under_lock
from stockflow.scheduling.outcomes import Chunk
from stockflow.scheduling.statements import Changed, Step, Writing
from stockflow.subjects import locked_rows, subject_of

LONGEST = 50
"""An object with more decays than this in one chunk is left to what knows a loop."""


class Row(NamedTuple):
    """What is read of an object."""

    pk: Any
    lifecycle: UUID
    version: int
    changed_at: datetime
    state: str
    due_at: datetime | None


def is_uniform(model: type[models.Model]) -> bool:
    """Whether each decay of *model* does the same to every object, so that none is loaded."""
    subject = subject_of(model)
    if not subject.has_one_field:
        return False
    field = subject.fields[0]
    decays = [rule for rule in machine_of(model, field.name).rules if rule.delay is not None]
    return all(
        isinstance(rule.delay, Length)
        and rule.max_lateness is None
        and Command(model, field, rule.transition, None, {}).is_uniform
        for rule in decays
    )


def fire(
    model: type[models.Model], lifecycles: Sequence[str], limit: datetime, using: str, chunk: Chunk
) -> list[str]:
    """Fire the decays of the objects of *lifecycles* that are due at *limit* or before.

    Returns:
        The objects that need their methods called after all, and are left alone.
    """
    field = subject_of(model).fields[0]
    rows = _locked(model, field.name, field.due_name, lifecycles, using)
    timers = timers_under_lock(lifecycles, using)
    due = {row.lifecycle: {field.due_name: row.due_at} for row in rows}
    put_right(model, timers, due, using, chunk)
    machine, changed, left = machine_of(model, field.name), list[Changed](), list[str]()
    for row in rows:
        timer = timers.get(row.lifecycle, {}).get(field.name)
        if timer is None:
            continue
        steps = _steps(row, machine, timer.transition, limit)
        if steps is None:
            left.append(str(writing.lifecycle_value(model, using, row.lifecycle)))
        elif steps and row.due_at is not None:
            changed.append(Changed(row.pk, timer, row.version, row.due_at, steps))
    if changed:
        Writing(model, field, using).write(changed)
        chunk.fired += sum(len(one.steps) for one in changed)
    return left


def _locked(
    model: type[models.Model], state: str, due: str, lifecycles: Sequence[str], using: str
) -> list[Row]:
    rows = locked_rows(model, using, skip_locked=True)
    rows = rows.filter(Among(F("stock_lifecycle"), lifecycles))
    names = ("pk", "stock_lifecycle", "stock_version", "stock_changed_at", state, due)
    return [Row(*values) for values in rows.order_by("pk").values_list(*names)]


def _steps(row: Row, machine: Machine, named: str, limit: datetime) -> list[Step] | None:
    """Return what the object goes through until *limit*; None if its methods must be called."""
    steps: list[Step] = []
    state, due_at, at = row.state, row.due_at, row.changed_at
    decay = next((d for d in machine.decays(state) if d.transition == named), None)
    while due_at is not None and due_at <= limit:
        target = None if decay is None else machine.target(decay.transition, state)
        if decay is None or target is None or len(steps) == LONGEST:
            return None
        at = max(at, due_at)  # later only if it was held back
        due_then, following = _next(machine.decays(target), at)
        step = Step(decay.transition, state, target, at, due_then, following)
        steps.append(step)
        state, due_at = target, step.due_at
        decay = next((d for d in machine.decays(state) if d.transition == step.following), None)
    return steps


def _next(decays: Sequence[Decay], since: datetime) -> tuple[datetime | None, str]:
    first = earliest(decays, since, None) if decays else None
    return (None, "") if first is None else (first[1], first[0].transition)
