"""The features in the admin."""

from django.contrib import admin

from example.webplatform.models import Feature
from stockflow.admin import StockflowAdmin
from stockflow.projections.admin import StockListFilter


@admin.register(Feature)
class FeatureAdmin(StockflowAdmin):
    """Features, by stock and by area."""

    list_display = ("key", "area", "status", "status_since", "status_due_at")
    list_filter = (StockListFilter, "area")
    search_fields = ("key", "name")
    list_per_page = 50
