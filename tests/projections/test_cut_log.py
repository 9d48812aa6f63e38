"""A log that ends before what was read of it, as after an older copy was restored: nothing is skipped."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from stockflow.models import Event, Position
from stockflow.projections import EventCallable, Flow, Stock, runner
from stockflow.projections.calling import begin, run_event_callables
from stockflow.projections.checkpoints import LogCut
from stockflow.projections.event_calls import CallCheckpoint
from stockflow.projections.models import Generation, Status
from stockflow.projections.registry import Registry
from stockflow.testing import Clock, clock, sequence
from tests.crm.models import Lead
from tests.eventstore.tampering import unguarded
from tests.fence.down import fence_down

pytestmark = pytest.mark.django_db


@pytest.fixture(name="time", autouse=True)
def _time() -> Iterator[Clock]:
    with clock(datetime(2026, 3, 2, 9, tzinfo=UTC)) as time:
        yield time


def cut() -> None:
    """Put back a log of one lead, of four that were recorded."""
    last = Lead.objects.order_by("pk")[:1].get()
    kept = Event.objects.get(originator=str(last.stock_lifecycle))
    with fence_down(), unguarded() as cursor:
        cursor.execute("DELETE FROM stockflow_position WHERE event > %s", [kept.pk])
        cursor.execute("DELETE FROM stockflow_event WHERE id > %s", [kept.pk])
        cursor.execute("DELETE FROM stockflow_scheduledtransition")
        cursor.execute("DELETE FROM crm_lead WHERE id <> %s", [last.pk])


def test_a_projection_says_what_to_do() -> None:
    """It stops, and a replay reads the log as it is: it need not reach what is no more."""
    hot = Stock("hot", Lead.temperature, states=["hot"])
    for _ in range(4):
        Lead.objects.create()
    sequence()
    list(runner.project(names=["flow_counts"]))
    cut()
    Lead.objects.create()
    sequence()

    with pytest.raises(
        LogCut, match=r"'flow_counts' has read up to position 4, but the log ends at 2"
    ):
        list(runner.project(names=["flow_counts"]))
    list(runner.rebuild(names=["flow_counts"]))
    serving = Generation.objects.get(projection="flow_counts", status=Status.SERVING)
    assert (serving.position, Position.objects.count(), hot.count()) == (2, 2, 2)


def test_an_event_callable_says_what_to_do(declared: Registry) -> None:
    """What comes next is not passed over in silence."""
    heard: list[int] = []
    one = EventCallable(lambda lead, *_: heard.append(lead.pk), name="note")
    Flow(
        "new",
        sources=[None],
        sinks=[Stock("hot", Lead.temperature, states=["hot"])],
        event_callables=[one],
    )
    begin("default")
    for _ in range(4):
        Lead.objects.create()
    sequence()
    assert len(run_event_callables()) == 4
    cut()
    fresh = Lead.objects.create()
    sequence()

    with pytest.raises(LogCut, match=r"'note' of the flow 'new' has read up to position 4"):
        run_event_callables()
    CallCheckpoint.objects.update(position=1)
    run_event_callables()
    assert heard[4:] == [fresh.pk]
