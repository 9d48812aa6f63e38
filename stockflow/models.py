"""The base of models whose stock membership is recorded, and the names that go with it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from django.db import models, router
from django.db.models.signals import class_prepared, pre_delete

from stockflow import deletion, foresight, history, ledgers, rescheduling, saving
from stockflow.bulk.outcomes import Outcome
from stockflow.errors import InvalidDeclaration
from stockflow.facets import AtEntry, Fragment
from stockflow.fields import StockField, StockReference
from stockflow.managers import StockflowManager, StockflowQuerySet
from stockflow.routing import refuse_parted
from stockflow.saving.updates import update_row
from stockflow.subjects import subject_of
from stockflow.tables import Event, Kind, PeriodicRun, Position, ScheduledTransition
from stockflow.transitions import transition

__all__ = [
    "AtEntry",
    "Event",
    "Kind",
    "Outcome",
    "PeriodicRun",
    "Position",
    "ScheduledTransition",
    "StockField",
    "StockReference",
    "StockflowManager",
    "StockflowModel",
    "StockflowQuerySet",
    "transition",
]


class StockflowModel(models.Model):
    """A model whose objects' transitions are recorded, in the same transaction as the row.

    Calling a transition changes the object in memory; :meth:`save` writes the row and one
    event per transition, or neither. Creating records the opening event, deleting the
    closing one, a change of a facet column a reclassification.

    Attributes:
        stock_lifecycle: The object's stream in the log, never its primary key; None for a
            row older than its history, until its first transition.
        stock_version: The version of its last event.
        stock_changed_at: When that happened.
    """

    stock_lifecycle = models.UUIDField(null=True, default=None, unique=True, editable=False)
    stock_version = models.BigIntegerField(default=0, editable=False)
    stock_changed_at = models.DateTimeField(null=True, default=None, editable=False)

    objects = StockflowManager()

    class Meta:
        abstract = True

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        if "_stock_ledger" in state:
            state["_stock_ledger"] = state["_stock_ledger"].copy()
        return state

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:
        instance = super().from_db(*args, **kwargs)
        if columns := subject_of(cls).facet_columns:
            ledgers.note_loaded(instance, columns)
        if delays := subject_of(cls).delay_columns:
            ledgers.note_delays(instance, delays)
        return instance

    def stock_history(self) -> list["history.Entry"]:
        """Return what happened to this object: who, what, when, why, how long in each state.

        Returns:
            One entry per event, oldest first; none for a row that was not adopted yet.
        """
        if self.stock_lifecycle is None:
            return []
        return history.of_lifecycle(self.stock_lifecycle, using=self._state.db or "default")

    def postpone_decay(self, transition: str, *, to: datetime) -> None:
        """Let the decay *transition* of the present state be due at *to*; to be saved.

        It stays so until the state is left. An event of the history says who and why.

        Raises:
            UnknownTransition: If no decay of that name leaves the present state.
            InvalidInstant: If *to* is no instant, or is past.
        """
        rescheduling.postpone(self, transition, to)

    def cancel_decay(self, transition: str) -> None:
        """Let the decay *transition* not happen before the present state is left; to be saved.

        Another decay of the state becomes the earliest. An event says who and why.

        Raises:
            UnknownTransition: If no decay of that name leaves the present state.
        """
        rescheduling.cancel(self, transition)

    def effective_state(self, field: str | None = None, *, at: datetime | None = None) -> str:
        """Return the state once what is due at *at* has happened, that very instant included.

        Nothing is called or written: the schedule, or the next transition, records it.

        Args:
            field: The stock field; needed only where there are several.
            at: An instant not before the object's last event; now by default.

        Raises:
            InvalidInstant: If *at* is no instant, or lies before the last event.
            StockflowError: If a decay on the way computes its target.
        """
        return foresight.effective_state(self, field, at)

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("raw") or (args and args[0]):
            super().save_base(*args, **kwargs)
            return
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        kwargs["using"] = using
        refuse_parted(self)
        with saving.unit_of_work(self, using):
            super().save_base(*args, **kwargs)

    def _save_table(
        self,
        raw: bool = False,
        cls: type[models.Model] | None = None,
        force_insert: bool = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> Any:
        write: Any = super()._save_table  # type: ignore[misc]
        if raw:
            return write(raw, cls, force_insert, force_update, using, update_fields)
        work = saving.begin(
            self,
            update_fields,
            force_update=force_update,
            updates=None if force_insert else cls,
        )
        is_new = work.base is None
        try:
            updated = write(raw, cls, force_insert or is_new, force_update, using, update_fields)
        except saving.RolledBack:
            updated = write(raw, cls, True, force_update, using, update_fields)
        if cls is self._meta.concrete_model:
            saving.finish(self)
        return updated

    def _do_update(  # type: ignore[override]  # its arguments differ between Django's versions
        self, base_qs: Any, using: str, pk_val: Any, values: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Update one table: the row of this lifecycle at this version, and no more than is ours."""
        write: Any = super()._do_update
        returning = args[2:]  # of Django 6, where a column's value is computed by the database
        is_plain = not (any(returning) or self._meta.select_on_save)

        def update(expected: dict[str, Any], columns: Any, calls: Sequence[Fragment] = ()) -> Any:
            work = ledgers.ledger_of(self).work
            if is_plain:
                found = update_row(
                    work.cursor, base_qs, pk_val, expected, columns, work.along, calls
                )
                if found is not None:
                    return [()] * found  # as Django 6 has it; Django 5 asks only if it is true
            if calls:
                return None  # Django knows no such statement
            return write(base_qs.filter(**expected), using, pk_val, columns, *args, **kwargs)

        if ledgers.ledger_of(self).work is None:  # raw, as a fixture is loaded: the fence decides
            return write(base_qs, using, pk_val, values, *args, **kwargs)
        return saving.update_table(self, base_qs, values, update)

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: models.QuerySet[Any] | None = None,
    ) -> None:
        """Load values anew; asked for a state, all that belongs to it, and forget what is pending."""
        subject, ledger = subject_of(type(self)), ledgers.ledger_of(self)
        names = None if fields is None else set(fields)
        is_whole = names is None or any(n in self.__dict__ for n in names & {*subject.columns})
        unsaved: dict[str, Any] = {}
        if names is not None and is_whole:
            facets = {n: f for n, f in subject.facet_columns.items() if n in self.__dict__}
            unsaved = self._changed_facets(ledger.loaded)
            unsaved = {n: v for n, v in unsaved.items() if not names & {n, facets[n].name}}
            names |= {*subject.columns, *facets}
        refreshing, ledger.refreshing = ledger.refreshing, True
        try:
            super().refresh_from_db(using, names, from_queryset)
        finally:
            ledger.refreshing = refreshing
        if is_whole:
            ledger.pending, ledger.unconfirmed = [], []
        for name, column in subject.facet_columns.items():
            if names is None or name in names or column.name in names:
                ledgers.note_loaded(self, [name])
        wanted = subject.delay_columns
        ledgers.note_delays(self, wanted if names is None else wanted & names)
        self.__dict__.update(unsaved)

    def _stock_fields(self) -> tuple[StockField, ...]:
        return subject_of(type(self)).fields

    def _load_stock_columns(self) -> None:
        """Load what is deferred of state and version, all at once, so that they fit together."""
        columns = subject_of(type(self)).columns
        if not columns.keys() <= self.__dict__.keys():
            self.refresh_from_db(fields=[*columns, *self._deferred_facets()])

    def _deferred_facets(self) -> list[str]:
        columns = subject_of(type(self)).facet_columns
        return [name for name in columns if name not in self.__dict__]

    def _facet_values(self) -> dict[str, Any]:
        """Return the facet columns as they are in memory."""
        known, columns = self.__dict__, subject_of(type(self)).facet_columns
        return {name: known[name] if name in known else getattr(self, name) for name in columns}

    def _changed_facets(self, since: Mapping[str, Any]) -> dict[str, Any]:
        """Return the facet columns that are in memory and not as they were in *since*."""
        known, columns = self.__dict__, subject_of(type(self)).facet_columns
        return {
            n: known[n] for n in columns if n in known and (n not in since or known[n] != since[n])
        }

    def _refuse_expression(self, name: str) -> None:
        value = self.__dict__[name]
        if hasattr(value, "resolve_expression"):
            raise InvalidDeclaration(
                f"{self._meta.label}.{name} is a facet and cannot be saved as the expression {value!r}: "
                "its value must be known to be recorded. Assign a value."
            )


def _record_deletions(sender: type[models.Model], **kwargs: Any) -> None:
    if issubclass(sender, StockflowModel) and not sender._meta.abstract:
        pre_delete.connect(deletion.close, sender=sender, dispatch_uid="stockflow")


class_prepared.connect(_record_deletions, dispatch_uid="stockflow")
