"""Periods: how often a job runs, and which run is due when."""

from datetime import datetime, timedelta

from stockflow.domain.instants import EPOCH

FREQUENCIES: dict[str, timedelta | None] = {
    "never": None,
    "minutely": timedelta(minutes=1),
    "twelve_minutely": timedelta(minutes=12),
    "hourly": timedelta(hours=1),
    "daily": timedelta(days=1),
    "weekly": timedelta(weeks=1),
    "two_weekly": timedelta(weeks=2),
    "four_weekly": timedelta(weeks=4),
}
"""The named frequencies; their periods are counted from 1970 in UTC."""


def period_start(at: datetime, length: timedelta) -> datetime:
    """Return when the period of *length* began that *at* falls into.

    >>> from datetime import UTC
    >>> period_start(datetime(2026, 3, 3, 12, 34, tzinfo=UTC), timedelta(minutes=12)).isoformat()
    '2026-03-03T12:24:00+00:00'
    """
    return at - (at - EPOCH) % length
