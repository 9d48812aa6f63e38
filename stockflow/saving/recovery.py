"""Recovery: a row that is not as expected, by a rollback or by another writer."""

from typing import TYPE_CHECKING, Any

from stockflow.domain.instants import to_micros
from stockflow.errors import ConcurrentTransition
from stockflow.eventstore.append import Key, append_following, append_opening
from stockflow.ledgers import Batch, Ledger, ledger_of
from stockflow.saving.work import Work, set_values
from stockflow.subjects import subject_of
from stockflow.tables import STOCKFLOW, Event, Kind

if TYPE_CHECKING:
    from stockflow.models import StockflowModel


def fix(instance: "StockflowModel", work: Work) -> None:
    """Set what the row is to hold once the events are appended."""
    subject = subject_of(type(instance))
    last = max(event.occurred_at for event in work.events)
    set_values(
        instance, work, stock_version=(work.base or 0) + len(work.events), stock_changed_at=last
    )
    moved = {event.field for event in work.events if event.changes_state or event.changes_due}
    for stock_field in subject.fields:
        if stock_field.name in moved:
            work.columns |= {stock_field.name, stock_field.since_name, stock_field.due_name}
    work.columns |= {"stock_version", "stock_changed_at"}
    if not work.is_adopted:
        work.columns.add("stock_lifecycle")


def arguments(instance: "StockflowModel", work: Work) -> tuple[Any, ...]:
    """Return what appending the work's events takes."""
    subject = subject_of(type(instance))
    first: dict[str, str] = {}
    for event in work.events:
        if event.source is not None:
            first.setdefault(event.field, event.source)
    key = Key(
        getattr(instance, subject.table._meta.pk.attname),
        instance.stock_lifecycle,
        work.base or 0,
        first,
        work.is_adopted,
        ledger_of(instance).changed_at,
    )
    originator = str(instance.stock_lifecycle)
    return work.cursor, subject, originator, key, work.events


def recover(instance: "StockflowModel", ledger: Ledger, work: Work) -> None:
    """The row is not as expected: write again what a rollback took, or report the conflict.

    Raises:
        ConcurrentTransition: If another writer was first, or the row is gone.
    """
    row = row_of(instance, work.using)
    lost = _lost(instance, ledger, work, row)
    if not lost or not work.is_adopted:
        raise conflict(instance, work, row)
    work.ledger_before = ledger.unconfirmed, dict(ledger.loaded)
    work.is_adopted = lost[0].events[0].kind is not Kind.ADOPTED
    ledger.unconfirmed = ledger.unconfirmed[: -len(lost)]
    rewritten = [event for batch in lost for event in batch.events]
    work.events = rewritten + work.events
    work.base = lost[0].base
    ledger.loaded |= lost[0].loaded
    work.columns |= {name for batch in lost for name in batch.loaded}
    fix(instance, work)
    if work.base is None:
        cursor, subject, originator, _, events = arguments(instance, work)
        append_opening(cursor, subject, originator, events)
    elif not append_following(*arguments(instance, work)):
        raise conflict(instance, work, row)
    work.has_written = True


def _lost(
    instance: "StockflowModel", ledger: Ledger, work: Work, row: dict[str, Any] | None
) -> list[Batch]:
    """Return what was rolled back: the row, or that there is none, shows it."""
    if row is not None:
        return ledger.lost_since(row["stock_version"])
    if _is_logged(instance, work.using):
        return []  # it was deleted
    adopting = [n for n, b in enumerate(ledger.unconfirmed) if b.events[0].kind is Kind.ADOPTED]
    return ledger.unconfirmed[adopting[0] :] if adopting else ledger.lost_since(None)


def _is_logged(instance: "StockflowModel", using: str) -> bool:
    events = Event.objects.using(using).filter(application=STOCKFLOW)
    return events.filter(originator=str(instance.stock_lifecycle)).exists()


def is_recorded(instance: "StockflowModel", work: Work, batch: Batch) -> bool:
    """Whether the log has what this instance wrote last: its row merely moved on since."""
    last = batch.events[-1]
    events = Event.objects.using(work.using).filter(
        application=STOCKFLOW,
        originator=str(instance.stock_lifecycle),
        version=batch.version,
        field=last.field,
        kind=last.kind.value,
        transition=last.transition,
        target=last.target,
        occurred_at=to_micros(last.occurred_at),
    )
    return events.exists()


def row_of(instance: "StockflowModel", using: str) -> dict[str, Any] | None:
    """Return version and states as the row has them; None without a row."""
    subject = subject_of(type(instance))
    rows = subject.table._base_manager.using(using).filter(
        pk=getattr(instance, subject.table._meta.pk.attname),
        stock_lifecycle=instance.stock_lifecycle,
    )
    own = [f.name for f in subject.fields if f.model is subject.table]
    return rows.values("stock_version", *own).first()


def conflict(
    instance: "StockflowModel", work: Work, row: dict[str, Any] | None
) -> ConcurrentTransition:
    """Return the error that says how the row differs from the instance."""
    name = f"{instance._meta.label} {instance.pk!r}"
    if row is None:
        known_lifecycle = instance.__dict__.get("stock_lifecycle", "not loaded")
        return ConcurrentTransition(
            f"{name} of lifecycle {known_lifecycle} is gone: it was deleted, adopted by "
            "another writer, or its key was changed. Load it again; to save a copy set pk = None "
            "and _state.adding = True."
        )
    version = row.pop("stock_version")
    own = ledger_of(instance).unconfirmed
    if version == work.base and (not own or is_recorded(instance, work, own[-1])):
        return ConcurrentTransition(
            f"{name} is at version {version} as expected, but its row says {row}: it was changed "
            "behind the log. Undo that change, or load the object again and retry."
        )
    known = work.base if work.events else instance.stock_version
    seen = f"not {known}" if version != known else "but not by this instance"
    return ConcurrentTransition(
        f"{name} is at version {version}, {seen}: another writer was first. "
        "Load it again and retry."
    )
