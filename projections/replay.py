"""Rebuilding only to compare: whether the rows that serve are what the log adds up to."""

from collections.abc import Iterator
from typing import Any

from django.db import IntegrityError, models, transaction

from stockflow.domain.errors import StockflowError
from stockflow.projections import checkpoints, runner
from stockflow.projections.base import Projection
from stockflow.projections.models import Generation, Status

KEPT = 1000
"""How many of the rows that differ are kept to be shown."""


class CheckDisturbed(StockflowError):
    """Another check or replay of the projection came between: nothing can be said of its rows.

    Attributes:
        projection: The name of the projection.
    """

    def __init__(self, projection: str) -> None:
        super().__init__(projection)
        self.projection = projection

    def __str__(self) -> str:
        return (
            f"Another check or replay of {self.projection} came between, and nothing can be said of "
            "its rows: run the check again, by itself."
        )


class Comparison:
    """A rebuild beside the generation that serves, thrown away afterwards.

    Attributes:
        number: How many rows only one of the two has, once :meth:`run` is through.
        differences: The first of them, as text.
    """

    def __init__(self, projection: Projection, serving: Generation, *, using: str) -> None:
        self.projection, self.serving, self.using = projection, serving, using
        self.number, self.differences = 0, list[str]()

    def run(self, *, batch_size: int | None = None) -> Iterator[int]:
        """Rebuild up to the checkpoint, compare row by row, and yield positions scanned.

        Raises:
            CheckDisturbed: If another check began meanwhile, or another generation serves.
        """
        size = batch_size or self.projection.batch_size
        own, name = Generation.objects.using(self.using), self.projection.name + checkpoints.CHECK
        own.filter(projection=name).update(status=Status.RETIRED)  # left by an interruption
        self._drop(name)
        rebuilt = self._begin(name)
        try:
            yield from self._fold(rebuilt, self.serving.position, size)
            with transaction.atomic(using=self.using):
                self.serving = self._locked(rebuilt)
                yield from self._fold(rebuilt, self.serving.position, size)
                for model in self.projection.models():
                    self._compare(model, rebuilt)
        finally:
            checkpoints.retire(rebuilt, using=self.using)
            self._drop(name)

    def _begin(self, name: str) -> Generation:
        own = Generation.objects.using(self.using)
        version, zone = self.serving.version, self.serving.zone
        try:
            with transaction.atomic(using=self.using):
                return own.create(projection=name, version=version, zone=zone)
        except IntegrityError:  # another check began at this moment
            raise CheckDisturbed(self.projection.name) from None

    def _locked(self, rebuilt: Generation) -> Generation:
        """Return what serves. Its lock holds up folding, so that both stand at one position."""
        rows = Generation.objects.using(self.using).select_for_update().order_by("pk")
        found = {row.pk: row for row in rows.filter(pk__in=[self.serving.pk, rebuilt.pk])}
        serves, built = (found.get(one.pk) for one in (self.serving, rebuilt))
        if built is None or built.status == Status.RETIRED:
            raise CheckDisturbed(self.projection.name)
        if serves is None or serves.status != Status.SERVING:
            raise CheckDisturbed(self.projection.name)
        return serves

    def _drop(self, name: str) -> None:
        checkpoints.drop_retired(name, self.projection.models(), using=self.using)

    def _fold(self, rebuilt: Generation, last: int, size: int) -> Iterator[int]:
        while rebuilt.position < last:
            until = min(rebuilt.position + size, last)
            if not runner.fold_batch(self.projection, rebuilt, until, using=self.using):
                raise CheckDisturbed(self.projection.name)
            yield until - rebuilt.position
            rebuilt.position = until

    def _compare(self, model: type[models.Model], rebuilt: Generation) -> None:
        own = self.projection.models()
        names = [
            field.name
            for field in model._meta.concrete_fields
            if field.name != "generation" and not field.primary_key
            # Rows of a rebuild have keys of their own.
            if field.related_model not in own
        ]
        if not names:
            return
        serves, built = (self._rows(model, one.pk, names) for one in (self.serving, rebuilt))
        table, columns = model._meta.db_table, ", ".join(names)
        for said, found in (
            ("serves, and the log does not say so", serves.difference(built)),
            ("is missing from what serves", built.difference(serves)),
        ):
            for *row, copies in found.iterator():
                self.number += 1
                times = f" ({copies} times)" if copies > 1 else ""
                if len(self.differences) < KEPT:
                    values = tuple(row)
                    self.differences.append(f"{table} ({columns}) = {values}{times}: {said}")

    def _rows(self, model: type[models.Model], generation: int, names: list[str]) -> Any:
        """Return a generation's rows, each with how many are like it."""
        own: Any = model._base_manager.using(self.using).filter(generation=generation)
        rows = self.projection.compared(own).order_by()
        return rows.values_list(*names).annotate(stockflow_copies=models.Count("pk"))
