"""The write side as a Django app."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate
from django.utils.module_loading import autodiscover_modules


class StockflowConfig(AppConfig):
    """Registers the checks, and finds each app's ``schedule`` module; the models register themselves."""

    name = "stockflow"
    verbose_name = "Stocks and flows"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from stockflow import assurance, audit, checks, erasure_command  # noqa: F401, PLC0415  registering is importing
        from stockflow.bulk import detachment  # noqa: PLC0415
        from stockflow.fence import checks as fence_checks  # noqa: F401, PLC0415
        from stockflow.fence import command, migrating  # noqa: F401, PLC0415
        from stockflow.scheduling import command as _  # noqa: F401, PLC0415

        autodiscover_modules("schedule")
        detachment.connect()
        pre_migrate.connect(migrating.before, sender=self, dispatch_uid="stockflow.fence")
        post_migrate.connect(migrating.after, sender=self, dispatch_uid="stockflow.fence")
