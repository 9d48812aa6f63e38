"""Settings, one function each, read when called; and the one seam that tells the time."""

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_test_clock: Callable[[], datetime] | None = None


def clock() -> str:
    """``STOCKFLOW_CLOCK``: whose clock decides what is due, ``"application"`` (default) or ``"database"``."""
    value: str = getattr(settings, "STOCKFLOW_CLOCK", "application")
    if value not in ("application", "database"):
        raise ImproperlyConfigured(
            f"STOCKFLOW_CLOCK must be 'application' or 'database', not {value!r}."
        )
    return value


def time_zone() -> ZoneInfo:
    """``STOCKFLOW_TIME_ZONE``: the zone in which days and weeks are cut (default ``TIME_ZONE``)."""
    name: str = getattr(settings, "STOCKFLOW_TIME_ZONE", settings.TIME_ZONE)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ImproperlyConfigured(
            f"STOCKFLOW_TIME_ZONE names no time zone: {name!r}. Use a name such as 'Europe/Berlin'."
        ) from error


def first_weekday() -> int:
    """``STOCKFLOW_FIRST_WEEKDAY``: the day with which weeks begin (default ``"monday"``), 0 for Monday."""
    name = getattr(settings, "STOCKFLOW_FIRST_WEEKDAY", "monday")
    if name not in _WEEKDAYS:
        raise ImproperlyConfigured(
            f"STOCKFLOW_FIRST_WEEKDAY must be one of {', '.join(map(repr, _WEEKDAYS))}, not {name!r}."
        )
    return _WEEKDAYS.index(name)


def fence() -> bool:
    """``STOCKFLOW_FENCE``: whether triggers guard the tables of subjects (default True).

    Takes effect at the next ``migrate``.
    """
    return bool(getattr(settings, "STOCKFLOW_FENCE", True))


def replay_changed() -> bool:
    """``STOCKFLOW_REPLAY_CHANGED``: whether a projection with a newer version is replayed by itself.

    By the next run of its runner, that is (default True). Else a system check of the database fails
    until ``manage.py stockflow replay`` was run.
    """
    return bool(getattr(settings, "STOCKFLOW_REPLAY_CHANGED", True))


def now(using: str = DEFAULT_DB_ALIAS) -> datetime:
    """Return the instant that it is, aware, in UTC.

    The application's clock, the database's where ``STOCKFLOW_CLOCK`` says so, or a test's
    under :func:`stockflow.testing.clock`.
    """
    if _test_clock is not None:
        return _test_clock()
    if clock() == "database":
        return _database_now(using)
    return datetime.now(UTC)


def _database_now(using: str) -> datetime:
    connection = connections[using]
    if connection.vendor != "postgresql":
        return datetime.now(UTC)  # an embedded database has no clock but this machine's
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        at: datetime = cursor.fetchone()[0]
    return at.astimezone(UTC)
