"""Folding: what the log has beyond the checkpoint goes into the read tables, batch by batch."""

import logging
from collections.abc import Iterable, Iterator

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction

from stockflow import conf
from stockflow.eventstore.sequencer import catch_up
from stockflow.projections import base, checkpoints
from stockflow.projections.attempts import is_of_the_database
from stockflow.projections.base import Projection
from stockflow.projections.folding import Folding
from stockflow.projections.models import Generation, Status
from stockflow.tables import STOCKFLOW

__all__ = ["fold_all", "project_on_commit"]

logger = logging.getLogger(__name__)


def fold_all(using: str = DEFAULT_DB_ALIAS) -> dict[str, int]:
    """Fold once what is new into every projection: what a task or a periodic job calls.

    Inside a transaction it does nothing: a checkpoint is not moved in somebody else's, which may
    be long or roll back.

    Returns:
        How many positions each projection scanned, by name.

    Raises:
        ProjectionStopped: If one stopped at an event; it is raised after all others were folded, as
            any other error is.
    """
    folded: dict[str, int] = {}
    if connections[using].in_atomic_block:
        return folded
    errors: list[Exception] = []
    for projection in base.named(using=using):
        folded[projection.name] = 0
        try:
            for positions in _project(projection, using, None):
                folded[projection.name] += positions
        except Exception as error:  # whatever it is, it holds up no other projection
            logger.exception("stockflow: the projection %r was not folded", projection.name)
            errors.append(error)
    if errors:
        raise errors[0]
    return folded


def project_on_commit(*names: str, using: str = DEFAULT_DB_ALIAS) -> None:
    """Fold in this process once the present transaction has committed; at once outside of one.

    An error is logged and holds up nobody: the next run meets it again.

    Args:
        *names: Which projections; all by default.
        using: The alias of the database.
    """
    chosen = [projection.name for projection in base.named(names or None, using=using)]

    def fold() -> None:
        for name in chosen:
            for _ in project(using, [name]):
                pass

    transaction.on_commit(fold, using=using, robust=True)


def project(
    using: str = DEFAULT_DB_ALIAS,
    names: Iterable[str] | None = None,
    *,
    batch_size: int | None = None,
) -> Iterator[int]:
    """Fold what is new, and yield how many positions each committed batch scanned.

    It may be called at any time, by any number of processes: each position is folded once.
    Where no generation serves yet, or one of an older version or another zone does, a new one is
    built and then serves; ``STOCKFLOW_REPLAY_CHANGED = False`` leaves that to ``manage.py stockflow
    replay``. Counts are exact before, meanwhile and afterwards.

    Args:
        using: The alias of the database that has the log and the read tables.
        names: Which projections; all by default.
        batch_size: How many positions one transaction folds; each projection's own by default.

    Raises:
        ProjectionStopped: If an event could not be folded and its projection stops at that.
        LogCut: If the log ends before what was folded.
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
    if current is not None and projection.is_current(current):
        catch_up(using, STOCKFLOW)
        yield from fold_new(projection, current, using=using, batch_size=batch_size)
    elif current is None or (conf.replay_changed() and current.version <= projection.version):
        # Older code that still runs beside newer one leaves the newer one's rows alone.
        yield from _rebuild(projection, using, batch_size)


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
    """Fold into one generation what has a position beyond its checkpoint.

    Raises:
        LogCut: If the log ends before that.
    """
    last, size = checkpoints.last_position(using), batch_size or projection.batch_size
    checkpoints.require_log(generation, last)
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

    Raises:
        ProjectionStopped: If an event could not be folded. Those before it are, and the checkpoint
            stands there.
    """
    try:
        return _fold_batch(Folding(projection, generation, using=using), until)
    except DatabaseError as error:
        if is_of_the_database(error):
            raise
    # COMMIT met a constraint that is left to it, and says not of which event: once more, and each
    # attempt looks at them.
    return _fold_batch(Folding(projection, generation, using=using, is_checked=True), until)


def _fold_batch(folding: Folding, until: int) -> bool:
    generation, using = folding.generation, folding.using
    with transaction.atomic(using=using):
        if not checkpoints.advance(generation, until, using=using):
            return False
        folding.fold(generation.position, until)
        if folding.stopped is not None:
            checkpoints.hold(generation, folding.stopped.position - 1, using=using)
    if folding.stopped is not None:
        raise folding.stopped
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
