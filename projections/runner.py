"""Folding: what the log has beyond the checkpoint goes into the read tables, batch by batch."""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from django.db import DEFAULT_DB_ALIAS, transaction

from stockflow import conf
from stockflow.eventstore.sequencer import catch_up
from stockflow.projections import checkpoints, flow_counts
from stockflow.projections.models import Generation, Status
from stockflow.tables import STOCKFLOW

BATCH = 50_000
"""How many positions one transaction folds."""


def project(using: str = DEFAULT_DB_ALIAS, *, batch_size: int = BATCH) -> Iterator[int]:
    """Fold what is new, and yield how many positions each committed batch scanned.

    It may be called at any time, by any number of processes: each position is folded once.
    Where no generation serves yet, or one of another version or zone does, a new one is built
    and then serves. Answers are exact before, meanwhile and afterwards.
    """
    current = checkpoints.serving(flow_counts.NAME, using=using)
    if current is None or not is_current(current):
        yield from rebuild(using, batch_size=batch_size)
        return
    catch_up(using, STOCKFLOW)
    yield from fold_new(current, using=using, batch_size=batch_size)


def rebuild(using: str = DEFAULT_DB_ALIAS, *, batch_size: int = BATCH) -> Iterator[int]:
    """Build a generation beside the one that serves, or resume that, and let it serve.

    Writers go on meanwhile: it serves once it has read as far as the one before, and answers
    add what neither has read.
    """
    generation = _begin(using)
    while checkpoints.reread(generation, using=using) and generation.status == Status.BUILDING:
        catch_up(using, STOCKFLOW)
        yield from fold_new(generation, using=using, batch_size=batch_size)
        checkpoints.flip(generation, using=using)
    checkpoints.drop_retired(flow_counts.NAME, flow_counts.TABLES, using=using)


def fold_new(generation: Generation, *, using: str, batch_size: int = BATCH) -> Iterator[int]:
    """Fold into one generation what has a position beyond its checkpoint."""
    last = checkpoints.last_position(using)
    while generation.position < last:
        until = min(generation.position + batch_size, last)
        if fold_batch(generation, until, using=using):
            yield until - generation.position
        if not checkpoints.reread(generation, using=using):
            return


def fold_batch(generation: Generation, until: int, *, using: str) -> bool:
    """Fold the events up to a position and move the checkpoint, in one transaction.

    Returns:
        Whether it did: not, if another runner was first.
    """
    with transaction.atomic(using=using):
        if not checkpoints.advance(generation, until, using=using):
            return False
        zone = ZoneInfo(generation.zone)
        flow_counts.fold(generation.pk, zone, generation.position, until, using=using)
    return True


def pending(using: str, generation: Generation | None = None) -> int:
    """Return how many positions a generation has not read; all, for one that is not begun."""
    done = generation.position if generation is not None else 0
    return checkpoints.last_position(using) - done


def is_current(generation: Generation) -> bool:
    """Return whether it counts as the code and the settings now say."""
    zone = conf.time_zone().key
    return (generation.version, generation.zone) == (flow_counts.VERSION, zone)


def _begin(using: str) -> Generation:
    begun = checkpoints.building(flow_counts.NAME, using=using)
    if begun is not None and is_current(begun):
        return begun
    if begun is not None:
        checkpoints.retire(begun, using=using)
    # Two that begin at once share one: the other's row is found by its unique status.
    generation, _ = Generation.objects.using(using).get_or_create(
        projection=flow_counts.NAME,
        status=Status.BUILDING,
        defaults={"version": flow_counts.VERSION, "zone": conf.time_zone().key},
    )
    return generation
