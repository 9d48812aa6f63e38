"""The leads as a Django app."""

from django.apps import AppConfig


class CrmConfig(AppConfig):
    """Leads, and the people who own them."""

    name = "example.crm"
    verbose_name = "Sales"
