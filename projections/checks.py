"""System checks of the read side."""

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.db import connections
from django.urls import get_resolver

from stockflow import conf
from stockflow.projections import base, checkpoints
from stockflow.projections.models import Generation


@register("stockflow", "database")
def check_versions(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E030: what serves is of another version than the code, and nobody replays it by himself."""
    if conf.replay_changed():
        return []
    return [message for alias in databases or () for message in _check_versions(alias)]


def _check_versions(alias: str) -> list[CheckMessage]:
    with connections[alias].cursor() as cursor:
        tables = connections[alias].introspection.table_names(cursor)
    if Generation._meta.db_table not in tables:  # before the first migrate
        return []
    found = [(one, checkpoints.serving(one.name, using=alias)) for one in base.named(using=alias)]
    return [
        Error(
            f"Projection {projection.name!r} is version {_told(projection.version, projection.zone())} "
            f"in the code, and in the database {alias!r} version "
            f"{_told(serving.version, serving.zone)} serves.",
            hint=f"Run `manage.py stockflow replay {projection.name}`, after `manage.py migrate "
            "--skip-checks` where there is something to migrate.",
            id="stockflow.E030",
        )
        for projection, serving in found
        if serving is not None and not projection.is_current(serving)
    ]


def _told(version: int, zone: str) -> str:
    return f"{version} by days of {zone}" if zone else str(version)


@register("stockflow")
def check_sites(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """E031: django-unfold's templates show a site of stocks and flows that is none of its sites."""
    if not _is_shown_by_unfold():
        return []
    from django.contrib.admin.sites import all_sites  # noqa: PLC0415  where the admin is installed
    from unfold.sites import UnfoldAdminSite  # noqa: PLC0415  where it is

    from stockflow.projections.sites import StockAndFlowAdminSite  # noqa: PLC0415  as above

    if getattr(settings, "ROOT_URLCONF", None):
        get_resolver().url_patterns  # noqa: B018  where sites are made, as a rule
    found = [site for site in all_sites if isinstance(site, StockAndFlowAdminSite)]
    return [
        Error(
            f"The admin site {site.name!r} is none of django-unfold's, whose templates show it: "
            "each of its pages would fail.",
            hint="Make it of `class StockSite(StockAndFlowAdminSite, UnfoldAdminSite)`.",
            obj=site,
            id="stockflow.E031",
        )
        for site in sorted(found, key=lambda one: one.name)
        if not isinstance(site, UnfoldAdminSite)
    ]


def _is_shown_by_unfold() -> bool:
    names = [config.name for config in apps.get_app_configs()]
    admin = "django.contrib.admin"
    return {"unfold", admin} <= {*names} and names.index("unfold") < names.index(admin)
