"""One save: which events it appends, which columns it writes, and what becomes of a failure."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.db import connections, transaction

from stockflow import recording, timers
from stockflow.contexts import Circumstances
from stockflow.domain.errors import StockflowError
from stockflow.domain.instants import to_micros
from stockflow.errors import ConcurrentTransition
from stockflow.eventstore.append import Key, append_following, append_opening
from stockflow.recording import Batch, Ledger, Pending, ledger_of
from stockflow.subjects import Subject, subject_of
from stockflow.tables import STOCKFLOW, Event, Kind

if TYPE_CHECKING:
    from datetime import datetime

    from stockflow.models import StockflowModel


@dataclass(slots=True)
class Work:
    """What one save has to do.

    Attributes:
        using: The alias of the database.
        events: What to append; ``taken`` of the instance's pending events are among them.
        base: The version that the row has; None where it has no row yet.
        is_adopted: Whether the row has a lifecycle already.
        columns: What the row's UPDATE writes beside the user's own columns.
        is_blind: Whether the object was never loaded, and none of its stocks is touched.
        has_written: Whether the database holds a part of it.
        ledger_before: What a recovery took from the ledger, in case it fails.
    """

    using: str
    events: list[Pending] = field(default_factory=list)
    taken: list[Pending] = field(default_factory=list)
    base: int | None = 0
    is_adopted: bool = True
    columns: set[str] = field(default_factory=set)
    before: dict[str, Any] = field(default_factory=dict)
    is_outermost: bool = False
    is_begun: bool = False
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
    connection = connections[using]
    was_broken = connection.needs_rollback
    try:
        if connection.in_atomic_block:
            yield
        else:
            ledger.work.is_outermost = True
            with transaction.atomic(using=using):
                yield
            ledger.unconfirmed.clear()
    except StockflowError:
        restore(instance, ledger.work)
        if connection.in_atomic_block and not (was_broken or ledger.work.has_written):
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


def begin(
    instance: "StockflowModel", update_fields: Iterable[str] | None, *, force_update: bool
) -> Work:
    """Decide what this save does, and append its events: before the row is written."""
    ledger = ledger_of(instance)
    work: Work = ledger.work
    if work.is_begun:
        return work
    work.is_begun = True
    names = None if update_fields is None else frozenset(update_fields)
    subject = subject_of(type(instance))
    if instance._state.adding or instance.pk is None:
        if names is None and not force_update:
            _open(instance, ledger, work)
        else:
            _refuse_blind_update(instance, subject, names)
            work.is_blind = True
    else:
        _follow(instance, ledger, work, names)
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


def _open(instance: "StockflowModel", ledger: Ledger, work: Work) -> None:
    prepare_opening(instance, ledger, work)
    append_opening(
        connections[work.using],
        subject_of(type(instance)),
        str(instance.stock_lifecycle),
        work.events,
    )


def prepare_opening(instance: "StockflowModel", ledger: Ledger, work: Work) -> None:
    """A new object, or a copy of one, which begins a lifecycle of its own."""
    if instance.stock_lifecycle is not None:
        ledger.pending, ledger.unconfirmed = [], []
    _set(instance, work, stock_lifecycle=uuid4())
    work.base, work.taken = None, list(ledger.pending)
    work.events = [*_opening(instance, work, Kind.ENTERED), *_with_facet_changes(instance, work)]
    _finish(instance, work)


def _opening(instance: "StockflowModel", work: Work, kind: Kind) -> list[Pending]:
    """Return the first event of each field: entered when new, adopted when the row was there."""
    facets, opening = _facets_before(instance, work), []
    if work.taken:
        at, told = work.taken[0].occurred_at, work.taken[0].circumstances
    else:
        if kind is Kind.ENTERED:  # a copy is not bound to the past of its original
            _set(instance, work, stock_changed_at=None)
        at, told = recording.moment(instance)
    for stock_field in subject_of(type(instance)).fields:
        moves = [p for p in work.taken if p.field == stock_field.name]
        state = moves[0].source if moves else getattr(instance, stock_field.name)
        stock_field.check_state(instance, state)
        if kind is Kind.ENTERED and not moves:
            due_at = recording.due(instance, stock_field, at)
            _set(instance, work, **{stock_field.since_name: at, stock_field.due_name: due_at})
        event = Pending(stock_field.name, kind, None, None, state, at, facets, told)
        opening.append(event)
    return opening


def _facets_before(instance: "StockflowModel", work: Work) -> dict[str, Any]:
    """Return the facet columns as they were before the first of the events."""
    if work.base is None:
        return dict(work.taken[0].facets) if work.taken else instance._facet_values()
    return instance._facet_values() | ledger_of(instance).loaded


def _follow(
    instance: "StockflowModel", ledger: Ledger, work: Work, names: frozenset[str] | None
) -> None:
    prepare_following(instance, ledger, work, names)
    if work.events:
        _append(instance, ledger, work)


def prepare_following(
    instance: "StockflowModel", ledger: Ledger, work: Work, names: frozenset[str] | None
) -> None:
    """An object with a row: collect what is pending, unless *names* leaves it out."""
    before = len(ledger.pending)
    if _changed_facets(instance, names) and instance.stock_lifecycle is not None:
        instance._load_stock_columns()
        recording.settle(instance, recording.moment(instance)[0])
    work.taken = _taken(ledger.pending, before, names)
    _raise_to(instance, work, ledger.floor)
    work.columns |= _changed_facets(instance, names)
    if instance.__dict__.get("stock_lifecycle", work) is None:
        if not work.taken:
            return
        work.is_adopted = False
        work.events = _opening(instance, work, Kind.ADOPTED)
        _set(instance, work, stock_lifecycle=uuid4())
    work.events += _with_facet_changes(instance, work)
    if work.events:
        work.base = instance.stock_version
        _finish(instance, work)


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
                _set(instance, work, **{since: floor})
            event.occurred_at = floor


def _changed_facets(instance: "StockflowModel", names: frozenset[str] | None) -> set[str]:
    """Return the facet columns that the instance changed and this save is to write."""
    known, loaded, changed = instance.__dict__, ledger_of(instance).loaded, set()
    for attname, column in subject_of(type(instance)).facet_columns.items():
        if attname not in known or (attname in loaded and known[attname] == loaded[attname]):
            continue
        if names is None or column.name in names or attname in names:
            instance._refuse_expression(attname)
            changed.add(attname)
    for attname in changed - loaded.keys():  # set while it was deferred
        instance._load_stock_columns()  # first, so that a change in between is a conflict
        loaded[attname] = _stored(instance, attname)
    return changed


def _stored(instance: "StockflowModel", attname: str) -> Any:
    rows = type(instance)._base_manager.using(ledger_of(instance).work.using)
    return rows.filter(pk=instance.pk).values_list(attname, flat=True).first()


def _with_facet_changes(instance: "StockflowModel", work: Work) -> list[Pending]:
    """Return the pending events, with a reclassified one wherever a facet changed between them."""
    fields = subject_of(type(instance)).facet_columns and subject_of(type(instance)).fields
    if not fields:
        return work.taken
    before = _facets_before(instance, work)
    # What this save does not write stays as the row has it.
    fixed = {} if work.base is None else {n: v for n, v in before.items() if n not in work.columns}
    states = {f.name: _state_before(instance, f.name) for f in fields}
    events: list[Pending] = []
    for event in work.taken:
        facets = {**event.facets, **fixed}
        events += _reclassify(instance, states, before, facets, event.occurred_at, event.circumstances)
        event.facets, before = facets, facets
        events.append(event)
        states[event.field] = event.target
    after = {**instance._facet_values(), **fixed}
    if after != before and work.base is not None:
        at, told = recording.moment(instance)
        events += _reclassify(instance, states, before, after, at, told)
        _set(instance, work, stock_changed_at=at)
    elif after != before:
        last = work.taken[-1]
        events += _reclassify(instance, states, before, after, last.occurred_at, last.circumstances)
    return events


def _state_before(instance: "StockflowModel", name: str) -> str | None:
    moves = [p for p in ledger_of(instance).pending if p.field == name]
    state: str | None = moves[0].source if moves else getattr(instance, name)
    return state


def _reclassify(
    instance: "StockflowModel",
    states: dict[str, str | None],
    before: dict[str, Any],
    after: dict[str, Any],
    at: "datetime",
    told: Circumstances,
) -> list[Pending]:
    """Return one event for each field that has a facet on a changed column."""
    changed = {name for name in after if before.get(name) != after[name]}
    subject = subject_of(type(instance))
    return [
        Pending(f.name, Kind.RECLASSIFIED, None, states[f.name], states[f.name], at, after, told)
        for f in subject.fields
        if changed & {path.attname for path in subject.facets(f.name).values()}
    ]


def _finish(instance: "StockflowModel", work: Work) -> None:
    """Set what the row is to hold once the events are appended."""
    subject = subject_of(type(instance))
    last = max(event.occurred_at for event in work.events)
    _set(instance, work, stock_version=(work.base or 0) + len(work.events), stock_changed_at=last)
    moved = {event.field for event in work.events if event.changes_state}
    for stock_field in subject.fields:
        if stock_field.name in moved:
            work.columns |= {stock_field.name, stock_field.since_name, stock_field.due_name}
    work.columns |= {"stock_version", "stock_changed_at"}
    if not work.is_adopted:
        work.columns.add("stock_lifecycle")


def _append(instance: "StockflowModel", ledger: Ledger, work: Work) -> None:
    if append_following(*_arguments(instance, work)):
        work.has_written = True
    else:
        recover(instance, ledger, work)


def _arguments(instance: "StockflowModel", work: Work) -> tuple[Any, ...]:
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
    return connections[work.using], subject, originator, key, work.events


def recover(instance: "StockflowModel", ledger: Ledger, work: Work) -> None:
    """The row is not as expected: write again what a rollback took, or report the conflict.

    Raises:
        ConcurrentTransition: If another writer was first, or the row is gone.
    """
    row = _row(instance, work.using)
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
    _finish(instance, work)
    if work.base is None:
        connection, subject, originator, _, events = _arguments(instance, work)
        append_opening(connection, subject, originator, events)
    elif not append_following(*_arguments(instance, work)):
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
    if table is not subject.table:
        return update(base_qs, _columns(instance, subject, work, given, table))
    updated = update(
        base_qs.filter(**_expected(instance, ledger, work)),
        _columns(instance, subject, work, given, table),
    )
    if updated or work.is_blind:
        return updated
    if work.events:
        raise conflict(instance, work, _row(instance, work.using))
    if ledger.unconfirmed and _is_recorded(instance, work, ledger.unconfirmed[-1]):
        rows = base_qs.filter(stock_lifecycle=instance.stock_lifecycle)
        updated = update(rows, _columns(instance, subject, work, given, table))
        if not updated:
            raise conflict(instance, work, None)
        return updated
    recover(instance, ledger, work)
    if work.base is None:
        return updated  # the row is lost too: Django inserts it
    return update(
        base_qs.filter(**_expected(instance, ledger, work)),
        _columns(instance, subject, work, given, table),
    )


def _columns(
    instance: "StockflowModel", subject: Subject, work: Work, given: list[Any], table: Any
) -> list[Any]:
    owned = {**subject.facet_columns, **subject.columns}
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


def _is_recorded(instance: "StockflowModel", work: Work, batch: Batch) -> bool:
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


def _row(instance: "StockflowModel", using: str) -> dict[str, Any] | None:
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
        return ConcurrentTransition(
            f"{name} of lifecycle {instance.stock_lifecycle} is gone: it was deleted, adopted by "
            "another writer, or its key was changed. Load it again; to save a copy set pk = None "
            "and _state.adding = True."
        )
    version = row.pop("stock_version")
    own = ledger_of(instance).unconfirmed
    if version == work.base and (not own or _is_recorded(instance, work, own[-1])):
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


def finish(instance: "StockflowModel") -> None:
    """The row is written: write its timers, and let the memory agree."""
    work: Work = ledger_of(instance).work
    if work.events:
        timers.write(instance, work.using, work.events)
    agree(instance)


def agree(instance: "StockflowModel") -> None:
    """Let the memory agree with what was written, until its transaction says otherwise."""
    ledger = ledger_of(instance)
    work: Work = ledger.work
    subject = subject_of(type(instance))
    loaded = dict(ledger.loaded)
    if work.base is None:
        recording.note_loaded(instance, subject.facet_columns)
    else:
        recording.note_loaded(instance, work.columns & set(subject.facet_columns))
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


def _set(instance: "StockflowModel", work: Work, **values: Any) -> None:
    """Set attributes, remembering what they were in case the save fails."""
    known = instance.__dict__
    for name, value in values.items():
        work.before.setdefault(name, known.get(name))
        known[name] = value
