"""The read side as a Django app."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class ProjectionsConfig(AppConfig):
    """Finds each app's ``stocks`` and ``projections`` modules, where these are declared."""

    name = "stockflow.projections"
    label = "stockflow_projections"
    verbose_name = "Stocks and flows: projections"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from stockflow.projections import (  # noqa: PLC0415  registering is importing
            calls_command,  # noqa: F401
            checks,  # noqa: F401
            commands,  # noqa: F401
            flow_counts,  # noqa: F401
            inline,  # noqa: F401
            parked_command,  # noqa: F401
            record_command,  # noqa: F401
            spell_rows,  # noqa: F401
        )

        autodiscover_modules("stocks")
        autodiscover_modules("projections")
        post_migrate.connect(_begin_calls, sender=self, dispatch_uid="stockflow.begin_calls")


def _begin_calls(using: str, **kwargs: Any) -> None:
    """Let event callables that are new begin here: what comes until the schedule runs is theirs."""
    from stockflow.projections.calling import begin  # noqa: PLC0415  needs the app registry

    begin(using)
