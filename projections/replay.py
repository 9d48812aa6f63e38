"""Rebuilding only to compare: whether the rows that serve are what the log adds up to."""

from collections.abc import Iterator
from typing import Any

from django.db import models, transaction

from stockflow.projections import checkpoints, runner
from stockflow.projections.base import Projection
from stockflow.projections.models import Generation, Status

KEPT = 1000
"""How many of the rows that differ are kept to be shown."""


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
        """Rebuild up to the checkpoint, compare row by row, and yield positions scanned."""
        size = batch_size or self.projection.batch_size
        own, name = Generation.objects.using(self.using), f"{self.projection.name} (check)"
        own.filter(projection=name).update(status=Status.RETIRED)  # left by an interruption
        self._drop(name)
        rebuilt = own.create(projection=name, version=self.serving.version, zone=self.serving.zone)
        try:
            yield from self._fold(rebuilt, self.serving.position, size)
            with transaction.atomic(using=self.using):
                # Its lock holds up folding, so that both stand at one position.
                self.serving = own.select_for_update().get(pk=self.serving.pk)
                yield from self._fold(rebuilt, self.serving.position, size)
                for model in self.projection.models():
                    self._compare(model, rebuilt)
        finally:
            checkpoints.retire(rebuilt, using=self.using)
            self._drop(name)

    def _drop(self, name: str) -> None:
        checkpoints.drop_retired(name, self.projection.models(), using=self.using)

    def _fold(self, rebuilt: Generation, last: int, size: int) -> Iterator[int]:
        while rebuilt.position < last:
            until = min(rebuilt.position + size, last)
            runner.fold_batch(self.projection, rebuilt, until, using=self.using)
            yield until - rebuilt.position
            rebuilt.position = until

    def _compare(self, model: type[models.Model], rebuilt: Generation) -> None:
        names = [
            field.name
            for field in model._meta.concrete_fields
            if field.name != "generation" and not field.primary_key
        ]
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
