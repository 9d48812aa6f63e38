"""The leads in the admin."""

from django.contrib import admin

from example.crm.models import Lead, Rep
from stockflow.admin import StockflowAdmin
from stockflow.projections.admin import StockListFilter


@admin.register(Rep)
class RepAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no class to subscript at run time
    """Who owns leads."""

    list_display = ("name", "team")


@admin.register(Lead)
class LeadAdmin(StockflowAdmin):
    """Leads, by stock and by channel."""

    list_display = ("__str__", "channel", "owner", "amount", "temperature", "temperature_due_at")
    list_filter = (StockListFilter, "channel", "owner__team")
    list_select_related = ("owner",)
