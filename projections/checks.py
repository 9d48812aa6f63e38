"""System checks of the read side."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.db import connections

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
