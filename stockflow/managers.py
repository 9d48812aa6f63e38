"""Querysets that refuse what would change a state without an event."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import IntegrityError, NotSupportedError, models, transaction

from stockflow.bulk.outcomes import Outcome

if TYPE_CHECKING:
    from stockflow.bulk.transitions import Progress

M = TypeVar("M", bound=models.Model)


class StockflowQuerySet(models.QuerySet[M]):
    """A queryset whose bulk operations leave the stocks alone."""

    def update(self, **kwargs: Any) -> int:
        if not self._lets_go_of_nothing(self._owned(kwargs)):
            self._refuse_owned("update()", kwargs)
        return super().update(**kwargs)

    def bulk_update(
        self, objs: Iterable[M], fields: Iterable[str], *args: Any, **kwargs: Any
    ) -> int:
        names = list(fields)
        self._refuse_owned("bulk_update()", names)
        return super().bulk_update(objs, names, *args, **kwargs)

    def bulk_create(  # type: ignore[override]  # what conflicts is refused, so less is taken
        self, objs: Iterable[M], batch_size: int | None = None, **conflicts: Any
    ) -> list[M]:
        """Create *objs* with their opening events and timers, in one transaction.

        As Django's: ``save()`` is not called and no signals are sent.

        Args:
            objs: Unsaved objects.
            batch_size: How many rows one INSERT takes.
            **conflicts: Django's further arguments; none of them can be given.

        Raises:
            NotSupportedError: If conflicts are to be ignored or updated, since the event of a
                row that is not inserted would have no row.
        """
        from stockflow.bulk import creation  # noqa: PLC0415  needs the models

        if given := sorted(name for name, value in conflicts.items() if value):
            raise NotSupportedError(
                f"stockflow: bulk_create() of {self.model._meta.label} cannot take "
                f"{', '.join(given)}: each new object gets its opening event, and each old one "
                "keeps its history. Leave out the objects that exist."
            )
        write = super().bulk_create
        self._for_write = True
        self._refuse_parted()
        return creation.create(
            self.model, list(objs), self.db, lambda new: write(new, batch_size=batch_size)
        )

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the objects, their closing events written together before.

        Signals are sent and cascades followed as by Django's own.
        """
        from stockflow.bulk import closing  # noqa: PLC0415  needs the models
        from stockflow.deletion import closed  # noqa: PLC0415  as above
        from stockflow.listening import told  # noqa: PLC0415  as above

        self._for_write = True
        delete = super().delete
        query, fields = self.query, getattr(self, "_fields", None)
        if query.is_sliced or query.distinct_fields or fields is not None:
            return delete()  # refused by Django, in its own words
        self._refuse_parted()
        with transaction.atomic(using=self.db):
            with told(self.model._meta.label_lower, self.db):
                lifecycles = closing.close(self.using(self.db))
            with closed(lifecycles):
                deleted = delete()
            closing.refuse_survivors(self.model, self.db, lifecycles)
        return deleted

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def transition(
        self,
        name: str,
        /,
        *,
        user: Any = None,
        chunk_size: int | None = None,
        progress: "Progress | None" = None,
        **arguments: Any,
    ) -> Outcome:
        """Make the transition *name* on each object, with one event for each.

        Each chunk is a transaction of its own. It may be interrupted and repeated: what has
        moved is not allowed to move again, unless the machine has the transition from its
        target, too; leave out then what is there already. Overdue decays are recorded first.
        A transition whose method is empty and that has no condition is made by SQL alone; any
        other is called on each instance, and what those of a chunk did is written together, or
        saved one by one where the model has its own ``save()`` or receivers of it. ::

            outcome = Lead.objects.filter(owner=rep).transition("rekindle", user=request.user)
            Lead.objects.exclude(temperature="lost").transition("lose")  # from any state

        Args:
            name: The transition's method.
            user: Asked for the permission of the transition and the one to change the object.
                None trusts the caller, as the method itself does.
            chunk_size: How many objects one transaction takes; by default thousands.
            progress: Told after each chunk how many objects it had.
            **arguments: For the method.

        Returns:
            How many objects moved, and what became of the others.

        Raises:
            UnknownTransition: If the model has no such transition.
            TypeError: If the queryset is sliced, distinct, combined, filtered by a window or values.
            ValueError: If *chunk_size* is no number above 0.
        """
        from stockflow.bulk import transitions  # noqa: PLC0415  needs the models

        self._for_write = True
        self._refuse_parted()
        return transitions.transition(
            self.using(self.db),
            name,
            arguments,
            user=user,
            chunk_size=chunk_size,
            progress=progress,
        )

    transition.alters_data = True  # type: ignore[attr-defined]

    def reclassify(
        self,
        field: Any = None,
        states: Mapping[str, str] | None = None,
        /,
        *,
        chunk_size: int | None = None,
        progress: "Progress | None" = None,
    ) -> int:
        """Record what changed without a transition, as events that no flow counts.

        Without arguments: the facets read through a relation, of children's fields too, of the
        objects that show other values than their last event::

            Rep.objects.filter(pk=rep.pk).update(team="south")
            Lead.objects.filter(owner=rep).reclassify()

        With *field* and *states*: states that were renamed, split or merged. The object's
        spell goes on, and so does the clock of its decay::

            Lead.objects.filter(amount__gt=900).reclassify("temperature", {"hot": "blazing"})

        Overdue decays are recorded first. Each chunk is a transaction of its own.

        Args:
            field: The stock field, a reference to it or its name.
            states: The new state of each old one.
            chunk_size: How many objects one transaction takes; by default thousands.
            progress: Told after each chunk how many objects it had.

        Returns:
            How many objects were reclassified.

        Raises:
            UnknownState: If the machine has no such new state.
            InvalidDeclaration: If the model has no such stock field.
            TypeError: If the queryset is sliced, distinct, combined, filtered by a window or values.
            ValueError: If *chunk_size* is no number above 0.
        """
        from stockflow.bulk import reclassification  # noqa: PLC0415  needs the models

        self._for_write = True
        self._refuse_parted()
        return reclassification.reclassify(
            self.using(self.db),
            getattr(field, "name", field),
            states or {},
            chunk_size=chunk_size,
            progress=progress,
        )

    reclassify.alters_data = True  # type: ignore[attr-defined]

    def _refuse_parted(self) -> None:
        from stockflow.routing import refuse_parted_model  # noqa: PLC0415  needs the models

        refuse_parted_model(self.model, self.db)

    def _lets_go_of_nothing(self, names: list[str]) -> bool:
        """Whether *names* are foreign keys that a deletion empties, and no row is found.

        So it is where Django deletes a related row and asks the base manager, if that has this
        queryset, for an update: the objects were reclassified before.
        """
        from stockflow.bulk import detachment  # noqa: PLC0415  needs the models

        if not names or not detachment.keys_of(self.model).issuperset(names):
            return False
        self._for_write = True
        return not self.exists()

    def _owned(self, names: Iterable[str]) -> list[str]:
        """Return which of *names* only a save with events writes."""
        from stockflow.subjects import subject_of  # noqa: PLC0415  needs the models

        subject = subject_of(self.model)
        owned = {f.name for f in subject.facet_columns.values()}
        owned |= {*subject.columns, *subject.facet_columns}
        return sorted(owned.intersection(names))

    def _refuse_owned(self, operation: str, names: Iterable[str]) -> None:
        if touched := self._owned(names):
            raise IntegrityError(
                f"stockflow: {operation} of {self.model._meta.label} would change "
                f"{', '.join(touched)} without an event. Call the transition, or save(), on each object."
            )


class StockflowManager(models.Manager.from_queryset(StockflowQuerySet)):  # type: ignore[misc]
    """The manager of stockflow's models; give a queryset of your own this queryset as a base."""
