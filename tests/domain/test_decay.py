"""When a decay is due."""

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.decay import Attribute, Decay, earliest
from stockflow.domain.errors import InvalidDelay

SINCE = datetime(2026, 1, 31, tzinfo=UTC)
INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("delay", "due"),
    [
        pytest.param(timedelta(days=7), "2026-02-07T00:00:00+00:00", id="days"),
        pytest.param(
            timedelta(microseconds=1), "2026-01-31T00:00:00.000001+00:00", id="microsecond"
        ),
        pytest.param(relativedelta(months=1), "2026-02-28T00:00:00+00:00", id="month-end-clipped"),
        pytest.param(relativedelta(months=30), "2028-07-31T00:00:00+00:00", id="thirty-months"),
        pytest.param(relativedelta(years=2, months=1), "2028-02-29T00:00:00+00:00", id="leap-day"),
        pytest.param(lambda _: timedelta(hours=1), "2026-01-31T01:00:00+00:00", id="function"),
        pytest.param(lambda at: at, "2026-05-01T00:00:00+00:00", id="instant-of-the-object"),
        pytest.param(timedelta(days=-3), "2026-01-31T00:00:00+00:00", id="never-before-the-entry"),
    ],
)
def test_due_at(delay: Any, due: str) -> None:
    """A length is added in UTC, a function is asked, an instant is taken."""
    found = Decay("cool", "hot", delay).due_at(SINCE, datetime(2026, 5, 1, tzinfo=UTC))

    assert found is not None
    assert found.isoformat() == due


@pytest.mark.parametrize(
    ("name", "value", "hours"),
    [
        pytest.param("grace_hours", 48, 48, id="hours"),
        pytest.param("grace_minutes", 48 * 60, 48, id="minutes"),
        pytest.param("grace_seconds", 48 * 3600, 48, id="seconds"),
        pytest.param("grace_days", 2, 47, id="days-on-the-wall-clock"),
    ],
)
def test_a_number_of_hours_is_true_time(name: str, value: int, hours: int) -> None:
    """Over the spring change of Berlin's clocks, where two days have an hour less."""
    since = datetime(2026, 3, 28, 12, tzinfo=UTC)
    decay = Decay("cool", "hot", Attribute(name), zone=ZoneInfo("Europe/Berlin"))

    assert decay.due_at(since, SimpleNamespace(**{name: value})) == since + timedelta(hours=hours)


def test_never() -> None:
    """A function may say so."""
    assert Decay("cool", "hot", lambda _: None).due_at(SINCE, None) is None


@pytest.mark.parametrize(
    "given_", [5, "tomorrow", datetime(2026, 5, 1)], ids=["number", "text", "naive"]
)
def test_what_is_no_delay_is_refused(given_: Any) -> None:
    """The text names the transition, the state and what to give."""
    with pytest.raises(InvalidDelay, match=r"delay of 'cool' from 'hot' gave .*: give a timedelta"):
        Decay("cool", "hot", lambda _: given_).due_at(SINCE, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((f"grace_{unit}", sign * 10**9) for unit in ("days", "weeks", "months", "years")
          for sign in (1, -1)),
        *((f"grace_{unit}", 10**18) for unit in ("seconds", "minutes", "hours")),
        ("grace", timedelta.max),
        ("grace", relativedelta(years=8000)),
        ("grace", datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))),
    ],
)  # fmt: skip
@pytest.mark.parametrize("zone", [None, ZoneInfo("Europe/Berlin")], ids=["utc", "berlin"])
def test_what_no_calendar_reaches_is_refused(name: str, value: Any, zone: ZoneInfo | None) -> None:
    """As any delay that is none: the text names the transition, the state and what to give."""
    decay = Decay("cool", "hot", Attribute(name), zone=zone)

    with pytest.raises(InvalidDelay, match=r"delay of 'cool' from 'hot', .* give a shorter one"):
        decay.due_at(SINCE, SimpleNamespace(**{name: value}))


@given(since=INSTANTS, months=st.integers(0, 600))
def test_a_calendar_length_keeps_the_day_or_clips_it(since: datetime, months: int) -> None:
    """Months later, at the same time of day, never on a later day of the month."""
    due = Decay("cool", "hot", relativedelta(months=months)).due_at(since, None)

    assert due is not None
    assert (due.year * 12 + due.month) - (since.year * 12 + since.month) == months
    assert due.day <= since.day
    assert due.time() == since.time()


def test_the_earliest_wins_and_of_equals_the_first_declared() -> None:
    """Those that never come are left out."""
    never = Decay("a", "hot", lambda _: None)
    late, soon = Decay("b", "hot", timedelta(days=2)), Decay("c", "hot", timedelta(days=1))
    same = Decay("d", "hot", timedelta(days=1))

    assert earliest([never, late, soon, same], SINCE, None) == (soon, SINCE + timedelta(days=1))
    assert earliest([never], SINCE, None) is None
    assert earliest([], SINCE, None) is None
