"""Creating many objects: their opening events, their rows, their timers."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.db import connections, models, transaction

from stockflow.bulk import writing
from stockflow.bulk.transitions import CHUNK
from stockflow.ledgers import Batch, Ledger, ledger_of
from stockflow.listening import told
from stockflow.saving.plans import prepare_opening
from stockflow.saving.work import Work, agree, restore
from stockflow.subjects import subject_of

if TYPE_CHECKING:
    from stockflow.models import StockflowModel

Create = Callable[[Sequence[Any]], list[Any]]
"""Django's ``bulk_create``."""


def create(model: type[models.Model], objs: Sequence[Any], using: str, insert: Create) -> list[Any]:
    """Append the opening events of *objs*, *insert* their rows, and start their timers, or do nothing."""
    is_outermost = not connections[using].in_atomic_block
    try:
        with transaction.atomic(using=using), told(model._meta.label_lower, using):
            _append(model, objs, using)
            created = insert(objs)
            begun = ((obj, ledger_of(obj).work.events, lambda _: None) for obj in objs)
            writing.write_timers(using, begun)
    except BaseException:
        for obj in objs:
            if ledger_of(obj).work is not None:
                restore(obj, ledger_of(obj).work)
                ledger_of(obj).work = None
        raise
    _agree(objs, using, is_outermost=is_outermost)
    return created


def _append(model: type[models.Model], objs: Sequence[Any], using: str) -> None:
    connection, subject, rest = connections[using], subject_of(model), iter(objs)
    while batch := list(islice(rest, CHUNK)):
        for obj in batch:
            obj._prepare_related_fields_for_save(operation_name="bulk_create")
            _prepare(obj, using)
        appended = (
            writing.Appended(
                obj.stock_lifecycle, 0, ledger_of(obj).work.events, {}, obj._meta.label_lower
            )
            for obj in batch
        )
        writing.append(connection, subject, [*appended])


def _prepare(obj: "StockflowModel", using: str) -> None:
    ledger = ledger_of(obj)
    ledger.work = Work(using, is_outermost=True)  # all are confirmed together
    prepare_opening(obj, ledger, ledger.work)


def _agree(objs: Sequence["StockflowModel"], using: str, *, is_outermost: bool) -> None:
    batches: list[tuple[Ledger, Batch]] = []
    for obj in objs:
        ledger = ledger_of(obj)
        agree(obj)
        ledger.work = None
        batches.append((ledger, ledger.unconfirmed[-1]))

    def confirm() -> None:
        for ledger, batch in batches:
            ledger.confirm(batch)

    if is_outermost:
        confirm()
    else:
        transaction.on_commit(confirm, using=using)
