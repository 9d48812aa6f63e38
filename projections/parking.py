"""Parked events: those that a projection set aside, with all later ones of their objects."""

from typing import NamedTuple

from django.db import models, transaction

from stockflow.domain.errors import StockflowError
from stockflow.projections import base
from stockflow.projections.attempts import attempt
from stockflow.projections.base import Projection
from stockflow.projections.checkpoints import CHECK
from stockflow.projections.models import Generation, ParkedEvent, Status
from stockflow.texts import told_of

__all__ = ["GenerationOutdated", "Released", "release"]


class GenerationOutdated(StockflowError):
    """What is parked belongs to rows of another version or zone than the code's.

    Attributes:
        projection: The name of the projection.
    """

    def __init__(self, projection: str) -> None:
        super().__init__(projection)
        self.projection = projection

    def __str__(self) -> str:
        return (
            f"What is parked of {self.projection} belongs to rows of another version than the code's, "
            "or to days of another zone, to which nothing is added. Run manage.py stockflow replay "
            f"{self.projection}: it tries all events again."
        )


class Released(NamedTuple):
    """What became of parked events: how many are folded now, and how many are parked still."""

    folded: int
    parked: int


def of_projections(parked: "models.QuerySet[ParkedEvent]") -> "models.QuerySet[ParkedEvent]":
    """Narrow *parked* to what projections wait with: what a check set aside goes with the check."""
    return parked.exclude(projection__endswith=CHECK)


def release(parked: "models.QuerySet[ParkedEvent]") -> Released:
    """Fold the parked events of the objects that *parked* has some of, in order, as now they can be.

    Of each object the first that fails again stays parked with its error, and so do those behind
    it. Each object has a transaction of its own; runners wait meanwhile, and go on after.

    Raises:
        UnknownProjection: If the projection is not in the code any more.
        GenerationOutdated: If the rows are of another version than the code's; what was folded
            before stays folded.
    """
    using, folded, left = parked.db, 0, 0
    objects = (
        of_projections(parked)
        .order_by("generation", "originator")
        .values_list("generation", "originator")
    )
    for generation, originator in list(objects.distinct()):
        with transaction.atomic(using=using):
            done = _release(generation, originator, using)
        folded, left = folded + done.folded, left + done.parked
    return Released(folded, left)


def _release(number: int, originator: str, using: str) -> Released:
    # Its lock is what folding takes too: no later event of the object is folded meanwhile.
    generation = Generation.objects.using(using).select_for_update().filter(pk=number).first()
    rows = ParkedEvent.objects.using(using).filter(generation=number, originator=originator)
    waiting = list(rows.order_by("position"))
    if generation is None or generation.status == Status.RETIRED:
        return Released(0, 0)
    projection = base.find(generation.projection)
    if not projection.is_current(generation):
        raise GenerationOutdated(projection.name)
    for done, one in enumerate(waiting):
        if not _fold(projection, generation, one, using):
            return Released(done, len(waiting) - done)
        one.delete(using=using)
    return Released(len(waiting), 0)


def _fold(projection: Projection, generation: Generation, one: ParkedEvent, using: str) -> bool:
    try:
        attempt(
            *(projection, generation, one.position - 1, one.position),
            using=using,
            is_checked=True,
        )
    except Exception as error:
        one.error = told_of(error)
        one.save(using=using, update_fields=["error"])
        return False
    return True
