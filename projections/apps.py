"""The read side as a Django app."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class ProjectionsConfig(AppConfig):
    """Finds each app's ``stocks`` and ``projections`` modules, where these are declared."""

    name = "stockflow.projections"
    label = "stockflow_projections"
    verbose_name = "Stocks and flows: projections"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from stockflow.projections import (  # noqa: PLC0415  registering is importing
            checks,  # noqa: F401
            commands,  # noqa: F401
            flow_counts,  # noqa: F401
            parked_command,  # noqa: F401
            record_command,  # noqa: F401
        )

        autodiscover_modules("stocks")
        autodiscover_modules("projections")
