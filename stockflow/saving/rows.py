"""The row of a save: found as it was known, and written no further than is ours."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from stockflow import timers
from stockflow.eventstore.append import append_following, calls_of
from stockflow.eventstore.causes import clocks_of
from stockflow.ledgers import Ledger, ledger_of
from stockflow.saving.recovery import arguments, conflict, is_recorded, recover, row_of
from stockflow.saving.work import Work
from stockflow.subjects import Subject, subject_of

if TYPE_CHECKING:
    from stockflow.models import StockflowModel


class RolledBack(Exception):
    """There is no row to update: it is to be inserted again."""


def update_table(
    instance: "StockflowModel", base_qs: Any, values: Iterable[Any], update: Callable[..., Any]
) -> Any:
    """Update one of the object's tables, with the columns that this save is to write.

    The row is found by lifecycle too, and by version where events were appended or may be
    lost: a stale instance saved for its other fields restores nothing.
    """
    ledger, subject = ledger_of(instance), subject_of(type(instance))
    work: Work = ledger.work
    given, table = list(values), base_qs.model

    def columns() -> Any:
        return _columns(instance, subject, work, given, table)

    def write(expected: dict[str, Any]) -> Any:
        return update(expected, columns())

    def write_recorded() -> Any:
        work.along = timers.steps(instance, work.cursor.db, work.events)
        return write(_expected(instance, ledger, work))

    if table is not subject.table:
        return write({})
    if work.is_deferred and (updated := _update_with_events(instance, work, columns(), update)):
        return updated
    # With nothing to write Django would not look at the row, which may be rolled back.
    is_sure = not ledger.unconfirmed or columns()
    updated = write_recorded() if is_sure else None
    if updated or work.is_blind:
        return updated
    if work.events:
        raise conflict(instance, work, row_of(instance, work.using))
    if ledger.unconfirmed and is_recorded(instance, work, ledger.unconfirmed[-1]):
        updated = write({"stock_lifecycle": instance.stock_lifecycle})
        if not updated:
            raise conflict(instance, work, None)
        return updated
    recover(instance, ledger, work)
    return updated if work.base is None else write_recorded()  # no row: Django inserts it


def _update_with_events(
    instance: "StockflowModel", work: Work, columns: list[Any], update: Callable[..., Any]
) -> Any:
    """Update the row and append its events by one statement; nothing if the row waits to be written.

    That is where it takes Django to update, or where a rollback is made good: then the events
    are appended here, since they go before the row.

    Raises:
        ConcurrentTransition: If the row is not as it was known; nothing is written.
        RolledBack: If there is no row any more, and its events are written again.
    """
    ledger, subject = ledger_of(instance), subject_of(type(instance))
    _, _, originator, key, events = found = arguments(instance, work)
    expected = _expected(instance, ledger, work)
    expected |= {n: s for n, s in key.states.items() if subject.columns[n].model is subject.table}
    if key.changed_at is not None:
        expected["stock_changed_at"] = key.changed_at
    work.along = timers.steps(instance, work.cursor.db, work.events)
    clocks = clocks_of(events, key.version)
    calls = calls_of(work.cursor.db, subject, originator, key.version, events, clocks)
    updated = update(expected, columns, calls)
    work.has_written = bool(updated) or (updated is None and append_following(*found))
    if not work.has_written:
        recover(instance, ledger, work)
        if work.base is None:
            raise RolledBack
    return updated


def _columns(
    instance: "StockflowModel", subject: Subject, work: Work, given: list[Any], table: Any
) -> list[Any]:
    """Return what *table* is to hold: the user's own columns, and ours where this save owns them."""
    owned = subject.owned
    own = [(f, None, getattr(instance, n)) for n, f in owned.items() if n in work.columns]
    return [
        *(value for value in given if value[0].attname not in owned),
        *(value for value in own if value[0].model is table),
    ]


def _expected(instance: "StockflowModel", ledger: Ledger, work: Work) -> dict[str, Any]:
    if not work.is_adopted:
        return {"stock_lifecycle": None, "stock_version": 0}
    expected: dict[str, Any] = {}
    if "stock_lifecycle" in instance.__dict__ and not work.is_blind:
        expected["stock_lifecycle"] = instance.stock_lifecycle
    if work.events:
        expected["stock_version"] = work.base
    elif ledger.unconfirmed:
        expected["stock_version"] = instance.stock_version
        expected["stock_changed_at"] = ledger.changed_at
    return expected
