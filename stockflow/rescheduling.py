"""Rescheduling: due instants moved by a caller, by a field's new value, or to what the code says now."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import models, transaction
from django.db.models import Q

from stockflow.bulk import chunks
from stockflow.deferring import ENDED, Due, decays_of, defer, said_of
from stockflow.domain.decay import Attribute
from stockflow.domain.errors import InvalidInstant, UnknownTransition
from stockflow.domain.instants import require_instant
from stockflow.ledgers import Call, ledger_of
from stockflow.machines import machine_of
from stockflow.moments import moment
from stockflow.settling import settle
from stockflow.subjects import subject_of

if TYPE_CHECKING:
    from stockflow.fields import StockField

CHUNK = 1_000
"""How many objects one transaction takes."""


def postpone(instance: Any, transition: str, to: datetime) -> None:
    """Let the decay *transition* be due at *to*."""
    to = require_instant(to, "to")
    field, call = _settled(instance, transition)
    if to <= call.at:
        raise InvalidInstant(
            f"to={to.isoformat()} is not after {call.at.isoformat()}, so {transition!r} of "
            f"{instance._meta.label} {instance.pk!r} cannot be postponed to it: call the transition, "
            "or give a later instant."
        )
    defer(instance, field, call, "postponed", {transition: to})


def cancel(instance: Any, transition: str) -> None:
    """Let the decay *transition* not happen before the state is left."""
    field, call = _settled(instance, transition)
    defer(instance, field, call, "cancelled", {transition: None})


def _settled(instance: Any, transition: str) -> "tuple[StockField, Call]":
    """Return the field that *transition* decays, and the circumstances, after what was due before."""
    instance._load_stock_columns()
    at, circumstances = moment(instance)
    settle(instance, at)
    known: list[str] = []
    for field in instance._stock_fields():
        names = [decay.transition for decay in decays_of(instance, field)]
        if transition in names:
            return field, Call(None, at, circumstances)
        known += names
    raise UnknownTransition(
        f"No decay {transition!r} leaves the present state of {instance._meta.label} "
        f"{instance.pk!r} (it has: {', '.join(map(repr, known)) or 'none'})."
    )


def changed_delays(instance: Any, names: frozenset[str] | None) -> set[str]:
    """Return the fields that say how long a state lasts, and that this save is to change."""
    columns = subject_of(type(instance)).delay_columns
    known, before = instance.__dict__, ledger_of(instance).delays
    wanted = columns if names is None else columns & names
    return {n for n in wanted if n in known and (n not in before or known[n] != before[n])}


def follow(instance: Any, changed: set[str]) -> None:
    """Move the decays whose fields in *changed* have a new value; a cancelled one stays so."""
    at, circumstances = moment(instance)
    for field in instance._stock_fields():
        moved = _moved_by(changed, instance, field, at)
        if moved and _differs(instance, field, moved):
            defer(instance, field, Call(None, at, circumstances), "moved by its field", moved)


def _moved_by(changed: set[str], instance: Any, field: "StockField", at: datetime) -> Due:
    """Return when the decays are due whose fields are in *changed*."""
    if instance.__dict__[field.since_name] is None:
        return {}
    moved = [
        decay
        for decay in decays_of(instance, field)
        if isinstance(decay.delay, Attribute) and decay.delay.name in changed
    ]
    if not moved:
        return {}
    said = said_of(instance, field)
    since = said.since or at
    ended = {name for name, change in said.lasting.items() if change in ENDED}
    due = {d.transition: d.due_at(since, instance) for d in moved if d.transition not in ended}
    return {name: instant and max(instant, at) for name, instant in due.items()}


def _differs(instance: Any, field: "StockField", moved: Due) -> bool:
    """Whether *moved* is news: an only decay that is due then already is none."""
    if len(decays_of(instance, field)) > 1:
        return True
    (due,) = moved.values()
    return bool(due != instance.__dict__[field.due_name])


@dataclass(frozen=True)
class Rescheduled:
    """A due instant that the code moves; None is never."""

    key: Any
    state: str
    before: datetime | None
    after: datetime | None


def reschedule(
    model: type[models.Model], name: str, *, using: str, apply: bool
) -> Iterator[list[Rescheduled]]:
    """Yield, for each chunk of the objects of *model*, what the delays in the code move by now.

    What is overdue already, was postponed, cancelled or skipped stays as it is. With *apply* it is
    recorded, a transaction per chunk; else nothing is written.
    """
    (field,) = (f for f in subject_of(model).fields if f.name == name)
    states = {rule.source for rule in machine_of(model, name).rules if rule.delay is not None}
    decaying = Q(**{f"{name}__in": states}) | Q(**{f"{field.due_name}__isnull": False})
    everyone = model._base_manager.using(using).filter(decaying, stock_lifecycle__isnull=False)
    for keys in chunks.pages(everyone, CHUNK):
        with transaction.atomic(using=using):
            yield _reschedule(model, field, keys, using, apply=apply)


def _reschedule(
    model: type[models.Model], field: "StockField", keys: Sequence[Any], using: str, *, apply: bool
) -> list[Rescheduled]:
    found = []
    rows = chunks.lock(model, using, keys) if apply else model._base_manager.using(using)
    for row in rows.filter(**{f"{chunks.key_name(model)}__in": keys}):
        at, circumstances = moment(row)
        before = row.__dict__[field.due_name]
        due, still = _due_by_code(row, field, at)
        after = _first(due)
        if after == before or (before is not None and before <= at):
            continue
        found.append(Rescheduled(row.pk, row.__dict__[field.name], before, after))
        if apply:
            defer(row, field, Call(None, at, circumstances), "rescheduled", due, still)
            row.save(using=using)
    return found


def _due_by_code(row: Any, field: "StockField", at: datetime) -> tuple[Due, dict[str, str]]:
    """Return when each decay is due as the code says by now, and which stay as they were made.

    The log is read only where it may make a difference.
    """
    known, machine = row.__dict__, machine_of(type(row), field.name)
    before, still = known[field.due_name], dict[str, str]()
    due = _coded(row, field, known[field.since_name] or at)
    if _first(due) != before or machine.may_keep_clock(known[field.name]):
        said = said_of(row, field)
        due = _coded(row, field, said.since or at)
        still = {name: change for name, change in said.lasting.items() if name in due}
        due |= {name: said.words[name][1] for name in still}
    # What would have been due is due at once: nothing is dated before it was known.
    return {
        name: instant and (instant if instant == before else max(instant, at))
        for name, instant in due.items()
    }, still


def _coded(row: Any, field: "StockField", since: datetime) -> Due:
    return {decay.transition: decay.due_at(since, row) for decay in decays_of(row, field)}


def _first(due: Due) -> datetime | None:
    return min((instant for instant in due.values() if instant), default=None)
