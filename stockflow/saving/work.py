"""The unit of work: one save, whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

from stockflow import timers
from stockflow.domain.errors import StockflowError
from stockflow.facets import Fragment
from stockflow.ledgers import Batch, Pending, ledger_of, note_delays, note_loaded
from stockflow.listening import told
from stockflow.saving.cursors import remembering
from stockflow.subjects import subject_of

if TYPE_CHECKING:
    from stockflow.models import StockflowModel


@dataclass(slots=True)
class Work:
    """What one save has to do.

    Attributes:
        using: The alias of the database.
        cursor: The one that all its statements go through: making one takes a while.
        events: What to append; ``taken`` of the instance's pending events are among them.
        names: The ``update_fields``, if any.
        base: The version that the row has; None where it has no row yet.
        is_adopted: Whether the row has a lifecycle already.
        columns: What the row's UPDATE writes beside the user's own columns.
        along: What starts and ends timers, until it is executed.
        is_deferred: Whether the events are appended by the statement that updates the row.
        is_blind: Whether the object was never loaded, and none of its stocks is touched.
        has_written: Whether the database holds a part of it.
        ledger_before: What a recovery took from the ledger, in case it fails.
    """

    using: str
    cursor: Any = None
    events: list[Pending] = field(default_factory=list)
    taken: list[Pending] = field(default_factory=list)
    names: frozenset[str] | None = None
    base: int | None = 0
    is_adopted: bool = True
    columns: set[str] = field(default_factory=set)
    along: list[Fragment] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)
    is_outermost: bool = False
    is_begun: bool = False
    is_deferred: bool = False
    is_blind: bool = False
    has_written: bool = False
    is_done: bool = False
    ledger_before: tuple[list[Batch], dict[str, Any]] | None = None


@contextmanager
def unit_of_work(instance: "StockflowModel", using: str) -> Iterator[None]:
    """Make one save whole: the row and its events are written, or neither.

    What is refused before anything was written leaves the caller's transaction usable.
    """
    ledger = ledger_of(instance)
    outer, ledger.work = ledger.work, Work(using)
    connection, label = connections[using], instance._meta.label_lower
    was_broken = connection.needs_rollback
    try:
        if connection.in_atomic_block:
            with told(label, using), connection.cursor() as cursor:
                ledger.work.cursor = remembering(cursor)
                yield
        else:
            ledger.work.is_outermost = True
            with (
                transaction.atomic(using=using),
                told(label, using),
                connection.cursor() as cursor,
            ):
                ledger.work.cursor = remembering(cursor)
                yield
            ledger.unconfirmed.clear()
    except StockflowError:
        restore(instance, ledger.work)
        is_written = ledger.work.has_written or ledger.work.is_done
        if connection.in_atomic_block and not (was_broken or is_written):
            transaction.set_rollback(False, using=using)
        raise
    except BaseException:
        restore(instance, ledger.work)
        raise
    finally:
        ledger.work = outer


def restore(instance: "StockflowModel", work: Work) -> None:
    """Give back what a save that failed had set."""
    if work.is_done:
        return
    instance.__dict__.update(work.before)
    if work.ledger_before is not None:
        ledger = ledger_of(instance)
        ledger.unconfirmed, ledger.loaded = work.ledger_before


def set_values(instance: "StockflowModel", work: Work, **values: Any) -> None:
    """Set attributes, remembering what they were in case the save fails."""
    known = instance.__dict__
    for name, value in values.items():
        work.before.setdefault(name, known.get(name))
        known[name] = value


def finish(instance: "StockflowModel") -> None:
    """The row is written: write its timers, and let the memory agree."""
    work: Work = ledger_of(instance).work
    if work.base is None:
        work.along = timers.steps(instance, work.cursor.db, work.events)
    timers.execute(work.cursor, work.along)
    agree(instance)


def agree(instance: "StockflowModel") -> None:
    """Let the memory agree with what was written, until its transaction says otherwise."""
    ledger = ledger_of(instance)
    work: Work = ledger.work
    subject = subject_of(type(instance))
    loaded = dict(ledger.loaded)
    if work.base is None:
        note_loaded(instance, subject.facet_columns)
    else:
        note_loaded(instance, work.columns & set(subject.facet_columns))
    if subject.delay_columns:
        note_delays(instance, subject.delay_columns if work.names is None else work.names)
    work.is_done = True
    if not work.events:
        return
    taken = {id(event) for event in work.taken}
    ledger.pending = [event for event in ledger.pending if id(event) not in taken]
    batch = Batch(work.base, work.events, {n: loaded[n] for n in work.columns if n in loaded})
    ledger.unconfirmed.append(batch)
    ledger.floor = work.events[-1].occurred_at
    if not work.is_outermost:
        transaction.on_commit(lambda: ledger.confirm(batch), using=work.using)
