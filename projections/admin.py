"""The admin's faces of the read side: stocks and flows as a site, and a list of objects by stock."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from stockflow.projections import calling, registry
from stockflow.projections.base import UnknownProjection
from stockflow.projections.entries import ActionsMixinBase
from stockflow.projections.event_calls import EventCall
from stockflow.projections.flow_admin import FlowAdmin
from stockflow.projections.models import Generation, ParkedEvent
from stockflow.projections.parking import GenerationOutdated, of_projections, release
from stockflow.projections.sites import StockAndFlowAdminSite
from stockflow.projections.stock_admin import SampledStockAdmin, StockAdmin
from stockflow.projections.stocks import Stock
from stockflow.read_only_admin import ParkedAdmin, ReadOnlyAdmin

__all__ = [
    "ActionsMixinBase",
    "EventCallAdmin",
    "FlowAdmin",
    "GenerationAdmin",
    "ParkedEventAdmin",
    "SampledStockAdmin",
    "StockAdmin",
    "StockAndFlowAdminSite",
    "StockListFilter",
]


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
        return [(stock.slug, stock.title) for stock in _offered(model_admin.model)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        for stock in _offered(queryset.model):
            if stock.slug == self.value():
                return queryset.filter(pk__in=stock.all().values("pk"))
        return queryset


def _offered(model: Any) -> list[Stock]:
    return [
        stock
        for stock in registry.declared.stocks.values()
        if issubclass(model, stock.subject_model) and not stock.subject_model._meta.proxy
    ]


@admin.register(Generation)
class GenerationAdmin(ReadOnlyAdmin):
    """Which builds of projections there are, and how far each has read the log."""

    list_display = ("projection", "version", "status", "position", "zone")
    list_filter = ("projection", "status")
    ordering = ("projection", "id")


@admin.register(ParkedEvent)
class ParkedEventAdmin(ParkedAdmin):
    """The events that projections could not fold, and those behind them; they can be released."""

    list_display = ("projection", "position", "parked", "trouble", "stream")
    list_filter = ("projection",)
    ordering = ("generation", "position")
    fields = ("projection", "position", "event", "originator", "parked", "error")
    readonly_fields = ("parked",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ParkedEvent]:
        return of_projections(super().get_queryset(request))

    @admin.action(description="Release the objects of the selected events", permissions=["release"])
    def release(self, request: HttpRequest, queryset: QuerySet[ParkedEvent]) -> None:
        """Fold all parked events of these objects, as now they can be."""
        try:
            done = release(queryset)
        except (UnknownProjection, GenerationOutdated) as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        text = f"Folded {done.folded:,} parked events; {done.parked:,} are parked still."
        self.message_user(request, text, messages.WARNING if done.parked else messages.SUCCESS)


class _Standing(admin.SimpleListFilter):
    """Those set aside, or those that are still to be made."""

    title = "standing"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("waiting", "Waiting"), ("parked", "Parked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[EventCall]) -> QuerySet[EventCall]:
        if self.value() not in {"waiting", "parked"}:
            return queryset
        return queryset.filter(parked_at__isnull=self.value() == "waiting")


@admin.register(EventCall)
class EventCallAdmin(ParkedAdmin):
    """The calls of event callables that wait or failed; the parked ones can be released."""

    list_display = ("flow", "name", "standing", "trouble", "stream")
    list_filter = (_Standing, "flow")
    ordering = ("flow", "name", "position")
    fields = (
        *("flow", "name", "event", "stream", "position"),
        *("attempts", "error", "parked", "retry"),
    )
    readonly_fields = ("stream", "parked", "retry")

    @admin.action(description="Release the selected parked calls", permissions=["release"])
    def release(self, request: HttpRequest, queryset: QuerySet[EventCall]) -> None:
        """Let them be tried again."""
        number = calling.release(queryset)
        self.message_user(request, f"Released {number:,} calls.", messages.SUCCESS)
