"""The demonstration as a Django app."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    """The command ``demo``; there are no models."""

    name = "example.demo"
    verbose_name = "Demonstration"
