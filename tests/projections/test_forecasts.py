"""What is scheduled, counted as the flow that it will be."""

from datetime import timedelta
from typing import Any

import pytest

from stockflow.models import ScheduledTransition
from stockflow.projections import Flow, Stock
from stockflow.testing import Clock, clock, run_due
from tests.crm.models import Lead
from tests.projections.histories import NOW

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(name="time", autouse=True)
def _time() -> Any:
    with clock(NOW) as time:
        yield time


def test_scheduled_decays_are_the_flow_to_come(time: Clock, declared: Any) -> None:
    """Each in its bucket; what then happens is what was forecast."""
    hot = Stock("hot", Lead.temperature, states=["hot"])
    warm = Stock("warm", Lead.temperature, states=["warm"])
    cooling = Flow("cooling", sources=[hot], sinks=[warm])
    warming = Flow("warming", sources=[warm], sinks=[hot])
    start = time.at
    for _ in range(3):
        Lead.objects.create()
        time.advance(DAY)
    lead = Lead.objects.latest("pk")
    lead.win(1)
    lead.save()
    end = start + 10 * DAY
    forecast = cooling.scheduled(start, end, every=DAY)
    none = warming.scheduled(start, end, every=DAY)
    time.move_to(end)
    run_due()

    assert [row.value for row in forecast] == [0, 0, 0, 0, 0, 0, 0, 1, 1, 0]
    assert list(forecast) == list(cooling.series(start, end, every=DAY))
    assert sum(row.value for row in none) == 0


def test_weeks_begin_as_the_settings_say(declared: Any, settings: Any) -> None:
    """Forecast and series of one flow are held against each other."""
    settings.STOCKFLOW_FIRST_WEEKDAY = "sunday"
    hot = Stock("hot", Lead.temperature, states=["hot"])
    cooling = Flow("cooling", sources=[hot], sinks=[None])
    forecast = cooling.scheduled(NOW, NOW + 20 * DAY, every="week")

    assert {row.start.strftime("%a") for row in forecast[1:]} == {"Sun"}


def test_parked_decays_are_no_forecast(time: Clock, declared: Any) -> None:
    """Nobody knows when they happen."""
    hot = Stock("hot", Lead.temperature, states=["hot"])
    cooling = Flow(
        "cooling", sources=[hot], sinks=[None, hot, Stock("w", Lead.temperature, states=["warm"])]
    )
    Lead.objects.create()
    ScheduledTransition.objects.update(parked_at=1)

    assert sum(row.value for row in cooling.scheduled(NOW, NOW + 10 * DAY, every="day")) == 0
