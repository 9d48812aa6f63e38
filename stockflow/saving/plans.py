"""The plan of a save: which events it appends and which columns it writes."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models

from stockflow.errors import ConcurrentTransition
from stockflow.eventstore.append import AT_ONCE, append_following, append_opening
from stockflow.ledgers import Ledger, Pending, ledger_of
from stockflow.lifecycles import new_lifecycle
from stockflow.moments import moment
from stockflow.rescheduling import changed_delays
from stockflow.rescheduling import follow as follow_delays
from stockflow.saving.facet_changes import changed_facets, facets_before, with_facet_changes
from stockflow.saving.recovery import arguments, conflict, fix, recover
from stockflow.saving.work import Work, set_values
from stockflow.settling import due, settle
from stockflow.subjects import Subject, subject_of
from stockflow.tables import Kind

if TYPE_CHECKING:
    from stockflow.models import StockflowModel


def begin(
    instance: "StockflowModel",
    update_fields: Iterable[str] | None,
    *,
    force_update: bool,
    updates: type[models.Model] | None = None,
) -> Work:
    """Decide what this save does, and append its events: before the row is written, or with it.

    *updates* is the model whose table is updated first, if one is.
    """
    ledger = ledger_of(instance)
    work: Work = ledger.work
    if work.is_begun:
        return work
    work.is_begun = True
    names = work.names = None if update_fields is None else frozenset(update_fields)
    subject = subject_of(type(instance))
    if instance._state.adding or instance.pk is None:
        if names is None and not force_update:
            open_lifecycle(instance, ledger, work)
        else:
            _refuse_blind_update(instance, subject, names)
            work.is_blind = True
    else:
        knows_calls = work.cursor.db.vendor == "postgresql"
        follow(instance, ledger, work, names, may_defer=knows_calls and updates is subject.table)
    return work


def _refuse_blind_update(
    instance: "StockflowModel", subject: Subject, names: frozenset[str] | None
) -> None:
    owned = {f.name for f in (*subject.columns.values(), *subject.facet_columns.values())}
    owned |= {*subject.columns, *subject.facet_columns}
    touched = sorted(owned if names is None else owned & names)
    if touched:
        raise ConcurrentTransition(
            f"{instance._meta.label} {instance.pk!r} was not loaded, so what it was is not known and "
            f"{', '.join(touched)} cannot be updated: load the object, change it, and save."
        )


def open_lifecycle(instance: "StockflowModel", ledger: Ledger, work: Work) -> None:
    """Append the first events of a new object, or of a copy of one."""
    prepare_opening(instance, ledger, work)
    append_opening(
        work.cursor,
        subject_of(type(instance)),
        str(instance.stock_lifecycle),
        work.events,
    )


def prepare_opening(instance: "StockflowModel", ledger: Ledger, work: Work) -> None:
    """A new object, or a copy of one, which begins a lifecycle of its own."""
    if instance.stock_lifecycle is not None:
        ledger.pending, ledger.unconfirmed = [], []
    set_values(instance, work, stock_lifecycle=new_lifecycle())
    work.base, work.taken = None, list(ledger.pending)
    work.events = [*_opening(instance, work, Kind.ENTERED), *with_facet_changes(instance, work)]
    fix(instance, work)


def _opening(instance: "StockflowModel", work: Work, kind: Kind) -> list[Pending]:
    """Return the first event of each field: entered when new, adopted when the row was there."""
    facets, opening = facets_before(instance, work), []
    if work.taken:
        at, told = work.taken[0].occurred_at, work.taken[0].circumstances
    else:
        if kind is Kind.ENTERED:  # a copy is not bound to the past of its original
            set_values(instance, work, stock_changed_at=None)
        at, told = moment(instance)
    for stock_field in subject_of(type(instance)).fields:
        moves = [p for p in work.taken if p.field == stock_field.name]
        state = moves[0].source if moves else getattr(instance, stock_field.name)
        stock_field.check_state(instance, state)
        if kind is Kind.ENTERED and not moves:
            due_at = due(instance, stock_field, at)
            set_values(instance, work, **{stock_field.since_name: at, stock_field.due_name: due_at})
        event = Pending(stock_field.name, kind, None, None, state, at, facets, told)
        opening.append(event)
    return opening


def follow(
    instance: "StockflowModel",
    ledger: Ledger,
    work: Work,
    names: frozenset[str] | None,
    *,
    may_defer: bool = False,
) -> None:
    """Append what is pending of an object with a row, unless *names* leaves it out.

    Where it *may_defer*, the statement that updates the row appends.
    """
    try:
        prepare_following(instance, ledger, work, names)
    except type(instance).DoesNotExist:  # what was deferred cannot be loaded any more
        raise conflict(instance, work, None) from None
    if not work.events:
        return
    if may_defer and len(work.events) <= AT_ONCE:
        work.is_deferred = True
    elif append_following(*arguments(instance, work)):
        work.has_written = True
    else:
        recover(instance, ledger, work)


def prepare_following(
    instance: "StockflowModel", ledger: Ledger, work: Work, names: frozenset[str] | None
) -> None:
    """An object with a row: collect what is pending, unless *names* leaves it out."""
    before = len(ledger.pending)
    delays = changed_delays(instance, names)
    if (delays or changed_facets(instance, names)) and instance.stock_lifecycle is not None:
        instance._load_stock_columns()
        settle(instance, moment(instance)[0])
        if delays:
            follow_delays(instance, delays)
    work.taken = _taken(ledger.pending, before, names)
    _raise_to(instance, work, ledger.floor)
    work.columns |= changed_facets(instance, names)
    if instance.__dict__.get("stock_lifecycle", work) is None:
        if not work.taken:
            return
        work.is_adopted = False
        work.events = _opening(instance, work, Kind.ADOPTED)
        set_values(instance, work, stock_lifecycle=new_lifecycle())
    work.events += with_facet_changes(instance, work)
    if work.events:
        work.base = instance.stock_version
        fix(instance, work)


def _taken(
    pending: list[Pending], settled_from: int, names: frozenset[str] | None
) -> list[Pending]:
    """Return the events that *names* takes, and the decays settled by this save itself."""
    if names is None:
        return list(pending)
    waiting = {event.field for event in pending[:settled_from]}
    return [
        event
        for n, event in enumerate(pending)
        if event.field in names or (n >= settled_from and event.field not in waiting)
    ]


def _raise_to(instance: "StockflowModel", work: Work, floor: "datetime | None") -> None:
    """Keep an object's instants in order where an earlier save left out what now follows."""
    for event in work.taken:
        if floor is not None and event.occurred_at < floor:
            since = f"{event.field}_since"
            if instance.__dict__.get(since) == event.occurred_at:
                set_values(instance, work, **{since: floor})
            event.occurred_at = floor
