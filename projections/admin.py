"""The admin's face of the read side: a list of objects by stock."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from stockflow.projections import registry
from stockflow.projections.stocks import Stock

__all__ = ["StockListFilter"]


class StockListFilter(admin.SimpleListFilter):
    """Narrows a ``ModelAdmin``'s list to the members that a declared stock has now.

    ::

        class LeadAdmin(StockflowAdmin):
            list_filter = [StockListFilter]

    It offers the stocks of the model and of its parents. Those of a proxy are not among them:
    a row does not say by which proxy it was created, the log does.
    """

    title = "stock"
    parameter_name = "stock"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(stock.slug, stock.name) for stock in _offered(model_admin.model)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        for stock in _offered(queryset.model):
            if stock.slug == self.value():
                name = stock.reference.name
                return queryset.filter(
                    **{f"{name}__in": stock.states, "stock_lifecycle__isnull": False}
                )
        return queryset


def _offered(model: Any) -> list[Stock]:
    return [
        stock
        for stock in registry.declared.stocks.values()
        if issubclass(model, stock.reference.model) and not stock.reference.model._meta.proxy
    ]
