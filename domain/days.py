"""Local days as numbers, and how a stretch of them is put together from longer blocks.

A day is numbered as ``date.toordinal`` does. Blocks of 8, 64, 512 and 4,096 days keep what
changed in them, so that what stood before any day is the sum of a few dozen blocks, however
long the history: nothing is carried forward, so a late event alters no later balance.
"""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple

from stockflow.domain.instants import to_micros
from stockflow.domain.intervals import start_of_day

SIZES: Final = (1, 8, 64, 512, 4096)
"""How many days a block of each level has."""

MICROS_A_DAY: Final = 86_400_000_000
_EPOCH: Final = date(1970, 1, 1).toordinal()
_FIRST: Final = to_micros(datetime.min.replace(tzinfo=UTC))
_TOLD: Final = range(date(1900, 1, 1).toordinal(), date(2100, 1, 1).toordinal())
"""The days whose beginnings :func:`fingerprint` tells."""


class Span(NamedTuple):
    """The blocks of one level from *first* on and before *last*."""

    level: int
    first: int
    last: int


class Day(NamedTuple):
    """A local day: its first instant in microseconds, and its number."""

    start: int
    ordinal: int


def days_around(utc_days: Iterable[int], tz: tzinfo) -> list[Day]:
    """Return the local days that lie on some days of UTC, counted from 1970.

    An instant on one of those belongs to the last of the days that start at or before it. A
    day that the zone skipped has no instant, and is left out.
    """
    ordinals = {_EPOCH + day + near for day in utc_days for near in (-1, 0, 1)}
    starts: dict[int, int] = {}
    for ordinal in sorted(ordinals):
        start = start_of(ordinal, tz)
        if start is not None:
            starts[start] = ordinal
    return [Day(start, ordinal) for start, ordinal in sorted(starts.items())]


def day_of(at: int, tz: tzinfo) -> Day:
    """Return the local day of an instant in microseconds.

    >>> from zoneinfo import ZoneInfo
    >>> from stockflow.domain.instants import from_micros
    >>> noon = to_micros(datetime(2026, 3, 29, 12, tzinfo=UTC))
    >>> from_micros(day_of(noon, ZoneInfo("Europe/Berlin")).start).isoformat()
    '2026-03-28T23:00:00+00:00'
    """
    near = days_around([at // MICROS_A_DAY], tz)
    return near[bisect_right([day.start for day in near], at) - 1]


def day_after(day: Day, tz: tzinfo) -> Day | None:
    """Return the next day that has instants; None at the end of the calendar."""
    for ordinal in (day.ordinal + 1, day.ordinal + 2):
        start = start_of(ordinal, tz)
        if start is None:
            return None
        if start > day.start and day_of(start, tz).ordinal == ordinal:
            return Day(start, ordinal)
    return None


@lru_cache(maxsize=50_000)
def start_of(ordinal: int, tz: tzinfo) -> int | None:
    """Return the first instant of a day; None beyond the end of the calendar.

    What lies before the calendar's first midnight belongs to its first day.
    """
    try:
        return to_micros(start_of_day(date.fromordinal(ordinal), tz))
    except (OverflowError, ValueError):
        return _FIRST if ordinal == 1 else None


@lru_cache(maxsize=100)
def fingerprint(tz: tzinfo) -> str:
    """Return a short text that is another one where days of a zone begin at other instants.

    As after an update of the rules: made of the days, it does not depend on how those are written.
    """
    found, last = [], None
    for ordinal in _TOLD:
        offset = tz.utcoffset(datetime.fromordinal(ordinal))
        if offset != last:
            # Where clocks jump over midnight, the offset is seen to change on the day after only.
            found += [ordinal, start_of(ordinal - 1, tz), start_of(ordinal, tz)]
            last = offset
    return sha256(repr(found).encode()).hexdigest()[:8]


def spans_before(ordinal: int) -> list[Span]:
    """Return the blocks that make up all days before one, the longest blocks first.

    >>> [(span.level, span.first, span.last) for span in spans_before(4096 + 2 * 512 + 5)]
    [(4, 0, 1), (3, 8, 10), (0, 5120, 5125)]
    """
    spans, done = [], 0
    for level, size in reversed([*enumerate(SIZES)]):
        last = ordinal // size
        if last > done // size:
            spans.append(Span(level, done // size, last))
        done = last * size
    return spans


# Twice a block is the next level's, so a stretch of days lies in one block of some level.
_LEVELS: Final = 23
_ENCODED: Final = 1 << 24
"""More than the number of any block."""


def span_sql(start: str, end: str) -> str:
    """Return as SQL the smallest block of 1, 2, 4 ... days that has two instants in microseconds.

    Days are those of UTC. A stretch that has some instant is in one of the blocks of
    :func:`spans_at`, with few others: none that long and elsewhere.
    """
    first, last = (f"({at} / {MICROS_A_DAY} + {_EPOCH})" for at in (start, end))
    cases = " ".join(
        f"WHEN {first} / {1 << level} = {last} / {1 << level}"
        f" THEN {level * _ENCODED} + {first} / {1 << level}"
        for level in range(_LEVELS)
    )
    return f"CASE {cases} END"


def spans_at(at: int) -> list[int]:
    """Return the blocks that an instant in microseconds lies in, one of each level."""
    # Towards 0, as a database divides: for what was before 1970 a day may be the next one.
    day = int(abs(at) // MICROS_A_DAY) * (1 if at >= 0 else -1) + _EPOCH
    return [level * _ENCODED + (day >> level) for level in range(_LEVELS)]
