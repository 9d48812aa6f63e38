"""A transition whose method is called on each instance, and what follows written in batches."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import django_fsm
from django.db import connections, models

from stockflow.bulk import chunks, writing
from stockflow.bulk.commands import Command, is_observed, moving_columns
from stockflow.bulk.outcomes import Outcome
from stockflow.errors import ConcurrentTransition
from stockflow.ledgers import ledger_of
from stockflow.moments import moment
from stockflow.saving.plans import prepare_following
from stockflow.saving.work import Work
from stockflow.settling import settle
from stockflow.subjects import subject_of

if TYPE_CHECKING:
    from stockflow.models import StockflowModel

_IMMUTABLE = (str, int, float, bool, bytes, type(None))


class Loaded:
    """A locked object, and what it held when it was loaded."""

    __slots__ = ("before", "row")

    def __init__(self, row: "StockflowModel") -> None:
        self.row, self.before = row, dict(row.__dict__)

    def known_timer(self, field: str) -> Any:
        """Return the timer of *field*; None where it is not known."""
        return None


def call_each(command: Command, rows: Iterable["StockflowModel"], using: str) -> Outcome:
    """Call the transition on each of the locked *rows*, then write what they did."""
    counts = dict.fromkeys(("moved", "not_allowed", "condition_false", "denied"), 0)
    to_write: list[Loaded] = []  # in the order of their keys
    moved: set[int] = set()
    for row in rows:
        one = Loaded(row)
        became = _call(command, row)
        counts[became] += 1
        if became == "moved":
            moved.add(id(row))
        if became == "moved" or (became != "denied" and ledger_of(row).pending):
            to_write.append(one)
    conflicts = sum(id(row) in moved for row in write(command.model, to_write, using))
    counts["moved"] -= conflicts
    return Outcome(**counts, conflict=conflicts)


def _call(command: Command, row: "StockflowModel") -> str:
    """Call the transition; return what became of it, as the outcome names it."""
    if command.user is not None:
        settle(row, moment(row)[0])
        if not command.is_permitted(row, row.__dict__[command.field.name]):
            has_it = command.meta.has_transition(row.__dict__[command.field.name])
            return "denied" if has_it or not command.may_change else "not_allowed"
    try:
        getattr(row, command.name)(**command.arguments)
    except django_fsm.TransitionNotAllowed as error:
        if error.object is not row or error.method.__name__ != command.name:
            raise
        has_it = command.meta.has_transition(row.__dict__[command.field.name])
        return "condition_false" if has_it else "not_allowed"
    return "moved"


def write(
    model: type[models.Model], loaded: Sequence[Loaded], using: str
) -> list["StockflowModel"]:
    """Write what the instances have pending; return those that another writer changed first.

    Args:
        model: Their class.
        loaded: Locked objects, in the order of their keys.
        using: The alias of the database.
    """
    if not _can_be_batched(model):
        return [one.row for one in loaded if not _save(one.row, using)]
    late, batch = [], list[Loaded]()
    changed: set[str] = set()
    for one in loaded:
        names = _changed(one)
        if _has_expression(one.row, names):
            late += [] if _save(one.row, using) else [one.row]
        else:
            changed |= names
            batch.append(one)
    return late + (_write_batch(model, batch, changed, using) if batch else [])


def _can_be_batched(model: type[models.Model]) -> bool:
    is_of_one_table = not any(model._meta.parents.values())
    return (
        is_of_one_table
        and not is_observed(model)
        and not any(
            hasattr(field, "get_placeholder") or hasattr(field, "get_placeholder_sql")
            for field in model._meta.concrete_fields
        )
    )


def _save(row: "StockflowModel", using: str) -> bool:
    try:
        row.save(using=using)
    except ConcurrentTransition:
        return False
    return True


def _changed(one: Loaded) -> set[str]:
    """Return the attributes that hold something else than when it was loaded, or may do so."""
    before = one.before
    return {
        name
        for name, value in one.row.__dict__.items()
        if name not in before
        or value is not before[name]
        or not (isinstance(value, _IMMUTABLE) or getattr(value, "__hash__", None))
    }


def _has_expression(row: "StockflowModel", names: Iterable[str]) -> bool:
    return any(hasattr(row.__dict__[name], "resolve_expression") for name in names)


def _write_batch(
    model: type[models.Model], batch: list[Loaded], changed: set[str], using: str
) -> list["StockflowModel"]:
    subject, connection = subject_of(model), connections[using]
    keys = chunks.prepared(subject, using, [one.row.pk for one in batch])
    last = chunks.last_events(connection, subject, keys)
    written, appended, owned, late = [], [], set[str](), []
    for key, one in zip(keys, batch, strict=True):
        row = one.row
        version, events = last.get(key, (None, {}))
        if version != row.stock_version:  # a method saved it through another instance
            late.append(row)
            continue
        work = _prepare(row, using)
        owned |= work.columns
        written.append((key, work, one))
        label = row._meta.label_lower
        appended.append(writing.Appended(row.stock_lifecycle, version, work.events, events, label))
    if written:
        writing.append(connection, subject, appended)
        rows = [(key, work, one.row) for key, work, one in written]
        _update(model, rows, owned | changed, using)
        writing.write_timers(
            using, ((one.row, work.events, one.known_timer) for _, work, one in written)
        )
    return late


def _prepare(row: "StockflowModel", using: str) -> Work:
    """Decide what a save would do, and do none of it."""
    ledger = ledger_of(row)
    work = ledger.work = Work(using)
    prepare_following(row, ledger, work, None)
    ledger.work = None
    if not work.events:
        work.base = row.stock_version
    return work


def _update(
    model: type[models.Model],
    written: list[tuple[Any, Work, Any]],
    names: set[str],
    using: str,
) -> None:
    moving = moving_columns(model)
    for _, _, row in written:
        for field in moving:
            field.pre_save(row, add=False)
    names |= {field.attname for field in moving}
    columns = [
        field
        for field in model._meta.concrete_fields
        if field.attname in names and not (field.primary_key or getattr(field, "generated", False))
    ]
    rows = [(key, work.base or 0, row) for key, work, row in written]
    if writing.update_rows(using, subject_of(model), columns, rows) != len(rows):
        raise ConcurrentTransition(
            f"Rows of {model._meta.label} changed under the lock: is transaction_mode IMMEDIATE? "
            "Repeat the bulk operation."
        )
