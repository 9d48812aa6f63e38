"""System checks of the fence, and of routers that part an object from its log."""

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as Caution
from django.db import connections, router

from stockflow import conf
from stockflow.eventstore import guards
from stockflow.fence import installing
from stockflow.tables import Event


@register("stockflow", "database")
def check_fence(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W013: the triggers are not those that the models and ``STOCKFLOW_FENCE`` ask for."""
    return [message for alias in databases or () for message in _check_fence(alias)]


def _check_fence(alias: str) -> list[CheckMessage]:
    missing, stale = installing.differing(alias)
    if not missing and not stale:
        return []
    names = [f"{trigger.operation} on {trigger.table}" for trigger in missing]
    told = [f"missing or outdated: {', '.join(names)}"] if missing else []
    told += [f"not wanted: {', '.join(stale)}"] if stale else []
    return [
        Caution(
            f"The fence of the database {alias!r} is not as the models say ({'; '.join(told)}).",
            hint="Run `manage.py migrate`: it puts the fence up, even if nothing is to migrate.",
            id="stockflow.W013",
        )
    ]


@register("stockflow", "database")
def check_log(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """W019: what keeps the log from being altered, and lists its events, is gone or another one."""
    return [
        Caution(
            f"The triggers of the log in the database {alias!r} are not as they were made "
            f"(missing or changed: {', '.join(map(str, missing))}).",
            hint="Run `manage.py migrate`: it makes them again, even if nothing is to migrate.",
            id="stockflow.W019",
        )
        for alias in databases or ()
        if (missing := guards.missing(alias))
    ]


@register("stockflow", "database")
def check_routers(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E014: a database has subjects and not the log, so no save could be whole."""
    from stockflow.models import StockflowModel  # noqa: PLC0415  needs the app registry

    subjects = [m for m in apps.get_models() if issubclass(m, StockflowModel)]
    return [
        Error(
            f"The routers put {model._meta.label} into the database {alias!r}, but not its log.",
            hint="Let allow_migrate() accept the app 'stockflow' wherever there are subjects.",
            obj=model,
            id="stockflow.E014",
        )
        for alias in databases or ()
        for model in subjects
        if router.allow_migrate_model(alias, model) and not router.allow_migrate_model(alias, Event)
    ]


@register("stockflow", "database")
def check_sqlite(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E015: the fence reads JSON by an operator that came with SQLite 3.38."""
    return [
        Error(
            f"The fence of the database {alias!r} needs SQLite 3.38 or newer.",
            hint="Upgrade SQLite, or set STOCKFLOW_FENCE = False.",
            id="stockflow.E015",
        )
        for alias in databases or ()
        if conf.fence()
        and connections[alias].vendor == "sqlite"
        and connections[alias].Database.sqlite_version_info < (3, 38)  # type: ignore[attr-defined]
    ]
