"""A site of django-unfold, with leads as it has them."""

from django.urls import path
from unfold.admin import ModelAdmin
from unfold.sites import UnfoldAdminSite

from stockflow.admin import StockflowAdmin
from tests.crm.models import Lead
from tests.urls import urlpatterns as usual


class LeadAdmin(StockflowAdmin, ModelAdmin):  # type: ignore[misc]  # untyped
    """StockflowAdmin before unfold's own ModelAdmin."""

    list_display = ("id", "channel", "temperature")
    fields = ("channel", "note")


site = UnfoldAdminSite(name="unfold")
site.register(Lead, LeadAdmin)
urlpatterns = [*usual, path("unfold/", site.urls)]
