"""What is known of the future: the decays that are scheduled."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Final

from django.apps import apps
from django.db import connections

from stockflow import conf
from stockflow.domain.errors import InvalidMeasure
from stockflow.domain.instants import from_micros, to_micros
from stockflow.domain.intervals import Bucket, Grain, buckets
from stockflow.facets import dashed
from stockflow.machines import machine_of
from stockflow.projections.answers import Series

if TYPE_CHECKING:
    from stockflow.projections.flows import Flow

_COUNTED: Final = (
    "SELECT b.n, t.model, e.target, t.transition, count(*), min(t.due_at) "
    "FROM {bounds} JOIN stockflow_scheduledtransition t "
    "ON t.due_at >= b.start AND t.due_at < b.until AND t.field = %s AND t.parked_at IS NULL "
    "JOIN stockflow_event e ON e.application = '{application}' AND e.originator = {originator} "
    "AND e.version = t.version GROUP BY b.n, t.model, e.target, t.transition"
)
"""The event that set the clock says in which state the object is."""
_BOUNDS: Final = {
    "postgresql": "unnest(%s::int[], %s::bigint[], %s::bigint[]) AS b(n, start, until)",
    "sqlite": "(SELECT json_extract(value, '$[0]') AS n, json_extract(value, '$[1]') AS start, "
    "json_extract(value, '$[2]') AS until FROM json_each(%s)) b",
}


def scheduled(
    flow: "Flow", start: datetime, end: datetime, every: Grain | timedelta, tz: tzinfo | None
) -> Series:
    """Return how many decays of *flow* are due in each bucket."""
    if flow.is_narrowed:
        raise InvalidMeasure(
            f"scheduled() of the flow {flow.slug!r} cannot be asked for: facets narrow its stocks, "
            "and timers do not know them."
        )
    zone = conf.time_zone() if tz is None else tz
    cut = buckets(start, end, every, zone, first_weekday=conf.first_weekday())
    counts = Counter[int]()
    pairs = _pairs(flow)
    now = conf.now(flow.using)
    settled_until = now
    for n, model, state, transition, number, first in _rows(flow, cut):
        if (model, state, transition) in pairs:
            counts[n] += number
            settled_until = min(settled_until, from_micros(first))
    return Series(cut, {None: [counts[n] for n in range(len(cut))]}, settled_until)


def _pairs(flow: "Flow") -> frozenset[tuple[str, str, str]]:
    """Return the decays that are of the flow, by model, state and transition."""
    sources, sinks = flow.source_places, flow.sink_places
    name = flow.reference.name
    found: set[tuple[str, str, str]] = set()
    for model in {place.model for place in sources}:
        machine = machine_of(apps.get_model(model), name)
        for state in {place.state for place in sources if place.model == model}:
            for decay in machine.decays(state) if state is not None else ():
                target = machine.target(decay.transition, state or "")
                if any((place.model, place.state) == (model, target) for place in sinks):
                    found.add((model, state or "", decay.transition))
    return frozenset(found)


def _rows(flow: "Flow", cut: Sequence[Bucket]) -> list[tuple[int, str, str, str, int, int]]:
    from stockflow.tables import STOCKFLOW  # noqa: PLC0415  needs the app registry

    connection = connections[flow.using]
    vendor = connection.vendor
    rows = [(n, to_micros(b.start), to_micros(b.end)) for n, b in enumerate(cut)]
    values: list[Any] = [json.dumps(rows)]
    if vendor == "postgresql":
        values = [list(column) for column in zip(*rows, strict=True)]
    originator = "t.lifecycle::text" if vendor == "postgresql" else f"({dashed('t.lifecycle')})"
    sql = _COUNTED.format(bounds=_BOUNDS[vendor], application=STOCKFLOW, originator=originator)
    with connection.cursor() as cursor:
        cursor.execute(sql, [*values, flow.reference.name])
        found: list[tuple[int, str, str, str, int, int]] = cursor.fetchall()
    return found
