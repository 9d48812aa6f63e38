"""The rows of a stock, as a queryset of its model."""

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.db.models import Exists, Func, Model, OuterRef, QuerySet, TextField

from stockflow.facets import dashed

if TYPE_CHECKING:
    from stockflow.fields import StockReference

_CHUNK: Final = 500


class LifecycleText(Func):
    """A row's lifecycle as the log spells it."""

    arity = 1
    output_field = TextField()

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **context: Any) -> Any:
        sql, params = compiler.compile(self.source_expressions[0])
        if connection.vendor == "postgresql":
            return f"({sql})::text", params
        text = dashed(sql)
        return f"({text})", (*params,) * text.count(sql)


def rows_in(
    reference: "StockReference", states: frozenset[str], using: str | None
) -> QuerySet[Any]:
    """Return the rows that are in *states* now and have a history."""
    model = reference.model
    found: QuerySet[Any] = model._base_manager.using(using).filter(
        **{f"{reference.name}__in": states, "stock_lifecycle__isnull": False}
    )
    if not model._meta.proxy:
        return found
    # A row does not say by which proxy it was created, the log does.
    return found.filter(Exists(_first_events(reference, using)))


def _first_events(reference: "StockReference", using: str | None) -> QuerySet[Any]:
    from stockflow.tables import STOCKFLOW, Event  # noqa: PLC0415  needs the app registry

    return Event.objects.using(using).filter(
        application=STOCKFLOW,
        originator=LifecycleText(OuterRef("stock_lifecycle")),
        version=1,
        model__in=reference.model_labels,
    )


def objects_of(model: type[Model], using: str, lifecycles: list[UUID]) -> dict[UUID, Any]:
    """Return the objects that still are, as they are now, by their lifecycle."""
    objects: dict[UUID, Any] = {}
    for first in range(0, len(lifecycles), _CHUNK):
        rows = model._base_manager.using(using).filter(
            stock_lifecycle__in=lifecycles[first : first + _CHUNK]
        )
        objects.update((row.stock_lifecycle, row) for row in rows)  # type: ignore[attr-defined]
    return objects
