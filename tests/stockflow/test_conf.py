"""Settings: defaults, what is refused, and whose clock it is."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from stockflow import conf
from stockflow.domain.errors import InvalidInstant
from stockflow.testing import Clock, clock
from tests.crm.models import Ticket


@pytest.fixture(name="time", autouse=True)
def _time() -> None:
    """No clock of the tests' here."""
    conf._test_clock = None


def test_the_application_s_clock_is_the_default() -> None:
    """Aware, in UTC, and now."""
    before = datetime.now(UTC)

    assert before <= conf.now() <= datetime.now(UTC)
    assert conf.now().tzinfo == UTC


@pytest.mark.django_db
def test_the_database_s_clock(settings: Any) -> None:
    """By setting; an embedded database has no other clock than this machine's."""
    settings.STOCKFLOW_CLOCK = "database"
    now = conf.now()
    ticket = Ticket.objects.create()

    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
    assert now.utcoffset() == timedelta(0)
    assert now <= ticket.stock_changed_at <= conf.now()
    assert connection.vendor in {"sqlite", "postgresql"}


def test_an_unknown_clock_is_refused(settings: Any) -> None:
    """With the two that there are."""
    settings.STOCKFLOW_CLOCK = "sundial"
    with pytest.raises(ImproperlyConfigured, match="'application' or 'database', not 'sundial'"):
        conf.now()


def test_the_zone_is_django_s_unless_named(settings: Any) -> None:
    """STOCKFLOW_TIME_ZONE, else TIME_ZONE."""
    settings.TIME_ZONE = "Asia/Kathmandu"
    before = str(conf.time_zone())
    settings.STOCKFLOW_TIME_ZONE = "Europe/Berlin"

    assert (before, str(conf.time_zone())) == ("Asia/Kathmandu", "Europe/Berlin")


@pytest.mark.parametrize("name", ["Europe/Bärlin", "../etc"])
def test_a_zone_that_is_none_is_refused(name: str, settings: Any) -> None:
    """With an example of one that is."""
    settings.STOCKFLOW_TIME_ZONE = name
    with pytest.raises(ImproperlyConfigured, match=r"names no time zone.*Europe/Berlin"):
        conf.time_zone()


def test_a_test_s_clock_stands_still_and_ends() -> None:
    """Blocks nest; the outer clock comes back."""
    at = datetime(2026, 3, 3, tzinfo=UTC)
    with clock(at) as outer:
        with clock(at + timedelta(days=1)):
            inner = conf.now()
        outer.advance(timedelta(hours=1))
        assert (conf.now(), inner) == (at + timedelta(hours=1), at + timedelta(days=1))

    assert conf._test_clock is None


def test_a_test_s_clock_wants_an_instant() -> None:
    """A naive one is refused, as everywhere."""
    with pytest.raises(InvalidInstant):
        Clock(datetime(2026, 3, 3))


def test_first_weekday(settings: Any) -> None:
    """Weeks begin on Monday, or as STOCKFLOW_FIRST_WEEKDAY says."""
    before = conf.first_weekday()
    settings.STOCKFLOW_FIRST_WEEKDAY = "sunday"

    assert (before, conf.first_weekday()) == (0, 6)


def test_first_weekday_is_a_day(settings: Any) -> None:
    """Anything else is refused where it is read."""
    settings.STOCKFLOW_FIRST_WEEKDAY = "Sunday"
    with pytest.raises(ImproperlyConfigured, match=r"one of 'monday', .* not 'Sunday'"):
        conf.first_weekday()
