"""Folding a range of positions, and what becomes of an event that cannot be folded."""

import logging
from collections.abc import Iterator

from django.db import models

from stockflow import conf
from stockflow.domain.errors import StockflowError
from stockflow.domain.instants import to_micros
from stockflow.projections.attempts import attempt, is_of_the_database
from stockflow.projections.base import Projection
from stockflow.projections.models import Generation, ParkedEvent
from stockflow.tables import STOCKFLOW, Event, Position
from stockflow.texts import told_of

__all__ = ["ProjectionStopped"]

logger = logging.getLogger(__name__)


class ProjectionStopped(StockflowError):
    """An event could not be folded, and its projection stops at such ones.

    Attributes:
        projection: The name of the projection.
        position: The position of the event; what is before it is folded.
    """

    def __init__(self, projection: str, position: int, what: str, why: str) -> None:
        super().__init__(projection, position, what, why)
        self.projection, self.position, self.what, self.why = projection, position, what, why

    def __str__(self) -> str:
        return (
            f"Projection {self.projection!r} stopped at position {self.position} ({self.what}): "
            f"{self.why}. Mend it and run manage.py stockflow project {self.projection}; or let it "
            "go on, with on_error = 'park' or 'skip'."
        )


class Folding:
    """Folds into one generation, inside the transaction that moves its checkpoint.

    A batch that fails is halved until the event is found that cannot be folded: the others are.

    Args:
        projection: The projection.
        generation: Where its rows are kept.
        using: The alias of the database.
        is_checked: Whether what a constraint leaves to COMMIT is looked at in each attempt.

    Attributes:
        stopped: What it stopped at, if it did; the positions before that are folded.
        parked: How many events it parked because they could not be folded.
    """

    def __init__(
        self,
        projection: Projection,
        generation: Generation,
        *,
        using: str,
        is_checked: bool = False,
    ) -> None:
        self.projection, self.generation, self.using = projection, generation, using
        self.is_checked = is_checked
        self.stopped: ProjectionStopped | None = None
        self.parked = 0

    def fold(self, after: int, until: int) -> None:
        """Fold the events after one position and up to another, or up to where it stops."""
        while after < until and self.stopped is None:
            after = self._fold_until_parked(after, until)

    def _fold_until_parked(self, after: int, until: int) -> int:
        """Fold up to the end, or so far that one more object has events that wait; return how far."""
        parked = self.parked
        for first, last in self._stretches(after, until):
            self._try(first, last)
            if self.stopped is not None or self.parked != parked:
                return last
        return until

    def _try(self, after: int, until: int) -> None:
        try:
            attempt(
                *(self.projection, self.generation, after, until),
                using=self.using,
                is_checked=self.is_checked,
            )
        except Exception as error:
            if is_of_the_database(error):
                raise
            if until - after == 1:
                self._give_up(until, error)
                return
            middle = (after + until) // 2
            self.fold(after, middle)
            self.fold(middle, until)

    def _stretches(self, after: int, until: int) -> Iterator[tuple[int, int]]:
        """Yield the range without the events that wait behind a parked one, which are parked."""
        for position, event, originator in self._waiting(after, until):
            if after < position - 1:
                yield after, position - 1
            self._park(position, event, originator, "")
            after = position
        if after < until:
            yield after, until

    def _waiting(self, after: int, until: int) -> list[tuple[int, int, str]]:
        if self.projection.on_error != "park":
            return []
        own = ParkedEvent.objects.using(self.using).filter(generation=self.generation.pk)
        if not own.exists():
            return []
        log = Event._default_manager.using(self.using).filter(self.projection.reads.condition())
        behind = log.filter(application=STOCKFLOW, originator__in=own.values("originator"))
        found = positions(after, until, using=self.using).filter(event__in=behind.values("pk"))
        originator = log.filter(pk=models.OuterRef("event")).values("originator")
        rows = found.annotate(of=models.Subquery(originator)).order_by("position")
        return list(rows.values_list("position", "event", "of"))

    def _give_up(self, position: int, error: Exception) -> None:
        event = self._event(position)
        why, policy = told_of(error), self.projection.on_error
        if policy == "stop":
            what = f"event {event.pk} of {event.model}.{event.field}, lifecycle {event.originator}"
            self.stopped = ProjectionStopped(self.projection.name, position, what, why)
            self.stopped.__cause__ = error
            return
        done = {"park": "parked", "skip": "skipped"}[policy]
        logger.error(
            "stockflow: the projection %r %s position %d (event %d): %s",
            *(self.projection.name, done, position, event.pk, why),
            exc_info=error,
        )
        if policy == "park":
            self.parked += 1
            self._park(position, event.pk, event.originator, why)

    def _event(self, position: int) -> Event:
        at = positions(position - 1, position, using=self.using)
        return Event._default_manager.using(self.using).get(pk__in=at.values("event"))

    def _park(self, position: int, event: int, originator: str, why: str) -> None:
        ParkedEvent.objects.using(self.using).create(
            generation=self.generation.pk,
            projection=self.generation.projection,
            position=position,
            event=event,
            originator=originator,
            error=why,
            parked_at=to_micros(conf.now(self.using)),
        )


def positions(after: int, until: int, *, using: str) -> "models.QuerySet[Position]":
    """Return the positions of stock events after one and up to another."""
    return Position.objects.using(using).filter(
        application=STOCKFLOW, position__gt=after, position__lte=until
    )
