"""One transition of many objects, chunk by chunk."""

from collections.abc import Callable
from typing import Any

from django.db import models, transaction

from stockflow.bulk import chunks
from stockflow.bulk.commands import Command, command
from stockflow.bulk.methods import call_each
from stockflow.bulk.outcomes import Outcome
from stockflow.bulk.statements import Statements
from stockflow.listening import told

CHUNK = 5_000
"""How many objects one transaction takes where instances are loaded."""

UNIFORM_CHUNK = 5_000
"""As above, where SQL does all; PostgreSQL would compile the plans of larger ones, for nothing."""

Progress = Callable[[int], object]
"""Told after each chunk how many objects it had, such as the ``update`` of a tqdm bar."""


def transition(
    queryset: "models.QuerySet[Any]",
    name: str,
    arguments: dict[str, Any],
    *,
    user: Any,
    chunk_size: int | None,
    progress: Progress | None,
) -> Outcome:
    """Make the transition *name* on each object of *queryset*, a transaction per chunk."""
    chunks.refuse_shape(queryset, "transition()")
    asked = command(queryset.model, name, user, arguments)
    size = chunks.size_of(chunk_size, UNIFORM_CHUNK if asked.is_uniform else CHUNK)
    pages, outcome = chunks.pages(queryset, size), Outcome()
    while True:
        try:
            label = queryset.model._meta.label_lower
            with transaction.atomic(using=queryset.db), told(label, queryset.db):
                keys = next(pages, [])
                outcome += _move(asked, queryset, keys)
        except Exception as error:
            error.add_note(
                f"stockflow: {name!r} of {queryset.model._meta.label} stopped at a chunk, which is "
                f"undone; {outcome.total} objects before it are done with ({outcome.moved} moved). "
                "Mend the cause and repeat, without those that are there already if the machine would "
                "move them again."
            )
            raise
        if not keys:
            return outcome
        if progress is not None:
            progress(len(keys))


def _move(asked: Command, queryset: "models.QuerySet[Any]", keys: list[Any]) -> Outcome:
    if not keys:
        return Outcome()
    if not asked.is_uniform:
        return _call(asked, queryset, keys)
    using = queryset.db
    statements = Statements.now(asked, using)
    known = dict(zip(chunks.prepared(asked.subject, using, keys), keys, strict=True))
    found = statements.sort([*known])
    ours = chunks.matching(queryset, keys)
    groups = {to: [k for k in group if known[k] in ours] for to, group in found.groups.items()}
    moved = Outcome(moved=statements.move(groups, found.timed), not_allowed=found.refused)
    alone = [known[k] for k in found.alone if known[k] in ours]
    rest = _call(asked, queryset, alone) if alone else Outcome()
    return moved + rest + Outcome(conflict=len(keys) - moved.total - rest.total)


def _call(asked: Command, queryset: "models.QuerySet[Any]", keys: list[Any]) -> Outcome:
    rows = list(chunks.lock(asked.model, queryset.db, keys))
    ours = chunks.matching(queryset, keys)
    name = chunks.key_name(asked.model)
    done = call_each(asked, (row for row in rows if getattr(row, name) in ours), queryset.db)
    return done + Outcome(conflict=len(keys) - done.total)
