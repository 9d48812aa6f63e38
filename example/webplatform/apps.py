"""The real data as a Django app."""

from django.apps import AppConfig


class WebplatformConfig(AppConfig):
    """15,088 features of the web platform, and when browsers had them."""

    name = "example.webplatform"
    verbose_name = "Web platform"
