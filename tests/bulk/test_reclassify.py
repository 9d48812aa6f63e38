"""What changed without a transition is recorded, and no flow counts it."""

from datetime import timedelta

import pytest

from stockflow.domain.errors import UnknownState
from stockflow.errors import InvalidDeclaration
from stockflow.facets import resolve_facet
from stockflow.models import AtEntry, Kind, Outcome
from stockflow.projections import Flow, Stock, registry
from stockflow.testing import Clock
from tests.bulk.test_sameness import forget
from tests.crm.models import Lead, Rep, Sale
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
