"""Generations: which build of a projection serves, how far each has read, and the flip."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.db import models, transaction

from stockflow.domain.errors import StockflowError
from stockflow.projections.models import Generation, ParkedEvent, Status
from stockflow.tables import STOCKFLOW, Position


class LogCut(StockflowError):
    """The log ends before what was read of it: an older copy was restored, or its end was cut.

    What is recorded from now on gets positions that were read already, and would be skipped.

    Attributes:
        reader: What read it.
        position: How far.
        last: The last position of the log.
        remedy: What to do.
    """

    def __init__(self, reader: str, position: int, last: int, remedy: str) -> None:
        super().__init__(reader, position, last, remedy)
        self.reader, self.position, self.last, self.remedy = reader, position, last, remedy

    def __str__(self) -> str:
        return (
            f"{self.reader} has read up to position {self.position}, but the log ends at "
            f"{self.last}: an older copy of it was restored, or its end was cut. {self.remedy}"
        )


CHECK = " (check)"
"""How the name ends of a generation that is built only to be compared: no projection's name does."""

DROPPED = 5000
"""How many rows of a retired generation are deleted in one transaction."""


def serving(name: str, *, using: str) -> Generation | None:
    """Return the generation that answers; None before the first one."""
    return _of(name, Status.SERVING, using)


def building(name: str, *, using: str) -> Generation | None:
    """Return the generation that is being built, as after an interruption."""
    return _of(name, Status.BUILDING, using)


def last_position(using: str) -> int:
    """Return the last position that the log of stock events has given."""
    given = Position.objects.using(using).filter(application=STOCKFLOW)
    return given.aggregate(last=models.Max("position"))["last"] or 0


def require_log(generation: Generation, last: int) -> None:
    """Refuse to go on where the log, whose *last* position is given, ends before the checkpoint.

    Raises:
        LogCut: If it does.
    """
    if generation.position > last:
        name = generation.projection
        raise LogCut(
            f"The projection {name!r}",
            generation.position,
            last,
            f"Build its rows anew: manage.py stockflow replay {name}.",
        )


def reread(generation: Generation, *, using: str) -> bool:
    """Read anew how far it is and what for; False if another process retired or dropped it."""
    found = Generation.objects.using(using).filter(pk=generation.pk).first()
    if found is None or found.status == Status.RETIRED:
        return False
    generation.position, generation.status = found.position, found.status
    return True


def advance(generation: Generation, until: int, *, using: str) -> bool:
    """Move the checkpoint, if nobody else has moved it since it was read.

    On PostgreSQL the row is locked from here to the end of the transaction, so that a second
    runner waits, finds the checkpoint moved, and folds nothing twice.
    """
    moved = (
        Generation.objects.using(using)
        .filter(pk=generation.pk, position=generation.position)
        .exclude(status=Status.RETIRED)
        .update(position=until)
    )
    return bool(moved)


def hold(generation: Generation, position: int, *, using: str) -> None:
    """Let the checkpoint stand before an event that could not be folded, having moved it there."""
    Generation.objects.using(using).filter(pk=generation.pk).update(position=position)


def flip(generation: Generation, *, using: str) -> bool:
    """Let a finished generation serve instead of the one that does; False if it lags behind."""
    with transaction.atomic(using=using):
        rows = Generation.objects.using(using).select_for_update().order_by("pk")
        found = {
            row.status: row
            for row in rows.filter(projection=generation.projection).exclude(status=Status.RETIRED)
        }
        new, old = found.get(Status.BUILDING), found.get(Status.SERVING)
        if new is None or new.pk != generation.pk:
            return False
        if old is not None:
            # A log that was cut ends before what the old one has read.
            if new.position < min(old.position, last_position(using)):
                return False
            old.status = Status.RETIRED
            old.save(using=using, update_fields=["status"])
        new.status = Status.SERVING
        new.save(using=using, update_fields=["status"])
    return True


def retire(generation: Generation, *, using: str) -> None:
    """Give up a generation; its rows go by :func:`drop_retired`."""
    own = Generation.objects.using(using).filter(pk=generation.pk)
    own.update(status=Status.RETIRED)


def drop_retired(
    name: str, tables: "Iterable[type[models.Model]]", *, using: str, batch: int = DROPPED
) -> int:
    """Delete what retired generations left, in batches: a TRUNCATE would lock out readers.

    Returns:
        How many rows it deleted.
    """
    dropped = 0
    for generation in Generation.objects.using(using).filter(
        projection=name, status=Status.RETIRED
    ):
        for table in tables:
            dropped += sum(_delete(table, generation.pk, batch, using))
        ParkedEvent.objects.using(using).filter(generation=generation.pk).delete()
        generation.delete(using=using)
    return dropped


def _delete(table: "type[models.Model]", generation: int, batch: int, using: str) -> Iterator[int]:
    """Delete a generation's rows by ranges of their keys, and yield how many lay in each.

    They were written one after another. An index of the generation would lead all over the
    table, and PostgreSQL past all that is deleted already, for each batch.
    """
    rows: Any = table._base_manager.using(using)
    own = rows.filter(generation=generation)
    first, last = own.order_by("pk").first(), own.order_by("-pk").first()
    following = first.pk if first and last else None  # another process may delete them, too
    while following is not None:
        beyond = rows.filter(pk__gt=following, pk__lte=last.pk).order_by("pk")
        chunk = own.filter(pk__gte=following, pk__lte=last.pk)
        following = beyond.values_list("pk", flat=True)[batch - 1 : batch].first()
        yield (chunk if following is None else chunk.filter(pk__lt=following)).delete()[0]


def _of(name: str, status: Status, using: str) -> Generation | None:
    found = Generation.objects.using(using).filter(projection=name, status=status)
    return found.first()
