"""Instants: exact, aware, in UTC."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockflow.domain.errors import InvalidInstant
from stockflow.domain.instants import from_micros, require_instant, to_micros

INSTANTS = st.datetimes(timezones=st.just(UTC))


@given(INSTANTS)
def test_microseconds_come_back_exactly(at: datetime) -> None:
    """Over all of Python's calendar, also before 1970."""
    assert from_micros(to_micros(at)) == at


@given(INSTANTS, INSTANTS)
def test_microseconds_keep_the_order(one: datetime, other: datetime) -> None:
    """Integers compare as their instants do."""
    assert (one < other) == (to_micros(one) < to_micros(other))


def test_an_instant_is_turned_into_utc() -> None:
    """The same instant, told in UTC."""
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    at = require_instant(datetime(2026, 3, 3, 5, 45, tzinfo=kathmandu), "at")

    assert at.isoformat() == "2026-03-03T00:00:00+00:00"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(date(2026, 3, 3), "start must be .* a date is not an instant", id="date"),
        pytest.param(datetime(2026, 3, 3), "start must be timezone-aware.*tzinfo=UTC", id="naive"),
        pytest.param("2026-03-03", "start must be a timezone-aware datetime, not '2026", id="text"),
        pytest.param(None, "not None", id="none"),
    ],
)
def test_what_is_no_instant_is_refused(value: Any, message: str) -> None:
    """What, where, and what to give."""
    with pytest.raises(InvalidInstant, match=message):
        require_instant(value, "start")
