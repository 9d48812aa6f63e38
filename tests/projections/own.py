"""Projections such as users write: one declared, one in Python; and brute force for both."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import singledispatchmethod
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.db.models import Q

from stockflow.domain.events import Left, StockEvent
from stockflow.domain.instants import from_micros
from stockflow.models import Event
from stockflow.projections import (
    AdditiveProjection,
    Adds,
    Batch,
    EventProjection,
    LocalDay,
    Reads,
    SourceFacet,
    TargetFacet,
)
from stockflow.projections.base import OnError
from tests.crm.models import ChannelDay, Journey
from tests.projections.histories import FAMILY, channel, micros


class ChannelDays(AdditiveProjection):
    """How many leads became hot on a day, by channel, and how many were no more."""

    name = "tests.channel_days"
    read_models = [ChannelDay]
    reads = Reads(models=["crm.Lead"])
    adds = [
        Adds(
            {"entries": 1},
            to={"day": LocalDay(), "channel": TargetFacet("channel")},
            where=Q(target="hot"),
        ),
        Adds(
            {"exits": 1},
            to={"channel": SourceFacet("channel"), "day": LocalDay()},
            where=Q(source="hot"),
        ),
    ]


class Journeys(EventProjection):
    """The states of each lead, one after the other: an event lost, doubled or misplaced shows."""

    name = "tests.journeys"
    read_models = [Journey]
    reads = Reads(models=["crm.Lead"])
    on_error: ClassVar[OnError] = "park"
    poisoned: ClassVar[set[tuple[str, int]]] = set()
    """Lifecycles and versions of the events that cannot be folded."""

    @singledispatchmethod
    def process_event(self, event: StockEvent, batch: Batch) -> None:
        if (event.originator_id, event.originator_version) in self.poisoned:
            raise ValueError("poisoned")
        row, _ = batch.rows(Journey).get_or_create(
            generation=batch.generation, lifecycle=event.originator_id
        )
        row.states += f"{event.target}>"
        row.save(using=batch.using)

    @process_event.register
    def _(self, event: Left, batch: Batch) -> None:
        row = batch.rows(Journey).get(lifecycle=event.originator_id)
        row.states += "out"
        row.save(using=batch.using)


def journeys(events: Iterable[Event]) -> dict[str, str]:
    """Return what :class:`Journeys` must have."""
    found: dict[str, str] = {}
    for one in events:
        if one.model in FAMILY:
            step = "out" if one.kind == "left" else f"{one.target}>"
            found[one.originator] = found.get(one.originator, "") + step
    return found


def channel_days(events: Iterable[Event], zone: str) -> Counter[Any]:
    """Return what :class:`ChannelDays` must have."""
    found: Counter[Any] = Counter()
    for one in events:
        if one.model not in FAMILY or one.kind == "erased":
            continue
        day = from_micros(micros(one)).astimezone(ZoneInfo(zone)).date()
        found[day, channel(one.target_facets), "entries"] += one.target == "hot"
        found[day, channel(one.source_facets), "exits"] += one.source == "hot"
    return +found


def journeys_served() -> dict[str, str]:
    """Return what :class:`Journeys` has."""
    return dict(Journey.objects.serving().values_list("lifecycle", "states"))


def channel_days_served() -> Counter[Any]:
    """Return what :class:`ChannelDays` has."""
    found: Counter[Any] = Counter()
    for row in ChannelDay.objects.serving():
        found[row.day, row.channel, "entries"] += row.entries
        found[row.day, row.channel, "exits"] += row.exits
    return +found


def register() -> None:
    """Register both, as an app's ``projections`` module would."""
    from stockflow.projections.base import register_projection

    for projection in (ChannelDays, Journeys):
        with suppress(KeyError):
            register_projection(projection)
