"""Foresight: what an object is once the decays that are due have happened."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from stockflow import conf, deferring
from stockflow.domain.decay import Decay
from stockflow.domain.errors import InvalidInstant, StockflowError
from stockflow.domain.instants import require_instant
from stockflow.domain.machine import Machine
from stockflow.errors import InvalidDeclaration
from stockflow.machines import machine_of
from stockflow.settling import Turns, is_too_late, looping, parked
from stockflow.subjects import subject_of

if TYPE_CHECKING:
    from stockflow.fields import StockField

Dated = list[tuple[Decay, datetime | None]]
"""The decays of a state, and when each is due."""


def effective_state(instance: Any, name: str | None, at: datetime | None) -> str:
    """Return the state of field *name* once what is due at *at* has happened."""
    field = _field(instance, name)
    instance._load_stock_columns()
    now = conf.now(instance._state.db or "default")
    at = now if at is None else require_instant(at, "at")
    last = instance.stock_changed_at
    if last is not None and at < last:
        raise InvalidInstant(
            f"at={at.isoformat()} is before the last event of {instance._meta.label} "
            f"{instance.pk!r}, of {last.isoformat()}: stock_history() tells the past."
        )
    return _follow(instance, field, at)


def _follow(instance: Any, field: "StockField", at: datetime) -> str:
    known, machine = instance.__dict__, machine_of(type(instance), field.name)
    state, due_at = str(known[field.name]), known[field.due_name]
    decay = deferring.due_decay(instance, field) if due_at is not None else None
    last, others, turns = instance.stock_changed_at, None, Turns()
    if due_at is not None and due_at <= at and field.name in parked(instance):
        return state  # until a person decides
    while decay is not None and due_at is not None and due_at <= at:
        if turns.are_looping(due_at):
            raise looping(instance, decay, due_at)
        if is_too_late(instance, field, decay, due_at):
            return state
        last = max(last or due_at, due_at)
        if _may(instance, decay.transition, state):
            state = _target(instance, machine, decay, due_at)
            others = [(other, other.due_at(last, instance)) for other in machine.decays(state)]
        elif decay.on_false == "skip":
            others = _without(decay, _scheduled(instance, field) if others is None else others)
        else:
            return state
        decay, due_at = _first(others, last)
    return state


def _scheduled(instance: Any, field: "StockField") -> Dated:
    said = deferring.said_of(instance, field)
    due = deferring.schedule_of(instance, field, said, instance.stock_changed_at)
    return [(decay, due[decay.transition]) for decay in deferring.decays_of(instance, field)]


def _without(skipped: Decay, decays: Dated) -> Dated:
    return [pair for pair in decays if pair[0].transition != skipped.transition]


def _first(decays: Dated, last: datetime) -> tuple[Decay, datetime] | tuple[None, None]:
    """Return the earliest and when it is due: nothing happens before the *last* that happened."""
    dated = [(decay, max(at, last)) for decay, at in decays if at is not None]
    return min(dated, key=lambda pair: pair[1], default=(None, None))


def _target(instance: Any, machine: Machine, decay: Decay, due_at: datetime) -> str:
    target = machine.target(decay.transition, decay.source)
    if target is None:
        raise StockflowError(
            f"Where {decay.transition!r} of {instance._meta.label} {instance.pk!r} leads from "
            f"{decay.source!r} is computed by calling it: what it is after {due_at.isoformat()} cannot "
            "be told before."
        )
    return target


def _may(instance: Any, transition: str, state: str) -> bool:
    method = getattr(type(instance), transition)._django_fsm
    return bool(method.conditions_met(instance, state))


def _field(instance: Any, name: str | None) -> "StockField":
    fields = {field.name: field for field in subject_of(type(instance)).fields}
    if name is None and len(fields) == 1:
        return next(iter(fields.values()))
    if name not in fields:
        raise InvalidDeclaration(
            f"{instance._meta.label} has the stock fields {', '.join(map(repr, fields))}: say which "
            f"one is asked for, not {name!r}."
        )
    return fields[name]
