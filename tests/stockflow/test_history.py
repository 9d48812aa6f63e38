"""One object's log read back: as eventsourcing knows it, and as people do."""

import json
from datetime import timedelta
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from eventsourcing.persistence import AggregateRecorder, ProgrammingError, StoredEvent
from eventsourcing.utils import get_topic, resolve_topic

from stockflow import context
from stockflow.domain import events
from stockflow.domain.events import EVENTS, TOPICS, Entered, Moved, StockEvent
from stockflow.eventstore.applications import StockLog
from stockflow.eventstore.recorders import StockRecorder
from stockflow.models import Event, Kind
from stockflow.testing import Clock
from tests.crm.models import HotLead, Lead, Order, Rep, Ticket
from tests.eventstore.tampering import unguarded
from tests.stockflow.reading import events_of, lifecycle_of

pytestmark = pytest.mark.django_db


@pytest.fixture(name="lead")
def _lead(time: Clock, rep: Rep) -> Lead:
    """A lead with a life: entered, decayed, reclassified, rekindled."""
    lead: Lead = Lead.objects.create(owner=rep)
    time.advance(timedelta(days=8))
    lead.channel = "phone"
    lead.save()
    time.advance(timedelta(days=1))
    with context(actor="ada", reason="called", data={"minutes": 3}, correlation="c1"):
        lead.rekindle()
    lead.save()
    time.advance(timedelta(days=2))
    return lead


def test_the_log_reads_back_as_domain_events(lead: Lead) -> None:
    """Frozen classes with what the columns hold."""
    history = StockLog().history(lifecycle_of(lead))
    last = history.events[-1]

    assert [type(event).__name__ for event in history] == [
        "Entered",
        "Moved",
        "Reclassified",
        "Moved",
    ]
    assert (last.originator_id, last.originator_version) == (str(lead.stock_lifecycle), 4)
    assert (last.model, last.field, last.transition) == ("crm.lead", "temperature", "rekindle")
    assert (last.source, last.target, last.actor) == ("warm", "hot", "ada")
    assert (last.reason, last.correlation, last.data) == ("called", "c1", {"minutes": 3})
    assert last.target_facets == {"channel": "phone", "owner__team": "north"}
    assert last.occurred_at == lead.stock_changed_at
    with pytest.raises(AttributeError):
        last.actor = "bo"  # type: ignore[misc]


def test_every_column_comes_back_equal(lead: Lead) -> None:
    """Facet by facet, to the microsecond."""
    for row, event in zip(
        events_of(lead.stock_lifecycle), StockLog().history(lifecycle_of(lead)), strict=True
    ):
        assert (row.kind, row.source, row.target) == (event.kind, event.source, event.target)
        assert json.loads(row.source_facets or "{}") == event.source_facets
        assert json.loads(row.target_facets or "{}") == event.target_facets
        assert (row.topic, row.actor, row.reason) == (event.TOPIC, event.actor, event.reason)
        assert event.occurred_at.utcoffset() == event.recorded_at.utcoffset() == timedelta(0)


def test_the_state_at_an_instant(lead: Lead, time: Clock) -> None:
    """As-of is inclusive, and before the beginning is the outside."""
    history = StockLog().history(lifecycle_of(lead))
    entered = history.events[0].occurred_at
    week = timedelta(days=7)

    assert history.state("temperature") == "hot"
    assert history.state("temperature", entered + week) == "warm"
    assert history.state("temperature", entered + week - timedelta(microseconds=1)) == "hot"
    assert history.state("temperature", entered - timedelta(microseconds=1)) is None


def test_nobody_s_log_is_empty() -> None:
    """A lifecycle that never was."""
    assert len(StockLog().history(uuid4())) == 0


@pytest.mark.parametrize(
    ("options", "versions"),
    [
        pytest.param({}, [1, 2, 3, 4], id="all"),
        pytest.param({"gt": 1, "lte": 3}, [2, 3], id="between"),
        pytest.param({"desc": True, "limit": 2}, [4, 3], id="last"),
    ],
)
def test_the_recorder_selects(lead: Lead, options: dict[str, Any], versions: list[int]) -> None:
    """As the contract of eventsourcing has it."""
    recorder = StockRecorder("default")
    found = recorder.select_events(lifecycle_of(lead), **options)

    assert isinstance(recorder, AggregateRecorder)
    assert [event.originator_version for event in found] == versions


def test_the_recorder_does_not_insert() -> None:
    """Events come with their row, through save()."""
    with pytest.raises(ProgrammingError, match=r"appended by save\(\).*call a transition"):
        StockRecorder("default").insert_events([StoredEvent("a", 1, "t", b"")])


def test_other_applications_share_the_table(lead: Lead) -> None:
    """Their events are theirs."""
    Event.objects.create(
        application="other",
        originator=str(lead.stock_lifecycle),
        version=9,
        topic="x",
        payload=b"{}",
    )

    lead.win(1)
    lead.save()

    assert len(StockLog().history(lifecycle_of(lead))) == 5


def test_topics_are_words_not_paths() -> None:
    """They stay when a class moves, and resolve to the class that is there now."""
    assert {kind: resolve_topic(topic).kind for kind, topic in TOPICS.items()} == {
        kind: kind for kind in TOPICS
    }
    assert [get_topic(event) for event in EVENTS] == [event.TOPIC for event in EVENTS]
    assert set(TOPICS) <= {str(kind) for kind in Kind}


def test_an_old_event_is_upcast(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of a later version reads what an earlier one wrote."""

    class MovedToday(StockEvent):
        TOPIC = "stockflow:moved"
        kind = "moved"
        class_version: ClassVar[int] = 2

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            state["reason"] = state["reason"].upper()

    monkeypatch.setitem(_topic_cache(), "stockflow:moved", MovedToday)
    last = StockLog().history(lifecycle_of(lead)).events[-1]

    assert (type(last), last.reason) == (MovedToday, "CALLED")


def _topic_cache() -> dict[str, Any]:
    from eventsourcing import utils

    resolve_topic("stockflow:moved")
    return utils._topic_cache


def test_a_stored_event_is_plain_json(lead: Lead) -> None:
    """What another program would read."""
    stored = StockRecorder("default").select_events(lifecycle_of(lead))[-1]

    assert stored.topic == Moved.TOPIC
    assert json.loads(stored.state)["transition"] == "rekindle"


def test_stock_history_reads_like_a_story(lead: Lead) -> None:
    """Who, what, when, why, how long in each state."""
    entries = lead.stock_history()

    assert [(e.source, e.target, e.flow, e.actor) for e in entries] == [
        (None, "hot", "", ""),
        ("hot", "warm", "cool", "stockflow.schedule"),
        ("warm", "warm", "", ""),
        ("warm", "hot", "rekindling", "ada"),
    ]
    assert [e.spent for e in entries] == [timedelta(days=d) for d in (7, 2, 2, 2)]
    assert [e.is_open for e in entries] == [False, False, False, True]
    assert (entries[-1].data, entries[-1].reason) == ({"minutes": 3}, "called")


def test_each_field_has_its_own_spells(time: Clock) -> None:
    """The other field's events end nothing."""
    order = Order.objects.create(grace=timedelta(days=300))
    time.advance(timedelta(days=1))
    order.send()
    order.save()
    time.advance(timedelta(days=1))
    spent = {(e.field, e.target): e.spent for e in order.stock_history()}

    assert spent[("payment", "due")] == timedelta(days=2)
    assert spent[("delivery", "waiting")] == timedelta(days=1)


def test_the_history_of_what_was_deleted(time: Clock) -> None:
    """The last entry stays nowhere."""
    from stockflow.history import of_lifecycle

    ticket = Ticket.objects.create()
    lifecycle = lifecycle_of(ticket)
    time.advance(timedelta(days=1))
    ticket.delete()
    entries = of_lifecycle(lifecycle)

    assert [(e.kind, e.spent, e.is_open) for e in entries] == [
        ("entered", timedelta(days=1), False),
        ("left", None, False),
    ]


def test_an_unadopted_row_has_no_history() -> None:
    """Not even an error."""
    assert Lead().stock_history() == []


def test_the_history_outlives_the_model_s_code() -> None:
    """A model that is gone from the code leaves its flows under their methods' names."""
    hot = HotLead.objects.create()
    with unguarded():
        Event.objects.update(model="crm.gone")
    hot.cool()
    hot.save()

    assert [entry.flow for entry in hot.stock_history()] == ["", "cool"]


def test_lag_is_known(lead: Lead) -> None:
    """Between what was true and what was written."""
    first = StockLog().history(lifecycle_of(lead)).events[0]

    assert first.lag == first.recorded_at - first.occurred_at
    assert type(first) is Entered
    assert events.Reclassified.kind == "reclassified"
