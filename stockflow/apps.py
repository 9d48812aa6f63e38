"""The write side as a Django app."""

from django.apps import AppConfig


class StockflowConfig(AppConfig):
    """Registers the checks; the models register themselves."""

    name = "stockflow"
    verbose_name = "Stocks and flows"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from stockflow import assurance, audit, checks  # noqa: F401, PLC0415  registering is importing
