"""What happened to an object in memory and is not saved yet."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

import django_fsm

from stockflow import conf, contexts
from stockflow.contexts import Circumstances
from stockflow.domain.decay import Decay, earliest
from stockflow.domain.errors import InvalidInstant, LateEntry, StockflowError, UnknownState
from stockflow.machines import machine_of
from stockflow.tables import STOCKFLOW, Event, Kind, ScheduledTransition

if TYPE_CHECKING:
    from stockflow.fields import StockField

SCHEDULE = "stockflow.schedule"
"""The actor of a decay."""

STEPS_AT_ONCE = 1000
"""More decays than this in one settling are taken for a loop."""


@dataclass(slots=True)
class Pending:
    """One event to be, in the words of the instance."""

    field: str
    kind: Kind
    transition: str | None
    source: str | None
    target: str | None
    occurred_at: datetime
    facets: Mapping[str, Any]
    circumstances: Circumstances
    had_timer: bool = False

    @property
    def changes_state(self) -> bool:
        """Whether the row has another state after it, or has entered its own anew."""
        is_renamed = self.kind is Kind.RECLASSIFIED and self.source != self.target
        return self.kind is Kind.MOVED or is_renamed


@dataclass(slots=True)
class Batch:
    """Events of one save, kept until their transaction is known to be committed."""

    base: int | None
    events: list[Pending]
    loaded: dict[str, Any]

    @property
    def version(self) -> int:
        """The version that the row has with them."""
        return (self.base or 0) + len(self.events)

    @property
    def last_at(self) -> datetime:
        """When the row changed with them."""
        return max(event.occurred_at for event in self.events)


@dataclass(slots=True)
class Call:
    """A transition in progress; a reclassification has no name."""

    transition: str | None
    at: datetime
    circumstances: Circumstances
    recorded: bool = False


@dataclass(slots=True)
class Ledger:
    """Kept on an instance: what is pending, and what the row is known to hold."""

    pending: list[Pending] = field(default_factory=list)
    unconfirmed: list[Batch] = field(default_factory=list)
    loaded: dict[str, Any] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    decay: Call | None = None
    floor: datetime | None = None
    refreshing: bool = False
    work: Any = None

    def copy(self) -> "Ledger":
        """Return an independent one, as a copy or a pickle of the instance needs it."""
        pending, unconfirmed = list(self.pending), list(self.unconfirmed)
        return Ledger(pending, unconfirmed, dict(self.loaded), floor=self.floor)

    @property
    def changed_at(self) -> datetime | None:
        """When the row changed last if this instance did it and it may be rolled back."""
        return self.unconfirmed[-1].last_at if self.unconfirmed else None

    def confirm(self, batch: Batch) -> None:
        """Forget *batch*: its transaction is committed."""
        self.unconfirmed = [other for other in self.unconfirmed if other is not batch]

    def lost_since(self, version: int | None) -> list[Batch]:
        """Return the batches that a row at *version* (None: no row) shows to be rolled back."""
        for n, batch in enumerate(self.unconfirmed):
            if batch.base == version:
                return self.unconfirmed[n:]
        return []


def ledger_of(instance: Any) -> Ledger:
    """Return the instance's ledger, made when first needed."""
    known = instance.__dict__
    ledger: Ledger | None = known.get("_stock_ledger")
    if ledger is None:
        ledger = known["_stock_ledger"] = Ledger()
    return ledger


def is_refreshing(instance: Any) -> bool:
    """Whether the database, not a caller, is setting the instance's fields."""
    ledger: Ledger | None = instance.__dict__.get("_stock_ledger")
    return ledger is not None and ledger.refreshing


def note_loaded(instance: Any, columns: Mapping[str, Any]) -> None:
    """Remember what the row holds in the facet *columns* that are loaded."""
    known = instance.__dict__
    ledger_of(instance).loaded.update({name: known[name] for name in columns if name in known})


class called:
    """The span of one transition's call: settles before it, remembers it after."""

    __slots__ = ("field", "instance", "method")

    def __init__(self, instance: Any, field: "StockField", method: Any) -> None:
        self.instance, self.field, self.method = instance, field, method

    def __enter__(self) -> None:
        instance = self.instance
        ledger = ledger_of(instance)
        name: str = self.method.__name__
        if ledger.decay is not None:
            call, ledger.decay = ledger.decay, None
        elif ledger.calls:  # called from another transition's method: part of the same moment
            call = replace(ledger.calls[-1], transition=name, recorded=False)
        else:
            instance._load_stock_columns()
            call = Call(name, *moment(instance))
            settle(instance, call.at)
        ledger.calls.append(call)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        call = ledger_of(self.instance).calls.pop()
        if error is None and not call.recorded:  # a transition without target: no move, but a fact
            state = self.instance.__dict__[self.field.name]
            remember(self.instance, self.field, Kind.RECLASSIFIED, call, state, state)


def moved(instance: Any, field: "StockField", state: Any) -> None:
    """Set the state; inside a transition's call, remember the move and restart the clock."""
    if not isinstance(state, str) or not state:
        raise UnknownState(
            f"{instance._meta.label}.{field.name} cannot enter {state!r}: a state is a text."
        )
    known, state = instance.__dict__, str.__str__(state)
    ledger: Ledger | None = known.get("_stock_ledger")
    if ledger is None or not ledger.calls:
        known[field.name] = state
        return
    call, source = ledger.calls[-1], known[field.name]
    known[field.name] = state
    try:
        due_at = due(instance, field, call.at)
    except Exception:
        known[field.name] = source
        raise
    had_timer = known[field.due_name] is not None
    known[field.since_name], known[field.due_name] = call.at, due_at
    call.recorded = True
    remember(instance, field, Kind.MOVED, call, source, state, had_timer=had_timer)


def remember(
    instance: Any,
    field: "StockField",
    kind: Kind,
    call: Call,
    source: str | None,
    target: str | None,
    *,
    had_timer: bool = False,
) -> None:
    """Add an event to be written by the next save."""
    instance.stock_changed_at = call.at
    ledger_of(instance).pending.append(
        Pending(
            field.name,
            kind,
            call.transition,
            source,
            target,
            call.at,
            instance._facet_values(),
            call.circumstances,
            had_timer,
        )
    )


def moment(instance: Any) -> tuple[datetime, Circumstances]:
    """Return when what is called now happened, and under which circumstances.

    Raises:
        InvalidInstant: If the context's ``at=`` lies in the future.
        LateEntry: If it lies before the object's last event, or at or before a decay.
    """
    circumstances = contexts.current()
    now = conf.now(instance._state.db or "default")
    last: datetime | None = instance.stock_changed_at
    if circumstances.at is None:
        return (now if last is None else max(now, last)), circumstances
    if circumstances.at > now:
        raise InvalidInstant(
            f"at={circumstances.at.isoformat()} lies in the future of {instance._meta.label} "
            f"{instance.pk!r}: it is {now.isoformat()}. Only what has happened can be recorded."
        )
    if last is not None and circumstances.at <= last:
        _refuse_late_entry(instance, circumstances.at, last)
    return circumstances.at, circumstances


def _refuse_late_entry(instance: Any, at: datetime, last: datetime) -> None:
    """Refuse what is before the last event, or at the instant of a recorded decay."""
    events = Event.objects.using(instance._state.db or "default").filter(
        application=STOCKFLOW,
        originator=str(instance.stock_lifecycle),
        version=instance.stock_version,
        actor=SCHEDULE,
    )
    decay = None if ledger_of(instance).pending else events.values_list("transition").first()
    if at == last and decay is None:
        return
    what = f"the decay {decay[0]!r} was recorded at" if decay else "its last event is of"
    raise LateEntry(
        f"at={at.isoformat()} is too early for {instance._meta.label} {instance.pk!r}: {what} "
        f"{last.isoformat()}. Record an object's past in order, before the schedule runs."
    )


def due(instance: Any, field: "StockField", since: datetime) -> datetime | None:
    """Return when the earliest decay of the field's state is due, entered at *since*."""
    decays = machine_of(type(instance), field.name).decays(instance.__dict__[field.name])
    first = earliest(decays, since, instance) if decays else None
    return None if first is None else first[1]


def settle(instance: Any, until: datetime) -> int:
    """Apply each decay that fell due before *until* as a pending event at its due instant.

    At exactly a due instant what is called wins.

    A decay whose conditions are false stays overdue, and its field is left as it is.

    Returns:
        How many decays were applied.
    """
    blocked: set[str] = set()
    unsaved: dict[str, Any] = {}
    try:
        for step in range(STEPS_AT_ONCE):
            overdue = first_overdue(instance, until, blocked)
            if overdue is None:
                return step
            unsaved = unsaved or _set_aside(instance)
            due_at, field, decay = overdue
            try:
                decay_at(instance, decay.transition, due_at)
            except django_fsm.TransitionNotAllowed:
                blocked.add(field.name)
    finally:
        instance.__dict__.update(unsaved)
    raise StockflowError(
        f"{instance._meta.label} {instance.pk!r} had {STEPS_AT_ONCE} decays in a row, the last one "
        f"{decay.transition!r} at {due_at.isoformat()}: does a chain of decays loop without delay?"
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


def decay_at(instance: Any, transition: str, due_at: datetime) -> None:
    """Call *transition* as the schedule does, at the instant at which it was due."""
    ledger = ledger_of(instance)
    at = max(due_at, instance.stock_changed_at or due_at)  # later only if its condition was false
    ledger.decay = Call(transition, at, Circumstances(actor=SCHEDULE))
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
            decay = _due_decay(instance, field)
            found = (due_at, field, decay) if decay else found
    return found


def _due_decay(instance: Any, field: "StockField") -> Decay | None:
    """Return the decay that the field's due instant belongs to."""
    decays = machine_of(type(instance), field.name).decays(instance.__dict__[field.name])
    if len(decays) < 2:
        return decays[0] if decays else None
    if not any(event.field == field.name for event in ledger_of(instance).pending):
        timers = ScheduledTransition.objects.using(instance._state.db or "default")
        named = timers.filter(lifecycle=instance.stock_lifecycle, field=field.name)
        name = named.values_list("transition", flat=True).first()
        return next((decay for decay in decays if decay.transition == name), None)
    first = earliest(decays, instance.__dict__[field.since_name], instance)
    return first[0] if first else None
