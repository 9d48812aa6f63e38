"""An object's history as people read it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.apps import apps

from stockflow import conf
from stockflow.domain.events import StockEvent
from stockflow.domain.history import Spell
from stockflow.eventstore.applications import StockLog
from stockflow.machines import machine_of
from stockflow.subjects import stock_fields


@dataclass(frozen=True)
class Entry:
    """One event of an object's history.

    Attributes:
        version: Its place in the object's log, from 1.
        field: The stock field.
        kind: ``entered``, ``moved``, ``reclassified``, ``left``, ``adopted``,
            ``reconciled`` or ``erased``.
        occurred_at: When it was true.
        recorded_at: When it was written.
        source: The state left; None for the outside.
        target: The state entered; None for the outside.
        transition: The method called, if any.
        flow: The name under which that transition is shown.
        actor: Who, as recorded: ``"auth.user:42"`` or a text.
        reason: Why.
        data: What else was told.
        facets: The facet values after the event (before it, for the last one).
        due_at: Of a decay: when its timer was due; before *occurred_at* only if it was held back.
        clock_version: Of a decay: the version of the event that set that timer.
        spent: How long the object stayed in *target*, from its entry until it left, or until
            now; None where it left the stocks.
        is_open: Whether it is still there.
    """

    version: int
    field: str
    kind: str
    occurred_at: datetime
    recorded_at: datetime
    source: str | None
    target: str | None
    transition: str
    flow: str
    actor: str
    reason: str
    data: dict[str, Any]
    facets: dict[str, Any]
    due_at: datetime | None
    clock_version: int | None
    spent: timedelta | None
    is_open: bool


def of_lifecycle(lifecycle: UUID | str, using: str = "default") -> list[Entry]:
    """Return the history of the object of *lifecycle*, oldest first."""
    history, now = StockLog(using=using).history(lifecycle), conf.now(using)
    return [
        _entry(event, spell, now) for event, spell in zip(history, history.spells(), strict=True)
    ]


def _entry(event: StockEvent, spell: Spell | None, now: datetime) -> Entry:
    return Entry(
        version=event.originator_version,
        field=event.field,
        kind=event.kind,
        occurred_at=event.occurred_at,
        recorded_at=event.recorded_at,
        source=event.source,
        target=event.target,
        transition=event.transition,
        flow=_flow(event),
        actor=event.actor,
        reason=event.reason,
        data=event.data,
        facets=event.target_facets or event.source_facets,
        due_at=event.due_at,
        clock_version=event.clock_version,
        spent=None if spell is None else spell.length(max(now, event.occurred_at)),
        is_open=spell is not None and spell.until is None,
    )


def _flow(event: StockEvent) -> str:
    try:
        model = apps.get_model(event.model)
    except LookupError:
        return event.transition  # the model is gone from the code, its history is not
    if event.field not in {field.name for field in stock_fields(model)}:
        return event.transition
    return machine_of(model, event.field).flow(event.transition, event.source)
