"""The coaching in the admin, and the site of stocks and flows with the coach's actions."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from example.coaching.models import Coach, Profile
from example.coaching.stocks import lapsed, slipping
from stockflow.admin import StockflowAdmin
from stockflow.projections.admin import (
    ActionsMixinBase,
    StockAndFlowAdminSite,
    StockListFilter,
)


@admin.register(Coach)
class CoachAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no class to subscript at run time
    """Who calls."""


@admin.register(Profile)
class ProfileAdmin(StockflowAdmin):
    """Who is coached, by stock and by facet."""

    list_display = ("name", "coach", "consistency", "consistency_since", "pay_state")
    list_filter = (StockListFilter, "coach", "ramp", "source", "pay_state")
    list_select_related = ("coach",)
    transitions = ("call", "let_go")


class CoachActions(ActionsMixinBase):
    """What a coach does for those who slip."""

    actions = ("hand_over",)

    @admin.action(description="Hand over to the coach with the fewest")
    def hand_over(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Give each to whoever has the fewest of the stock; the facet's change is recorded."""
        for profile in queryset:
            loads = {
                coach: queryset.model.objects.filter(coach=coach).count()
                for coach in Coach.objects.all()
            }
            profile.coach = min(loads, key=lambda coach: (loads[coach], coach.pk))
            profile.save()
        messages.success(request, f"Handed over {len(queryset)}.")


site = StockAndFlowAdminSite("stock-admin")
for stock in (slipping, lapsed):
    site.register_stock(stock, action_mixins=[CoachActions], transitions=["call", "let_go"])
