"""A site of django-unfold, with leads as it has them."""

from django.urls import path
from unfold.admin import ModelAdmin
from unfold.sites import UnfoldAdminSite

from stockflow.admin import StockflowAdmin
from stockflow.projections.admin import StockAndFlowAdminSite
from tests.crm.models import Lead
from tests.urls import urlpatterns as usual


class LeadAdmin(StockflowAdmin, ModelAdmin):  # type: ignore[misc]  # untyped
    """StockflowAdmin before unfold's own ModelAdmin."""

    list_display = ("id", "channel", "temperature")
    fields = ("channel", "note")


class StockSite(StockAndFlowAdminSite, UnfoldAdminSite):  # type: ignore[misc]  # untyped
    """The site of stocks and flows as unfold shows it."""


site = UnfoldAdminSite(name="unfold")
site.register(Lead, LeadAdmin)
stocks = StockSite("stocks")
stocks.register_declared()
urlpatterns = [
    *usual,
    path("unfold/", site.urls),
    path("stock-admin/", stocks.urls),
]
