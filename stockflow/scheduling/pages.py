"""The admin's lists of scheduled transitions and of the runs of periodic jobs."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from stockflow import conf
from stockflow.domain.instants import to_micros
from stockflow.read_only_admin import ParkedAdmin, ReadOnlyAdmin, in_one_piece, shown
from stockflow.scheduling.overview import backlog
from stockflow.scheduling.parking import release
from stockflow.tables import PeriodicRun, ScheduledTransition


class _Standing(admin.SimpleListFilter):
    """Those set aside, those that are overdue, or those that wait."""

    title = "standing"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("waiting", "Waiting"), ("overdue", "Overdue"), ("parked", "Parked")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ScheduledTransition]
    ) -> QuerySet[ScheduledTransition]:
        now = to_micros(conf.now(queryset.db))
        if self.value() == "parked":
            return queryset.filter(parked_at__isnull=False)
        if self.value() == "overdue":
            return queryset.filter(parked_at=None, due_at__lt=now)
        if self.value() == "waiting":
            return queryset.filter(parked_at=None, due_at__gte=now)
        return queryset


@admin.register(ScheduledTransition)
class ScheduledTransitionAdmin(ParkedAdmin):
    """What decays when, the overdue and the parked ones too; parked ones can be released."""

    change_list_template = "stockflow/admin/schedule.html"
    list_display = ("due", "subject", "transition", "standing", "trouble", "stream")
    list_filter = (_Standing, "model", "transition")
    search_fields = ("=lifecycle",)
    ordering = ("due_at", "id")
    fields = (
        *("due", "model", "field", "transition", "lifecycle", "version"),
        *("attempts", "error", "parked", "retry"),
    )
    readonly_fields = ("due", "parked", "retry")

    @admin.display(description="due at", ordering="due_at")
    def due(self, timer: ScheduledTransition) -> str:
        """When it is due."""
        return shown(timer.due_at)

    @admin.display(description="stock field", ordering="model")
    def subject(self, timer: ScheduledTransition) -> str:
        """What it moves."""
        return f"{timer.model}.{timer.field}"

    @admin.display(description="lifecycle", ordering="lifecycle")
    def stream(self, timer: ScheduledTransition) -> str:
        """The object, in one piece."""
        return in_one_piece(timer.lifecycle)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and above it how far the schedule is behind."""
        told = {"backlog": backlog(using=self.get_queryset(request).db)}
        return super().changelist_view(request, {**told, **(extra_context or {})})

    @admin.action(description="Release the selected parked transitions", permissions=["release"])
    def release(self, request: HttpRequest, queryset: QuerySet[ScheduledTransition]) -> None:
        """Let them be tried again."""
        number = release(queryset)
        self.message_user(request, f"Released {number:,} scheduled transitions.", messages.SUCCESS)


@admin.register(PeriodicRun)
class PeriodicRunAdmin(ReadOnlyAdmin):
    """The runs of the periodic jobs, the newest first."""

    list_display = ("name", "started", "ended", "result", "succeeded")
    list_filter = ("name",)
    ordering = ("-started_at", "-id")
    fields = ("name", "begins", "started", "ended", "result", "error")
    readonly_fields = ("begins", "started", "ended")

    @admin.display(description="period")
    def begins(self, run: PeriodicRun) -> str:
        """When its period begins."""
        return shown(run.period)

    @admin.display(description="started at", ordering="started_at")
    def started(self, run: PeriodicRun) -> str:
        """When it began."""
        return shown(run.started_at)

    @admin.display(description="ended at", ordering="ended_at")
    def ended(self, run: PeriodicRun) -> str:
        """When it ended; nothing while it runs."""
        return shown(run.ended_at)

    @admin.display(boolean=True)
    def succeeded(self, run: PeriodicRun) -> bool | None:
        """Whether it ended without an error; unknown while it runs."""
        return None if run.ended_at is None else not run.error
