"""Reading the log as ``eventsourcing`` knows it: stored events, composed from the columns."""

import json
from collections.abc import Sequence
from typing import Any, NoReturn
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    DatetimeAsISO,
    JSONTranscoder,
    ProgrammingError,
    StoredEvent,
)

from stockflow.domain.cells import decode_facets
from stockflow.domain.instants import from_micros
from stockflow.tables import STOCKFLOW, Event

_transcoder = JSONTranscoder()
_transcoder.register(DatetimeAsISO())


class StockRecorder(AggregateRecorder):
    """Selects the stock events of one object. They are appended by ``save()`` only."""

    def __init__(self, using: str) -> None:
        super().__init__()
        self.using = using

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> NoReturn:
        raise ProgrammingError(
            "Stock events are appended by save(), together with their row: call a transition."
        )

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        rows = Event.objects.using(self.using).filter(
            application=STOCKFLOW, originator=str(originator_id)
        )
        if gt is not None:
            rows = rows.filter(version__gt=gt)
        if lte is not None:
            rows = rows.filter(version__lte=lte)
        rows = rows.order_by("-version" if desc else "version")
        return [stored_event(row) for row in (rows if limit is None else rows[:limit])]


def stored_event(row: Event) -> StoredEvent:
    """Return a stock event's row as a stored event."""
    return StoredEvent(row.originator, row.version, row.topic, _transcoder.encode(_state(row)))


def _state(row: Event) -> dict[str, Any]:
    payload = json.loads(bytes(row.payload)) if row.payload else {}
    return {
        "model": row.model,
        "field": row.field,
        "transition": row.transition or "",
        "source": row.source,
        "target": row.target,
        "source_facets": decode_facets(row.source_facets),
        "target_facets": decode_facets(row.target_facets),
        "occurred_at": from_micros(row.occurred_at or 0),
        "recorded_at": from_micros(row.recorded_at or 0),
        "actor": row.actor,
        "reason": row.reason,
        "correlation": row.correlation,
        "data": payload.get("data", {}),
    }
