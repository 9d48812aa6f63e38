"""Deferring: decays that are due at another instant than their delay says, or not at all."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from stockflow.contexts import SCHEDULE_KEY, merge
from stockflow.domain.decay import Decay, earliest
from stockflow.ledgers import Call, Pending, ledger_of, remember
from stockflow.machines import machine_of
from stockflow.tables import STOCKFLOW, Event, Kind, ScheduledTransition

if TYPE_CHECKING:
    from stockflow.fields import StockField

Due = dict[str, datetime | None]
"""When each decay of a state is due, by transition; None is never."""

ENDED = frozenset({"cancelled", "skipped"})
"""Changes after which a decay does not happen in this stay."""

LASTING = ENDED | {"postponed"}
"""Changes that outlast those which move what is due by its delay."""


@dataclass(frozen=True)
class Said:
    """What events have said of the decays of the present state.

    Attributes:
        words: The last change of each decay, by transition, and when it is due since then.
        since: When their clock began; None if no event told.
    """

    words: Mapping[str, tuple[str, datetime | None]]
    since: datetime | None

    @property
    def lasting(self) -> dict[str, str]:
        """The changes that what moves all decays leaves alone."""
        return {name: change for name, (change, _) in self.words.items() if change in LASTING}


def decays_of(instance: Any, field: "StockField") -> tuple[Decay, ...]:
    """Return the decays that leave the present state."""
    return machine_of(type(instance), field.name).decays(instance.__dict__[field.name])


def due_decay(instance: Any, field: "StockField", named: str | None = None) -> Decay | None:
    """Return the decay that the field's due instant belongs to.

    *named* is what its timer names, where that is known.
    """
    decays = decays_of(instance, field)
    if len(decays) < 2:
        return decays[0] if decays else None
    last = next((e for e in reversed(ledger_of(instance).pending) if _sets_due(e, field)), None)
    if last is None:
        name = named or _named(instance, field)
        return next((decay for decay in decays if decay.transition == name), None)
    if last.decay is not None:
        return next(decay for decay in decays if decay.transition == last.decay)
    first = earliest(decays, instance.__dict__[field.since_name], instance)
    return first[0] if first else None


def _named(instance: Any, field: "StockField") -> str | None:
    timers = ScheduledTransition.objects.using(instance._state.db or "default")
    its = timers.filter(lifecycle=instance.stock_lifecycle, field=field.name)
    name: str | None = its.values_list("transition", flat=True).first()
    return name


def _sets_due(event: Pending, field: "StockField") -> bool:
    return event.field == field.name and (event.changes_state or event.changes_due)


def schedule_of(instance: Any, field: "StockField", said: Said, at: datetime) -> Due:
    """Return when each decay of the present state is due: as coded, unless an event *said* otherwise.

    The earliest one is due when the row says, whatever the code says by now. A clock of which
    nobody knows when it began begins *at*.
    """
    known, since = instance.__dict__, said.since or at
    due = {d.transition: d.due_at(since, instance) for d in decays_of(instance, field)}
    due |= {name: at for name, (_, at) in said.words.items() if name in due}
    current = due_decay(instance, field)
    if current is not None and known[field.due_name] is not None:
        due[current.transition] = known[field.due_name]
    return due


def said_of(instance: Any, field: "StockField") -> Said:
    """Return what events have said of the decays since the present state was entered."""
    words: dict[str, tuple[str, datetime | None]] = {}
    since = instance.__dict__[field.since_name]
    for data in _data(instance, field):
        words = _parsed(data) | words
        since = datetime.fromisoformat(data["since"]) if "since" in data else since
    return Said(words, since)


def _data(instance: Any, field: "StockField") -> Iterator[Mapping[str, Any]]:
    """Yield what each event says, the newest first, back to the one that entered the state."""
    for event in reversed(ledger_of(instance).pending):
        if event.field == field.name:
            data = event.circumstances.data
            yield json.loads(data).get(SCHEDULE_KEY, {}) if data else {}
            if event.changes_state:
                return
    logged = Event.objects.using(instance._state.db or "default").filter(
        application=STOCKFLOW, originator=str(instance.stock_lifecycle), field=field.name
    )
    for kind, source, target, payload in logged.order_by("-version").values_list(
        "kind", "source", "target", "payload"
    ):
        yield json.loads(bytes(payload)).get("data", {}).get(SCHEDULE_KEY, {}) if payload else {}
        if kind == Kind.MOVED or source != target:
            return


def _parsed(data: Mapping[str, Any]) -> dict[str, tuple[str, datetime | None]]:
    still = data.get("still", {})
    return {
        name: (still.get(name, data["change"]), at and datetime.fromisoformat(at))
        for name, at in data.get("due", {}).items()
    }


def data_of(change: str, due: Due, **more: Any) -> str:
    """Return the JSON that an event keeps of a *change* of the decays' due instants."""
    instants = {name: at and at.isoformat() for name, at in due.items()}
    said = {name: value for name, value in more.items() if value}
    return json.dumps({SCHEDULE_KEY: {"change": change, "due": instants, **said}}, sort_keys=True)


def defer(
    instance: Any,
    field: "StockField",
    call: Call,
    change: str,
    due: Due,
    still: Mapping[str, str] | None = None,
) -> None:
    """Let the decays in *due* be due when it says, and remember the event that says so.

    Those in *still* are what an earlier event made them. It is a reclassification: the object
    stays where it is, no flow counts it, its spell goes on.
    """
    known = instance.__dict__
    state, had_timer = known[field.name], known[field.due_name] is not None
    scheduled = schedule_of(instance, field, said_of(instance, field), call.at)
    dated = [(at, name) for name, at in (scheduled | due).items() if at]
    first = min(dated, key=lambda pair: pair[0], default=None)
    known[field.due_name] = first and max(first[0], call.at)
    remember(
        instance,
        field,
        Kind.RECLASSIFIED,
        _telling(call, change, due, still=still),
        state,
        state,
        had_timer=had_timer,
        decay=first and first[1],
        changes_due=True,
    )


def keep(instance: Any, field: "StockField", call: Call) -> tuple[str | None, Call]:
    """Return the decay that stays due when it is, and the *call* with data that say so.

    They say it of all decays: those of which nothing is due are to stay as they are too.
    """
    if not decays_of(instance, field):
        return None, call
    said = said_of(instance, field)
    is_due = instance.__dict__[field.due_name] is not None
    current = due_decay(instance, field) if is_due else None
    told = _telling(
        call,
        "kept",
        schedule_of(instance, field, said, call.at),
        still=said.lasting,
        since=said.since and said.since.isoformat(),
    )
    return current.transition if current else None, told


def _telling(call: Call, change: str, due: Due, **more: Any) -> Call:
    told = call.circumstances
    data = merge(told.data, data_of(change, due, **more))
    return replace(call, circumstances=replace(told, data=data))
