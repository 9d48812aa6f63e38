"""A stock event's state as ``eventsourcing`` stores it, composed from the columns."""

import json
from typing import Any

from eventsourcing.persistence import DatetimeAsISO, JSONTranscoder

from stockflow.domain.cells import decode_facets
from stockflow.domain.instants import from_micros
from stockflow.tables import Event

_transcoder = JSONTranscoder()
_transcoder.register(DatetimeAsISO())


def stock_state(row: Event) -> bytes:
    """Return what a mapper makes the domain event of *row* from."""
    return _transcoder.encode(_attributes(row))


def _attributes(row: Event) -> dict[str, Any]:
    payload = json.loads(bytes(row.payload)) if row.payload else {}
    cause = payload.get("cause")
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
        "due_at": None if cause is None else from_micros(cause["due_at"]),
        "clock_version": None if cause is None else cause["version"],
    }
