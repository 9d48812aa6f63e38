"""The rows as they are now: what the log is held against."""

from typing import TYPE_CHECKING, Any

from django.db.models import Count

from stockflow.domain.measures.changes import Value

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from stockflow.projections.measured import Countable


def rows_of(stock: "Countable") -> "QuerySet[Any]":
    """Return the rows that are in a stock now; those not adopted yet are in none."""
    if stock.is_sampled:
        return stock.all()
    model = stock.reference.model
    found = model._default_manager.using(stock.using).filter(
        **{f"{stock.reference.name}__in": stock.states, "stock_lifecycle__isnull": False}
    )
    return found.filter(pk__in=stock.all().values("pk")) if stock.is_narrowed else found


def live_counts(stock: "Countable", lookup: str | None) -> dict[Value, int] | None:
    """Count the rows of a stock, by facet value; None where rows do not have the facet.

    A facet kept as it was at entry is in the log only. Rows that were not adopted yet count:
    nobody explained them.
    """
    reference = stock.reference
    if lookup is not None and reference.facets[lookup].is_fixed:
        return None
    condition = stock.row_condition
    if condition is None:
        return None
    rows: Any = reference.model._base_manager.using(stock.using).filter(
        condition, **{f"{reference.name}__in": stock.states}
    )
    if lookup is None:
        return {None: rows.count()}
    found = rows.order_by().values_list(lookup).annotate(number=Count("pk"))
    return dict(found)
