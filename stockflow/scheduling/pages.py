"""The admin's lists of scheduled transitions and of the runs of periodic jobs."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import dateformat, timezone
from django.utils.html import format_html
from django.utils.text import Truncator

from stockflow import conf
from stockflow.domain.instants import from_micros, to_micros
from stockflow.scheduling.overview import backlog
from stockflow.scheduling.parking import release
from stockflow.tables import PeriodicRun, ScheduledTransition


def shown(micros: int | None) -> str:
    """Return an instant as the admin shows it, in the reader's zone and on one line."""
    if micros is None:
        return ""
    local = timezone.localtime(from_micros(micros))
    return format_html('<span class="nowrap">{}</span>', dateformat.format(local, "Y-m-d H:i:s"))


def on_one_line(text: object) -> str:
    """Return what has no spaces to break at, such as a lifecycle, in one piece."""
    return format_html('<span class="nowrap">{}</span>', text)


def in_short(error: str) -> str:
    """Return an error for a list, on a line or two; the whole of it is on a page of its own."""
    return Truncator(error).chars(100)


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no class to subscript at run time
    """A list to look at."""

    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


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
class ScheduledTransitionAdmin(ReadOnlyAdmin):
    """What decays when, the overdue and the parked ones too; parked ones can be released.

    To release is to change: it asks for the permission to change scheduled transitions.
    """

    change_list_template = "stockflow/admin/schedule.html"
    list_display = ("due", "subject", "transition", "parked", "attempts", "trouble", "stream")
    list_filter = (_Standing, "model", "transition")
    search_fields = ("=lifecycle",)
    search_help_text = "A lifecycle, in full."
    ordering = ("due_at", "id")
    actions = ("release",)
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
        """The object, on one line."""
        return on_one_line(timer.lifecycle)

    @admin.display(description="error", ordering="error")
    def trouble(self, timer: ScheduledTransition) -> str:
        """Why it did not happen."""
        return in_short(timer.error)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and above it how far the schedule is behind."""
        told = {"backlog": backlog(using=self.get_queryset(request).db)}
        return super().changelist_view(request, {**told, **(extra_context or {})})

    @admin.display(description="parked at", ordering="parked_at")
    def parked(self, timer: ScheduledTransition) -> str:
        """Since when it is set aside."""
        return shown(timer.parked_at)

    @admin.display(description="not tried before")
    def retry(self, timer: ScheduledTransition) -> str:
        """Until when it is left alone."""
        return shown(timer.retry_at)

    def has_release_permission(self, request: HttpRequest) -> bool:
        """Whether the user may change scheduled transitions."""
        user: Any = request.user
        return bool(user.has_perm("stockflow.change_scheduledtransition"))

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
