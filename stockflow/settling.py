"""Settling: overdue decays happen in memory before whatever is called next."""

from collections.abc import Container
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

import django_fsm

from stockflow import conf, deferring
from stockflow.bodies import may_fail
from stockflow.contexts import Cause, Circumstances
from stockflow.domain.decay import Decay, earliest
from stockflow.domain.errors import StockflowError
from stockflow.domain.instants import from_micros
from stockflow.ledgers import Call, ledger_of
from stockflow.machines import machine_of
from stockflow.moments import SCHEDULE
from stockflow.tables import ScheduledTransition

if TYPE_CHECKING:
    from stockflow.fields import StockField

TURNS_AT_ONE_INSTANT = 100
"""More decays of one object at one instant than this are taken for a loop."""


class Turns:
    """How many decays of one object come at one instant.

    Attributes:
        at: The instant of the last one.
        count: How many came then.
    """

    __slots__ = ("at", "count")

    def __init__(self) -> None:
        self.at: datetime | None = None
        self.count = 0

    def are_looping(self, at: datetime) -> bool:
        """Count one at the instant *at*; whether there are too many."""
        if at != self.at:
            self.at, self.count = at, 0
        self.count += 1
        return self.count > TURNS_AT_ONE_INSTANT


def due(instance: Any, field: "StockField", since: datetime) -> datetime | None:
    """Return when the earliest decay of the field's state is due, entered at *since*."""
    decays = machine_of(type(instance), field.name).decays(instance.__dict__[field.name])
    first = earliest(decays, since, instance) if decays else None
    return None if first is None else first[1]


def settle(instance: Any, until: datetime) -> int:
    """Apply each decay that fell due before *until* as a pending event at its due instant.

    At exactly a due instant what is called wins.

    A decay that is held back, or parked for a person, stays overdue, and its field is left as it is.

    Returns:
        How many decays were applied.
    """
    blocked: set[str] = set()
    unsaved: dict[str, Any] = {}
    turns, steps, is_asked = Turns(), 0, False
    try:
        while overdue := first_overdue(instance, until, blocked):
            due_at, field, decay = overdue
            if not is_asked and may_fail(type(instance), decay.transition):
                is_asked, blocked = True, blocked | parked(instance)
                continue
            if turns.are_looping(due_at):
                raise looping(instance, decay, due_at)
            unsaved = unsaved or _set_aside(instance)
            if apply(instance, field, decay, due_at) not in DONE:
                blocked.add(field.name)
            steps += 1
    finally:
        instance.__dict__.update(unsaved)
    return steps


def parked(instance: Any) -> set[str]:
    """Return the fields whose decays wait for a person, who may well call something else.

    Asked of the database where something may fail: what runs nothing is settled in memory.
    """
    timers = ScheduledTransition.objects.using(instance._state.db or "default")
    waiting = timers.filter(lifecycle=instance.stock_lifecycle, parked_at__isnull=False)
    return set(waiting.values_list("field", flat=True))


def looping(instance: Any, decay: Decay, due_at: datetime) -> StockflowError:
    """Return the error that says that *decay* comes again and again at *due_at*."""
    return StockflowError(
        f"{instance._meta.label} {instance.pk!r} has more than {TURNS_AT_ONE_INSTANT} decays at "
        f"{due_at.isoformat()}, {decay.transition!r} among them: does a chain of decays loop without "
        "delay?"
    )


def _set_aside(instance: Any) -> dict[str, Any]:
    """Take back the facets changed just now: an overdue decay was before that.

    Returns:
        What to put there again when the decays are done.
    """
    ledger = ledger_of(instance)
    before = ledger.pending[-1].facets if ledger.pending else ledger.loaded
    changed: dict[str, Any] = instance._changed_facets(before)
    unsaved = {name: value for name, value in changed.items() if name in before}
    instance.__dict__.update({name: before[name] for name in unsaved})
    return unsaved


class Became(Enum):
    """What became of a decay that was due."""

    FIRED = "fired"
    SKIPPED = "skipped"
    """Its conditions were false, and it is declared not to happen then."""
    HELD = "held"
    """Its conditions are false: it stays overdue."""
    UNDECIDED = "undecided"
    """Its conditions are false, and it is declared to be left to a person."""
    LATE = "late"
    """It is later than it may be: left to a person."""


DONE = frozenset({Became.FIRED, Became.SKIPPED})
"""The decay is recorded, one way or the other."""


def apply(
    instance: Any, field: "StockField", decay: Decay, due_at: datetime, clock: int | None = None
) -> Became:
    """Let *decay* happen to the instance at the instant at which it was due, if it may.

    *clock* is the version that set its clock, where that is known.
    """
    if is_too_late(instance, field, decay, due_at):
        return Became.LATE
    try:
        decay_at(
            instance, decay.transition, _call(instance, field, decay.transition, due_at, clock)
        )
    except django_fsm.TransitionNotAllowed as error:
        method = getattr(error.method, "__name__", None)
        if error.object is not instance or method != decay.transition:
            raise  # of a transition that the method called
    else:
        return Became.FIRED
    if decay.on_false == "skip":
        call = _call(instance, field, None, due_at, clock)
        deferring.defer(instance, field, call, "skipped", {decay.transition: None})
        return Became.SKIPPED
    return Became.UNDECIDED if decay.on_false == "park" else Became.HELD


def is_too_late(instance: Any, field: "StockField", decay: Decay, due_at: datetime) -> bool:
    """Whether *decay* may not happen any more, unless a person released it."""
    using = instance._state.db or "default"
    if decay.max_lateness is None or conf.now(using) - due_at <= decay.max_lateness:
        return False
    timers = ScheduledTransition.objects.using(using)
    named = timers.filter(lifecycle=instance.stock_lifecycle, field=field.name)
    released = named.values_list("released_at", flat=True).first()
    return released is None or conf.now(using) - from_micros(released) > decay.max_lateness


def _call(
    instance: Any, field: "StockField", transition: str | None, due_at: datetime, clock: int | None
) -> Call:
    at = max(due_at, instance.stock_changed_at or due_at)  # later only if it was held back
    cause = Cause(field.name, due_at, clock)
    return Call(transition, at, Circumstances(actor=SCHEDULE, cause=cause))


def decay_at(instance: Any, transition: str, call: Call) -> None:
    """Call *transition* as the schedule does, when and why *call* says."""
    ledger = ledger_of(instance)
    ledger.decay = call
    try:
        getattr(instance, transition)()
    finally:
        ledger.decay = None


def first_overdue(
    instance: Any, until: datetime, blocked: Container[str] = (), *, inclusive: bool = False
) -> "tuple[datetime, StockField, Decay] | None":
    """Return the decay of *instance* that fell due first, when, and of which field."""
    found: tuple[datetime, StockField, Decay] | None = None
    for field in instance._stock_fields():
        due_at = instance.__dict__.get(field.due_name)
        if due_at is None or due_at > until or field.name in blocked:
            continue
        if (due_at < until or inclusive) and (found is None or due_at < found[0]):
            decay = deferring.due_decay(instance, field)
            found = (due_at, field, decay) if decay else found
    return found
