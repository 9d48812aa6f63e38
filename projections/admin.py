"""The admin's faces of the read side: stocks and flows as a site, and a list of objects by stock."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from stockflow.domain.instants import to_micros
from stockflow.projections import calling, registry
from stockflow.projections.entries import ActionsMixinBase
from stockflow.projections.event_calls import EventCall
from stockflow.projections.flow_admin import FlowAdmin
from stockflow.projections.models import Generation, ParkedEvent
from stockflow.projections.parking import release
from stockflow.projections.sites import StockAndFlowAdminSite
from stockflow.projections.stock_admin import SampledStockAdmin, StockAdmin
from stockflow.projections.stocks import Stock
from stockflow.scheduling.pages import ReadOnlyAdmin, in_short, on_one_line, shown

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
        return [
            (stock.slug, f"{stock.name} (sampled)" if stock.is_sampled else stock.name)
            for stock in _offered(model_admin.model)
        ]

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
class ParkedEventAdmin(ReadOnlyAdmin):
    """The events that projections could not fold, and those behind them; they can be released.

    To release is to change: it asks for the permission to change parked events.
    """

    list_display = ("projection", "position", "parked", "trouble", "stream")
    list_filter = ("projection",)
    search_fields = ("=originator",)
    search_help_text = "A lifecycle, in full."
    ordering = ("generation", "position")
    actions = ("release",)
    fields = ("projection", "position", "event", "originator", "parked", "error")
    readonly_fields = ("parked",)

    @admin.display(description="parked at", ordering="parked_at")
    def parked(self, one: ParkedEvent) -> str:
        """When it was set aside."""
        return shown(one.parked_at)

    @admin.display(description="error", ordering="error")
    def trouble(self, one: ParkedEvent) -> str:
        """Why it could not be folded; nothing for those behind one that could not."""
        return in_short(one.error)

    @admin.display(description="lifecycle", ordering="originator")
    def stream(self, one: ParkedEvent) -> str:
        """The object, on one line."""
        return on_one_line(one.originator)

    def has_release_permission(self, request: HttpRequest) -> bool:
        """Whether the user may change parked events."""
        user: Any = request.user
        return bool(user.has_perm("stockflow_projections.change_parkedevent"))

    @admin.action(description="Release the objects of the selected events", permissions=["release"])
    def release(self, request: HttpRequest, queryset: QuerySet[ParkedEvent]) -> None:
        """Fold all parked events of these objects, as now they can be."""
        done = release(queryset)
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
class EventCallAdmin(ReadOnlyAdmin):
    """The calls of event callables that wait or failed; the parked ones can be released.

    To release is to change: it asks for the permission to change event calls.
    """

    list_display = ("flow", "name", "parked", "attempts", "trouble", "retry", "event", "stream")
    list_filter = (_Standing, "flow")
    search_fields = ("=originator",)
    search_help_text = "A lifecycle, in full."
    ordering = ("flow", "name", "position")
    actions = ("release",)
    fields = (
        *("flow", "name", "event", "stream", "position"),
        *("attempts", "error", "parked", "retry"),
    )
    readonly_fields = ("stream", "parked", "retry")

    @admin.display(description="parked at", ordering="parked_at")
    def parked(self, call: EventCall) -> str:
        """When it was set aside."""
        return "" if call.parked_at is None else shown(to_micros(call.parked_at))

    @admin.display(description="not tried before", ordering="retry_at")
    def retry(self, call: EventCall) -> str:
        """Until when it is left alone."""
        return "" if call.retry_at is None else shown(to_micros(call.retry_at))

    @admin.display(description="error", ordering="error")
    def trouble(self, call: EventCall) -> str:
        """Why it failed."""
        return in_short(call.error)

    @admin.display(description="lifecycle", ordering="originator")
    def stream(self, call: EventCall) -> str:
        """The object, on one line."""
        return on_one_line(call.originator)

    def has_release_permission(self, request: HttpRequest) -> bool:
        """Whether the user may change event calls."""
        user: Any = request.user
        return bool(user.has_perm("stockflow_projections.change_eventcall"))

    @admin.action(description="Release the selected parked calls", permissions=["release"])
    def release(self, request: HttpRequest, queryset: QuerySet[EventCall]) -> None:
        """Let them be tried again."""
        number = calling.release(queryset)
        self.message_user(request, f"Released {number:,} calls.", messages.SUCCESS)
