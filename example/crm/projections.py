"""What the events of the leads add up to, beyond stocks and flows."""

from functools import singledispatchmethod

from django.db.models import Q
from django.db.models.functions import TruncMonth

from example.crm.models import ChannelMonth, Journey, Lead
from stockflow.domain.events import Entered, Moved, StockEvent
from stockflow.projections import (
    AdditiveProjection,
    Adds,
    Batch,
    EventProjection,
    LocalDay,
    Reads,
    TargetFacet,
    register_projection,
)

ROW = {"month": TruncMonth(LocalDay()), "channel": TargetFacet("channel")}


@register_projection
class ChannelMonths(AdditiveProjection):
    """How many leads of each channel arrived in each month, and how many were won."""

    name = "crm.channel_months"
    read_models = [ChannelMonth]
    reads = Reads(models=[Lead])
    adds = [
        Adds({"arrived": 1}, to=ROW, where=Q(kind="entered")),
        Adds({"won": 1}, to=ROW, where=Q(kind="moved", target="won")),
    ]


@register_projection
class Journeys(EventProjection):
    """The way of each lead through its states."""

    name = "crm.journeys"
    read_models = [Journey]
    reads = Reads(models=[Lead])
    on_error = "park"

    @singledispatchmethod
    def process_event(self, event: StockEvent, batch: Batch) -> None:
        """Pass what is neither of the two below."""

    @process_event.register
    def _(self, event: Entered, batch: Batch) -> None:
        Journey.objects.using(batch.using).create(
            generation=batch.generation, lifecycle=event.originator_id, states=event.target
        )

    @process_event.register
    def _(self, event: Moved, batch: Batch) -> None:
        journey = batch.rows(Journey).get(lifecycle=event.originator_id)
        journey.states += f" > {event.target}"
        journey.save(using=batch.using)
