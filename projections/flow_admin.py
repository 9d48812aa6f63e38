"""A flow in the admin: its events, by when they happened, with each object's history."""

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any
from uuid import UUID

from dateutil.relativedelta import relativedelta
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Max, Min, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html

from stockflow import history
from stockflow.admin import EventColumns
from stockflow.audit import length
from stockflow.domain.instants import from_micros, to_micros
from stockflow.domain.intervals import start_of_day
from stockflow.projections.entries import EntryAdmin, EntryChangeList
from stockflow.projections.flows import Flow
from stockflow.projections.rows import objects_of
from stockflow.tables import Event

WHEN = "occurred"
"""The parameter of the date hierarchy: a year, a month or a day, such as ``2026-03``."""

_STEPS = (relativedelta(years=1), relativedelta(months=1), relativedelta(days=1))
_FORMS = ("Y", "F Y", "j F Y")


class FlowChangeList(EntryChangeList):
    """The events of a flow, cut by when they occurred, in the zone of the reader.

    Django's own date hierarchy wants a column of dates; the log has whole microseconds.
    """

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        return {k: v for k, v in super().get_filters_params(params).items() if k != WHEN}

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        base: Any = super()
        found: QuerySet[Any] = base.get_queryset(request, *args, **kwargs)
        text = str(self.params.get(WHEN, ""))
        if not text:
            return found
        start, end = _range(text)
        return found.filter(occurred_at__gte=start, occurred_at__lt=end)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        declaration: Any = self.model_admin
        _load_objects(declaration.flow, self.result_list)

    def hierarchy(self) -> dict[str, Any]:
        """Return the date hierarchy as ``admin/date_hierarchy.html`` shows it."""
        text = str(self.params.get(WHEN, ""))
        parts = text.split("-") if text else []
        choices = [] if len(parts) == len(_STEPS) else list(self._choices(parts))
        back = None
        if parts:
            above = "-".join(parts[:-1])
            link = self.get_query_string({WHEN: above} if above else {}, [] if above else [WHEN])
            back = {"link": link, "title": _title(above) if above else "All dates"}
            choices = choices or [{"title": _title(text)}]
        return {"show": bool(choices), "back": back, "choices": choices}

    def _choices(self, parts: list[str]) -> Iterator[dict[str, str]]:
        """Yield a link for each year, month or day in which something happened."""
        span = self.queryset.aggregate(first=Min("occurred_at"), last=Max("occurred_at"))
        if span["first"] is None:
            return
        first, last = (timezone.localtime(from_micros(span[name])).date() for name in span)
        day, step = _floor(first, len(parts)), _STEPS[len(parts)]
        while day <= last:
            text = day.isoformat()[: (4, 7, 10)[len(parts)]]
            start, end = _range(text)
            if self.queryset.filter(occurred_at__gte=start, occurred_at__lt=end).exists():
                yield {"link": self.get_query_string({WHEN: text}), "title": _title(text)}
            day += step


class FlowAdmin(EventColumns, EntryAdmin):
    """The events of a flow; the base of what ``register_flow`` makes."""

    list_display = ("occurred", "of_object", "change", "called", "actor", "reason")
    list_display_links = None
    list_filter = ("transition",)
    search_fields = ("=originator", "=actor")
    search_help_text = "A lifecycle or an actor, in full."
    ordering = ("-occurred_at", "-id")
    fields = ("occurred", "of_object", "change", "called", "actor", "reason")
    readonly_fields = ("occurred", "of_object", "change", "called")

    @property
    def flow(self) -> Flow:
        """The flow."""
        declaration: Any = self.entry.declaration
        return declaration  # type: ignore[no-any-return]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return self.flow.events.order_by(*self.ordering)

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        found = super().get_object(request, object_id, from_field)
        _load_objects(self.flow, [] if found is None else [found])
        return found

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return FlowChangeList

    def get_list_filter(self, request: HttpRequest) -> Any:
        if self.list_filter != FlowAdmin.list_filter:
            return self.list_filter
        return [_TransitionFilter]

    def get_urls(self) -> list[URLPattern]:
        page = path(
            "<uuid:lifecycle>/stock-history/",
            self.admin_site.admin_view(self.stock_history_view),
            name=f"{self.opts.app_label}_{self.opts.model_name}_stock_history",
        )
        return [page, *super().get_urls()]

    def stock_history_view(self, request: HttpRequest, lifecycle: UUID) -> HttpResponse:
        """Show what happened to an object that the flow moved, though it may be gone."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if not self.get_queryset(request).filter(originator=str(lifecycle)).exists():
            raise Http404(f"{self.flow.name} moved no object of the lifecycle {lifecycle}.")
        found = objects_of(self.flow.reference.model, self.flow.using, [lifecycle])
        entries = history.of_lifecycle(lifecycle, using=self.flow.using)
        request.current_app = self.admin_site.name
        told = {
            **self.admin_site.each_context(request),
            "title": f"Stock history: {found.get(lifecycle, f'{lifecycle} (deleted)')}",
            "opts": self.opts,
            "entries": [(one, "" if one.spent is None else length(one.spent)) for one in entries],
            "has_several_fields": len({one.field for one in entries}) > 1,
        }
        return TemplateResponse(request, "stockflow/admin/history.html", told)

    @admin.display(description="object")
    def of_object(self, event: Event) -> str:
        """The object, with a link to its history."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_stock_history"
        url = reverse(name, args=[event.originator], current_app=self.admin_site.name)
        subject = getattr(event, "subject", None)
        deleted = f"{event.originator} (deleted)"
        shown_as = deleted if subject is None else subject
        return format_html('<a class="stockflow-link" href="{}">{}</a>', url, shown_as)


class _TransitionFilter(admin.SimpleListFilter):
    """By transition, without asking the log which there are."""

    title = "transition"
    parameter_name = "transition"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        rules = model_admin.flow.reference.machine.rules
        return [(name, name) for name in sorted({rule.transition for rule in rules})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(transition=self.value()) if self.value() else queryset


def _load_objects(flow: Flow, events: Iterable[Any]) -> None:
    """Give each of *events* its object, None where it is deleted, by one statement."""
    lifecycles = {UUID(event.originator) for event in events}
    objects = objects_of(flow.reference.model, flow.using, sorted(lifecycles))
    for event in events:
        event.subject = objects.get(UUID(event.originator))


def _floor(day: date, depth: int) -> date:
    return (day.replace(month=1, day=1), day.replace(day=1), day)[depth]


def _day(text: str) -> tuple[date, int]:
    parts = text.split("-")
    try:
        if not all(part.isascii() and part.isdigit() for part in parts) or len(parts) > 3:
            raise ValueError(text)
        numbers = [*map(int, parts), 1, 1][:3]
        return date(*numbers), len(parts) - 1
    except ValueError:
        raise IncorrectLookupParameters(
            f"{text!r} is no year, month or day, such as 2026-03."
        ) from None


def _range(text: str) -> tuple[int, int]:
    """Return the instants from which on and before which a year, month or day is."""
    day, depth = _day(text)
    zone = timezone.get_current_timezone()
    try:
        return (
            to_micros(start_of_day(day, zone)),
            to_micros(start_of_day(day + _STEPS[depth], zone)),
        )
    except (OverflowError, ValueError):
        raise IncorrectLookupParameters(f"{text!r} is outside of the calendar.") from None


def _title(text: str) -> str:
    day, depth = _day(text)
    return date_format(day, _FORMS[depth])
