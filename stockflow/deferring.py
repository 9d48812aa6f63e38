"""Deferring: decays that are due at another instant than their delay says, or not at all."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from stockflow.contexts import merge
from stockflow.domain.decay import Decay, earliest
from stockflow.ledgers import Call, Pending, ledger_of, remember
from stockflow.machines import machine_of
from stockflow.tables import STOCKFLOW, Event, Kind, ScheduledTransition

if TYPE_CHECKING:
    from stockflow.fields import StockField

KEY = "stockflow.schedule"
"""Where an event's data say what it did to decays, such as
``{"change": "postponed", "due": {"cool": "2026-03-12T00:00:00+00:00"}}``; null is never."""

Due = dict[str, datetime | None]
"""When each decay of a state is due, by transition; None is never."""


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


def schedule_of(instance: Any, field: "StockField") -> Due:
    """Return when each decay of the present state is due: as coded, unless an event says otherwise.

    The earliest one is due when the row says, whatever the code says by now.
    """
    known = instance.__dict__
    due = {
        d.transition: d.due_at(known[field.since_name], instance)
        for d in decays_of(instance, field)
    }
    due |= told(instance, field)
    current = due_decay(instance, field)
    if current is not None and known[field.due_name] is not None:
        due[current.transition] = known[field.due_name]
    return due


def told(instance: Any, field: "StockField") -> Due:
    """Return what events have said of the decays since the present state was entered."""
    return {name: due for name, (_, due) in changes(instance, field).items()}


def changes(instance: Any, field: "StockField") -> dict[str, tuple[str, datetime | None]]:
    """Return the last change of each decay since the present state was entered, by transition."""
    found: dict[str, tuple[str, datetime | None]] = {}
    for event in reversed(ledger_of(instance).pending):
        if event.field == field.name:
            data = event.circumstances.data
            found = _parsed(json.loads(data) if data else {}) | found
            if event.changes_state:
                return found
    logged = Event.objects.using(instance._state.db or "default").filter(
        application=STOCKFLOW, originator=str(instance.stock_lifecycle), field=field.name
    )
    for kind, source, target, payload in logged.order_by("-version").values_list(
        "kind", "source", "target", "payload"
    ):
        found = _parsed(json.loads(bytes(payload)).get("data", {}) if payload else {}) | found
        if kind == Kind.MOVED or source != target:
            break
    return found


def _parsed(data: Mapping[str, Any]) -> dict[str, tuple[str, datetime | None]]:
    said = data.get(KEY, {"due": {}})
    return {
        name: (said["change"], at and datetime.fromisoformat(at))
        for name, at in said["due"].items()
    }


def data_of(change: str, due: Due) -> str:
    """Return the JSON that an event keeps of a *change* of the decays' due instants."""
    instants = {name: at and at.isoformat() for name, at in due.items()}
    return json.dumps({KEY: {"change": change, "due": instants}}, sort_keys=True)


def defer(instance: Any, field: "StockField", call: Call, change: str, due: Due) -> None:
    """Let the decays in *due* be due when it says, and remember the event that says so.

    It is a reclassification: the object stays where it is, no flow counts it, its spell goes on.
    """
    known = instance.__dict__
    state, had_timer = known[field.name], known[field.due_name] is not None
    dated = [(at, name) for name, at in (schedule_of(instance, field) | due).items() if at]
    first = min(dated, key=lambda pair: pair[0], default=None)
    known[field.due_name] = first and max(first[0], call.at)
    remember(
        instance,
        field,
        Kind.RECLASSIFIED,
        _telling(call, change, due),
        state,
        state,
        had_timer=had_timer,
        decay=first and first[1],
        changes_due=True,
    )


def keep(instance: Any, field: "StockField", call: Call) -> tuple[str | None, Call]:
    """Return the decay that stays due when it is, and the *call* with data that say so."""
    due, current = schedule_of(instance, field), due_decay(instance, field)
    if current is None:
        return None, call
    return current.transition, _telling(call, "kept", due)


def _telling(call: Call, change: str, due: Due) -> Call:
    told = call.circumstances
    return replace(call, circumstances=replace(told, data=merge(told.data, data_of(change, due))))
