"""Projections in Python: handlers that receive batches of domain events."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from stockflow.projections.base import Projection

if TYPE_CHECKING:
    from django.db import models

    from stockflow.domain.events import StockEvent
    from stockflow.projections.models import Generation


@dataclass(frozen=True)
class Batch:
    """Events in the order of their positions, and where what they add up to is kept.

    Attributes:
        generation: The number of the generation, for new rows.
        using: The alias of the database.
        events: The domain events that the projection reads.
        positions: The position of each.
    """

    generation: int
    using: str
    events: "Sequence[StockEvent]"
    positions: Sequence[int]

    def rows(self, model: "type[models.Model]") -> "models.QuerySet[Any]":
        """Return the rows of the generation; an object made through it needs ``generation=`` too."""
        own: models.QuerySet[Any] = model._default_manager.using(self.using)
        return own.filter(generation=self.generation)


class EventProjection(Projection):
    """Rows that Python makes of the events.

    Override :meth:`process_event`, with a method for each type of event, or :meth:`handle`, which
    is given a whole batch. Handlers write the rows of their generation and nothing else, and keep
    nothing in memory: a replay runs them again, beside those that serve.

    ::

        @register_projection
        class LastMoves(EventProjection):
            name = "crm.last_moves"
            read_models = [LastMove]
            reads = Reads(models=["crm.Lead"])

            @singledispatchmethod
            def process_event(self, event, batch):
                '''What is not registered is passed.'''

            @process_event.register
            def _(self, event: Moved, batch):
                LastMove.objects.using(batch.using).update_or_create(
                    generation=batch.generation,
                    lifecycle=event.originator_id,
                    defaults={"moved_at": event.occurred_at},
                )
    """

    batch_size: ClassVar[int] = 1000

    def fold(self, generation: "Generation", after: int, until: int, *, using: str) -> None:
        from stockflow.projections.reading import read  # noqa: PLC0415  needs the app registry

        found = read(self.reads, after, until, using=using)
        if found:
            numbers, events = zip(*found, strict=True)
            self.handle(Batch(generation.pk, using, events, numbers))

    def handle(self, batch: Batch) -> None:
        """Fold a batch: each event by :meth:`process_event`, in order."""
        for event in batch.events:
            self.process_event(event, batch)

    def process_event(self, event: "StockEvent", batch: Batch) -> None:
        """Fold one event; an override is a ``functools.singledispatchmethod``, as a rule."""

    def validate(self) -> None:
        super().validate()
        own = type(self)
        if (own.handle, own.process_event) == (
            EventProjection.handle,
            EventProjection.process_event,
        ):
            self._refuse(
                "has no handler: override process_event(), with functools.singledispatchmethod, or "
                "handle()"
            )
