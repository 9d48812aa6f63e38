"""Lists of the admin to look at, and what was set aside in them."""

from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth import get_permission_codename
from django.http import HttpRequest
from django.utils import dateformat, timezone
from django.utils.html import format_html
from django.utils.text import Truncator

from stockflow.domain.instants import from_micros

NOTHING = "-"
"""What stands where there is nothing, as in the admin's own columns."""


def shown(at: int | datetime | None) -> str:
    """Return an instant as the admin shows it, in the reader's zone and on one line."""
    if at is None:
        return NOTHING
    local = timezone.localtime(from_micros(at) if isinstance(at, int) else at)
    return format_html('<span class="nowrap">{}</span>', dateformat.format(local, "Y-m-d H:i:s"))


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


class ParkedAdmin(ReadOnlyAdmin):
    """A list that has what was set aside with its error, for a person to release.

    To release is to change: it asks for the permission to change the rows.
    """

    class Media:
        css: ClassVar = {"all": ["stockflow/history.css"]}

    search_fields = ("=originator",)
    search_help_text = "A lifecycle, in full."
    actions = ("release",)

    @admin.display(description="parked at", ordering="parked_at")
    def parked(self, one: Any) -> str:
        """Since when it is set aside."""
        return shown(one.parked_at)

    @admin.display(description="not tried before", ordering="retry_at")
    def retry(self, one: Any) -> str:
        """Until when it is left alone."""
        return shown(one.retry_at)

    @admin.display(ordering="parked_at")
    def standing(self, one: Any) -> str:
        """Whether it is parked, tried again or only waits, in one column."""
        if one.parked_at is not None:
            return format_html("parked {}", shown(one.parked_at))
        if one.retry_at is not None:
            return format_html("failed {} ×, again from {}", one.attempts, shown(one.retry_at))
        return "waiting"

    @admin.display(description="error", ordering="error")
    def trouble(self, one: Any) -> str:
        """Why it failed, on a few lines; the whole of it is on a page of its own."""
        text = Truncator(one.error).chars(100)
        return format_html('<span class="stockflow-error">{}</span>', text) if text else NOTHING

    @admin.display(description="lifecycle", ordering="originator")
    def stream(self, one: Any) -> str:
        """The object, in one piece."""
        return in_one_piece(one.originator)

    def has_release_permission(self, request: HttpRequest) -> bool:
        """Whether the user may change the rows."""
        user: Any = request.user
        codename = get_permission_codename("change", self.opts)
        return bool(user.has_perm(f"{self.opts.app_label}.{codename}"))


def in_one_piece(lifecycle: object) -> str:
    """Return a lifecycle that does not break at each of its hyphens, but in the middle."""
    return format_html('<span class="stockflow-lifecycle">{}</span>', lifecycle)
