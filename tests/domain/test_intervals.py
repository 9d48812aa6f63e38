"""Buckets: local days at true lengths, clipped to the range, adjoining."""

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.errors import InvalidBuckets, InvalidInstant
from stockflow.domain.intervals import GRAINS, Grain, buckets, latest, periods, start_of_day

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "America/St_Johns",
    "America/Toronto",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def local(zone: str, *when: int) -> datetime:
    """Return a wall clock's instant in *zone*."""
    return datetime(*when, tzinfo=ZoneInfo(zone))  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        pytest.param("Europe/Berlin", date(2026, 3, 29), 23, id="berlin-spring"),
        pytest.param("Europe/Berlin", date(2026, 10, 25), 25, id="berlin-autumn"),
        pytest.param("America/New_York", date(2026, 3, 8), 23, id="new-york-spring"),
        pytest.param("Australia/Lord_Howe", date(2026, 10, 4), 23.5, id="half-an-hour-less"),
        pytest.param("Australia/Lord_Howe", date(2026, 4, 5), 24.5, id="half-an-hour-more"),
        pytest.param("America/Santiago", date(2026, 9, 6), 23, id="without-midnight"),
        pytest.param("America/Santiago", date(2026, 4, 4), 25, id="ends-with-an-hour-twice"),
        pytest.param("America/Toronto", date(1919, 3, 30), 23.5, id="before-midnight-was-skipped"),
        pytest.param("America/Toronto", date(1919, 3, 31), 23.5, id="begins-at-half-past-midnight"),
        pytest.param("Asia/Kathmandu", date(2026, 9, 6), 24, id="a-quarter-hour-off"),
    ],
)
def test_day_has_its_true_length(zone: str, day: date, hours: float) -> None:
    """A local day is as long as its clocks make it."""
    tz = ZoneInfo(zone)
    start = start_of_day(day, tz)
    (only,) = buckets(start, start + timedelta(hours=hours), "day", tz)
    longer = buckets(start, start + timedelta(hours=hours, microseconds=1), "day", tz)

    assert only.end - only.start == timedelta(hours=hours)
    assert len(longer) == 2


def test_day_that_never_was_has_no_bucket() -> None:
    """Samoa went from 29 to 31 December 2011: two days of 24 hours, and none between."""
    apia = ZoneInfo("Pacific/Apia")
    cut = buckets(
        local("Pacific/Apia", 2011, 12, 29), local("Pacific/Apia", 2012, 1, 1), "day", apia
    )

    assert [bucket.end - bucket.start for bucket in cut] == [DAY, DAY]
    assert [bucket.start.astimezone(apia).day for bucket in cut] == [29, 31]


def test_skipped_midnight_starts_the_day_at_the_jump() -> None:
    """Toronto's clocks went from 23:30 to 0:30 on 30 March 1919: the next day began there."""
    start = start_of_day(date(1919, 3, 31), ZoneInfo("America/Toronto"))

    assert start == datetime(1919, 3, 31, 4, 30, tzinfo=UTC)


def test_weeks_begin_on_monday() -> None:
    """A week is the seven days from a Monday on."""
    cut = buckets(local("UTC", 2026, 1, 1), local("UTC", 2026, 1, 13), "week", UTC)

    assert [bucket.start.day for bucket in cut] == [1, 5, 12]
    assert cut[1].start.weekday() == 0


@pytest.mark.parametrize(
    ("first_weekday", "days"),
    [
        pytest.param(0, [1, 5, 12], id="monday"),
        pytest.param(5, [1, 3, 10], id="saturday"),
        pytest.param(6, [1, 4, 11], id="sunday"),
    ],
)
def test_weeks_begin_as_set(first_weekday: int, days: list[int]) -> None:
    """A week may begin with any day."""
    start, end = local("UTC", 2026, 1, 1), local("UTC", 2026, 1, 13)
    cut = buckets(start, end, "week", UTC, first_weekday=first_weekday)

    assert [bucket.start.day for bucket in cut] == days


@pytest.mark.parametrize(
    ("every", "starts"),
    [
        pytest.param("month", [(2, 14), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1)], id="months"),
        pytest.param("quarter", [(2, 14), (4, 1), (7, 1)], id="quarters"),
        pytest.param("year", [(2, 14)], id="years"),
    ],
)
def test_calendar_periods(every: Grain, starts: list[tuple[int, int]]) -> None:
    """Months, quarters and years begin on their first day, the first bucket where the range does."""
    cut = buckets(local("UTC", 2026, 2, 14), local("UTC", 2026, 7, 2), every, UTC)

    assert [(bucket.start.month, bucket.start.day) for bucket in cut] == starts
    assert cut[-1].end == local("UTC", 2026, 7, 2)


@pytest.mark.parametrize(
    ("day", "hours"), [pytest.param(29, 23, id="spring"), pytest.param(28, 24, id="plain")]
)
def test_hours_are_elapsed_hours(day: int, hours: int) -> None:
    """A day of 23 hours has 23 buckets."""
    berlin = ZoneInfo("Europe/Berlin")
    cut = buckets(
        local("Europe/Berlin", 2026, 3, day),
        local("Europe/Berlin", 2026, 3, day + 1),
        "hour",
        berlin,
    )

    assert [bucket.end - bucket.start for bucket in cut] == [HOUR] * hours


def test_hours_follow_the_wall_clock_of_a_quarter_hour_zone() -> None:
    """In Kathmandu a full hour is at a quarter past in UTC."""
    kathmandu = ZoneInfo("Asia/Kathmandu")
    cut = buckets(local("UTC", 2026, 1, 1), local("UTC", 2026, 1, 1, 3), "hour", kathmandu)

    assert [bucket.start.minute for bucket in cut] == [0, 15, 15, 15]


def test_fixed_lengths_are_cut_from_the_start() -> None:
    """A timedelta needs no calendar; the last bucket is what is left."""
    start = local("UTC", 2026, 1, 1, 0, 7)
    cut = buckets(start, start + timedelta(minutes=50), timedelta(minutes=20), UTC)

    assert [bucket.end - bucket.start for bucket in cut] == [
        timedelta(minutes=20),
        timedelta(minutes=20),
        timedelta(minutes=10),
    ]


instants = st.datetimes(
    min_value=datetime(1900, 1, 1), max_value=datetime(2037, 1, 1), timezones=st.just(UTC)
)
lengths = st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=800))


@given(
    start=instants,
    length=lengths,
    every=st.one_of(st.sampled_from(GRAINS), st.timedeltas(timedelta(hours=5), timedelta(days=99))),
    zone=st.sampled_from(ZONES),
)
def test_buckets_tile_the_range(
    start: datetime, length: timedelta, every: Grain | timedelta, zone: str
) -> None:
    """Buckets adjoin, none is empty, and together they are the range."""
    cut = buckets(start, start + length, every, ZoneInfo(zone))

    assert cut[0].start == start
    assert cut[-1].end == start + length
    assert all(one.end == other.start for one, other in pairwise(cut))
    assert all(bucket.start < bucket.end for bucket in cut)


@given(start=instants, length=lengths, zone=st.sampled_from(ZONES))
def test_days_agree_with_the_wall_calendar(start: datetime, length: timedelta, zone: str) -> None:
    """Each day's bucket begins where the zone's date changes."""
    tz = ZoneInfo(zone)
    for bucket in buckets(start, start + length, "day", tz)[1:]:
        before = (bucket.start - timedelta(microseconds=1)).astimezone(tz).date()

        assert bucket.start.astimezone(tz).date() >= before
        assert start_of_day(before + DAY, tz) == bucket.start or zone == "Pacific/Apia"


@given(start=instants, length=lengths, per=st.sampled_from(GRAINS), zone=st.sampled_from(ZONES))
def test_periods_add_up(start: datetime, length: timedelta, per: Grain, zone: str) -> None:
    """The periods of a range are those of its two halves together."""
    tz, middle, end = ZoneInfo(zone), start + length / 2, start + length
    if start < middle < end:
        parts = periods(start, middle, per, tz) + periods(middle, end, per, tz)

        assert periods(start, end, per, tz) == pytest.approx(parts)


@pytest.mark.parametrize(
    ("start", "end", "per", "expected"),
    [
        pytest.param((2026, 3, 29), (2026, 3, 30), "day", 23 / 24, id="short-day"),
        pytest.param((2026, 3, 29), (2026, 3, 30), "hour", 23, id="hours"),
        pytest.param((2026, 1, 1), (2026, 1, 15), "week", 2, id="weeks"),
        pytest.param((2026, 1, 1), (2027, 1, 1), "month", 12, id="months"),
        pytest.param((2026, 2, 15), (2026, 3, 1), "month", 0.5, id="half-a-month"),
        pytest.param((2026, 1, 1), (2026, 1, 2), timedelta(hours=6), 4, id="timedelta"),
    ],
)
def test_periods(start: tuple[int, ...], end: tuple[int, ...], per: Any, expected: float) -> None:
    """A rate's unit is elapsed time, or a share of true months."""
    berlin = "Europe/Berlin"

    assert periods(local(berlin, *start), local(berlin, *end), per, ZoneInfo(berlin)) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"end": datetime(2026, 1, 1, tzinfo=UTC)}, "end must be after start", id="empty"
        ),
        pytest.param(
            {"every": "fortnight"}, "Cannot cut every 'fortnight' .*'hour', 'day'", id="grain"
        ),
        pytest.param({"every": ["day"]}, r"Cannot cut every \['day'\]", id="unhashable"),
        pytest.param({"every": timedelta(0)}, "must be longer than nothing", id="zero"),
        pytest.param(
            {"every": timedelta(microseconds=1)}, "more than 1,000,000 buckets", id="many"
        ),
        pytest.param({"tz": "Europe/Berlin"}, r"such as ZoneInfo\('Europe/Berlin'\)", id="zone"),
        pytest.param(
            {"start": datetime(1, 1, 1, tzinfo=UTC), "every": "month", "tz": timezone(-HOUR)},
            "leaves the calendar",
            id="before-the-calendar",
        ),
    ],
)
def test_what_cannot_be_cut_is_refused(change: dict[str, Any], message: str) -> None:
    """The error says what, and what may be asked instead."""
    asked = {
        "start": datetime(2026, 1, 1, tzinfo=UTC),
        "end": datetime(2026, 2, 1, tzinfo=UTC),
        "every": "day",
        "tz": UTC,
    }

    with pytest.raises(InvalidBuckets, match=message):
        buckets(**{**asked, **change})


@pytest.mark.parametrize("start", [datetime(2026, 1, 1), date(2026, 1, 1)], ids=["naive", "date"])
def test_naive_bounds_are_refused(start: Any) -> None:
    """Neither a date nor a naive datetime is an instant."""
    with pytest.raises(InvalidInstant, match="start must be"):
        buckets(start, datetime(2026, 2, 1, tzinfo=UTC), "day", UTC)


def test_periods_need_a_known_unit() -> None:
    """A rate per unknown period is refused as well."""
    with pytest.raises(InvalidBuckets, match="Cannot cut every 'moon'"):
        periods(local("UTC", 2026, 1, 1), local("UTC", 2026, 2, 1), "moon", UTC)  # type: ignore[arg-type]


@pytest.mark.parametrize("every", [*GRAINS, timedelta(hours=5)])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Apia", "America/Santiago"])
@given(
    at=st.datetimes(datetime(1995, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),
    number=st.integers(1, 40),
)
def test_the_latest_periods(zone: str, every: Any, at: datetime, number: int) -> None:
    """They are as many as asked for, whole but for the last one, which ends just after."""
    tz = ZoneInfo(zone)
    start, end = latest(at, every, number, tz)
    cut = buckets(start, end, every, tz)
    earlier = buckets(start - timedelta(days=1), end, every, tz)

    assert end - at == timedelta(microseconds=1)
    assert len(cut) == number
    if isinstance(every, str):
        assert start in {bucket.start for bucket in earlier[1:]}


def test_the_latest_none() -> None:
    """Fewer than one, or more than the calendar has, is refused."""
    with pytest.raises(InvalidBuckets, match="The last 0 of anything are none: ask for 1 or more"):
        latest(datetime(2026, 1, 1, tzinfo=UTC), "day", 0, UTC)
    with pytest.raises(InvalidBuckets, match="The last 9999 of every 'year' leave the calendar"):
        latest(datetime(2026, 1, 1, tzinfo=UTC), "year", 9999, UTC)
