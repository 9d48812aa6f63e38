"""Copies of objects with their log, by SQL: a million are there in a minute."""

from typing import Any

from django.db import connection, models

from stockflow.models import Event, ScheduledTransition, StockflowModel


def copies(model: type[Any], count: int) -> None:
    """Add *count* copies of the objects of *model* that are there, each with a lifecycle of its own."""
    keys = list(model._default_manager.order_by("pk").values_list("pk", flat=True))
    for batch, start in enumerate(range(0, count, len(keys) or 1)):
        last = keys[: count - start][-1]
        # What begins so stands after all lifecycles made by the clock, in the order of the batches.
        prefix = f"1{batch:07x}"
        if issubclass(model, StockflowModel):
            lifecycles = _lifecycles(model, keys[0], last)
            dashed = [str(lifecycle) for lifecycle in lifecycles]
            _copy(Event, "originator", prefix, "originator", dashed)
            _copy(model, "stock_lifecycle", prefix, "stock_lifecycle", lifecycles)
            _copy(ScheduledTransition, "lifecycle", prefix, "lifecycle", lifecycles)
        else:
            _copy(model, "", prefix, "id", [key for key in keys if key <= last])


def _lifecycles(model: type[Any], first: Any, last: Any) -> list[Any]:
    rows = model._default_manager.filter(pk__gte=first, pk__lte=last)
    return list(rows.order_by("pk").values_list("stock_lifecycle", flat=True))


def _copy(
    model: type[models.Model], named: str, prefix: str, among: str, chosen: list[Any]
) -> None:
    """Insert the chosen rows again, those with a column *named* with the *prefix* in it."""
    quote: Any = connection.ops.quote_name
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    values = []
    for field in fields:
        value = quote(field.column)
        if field.name == named:
            is_uuid = connection.vendor == "postgresql" and isinstance(field, models.UUIDField)
            value = f"'{prefix}' || substr({value}{'::text' if is_uuid else ''}, 9)"
            value = f"({value})::uuid" if is_uuid else value
        values.append(value)
    rows = model._default_manager.filter(**{f"{among}__in": chosen}).order_by("pk").values("pk")
    sql, parameters = rows.query.sql_with_params()
    columns = ", ".join(quote(field.column) for field in fields)
    table, pk = quote(model._meta.db_table), quote(model._meta.pk.column)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({columns}) SELECT {', '.join(values)} FROM {table} "
            f"WHERE {pk} IN ({sql}) ORDER BY {pk}",
            parameters,
        )
