"""Rebuilding only to compare: whether the rows that serve are what the log adds up to."""

from collections.abc import Iterator
from typing import Final
from zoneinfo import ZoneInfo

from django.db import connections, transaction

from stockflow.projections import checkpoints, flow_counts, runner
from stockflow.projections.models import Generation, Status

CHECKED: Final = "flow_counts (check)"
"""The projection's name while it is rebuilt to be compared: it never serves."""

_COLUMNS: Final = {
    "stockflow_projections_flowcount": "day, path, number, seconds, micros",
    "stockflow_projections_net": "level, block, cell, number",
}
_DIFFERENT: Final = """
SELECT {columns} FROM {table} WHERE generation = %s{only}
EXCEPT SELECT {columns} FROM {table} WHERE generation = %s"""


class Comparison:
    """A rebuild beside the generation that serves, thrown away afterwards.

    Attributes:
        differences: The rows that only one of the two has, as text; filled by :meth:`run`.
    """

    def __init__(self, serving: Generation, *, using: str) -> None:
        self.serving, self.using = serving, using
        self.differences: list[str] = []

    def run(self, *, batch_size: int = runner.BATCH) -> Iterator[int]:
        """Rebuild up to the checkpoint, compare row by row, and yield positions scanned."""
        own = Generation.objects.using(self.using)
        own.filter(projection=CHECKED).update(status=Status.RETIRED)  # left by an interruption
        checkpoints.drop_retired(CHECKED, flow_counts.TABLES, using=self.using)
        rebuilt = own.create(
            projection=CHECKED, version=self.serving.version, zone=self.serving.zone
        )
        try:
            yield from self._fold(rebuilt, self.serving.position, batch_size)
            with transaction.atomic(using=self.using):
                # Its lock holds up folding, so that both stand at one position.
                self.serving = own.select_for_update().get(pk=self.serving.pk)
                yield from self._fold(rebuilt, self.serving.position, batch_size)
                self._compare(rebuilt)
        finally:
            checkpoints.retire(rebuilt, using=self.using)
            checkpoints.drop_retired(CHECKED, flow_counts.TABLES, using=self.using)

    def _fold(self, rebuilt: Generation, last: int, batch_size: int) -> Iterator[int]:
        while rebuilt.position < last:
            until = min(rebuilt.position + batch_size, last)
            with transaction.atomic(using=self.using):
                checkpoints.advance(rebuilt, until, using=self.using)
                zone = ZoneInfo(rebuilt.zone)
                flow_counts.fold(rebuilt.pk, zone, rebuilt.position, until, using=self.using)
            yield until - rebuilt.position
            rebuilt.position = until

    def _compare(self, rebuilt: Generation) -> None:
        for table, columns in _COLUMNS.items():
            # What came and went is a row of 0 where it was added up, and none where it was not.
            only = " AND number <> 0"
            sql = _DIFFERENT.format(table=table, columns=columns, only=only)
            for said, pair in (
                ("serves, and the log does not say so", (self.serving.pk, rebuilt.pk)),
                ("is missing from what serves", (rebuilt.pk, self.serving.pk)),
            ):
                with connections[self.using].cursor() as cursor:
                    cursor.execute(sql, pair)
                    rows = cursor.fetchall()
                self.differences += [f"{table} ({columns}) = {row}: {said}" for row in rows]
