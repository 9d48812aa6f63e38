"""Copies of objects with their log, by SQL: a million are there in a minute."""

import itertools
from collections.abc import Sequence
from typing import Any

from django.db import connection, models

from stockflow.models import Event, ScheduledTransition, StockflowModel
from stockflow.rows import among

_batches = itertools.count()
"""Of all models together: two batches made within a millisecond differ in nothing else."""


def copies(model: type[Any], count: int, keys: Sequence[Any] = ()) -> None:
    """Add *count* copies of the objects of *model*, each with a lifecycle of its own.

    Of those with *keys*, which are in one row; by default of all that are there.
    """
    keys = [*keys] or list(model._default_manager.order_by("pk").values_list("pk", flat=True))
    for start in range(0, count, len(keys) or 1):
        chosen = keys[: count - start]
        # What begins so stands after all lifecycles made by the clock, in the order of the batches.
        prefix = f"1{next(_batches):07x}"
        if issubclass(model, StockflowModel):
            rows = model._default_manager.filter(pk__gte=chosen[0], pk__lte=chosen[-1])
            found = list(rows.values_list("stock_lifecycle", flat=True))
            _copy(Event, "originator", prefix, "originator", [str(one) for one in found])
            if connection.vendor == "sqlite":
                found = [one.hex for one in found]
            _copy(model, "stock_lifecycle", prefix, "stock_lifecycle", found)
            _copy(ScheduledTransition, "lifecycle", prefix, "lifecycle", found)
        else:
            _copy(model, "", prefix, "id", chosen)


def _copy(model: type[Any], named: str, prefix: str, among_column: str, chosen: list[Any]) -> None:
    """Insert the chosen rows again, those with a column *named* with the *prefix* in it."""
    quote: Any = connection.ops.quote_name
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    values = [
        _prefixed(field, quote(field.column)) if field.name == named else quote(field.column)
        for field in fields
    ]
    # One parameter: statements of thousands would be kept, as prepared ones, by SQLite's driver.
    test, parameters = among(connection, quote(among_column), chosen)
    columns = ", ".join(quote(field.column) for field in fields)
    table, pk = quote(model._meta.db_table), quote(model._meta.pk.column)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({columns}) SELECT {', '.join(values)} FROM {table} "
            f"WHERE {test} ORDER BY {pk}",
            [*([prefix] if named else []), *parameters],
        )


def _prefixed(field: Any, column: str) -> str:
    if connection.vendor == "postgresql" and isinstance(field, models.UUIDField):
        return f"(%s || substr({column}::text, 9))::uuid"
    return f"%s || substr({column}, 9)"
