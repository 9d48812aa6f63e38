"""What changed without a transition is recorded, and no flow counts it."""

from datetime import timedelta

import pytest
from django.db.models.signals import post_save

from stockflow.bulk.reclassification import _remember_facets
from stockflow.domain.errors import UnknownState
from stockflow.errors import InvalidDeclaration
from stockflow.facets import resolve_facet
from stockflow.models import AtEntry, Kind, Outcome
from stockflow.projections import Flow, Stock, registry
from stockflow.subjects import subject_of
from stockflow.testing import Clock
from tests.bulk.test_sameness import forget
from tests.crm.models import BigLead, HotLead, Lead, LongVisit, Rep, Sale, Source, Visit
from tests.fence.down import fence_down
from tests.stockflow.conftest import START
from tests.stockflow.reading import assert_whole, events_of, facets_of, last_event, timers_of, trail

pytestmark = pytest.mark.django_db


def test_what_changed_behind_a_relation(rep: Rep) -> None:
    """Only the objects behind it get an event, from the old value to the new one."""
    lead, other = Lead.objects.create(owner=rep), Lead.objects.create()
    rep.team = "south"
    rep.save()

    assert Lead.objects.reclassify() == 1
    lead.refresh_from_db()
    assert trail(other) == ["entered >hot"]
    assert trail(lead) == ["entered >hot", "reclassified hot>hot"]
    assert facets_of(last_event(lead)) == (
        {"channel": "web", "owner__team": "north"},
        {"channel": "web", "owner__team": "south"},
    )
    assert_whole(lead)
    assert Lead.objects.reclassify() == 0


def test_a_decay_that_is_overdue_comes_first(rep: Rep, time: Clock) -> None:
    """It stays at its due instant, and what lies behind the relation is read with it."""
    lead = Lead.objects.create(owner=rep)
    rep.team = "south"
    rep.save()
    time.advance(timedelta(days=8))

    assert Lead.objects.reclassify() == 1
    lead.refresh_from_db()
    assert trail(lead) == ["entered >hot", "moved hot>warm"]
    assert_whole(lead)


def test_states_are_merged(time: Clock) -> None:
    """The state changes, the spell goes on, the decay of the new state counts from its start."""
    lead, won = Lead.objects.create(), Lead.objects.create(temperature="won")
    began = time.at
    time.advance(timedelta(days=1))

    assert Lead.objects.reclassify(Lead.temperature, {"hot": "warm"}) == 1
    lead.refresh_from_db()
    assert trail(won) == ["entered >won"]
    assert trail(lead) == ["entered >hot", "reclassified hot>warm"]
    assert last_event(lead).kind == Kind.RECLASSIFIED
    assert last_event(lead).transition is None
    assert lead.temperature_since == began
    assert lead.temperature_due_at == began + timedelta(days=30)
    assert timers_of(lead)["temperature"].transition == "chill"
    assert_whole(lead)


def test_a_state_without_decay_ends_the_timer() -> None:
    """Nothing is left behind that would fire."""
    lead = Lead.objects.create()
    Lead.objects.reclassify("temperature", {"hot": "won"})
    lead.refresh_from_db()

    assert timers_of(lead) == {}
    assert_whole(lead)


def test_the_new_state_must_be_one() -> None:
    """Nothing is written where the machine lacks it."""
    with pytest.raises(UnknownState, match="has no state 'tepid'"):
        Lead.objects.reclassify("temperature", {"hot": "tepid"})
    with pytest.raises(InvalidDeclaration, match="no stock field 'heat'"):
        Lead.objects.reclassify("heat", {"hot": "warm"})


def test_a_facet_fixed_at_entry(rep: Rep) -> None:
    """It stays as it was until a state is entered, whatever else is recorded."""
    sale = Sale.objects.create(seller=rep)
    rep.team = "south"
    rep.save()

    assert Sale.objects.reclassify() == 0
    sale.channel = "fair"
    sale.save()
    sale.remind()
    sale.save()
    Sale.objects.transition("remind")
    assert {facets_of(event)[1]["seller__team"] for event in events_of(sale.stock_lifecycle)} == {
        "north"
    }
    assert Sale.objects.transition("sell") == Outcome(moved=1)
    assert facets_of(last_event(sale)) == (
        {"channel": "fair", "seller__team": "north", "seller__name": "Ada"},
        {"channel": "fair", "seller__team": "south", "seller__name": "Ada"},
    )


def test_a_fixed_one_beside_one_that_is_not(rep: Rep) -> None:
    """What moved is recorded, what is fixed stays."""
    sale = Sale.objects.create(seller=rep)
    rep.team, rep.name = "south", "Eve"
    rep.save()

    assert Sale.objects.reclassify() == 1
    assert facets_of(last_event(sale))[1] == {
        "channel": "web",
        "seller__team": "north",
        "seller__name": "Eve",
    }
    assert Sale.objects.reclassify() == 0


def test_a_column_of_its_own_cannot_be_fixed() -> None:
    """Its changes are always recorded."""
    with pytest.raises(InvalidDeclaration, match="leave AtEntry off"):
        resolve_facet(Sale, AtEntry("channel"))


def test_children_are_reclassified_through_their_parent() -> None:
    """Each object once, as what it is: a child has fields that its parent does not know."""
    source = Source.objects.create(name="ad")
    visits = [model.objects.create(source=source) for model in (Visit, LongVisit, Visit, LongVisit)]
    other = LongVisit.objects.create()
    Source.objects.update(name="fair")

    assert Visit.objects.reclassify(chunk_size=3) == 4
    assert trail(other) == ["entered >open", "entered >few"]
    for visit in visits:
        visit.refresh_from_db()
        fields = {field.name for field in subject_of(type(visit)).fields}
        last = {event.field: event for event in events_of(visit.stock_lifecycle)}
        assert {facets_of(last[name])[1]["source__name"] for name in fields} == {"fair"}
        assert len(events_of(visit.stock_lifecycle)) == 2 * len(fields)
        assert {event.model for event in last.values()} == {visit._meta.label_lower}
        assert_whole(visit)
    assert Visit.objects.reclassify() == 0


def test_children_are_reclassified_where_only_their_own_field_drifted() -> None:
    """As where the parent's field was reclassified alone, before its children were looked at."""
    source = Source.objects.create(name="ad")
    visit = LongVisit.objects.create(source=source)
    Source.objects.update(name="fair")
    parent = Visit.objects.get()
    _remember_facets(parent, {Visit._meta.get_field("state")})
    parent.save()

    assert Visit.objects.filter(source=source).reclassify() == 1
    visit.refresh_from_db()
    assert trail(visit, "state") == ["entered >open", "reclassified open>open"]
    assert trail(visit, "pages") == ["entered >few", "reclassified few>few"]
    assert_whole(visit)


def test_only_children_that_are_asked_for() -> None:
    """What the parent's queryset leaves out stays as it is."""
    sources = [Source.objects.create(name=name) for name in ("ad", "fair")]
    asked, other = (LongVisit.objects.create(source=source) for source in sources)
    Source.objects.update(name="mail")

    assert Visit.objects.filter(source=sources[0]).reclassify() == 1
    assert len(trail(asked)) == 4
    assert len(trail(other)) == 2


def test_children_are_reclassified_through_a_proxy(rep: Rep) -> None:
    """A proxy's objects are its model's, children included, and are counted once."""
    leads = [model.objects.create(owner=rep) for model in (Lead, BigLead, HotLead)]
    Rep.objects.update(team="south")

    assert HotLead.objects.reclassify() == 3
    for lead in leads:
        lead.refresh_from_db()
        assert trail(lead, "temperature") == ["entered >hot", "reclassified hot>hot"]
        assert_whole(lead)


def test_a_chunk_of_parents_and_children_is_one_transaction() -> None:
    """Children are written first, and undone where an object of the parent's fails."""
    source = Source.objects.create(name="ad")
    visits = [model.objects.create(source=source) for model in (LongVisit, Visit)]
    Source.objects.update(name="fair")

    def fail(sender: type[Visit], **kwargs: object) -> None:
        raise ValueError("no")

    post_save.connect(fail, sender=Visit)
    try:
        with pytest.raises(ValueError, match="no"):
            Visit.objects.reclassify()
    finally:
        post_save.disconnect(fail, sender=Visit)

    assert [len(trail(visit)) for visit in visits] == [2, 1]


def test_a_row_older_than_its_history(rep: Rep) -> None:
    """It is adopted in its old state first; without a history nothing can have drifted."""
    lead = Lead.objects.create(owner=rep)
    with fence_down(operations=["update"]):
        forget(lead)
    rep.team = "south"
    rep.save()

    assert Lead.objects.reclassify() == 0
    assert Lead.objects.reclassify("temperature", {"hot": "won"}) == 1
    lead.refresh_from_db()
    assert trail(lead) == ["adopted >hot", "reclassified hot>won"]
    assert_whole(lead)


def test_no_flow_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The level follows, the flows do not."""
    Lead.objects.create()
    monkeypatch.setattr(registry, "declared", registry.Registry())
    hot = Stock("hot", Lead.temperature, states=["hot"])
    won = Stock("won", Lead.temperature, states=["won"])
    winning = Flow("winning", sources=[hot], sinks=[won])
    Lead.objects.reclassify("temperature", {"hot": "won"})

    assert (hot.count(), won.count()) == (0, 1)
    assert winning.count(START - timedelta(days=1), START + timedelta(days=1)) == 0
