"""Folding: what the log has beyond the checkpoint goes into the read tables, batch by batch."""

from collections.abc import Iterable, Iterator

from django.db import DEFAULT_DB_ALIAS, transaction

from stockflow.eventstore.sequencer import catch_up
from stockflow.projections import base, checkpoints
from stockflow.projections.base import Projection
from stockflow.projections.models import Generation, Status
from stockflow.tables import STOCKFLOW


def project(
    using: str = DEFAULT_DB_ALIAS,
    names: Iterable[str] | None = None,
    *,
    batch_size: int | None = None,
) -> Iterator[int]:
    """Fold what is new, and yield how many positions each committed batch scanned.

    It may be called at any time, by any number of processes: each position is folded once.
    Where no generation serves yet, or one of another version or zone does, a new one is built
    and then serves. Answers are exact before, meanwhile and afterwards.

    Args:
        using: The alias of the database that has the log and the read tables.
        names: Which projections; all by default.
        batch_size: How many positions one transaction folds; each projection's own by default.
    """
    for projection in base.named(names, using=using):
        yield from _project(projection, using, batch_size)


def rebuild(
    using: str = DEFAULT_DB_ALIAS,
    names: Iterable[str] | None = None,
    *,
    batch_size: int | None = None,
) -> Iterator[int]:
    """Build a generation beside the one that serves, or resume that, and let it serve.

    Writers go on meanwhile: it serves once it has read as far as the one before, and answers
    add what neither has read. It takes what :func:`project` does.
    """
    for projection in base.named(names, using=using):
        yield from _rebuild(projection, using, batch_size)


def _project(projection: Projection, using: str, batch_size: int | None) -> Iterator[int]:
    current = checkpoints.serving(projection.name, using=using)
    if current is None or not projection.is_current(current):
        yield from _rebuild(projection, using, batch_size)
        return
    catch_up(using, STOCKFLOW)
    yield from fold_new(projection, current, using=using, batch_size=batch_size)


def _rebuild(projection: Projection, using: str, batch_size: int | None) -> Iterator[int]:
    generation = _begin(projection, using)
    while checkpoints.reread(generation, using=using) and generation.status == Status.BUILDING:
        catch_up(using, STOCKFLOW)
        yield from fold_new(projection, generation, using=using, batch_size=batch_size)
        checkpoints.flip(generation, using=using)
    checkpoints.drop_retired(projection.name, projection.models(), using=using)


def fold_new(
    projection: Projection, generation: Generation, *, using: str, batch_size: int | None = None
) -> Iterator[int]:
    """Fold into one generation what has a position beyond its checkpoint."""
    last, size = checkpoints.last_position(using), batch_size or projection.batch_size
    while generation.position < last:
        until = min(generation.position + size, last)
        if fold_batch(projection, generation, until, using=using):
            yield until - generation.position
        if not checkpoints.reread(generation, using=using):
            return


def fold_batch(projection: Projection, generation: Generation, until: int, *, using: str) -> bool:
    """Fold the events up to a position and move the checkpoint, in one transaction.

    Returns:
        Whether it did: not, if another runner was first.
    """
    with transaction.atomic(using=using):
        if not checkpoints.advance(generation, until, using=using):
            return False
        projection.fold(generation, generation.position, until, using=using)
    return True


def pending(using: str, generation: Generation | None = None) -> int:
    """Return how many positions a generation has not read; all, for one that is not begun."""
    done = generation.position if generation is not None else 0
    return checkpoints.last_position(using) - done


def _begin(projection: Projection, using: str) -> Generation:
    begun = checkpoints.building(projection.name, using=using)
    if begun is not None and projection.is_current(begun):
        return begun
    if begun is not None:
        checkpoints.retire(begun, using=using)
    # Two that begin at once share one: the other's row is found by its unique status.
    generation, _ = Generation.objects.using(using).get_or_create(
        projection=projection.name,
        status=Status.BUILDING,
        defaults={"version": projection.version, "zone": projection.zone()},
    )
    return generation
