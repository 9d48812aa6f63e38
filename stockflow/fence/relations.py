"""Looking behind relations: facets that changed there, which ``reclassify()`` has yet to record."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.db import connections

from stockflow.bulk.cells import column_sql, tables_sql
from stockflow.bulk.chunks import last_join
from stockflow.domain.cells import FacetValue
from stockflow.facets import FacetPath
from stockflow.fence.comparing import CHUNK, whole
from stockflow.fence.subjects import Fenced, fenced_tables
from stockflow.fields import StockField
from stockflow.subjects import subject_of


@dataclass(frozen=True)
class Drift:
    """One facet that is not any more what it was when the log was last written to.

    Attributes:
        model: The label of the object's model.
        key: Its primary key.
        field: The stock field.
        facet: The facet, a lookup through a relation.
        row: What the row's relation says.
        log: What the field's last event says.
    """

    model: str
    key: str
    field: str
    facet: str
    row: FacetValue
    log: FacetValue

    def __str__(self) -> str:
        name = self.model.rpartition(".")[2]
        return (
            f"{self.model} {self.key}, {self.field}: {self.facet} is {self.row!r} by the row's "
            f"relation, {self.log!r} by the log; {name}.objects.reclassify() records it"
        )


def first(using: str, number: int) -> list[Drift]:
    """Return the first drifts in the database *using*."""
    return list(islice(_drifts(using), number))


def _drifts(using: str) -> Iterator[Drift]:
    """Yield all, of each field once: a child's objects are looked at in the table that has it."""
    for fenced in fenced_tables(using):
        for field in fenced.fields:
            for facet, key, row, log in _of_field(using, fenced, field):
                found = whole(using, fenced, key)
                if found is not None:
                    yield Drift(found._meta.label, str(found.pk), str(field.name), facet, row, log)


def _of_field(
    using: str, fenced: Fenced, field: StockField
) -> Iterator[tuple[str, Any, FacetValue, FacetValue]]:
    """Yield the facets of *field* that drifted: the lookup, the key, what the row and the log say.

    What the log does not have was declared later, and what is fixed at entry cannot drift.
    """
    facets = subject_of(fenced.model).facets(str(field.name))
    paths = [path for path in facets.values() if not (path.is_own or path.is_fixed)]
    for key, *texts in _differing(using, fenced, field, paths) if paths else ():
        for path, row, log in zip(paths, texts[::2], texts[1::2], strict=True):
            # Texts may differ that mean the same: Python and the database escape differently.
            if log is not None and (said := json.loads(row)) != (recorded := json.loads(log)):
                yield path.lookup, key, said, recorded


def _differing(
    using: str, fenced: Fenced, field: StockField, paths: list[FacetPath]
) -> Iterator[Any]:
    """Yield key, then the texts of row and log for each path, of the rows where any differ.

    Each chunk is one statement, which sees row, relation and log at one moment: what is written
    meanwhile is no drift, and no row need be locked.
    """
    connection, subject = connections[using], subject_of(fenced.model)
    quote, vendor = connection.ops.quote_name, connection.vendor
    key = f"r.{quote(str(subject.table._meta.pk.column))}"
    join, values = last_join(connection, subject, str(field.name))
    texts, tests = list[str](), list[str]()
    for path in paths:
        row = path.sql(vendor, quote, column_sql(connection, subject, path))
        log, _ = path.kept_sql(vendor, ("l.target_facets", ()), ("NULL", ()))
        texts += [row, log]
        tests.append(f"{row} <> {log}")
    sql = (
        f"SELECT {', '.join([key, *texts])} FROM {tables_sql(connection, subject)}{join} "
        f"WHERE ({' OR '.join(tests)})"
    )
    after: list[Any] = []
    while True:
        beyond = f" AND {key} > %s" if after else ""
        with connection.cursor() as cursor:
            cursor.execute(f"{sql}{beyond} ORDER BY {key} LIMIT {CHUNK}", [*values, *after])
            rows = cursor.fetchall()
        if not rows:
            return
        yield from rows
        after = [rows[-1][0]]
