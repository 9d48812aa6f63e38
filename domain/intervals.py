"""Half-open buckets: how a range of time is cut, in a named zone, at true lengths.

A calendar period begins at the first instant at which the zone's clocks show its first day:
local midnight, or the instant to which the clocks jump where midnight does not exist. A day
is therefore 23, 24 or 25 hours long, and one that the zone skipped has no bucket. Hours are
elapsed hours counted from the start of the local day, so they agree with the clocks on the
wall in zones of half and quarter hours too. A ``timedelta`` cuts equal lengths from the
range's start on.

The first and the last bucket are clipped to the range, so that what is summed over the
buckets equals what is summed over the range.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Final, Literal, NamedTuple, get_args

from stockflow.domain.errors import InvalidBuckets
from stockflow.domain.instants import require_instant

Grain = Literal["hour", "day", "week", "month", "quarter", "year"]
"""The periods that have a name; weeks begin on Monday, or as is said."""

GRAINS: Final[tuple[Grain, ...]] = get_args(Grain)
LIMIT: Final = 1_000_000
"""The most buckets that one range is cut into."""

_FIXED: Final = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}
_MONTH: Final = timedelta(days=28)
_LONGEST: Final = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=2),  # a zone may have a day of 25 hours, or of 48
    "week": timedelta(days=8),
    "month": timedelta(days=32),
    "quarter": timedelta(days=93),
    "year": timedelta(days=367),
}


class Bucket(NamedTuple):
    """The instants from *start* on and before *end*, both in UTC."""

    start: datetime
    end: datetime


def buckets(
    start: datetime,
    end: datetime,
    every: Grain | timedelta,
    tz: tzinfo,
    *,
    first_weekday: int = 0,
) -> tuple[Bucket, ...]:
    """Cut *start* to *end* at the periods of *tz*.

    >>> from zoneinfo import ZoneInfo
    >>> berlin = ZoneInfo("Europe/Berlin")
    >>> cut = buckets(datetime(2026, 3, 28, tzinfo=berlin), datetime(2026, 3, 31, tzinfo=berlin), "day", berlin)
    >>> [str(bucket.end - bucket.start) for bucket in cut]
    ['1 day, 0:00:00', '23:00:00', '1 day, 0:00:00']

    Args:
        start: The first instant of the first bucket. Timezone-aware.
        end: The first instant after the last bucket. Timezone-aware.
        every: The name of a period, or a fixed length.
        tz: The zone whose days are cut.
        first_weekday: With which day a week begins: 0 is Monday, 6 is Sunday.

    Returns:
        Adjoining buckets, the first from *start*, the last to *end*, with bounds in UTC.

    Raises:
        InvalidInstant: If *start* or *end* is not an aware datetime.
        InvalidBuckets: If *end* is not after *start*, *every* or *tz* is unknown, or the
            buckets are too many or leave the calendar.
    """
    start, end = require_range(start, end)
    _require_countable(start, end, every)
    zone = require_zone(tz)
    try:
        bounds = _cut(start, end, every, zone, first_weekday)
    except (OverflowError, ValueError) as error:
        raise InvalidBuckets(
            f"{start.isoformat()} to {end.isoformat()} every {every!r} leaves the calendar."
        ) from error
    return tuple(map(Bucket, bounds, [*bounds[1:], end]))


def latest(
    at: datetime, every: Grain | timedelta, number: int, tz: tzinfo, *, first_weekday: int = 0
) -> Bucket:
    """Return the range of the last *number* periods, the one that holds *at* included.

    It ends just after *at*, so that what happens at that very instant is in it.

    >>> start, end = latest(datetime(2026, 3, 3, 12, tzinfo=UTC), "month", 3, UTC)
    >>> print(start, end)
    2026-01-01 00:00:00+00:00 2026-03-03 12:00:00.000001+00:00

    Raises:
        InvalidInstant: As :func:`buckets`.
        InvalidBuckets: As :func:`buckets`, or if *number* is less than 1.
    """
    _require_grain(every)
    if number < 1:
        raise InvalidBuckets(f"The last {number} of anything are none: ask for 1 or more.")
    end = require_instant(at, "at") + timedelta(microseconds=1)
    try:
        if isinstance(every, timedelta):
            return Bucket(end - number * every, end)
        start = end - (number + 1) * _LONGEST[every]
    except OverflowError:
        raise InvalidBuckets(f"The last {number} of every {every!r} leave the calendar.") from None
    cut = buckets(start, end, every, tz, first_weekday=first_weekday)
    return Bucket(cut[-number].start, end)


def periods(start: datetime, end: datetime, per: Grain | timedelta, tz: tzinfo) -> float:
    """Return how many *per* there are from *start* to *end*, with fractions.

    An hour, day, week or ``timedelta`` is a fixed elapsed length (a day is 24 hours); months,
    quarters and years are those of *tz*, and a part of one counts as its share of that one's
    true length.

    >>> periods(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 15, tzinfo=UTC), "month", UTC)
    1.5

    Raises:
        InvalidInstant: As :func:`buckets`.
        InvalidBuckets: As :func:`buckets`.
    """
    start, end = require_range(start, end)
    _require_grain(per)
    if isinstance(per, timedelta) or per in _FIXED:
        return (end - start) / (per if isinstance(per, timedelta) else _FIXED[per])
    total = 0.0
    _require_countable(start, end, per)
    for first, following in pairwise(_bounds(start, per, require_zone(tz))):
        if first >= end:
            break
        if following > start and following > first:
            total += (min(following, end) - max(first, start)) / (following - first)
    return total


def require_range(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """Return both in UTC.

    Raises:
        InvalidInstant: If one is not an aware datetime.
        InvalidBuckets: If *end* is not after *start*.
    """
    start, end = require_instant(start, "start"), require_instant(end, "end")
    if end <= start:
        raise InvalidBuckets(
            f"end must be after start, not {end.isoformat()} after {start.isoformat()}."
        )
    return start, end


def require_zone(tz: object) -> tzinfo:
    """Return *tz*, or refuse what is no time zone.

    Raises:
        InvalidBuckets: If it is no ``tzinfo``.
    """
    if not isinstance(tz, tzinfo):
        raise InvalidBuckets(
            f"tz must be a time zone such as ZoneInfo('Europe/Berlin'), not {tz!r}."
        )
    return tz


def start_of_day(day: date, tz: tzinfo) -> datetime:
    """Return the first instant of *day* in *tz*, in UTC.

    >>> from zoneinfo import ZoneInfo
    >>> str(start_of_day(date(2026, 9, 6), ZoneInfo("America/Santiago")))  # no midnight that day
    '2026-09-06 04:00:00+00:00'
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=tz)
    after = midnight.astimezone(UTC)
    if after.astimezone(tz).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return after
    before = midnight.replace(fold=1).astimezone(UTC)
    while after - before > timedelta(seconds=1):  # clocks jump over midnight at some second between
        middle = before + (after - before) // 2
        if middle.astimezone(tz).date() < day:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


def _require_grain(every: object) -> None:
    if isinstance(every, timedelta):
        if every <= timedelta(0):
            raise InvalidBuckets(f"A bucket must be longer than nothing, not {every!r}.")
    elif every not in GRAINS:
        names = ", ".join(map(repr, GRAINS))
        raise InvalidBuckets(f"Cannot cut every {every!r} (use {names} or a timedelta).")


def _require_countable(start: datetime, end: datetime, every: Grain | timedelta) -> None:
    _require_grain(every)
    shortest = every if isinstance(every, timedelta) else _FIXED.get(every, _MONTH)
    if (end - start) // shortest > LIMIT:
        raise InvalidBuckets(
            f"{start.isoformat()} to {end.isoformat()} every {every!r} is more than {LIMIT:,} "
            "buckets: ask for a shorter range or longer buckets."
        )


def _cut(
    start: datetime, end: datetime, every: Grain | timedelta, tz: tzinfo, first_weekday: int
) -> list[datetime]:
    bounds = [start]
    if isinstance(every, timedelta):
        return list(_steps(start, every, end))
    for bound in _bounds(start, every, tz, first_weekday):
        if bound >= end:
            break
        if bound > bounds[-1]:  # a day that the zone skipped begins when the next one does
            bounds.append(bound)
    return bounds


def _bounds(
    start: datetime, every: Grain, tz: tzinfo, first_weekday: int = 0
) -> Iterator[datetime]:
    """Yield the starts of periods for ever, the first at or before *start*."""
    day = _first_day(start.astimezone(tz).date(), every, first_weekday)
    bound = start_of_day(day, tz)
    while True:
        yield bound
        day = _next_day(day, every)
        following = start_of_day(day, tz)
        if every == "hour":
            yield from _steps(bound + _FIXED["hour"], _FIXED["hour"], following)
        bound = following


def _steps(start: datetime, length: timedelta, end: datetime) -> Iterator[datetime]:
    return (start + step * length for step in range(-((start - end) // length)))


def _first_day(day: date, every: Grain, first_weekday: int) -> date:
    if every == "week":
        return day - timedelta(days=(day.weekday() - first_weekday) % 7)
    if every in _MONTHS:
        return day.replace(month=(day.month - 1) // _MONTHS[every] * _MONTHS[every] + 1, day=1)
    return day


def _next_day(day: date, every: Grain) -> date:
    if every in _MONTHS:
        months = day.year * 12 + day.month - 1 + _MONTHS[every]
        return date(months // 12, months % 12 + 1, 1)
    return day + timedelta(days=7 if every == "week" else 1)
