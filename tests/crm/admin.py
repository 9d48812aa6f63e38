"""The tests' leads in the admin."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from stockflow.admin import StockflowAdmin
from tests.crm.models import Lead, Stamped


@admin.register(Lead)
class LeadAdmin(StockflowAdmin):
    """Leads; one whose note says so cannot be changed."""

    fields = ("channel", "note")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may = super().has_change_permission(request, obj)
        return may and (obj is None or obj.note != "sealed")


@admin.register(Stamped)
class StampedAdmin(StockflowAdmin):
    """Names what it offers."""

    transitions = ("off", "seal")
