"""The coaching as a Django app."""

from django.apps import AppConfig


class CoachingConfig(AppConfig):
    """Profiles, their coaches and their logins."""

    name = "example.coaching"
    verbose_name = "Coaching"
