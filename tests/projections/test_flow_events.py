"""Flow events: the events of a flow with a key to their objects, by which nothing cascades."""

from typing import Any

import pytest
from django.db import connection

from stockflow.errors import InvalidDeclaration
from stockflow.models import Event
from stockflow.projections import Flow, Stock
from tests.crm.models import AnyEvent, BigLead, Lead, LeadEvent, Rep, Ticket

pytestmark = pytest.mark.django_db


@pytest.fixture(name="cooling")
def _cooling() -> Flow:
    """Return a flow whose events have a key to leads."""
    hot = Stock("hot", Lead.temperature, states=["hot"])
    warm = Stock("warm", Lead.temperature, states=["warm"], where={"channel": "web"})
    return Flow("cooling", sources=[hot], sinks=[warm], event_model=LeadEvent)


def cooled(**values: Any) -> Any:
    """Return a lead that has cooled."""
    lead = Lead.objects.create(**values)
    lead.cool()
    lead.save()
    return lead


def test_an_event_knows_its_object(cooling: Flow) -> None:
    """As it is now; when it was, and where it led."""
    lead = cooled()
    (event,) = cooling.all()

    assert isinstance(event, LeadEvent)
    assert event.subject == lead
    assert (event.source, event.sink, event.timestamp) == ("hot", "warm", lead.temperature_since)
    assert str(event) == f"{lead.stock_lifecycle} v2: hot → warm"


def test_objects_are_joined(cooling: Flow, django_assert_num_queries: Any) -> None:
    """Filters, order, selection and prefetching go through the key, in any direction of SQL."""
    ann, bob = (Rep.objects.create(name=name, team="north") for name in ("Ann", "Bob"))
    leads = [cooled(owner=owner) for owner in (ann, bob, ann)]
    cooled(channel="ads", owner=ann)
    events = cooling.all()

    assert [one.subject for one in events.filter(subject__owner=ann)] == [leads[0], leads[2]]
    assert events.filter(subject=leads[1]).get().subject == leads[1]
    assert events.filter(subject__in=leads[:2]).count() == 2
    assert events.exclude(subject=leads[1]).count() == 2
    assert [one.subject for one in events.order_by("-subject__owner__name")][:1] == [leads[1]]
    assert set(events.values_list("subject__owner__name", flat=True)) == {"Ann", "Bob"}
    with django_assert_num_queries(1):
        assert [one.subject.owner for one in events.select_related("subject__owner")] == [
            *(ann, bob, ann)
        ]
    with django_assert_num_queries(2):
        assert [one.subject for one in events.prefetch_related("subject")] == leads


def test_nothing_cascades(cooling: Flow) -> None:
    """The event outlives its object, whose key is then None."""
    lead = cooled()
    lead.delete()
    (event,) = cooling.all()

    assert event.subject is None
    assert cooling.all().filter(subject__isnull=True).count() == 1
    assert [one.subject for one in cooling.all().select_related("subject")] == [None]
    assert [one.subject for one in cooling.all().prefetch_related("subject")] == [None]


def test_there_is_no_constraint_and_no_table(cooling: Flow) -> None:
    """Nothing for a migration to make."""
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, "stockflow_event")

    assert "crm_leadevent" not in connection.introspection.table_names()
    assert not [one for one in constraints.values() if one["foreign_key"]]
    assert not LeadEvent.check()


def test_its_events_are_those_of_its_subject() -> None:
    """Children's too; without a key, all stock events."""
    Lead.objects.create()
    BigLead.objects.create()
    Ticket.objects.create()

    assert LeadEvent.objects.count() == 3
    assert AnyEvent.objects.count() == Event.objects.count() == 4


def test_events_are_read_only() -> None:
    """A transition records one."""
    Lead.objects.create()
    event = LeadEvent.objects.get()
    for write in (event.save, event.delete):
        with pytest.raises(TypeError, match="Flow events are read only: call a transition"):
            write()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(Event, "is no FlowEvent", id="log"),
        pytest.param(LeadEvent, r"the subject of crm\.LeadEvent is crm\.Lead, and not", id="other"),
    ],
)
def test_a_model_of_events_is_checked(model: Any, message: str) -> None:
    """It leads to the flow's own objects."""
    new = Stock("new", Ticket.state, states=["new"])
    with pytest.raises(InvalidDeclaration, match=message):
        Flow("f", sources=[None], sinks=[new], event_model=model)
