"""The admin's faces of the write side: an object's history, and the log."""

import json
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from stockflow.audit import length
from stockflow.contexts import context
from stockflow.read_only_admin import NOTHING, ReadOnlyAdmin, shown
from stockflow.scheduling.pages import PeriodicRunAdmin, ScheduledTransitionAdmin
from stockflow.subjects import stock_fields
from stockflow.tables import STOCKFLOW, Event
from stockflow.transition_admin import TransitionAdmin, actor_of

__all__ = ["EventAdmin", "PeriodicRunAdmin", "ScheduledTransitionAdmin", "StockflowAdmin"]

_SPACE = "\N{NO-BREAK SPACE}"


class StockflowAdmin(TransitionAdmin):
    """A ``ModelAdmin`` for models whose objects' stock membership is recorded.

    It shows each state, since when and until when, read-only, a button for each transition that
    the user may make now, with a form where it takes arguments, an action of the list for each,
    and a page with the object's history for who may view it. What is done is recorded with
    the user as actor. It goes before another ``ModelAdmin`` as a mixin.

    ::

        @admin.register(Lead)
        class LeadAdmin(StockflowAdmin):
            list_display = ["channel", "owner", "temperature"]
            transitions = ["rekindle", "win"]     # by default all that are no decays
            transition_forms = {"win": WinForm}   # by default from the signature
    """

    class Media:
        css = {"all": ["stockflow/history.css"]}

    change_form_template = "stockflow/admin/change_form.html"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        given = super().get_readonly_fields(request, obj)
        return [*given, *(name for name in self._stock_names(obj) if name not in given)]

    def get_urls(self) -> list[URLPattern]:
        page = path(
            "<path:object_id>/stock-history/",
            self.admin_site.admin_view(self.stock_history_view),
            name=f"{self.opts.app_label}_{self.opts.model_name}_stock_history",
        )
        return [page, *super().get_urls()]

    def stock_history_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show what happened to one object: when, from, to, who, why, and how long it stayed."""
        obj = self.get_object(request, unquote(object_id))
        if not self.has_view_or_change_permission(request, obj):
            raise PermissionDenied
        if obj is None:
            raise Http404(f"There is no {self.opts.verbose_name} with the key {object_id!r}.")
        request.current_app = self.admin_site.name
        told = {
            **self.admin_site.each_context(request),
            "title": f"Stock history: {obj}",
            "object": obj,
            "opts": self.opts,
            "entries": [
                (entry, "" if entry.spent is None else length(entry.spent))
                for entry in obj.stock_history()
            ],
            "has_several_fields": len(stock_fields(self.model)) > 1,
        }
        return TemplateResponse(request, "stockflow/admin/history.html", told)

    def save_model(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        with context(actor=actor_of(request)):
            super().save_model(request, *args, **kwargs)

    def delete_model(self, request: HttpRequest, obj: models.Model) -> None:
        with context(actor=actor_of(request)):
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with context(actor=actor_of(request)):
            super().delete_queryset(request, queryset)

    def _stock_names(self, obj: models.Model | None) -> list[str]:
        """Return what only transitions write; of a new object nothing is known but its state."""
        fields = stock_fields(self.model)
        if obj is None:
            return [field.name for field in fields if not field.editable]
        return [name for f in fields for name in (f.name, f.since_name, f.due_name)]


def _recorded_models() -> list[type[models.Model]]:
    return [model for model in apps.get_models() if stock_fields(model)]


class _ModelFilter(admin.SimpleListFilter):
    """By model, without asking the log which there are."""

    title = "model"
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        labels = sorted(model._meta.label_lower for model in _recorded_models())
        return [(label, label) for label in labels]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        return queryset.filter(model=self.value()) if self.value() else queryset


class _FieldFilter(admin.SimpleListFilter):
    """By stock field, likewise."""

    title = "field"
    parameter_name = "field"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = {field.name for model in _recorded_models() for field in stock_fields(model)}
        return [(name, name) for name in sorted(names)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        return queryset.filter(field=self.value()) if self.value() else queryset


class EventColumns:
    """What a list of events says of each."""

    @admin.display(description="occurred at", ordering="occurred_at")
    def occurred(self, event: Event) -> str:
        """When it was true."""
        return shown(event.occurred_at)

    @admin.display(description="from and to")
    def change(self, event: Event) -> str:
        """From where to where, on one line."""
        outside = "(outside)"
        return f"{event.source or outside}{_SPACE}→{_SPACE}{event.target or outside}"

    @admin.display(description="transition")
    def called(self, event: Event) -> str:
        """The transition or, where none was called, the kind of event."""
        return event.transition or f"({event.kind})"


@admin.register(Event)
class EventAdmin(EventColumns, ReadOnlyAdmin):
    """The log, to be read: nobody adds, changes or deletes an event."""

    list_display = ("occurred", "subject", "change", "called", "actor", "reason")
    list_filter = (_ModelFilter, _FieldFilter, "kind")
    search_fields = ("=originator", "=actor")
    search_help_text = "A lifecycle or an actor, in full."
    ordering = ("-occurred_at", "-id")
    fields = (
        *("occurred", "recorded", "model", "field", "kind", "transition", "source", "target"),
        *("source_facets", "target_facets", "actor", "reason", "data", "correlation"),
        *("originator", "version", "application", "topic"),
    )
    readonly_fields = ("occurred", "recorded", "data")

    @admin.display(description="recorded at", ordering="recorded_at")
    def recorded(self, event: Event) -> str:
        """When it was written."""
        return shown(event.recorded_at)

    @admin.display(description="stock field")
    def subject(self, event: Event) -> str:
        """What changed."""
        return f"{event.model}.{event.field}" if event.model else event.application

    def data(self, event: Event) -> str:
        """What has no column: the data told, and a deleted object's key."""
        if event.application != STOCKFLOW or not event.payload:
            return NOTHING
        return json.dumps(json.loads(bytes(event.payload)), ensure_ascii=False, indent=2)
