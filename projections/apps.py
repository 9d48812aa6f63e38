"""The read side as a Django app."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class ProjectionsConfig(AppConfig):
    """Finds each app's ``stocks`` module, where stocks and flows are declared."""

    name = "stockflow.projections"
    label = "stockflow_projections"
    verbose_name = "Stocks and flows: projections"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from stockflow.projections import commands  # noqa: F401, PLC0415  registering is importing

        autodiscover_modules("stocks")
