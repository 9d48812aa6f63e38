"""Facets: what is recorded of them, and when they change."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db.models import F, Value
from django.db.models.functions import Concat

from stockflow.errors import ConcurrentTransition, InvalidDeclaration
from stockflow.facets import resolve_facet
from stockflow.testing import Clock
from tests.crm.models import BigLead, HotLead, Lead, Paint, Rep
from tests.stockflow.reading import assert_whole, events_of, facets_of, last_event, row_of, trail

pytestmark = pytest.mark.django_db


def test_an_event_has_the_facets_of_its_instant(rep: Rep) -> None:
    """Own columns and related ones, as canonical JSON."""
    lead = Lead.objects.create(channel="web", owner=rep)

    assert last_event(lead).source_facets is None
    assert last_event(lead).target_facets == '{"channel":"web","owner__team":"north"}'


def test_a_missing_relation_is_null() -> None:
    """No owner, no team."""
    lead = Lead.objects.create()

    assert facets_of(last_event(lead))[1] == {"channel": "web", "owner__team": None}


def test_every_kind_of_column_reads_back(rep: Rep) -> None:
    """Text, number, UUID, date, truth, foreign key and what lies behind two of them."""
    rep.manager = Rep.objects.create(name="Bo", team='so"uth ü')
    rep.save()
    batch = UUID(int=7)
    paint = Paint.objects.create(
        batch=batch, mixed_on=date(2026, 3, 3), glossy=True, number=-4, rep=rep
    )

    assert facets_of(last_event(paint))[1] == {
        "tone": "light",
        "batch": str(batch),
        "mixed_on": "2026-03-03",
        "glossy": True,
        "number": -4,
        "rep": rep.pk,
        "rep__manager__team": 'so"uth ü',
    }


def test_the_text_is_the_same_read_by_sql_and_by_python(rep: Rep) -> None:
    """A related text goes through SQL, an own one through Python: one canonical form."""
    odd = 'a"b\\c/é\u2028\t😀\x7f'
    rep.team = odd[:20]
    rep.save()
    lead = Lead.objects.create(channel=odd[:20], owner=rep)
    text = last_event(lead).target_facets or ""
    own, related = text[len('{"channel":') : -1].split(',"owner__team":')

    assert own == related


@pytest.mark.parametrize("value", [3, "3", True], ids=["number", "text", "truth"])
def test_a_value_is_kept_as_the_column_keeps_it(value: Any) -> None:
    """Given as a number or in words, a facet is one value."""
    lead = Lead.objects.create(channel=value)
    lead.refresh_from_db()
    before = last_event(lead).target_facets
    lead.cool()
    lead.save()

    assert last_event(lead).target_facets == before
    assert_whole(lead)


def test_a_changed_column_is_recorded_as_reclassified(time: Clock) -> None:
    """The state stays, the cell is another one."""
    lead = Lead.objects.create(channel="web")
    time.advance(timedelta(days=1))
    lead.channel = "phone"
    lead.save()

    assert trail(lead)[1:] == ["reclassified hot>hot"]
    assert [f and f["channel"] for f in facets_of(last_event(lead))] == ["web", "phone"]
    assert lead.temperature_since == time.at - timedelta(days=1)
    assert_whole(lead)


def test_a_changed_foreign_key_is_recorded_as_reclassified(rep: Rep) -> None:
    """What hangs on the key is read anew."""
    lead = Lead.objects.create(owner=rep)
    lead.owner = Rep.objects.create(name="Bo", team="south")
    lead.save()

    assert [f and f["owner__team"] for f in facets_of(last_event(lead))] == ["north", "south"]
    assert_whole(lead)


def test_an_unchanged_facet_is_no_event() -> None:
    """Saving again records nothing."""
    lead = Lead.objects.create()
    lead.note = "x"
    lead.save()
    lead.save()

    assert trail(lead) == ["entered >hot"]
    assert_whole(lead)


def test_back_and_forth_before_the_save_is_no_event() -> None:
    """Only what the row will show is a fact."""
    lead = Lead.objects.create(channel="web")
    lead.channel = "phone"
    lead.channel = "web"
    lead.save()

    assert trail(lead) == ["entered >hot"]


def test_a_stale_instance_restores_no_facet() -> None:
    """Saved for its note, it leaves the channel that another writer changed."""
    stale = Lead.objects.create(channel="web")
    other = Lead.objects.get()
    other.channel = "phone"
    other.save()
    stale.note = "x"
    stale.save()

    assert row_of(stale)["channel"] == "phone"
    assert Lead.objects.get().note == "x"
    assert_whole(Lead.objects.get())


def test_a_stale_instance_cannot_reclassify() -> None:
    """What it changed the facet from is not what is there."""
    stale = Lead.objects.create(channel="web")
    other = Lead.objects.get()
    other.channel = "phone"
    other.save()
    stale.channel = "mail"
    with pytest.raises(ConcurrentTransition, match="at version 2, not 1"):
        stale.save()

    assert_whole(Lead.objects.get())


def test_update_fields_without_the_facet_leaves_it() -> None:
    """The change waits for a save that writes it."""
    lead = Lead.objects.create()
    lead.channel = "phone"
    lead.save(update_fields=["note"])
    before = trail(lead)
    lead.save()

    assert before == ["entered >hot"]
    assert trail(lead)[1:] == ["reclassified hot>hot"]
    assert_whole(lead)


def test_a_transition_saved_without_the_changed_facet_has_the_row_s() -> None:
    """The event says what the row says."""
    lead = Lead.objects.create()
    lead.channel = "phone"
    lead.cool()
    lead.save(update_fields=["temperature"])

    assert trail(lead)[1:] == ["moved hot>warm"]
    assert_whole(Lead.objects.get())
    lead.save()
    assert trail(lead)[2:] == ["reclassified warm>warm"]
    assert_whole(lead)


@pytest.mark.parametrize("name", ["owner", "owner_id"])
def test_update_fields_with_a_foreign_key_facet(rep: Rep, name: str) -> None:
    """By the field's name or its column's."""
    lead = Lead.objects.create()
    lead.owner = rep
    lead.save(update_fields=[name])

    assert trail(lead)[1:] == ["reclassified hot>hot"]
    assert_whole(lead)


def test_a_facet_that_a_transition_changes_chains_up() -> None:
    """The method's change of a facet comes with the move."""
    lead = Lead.objects.create()
    lead.lose("phone")
    lead.save()

    assert facets_of(last_event(lead))[1]["channel"] == "phone"
    assert_whole(lead)


def test_a_facet_changed_between_two_transitions() -> None:
    """Each event has what was true when it was called."""
    lead = Lead.objects.create(channel="web")
    lead.cool()
    lead.channel = "phone"
    lead.chill()
    lead.save()

    assert trail(lead)[1:] == ["moved hot>warm", "reclassified warm>warm", "moved warm>cold"]
    assert_whole(lead)


def test_a_facet_of_two_fields_is_an_event_of_each() -> None:
    """Both fields' cells change."""
    lead = BigLead.objects.create(budget=1)
    lead.channel = "phone"
    lead.budget = 2
    lead.save()

    assert trail(lead, "temperature")[1:] == ["reclassified hot>hot"]
    assert trail(lead, "stage")[1:] == ["reclassified draft>draft"]
    assert_whole(lead)


@pytest.mark.parametrize("load", ["only", "defer"])
def test_a_deferred_facet_that_is_set_is_recorded(load: str) -> None:
    """What it was is asked of the row."""
    Lead.objects.create(channel="web")
    names = {"only": ["note"], "defer": ["channel"]}[load]
    lead = getattr(Lead.objects, load)(*names).get()
    lead.channel = "phone"
    lead.save()
    lead = Lead.objects.get()

    assert trail(lead)[1:] == ["reclassified hot>hot"]
    assert_whole(lead)


def test_a_deferred_facet_set_to_what_it_was_is_no_event() -> None:
    """Nothing changed, nothing is recorded."""
    Lead.objects.create(channel="web")
    lead = Lead.objects.only("note").get()
    lead.channel = "web"
    lead.save()

    assert trail(lead) == ["entered >hot"]
    assert_whole(Lead.objects.get())


def test_an_expression_in_a_facet_is_refused() -> None:
    """Its value could not be recorded."""
    lead = Lead.objects.create()
    lead.channel = Concat(F("channel"), Value("!"))
    with pytest.raises(InvalidDeclaration, match=r"crm.Lead.channel is a facet.*Assign a value"):
        lead.save()

    assert_whole(Lead.objects.get())


def test_an_expression_elsewhere_is_welcome() -> None:
    """Only facets must be known."""
    lead = Lead.objects.create(amount=1)
    lead.amount = F("amount") + 1
    lead.cool()
    lead.save()
    lead.refresh_from_db()

    assert lead.amount == 2
    assert_whole(lead)


def test_what_changes_behind_a_relation_shows_at_the_next_event(rep: Rep) -> None:
    """The chain links up: the log knew the old team until then."""
    lead = Lead.objects.create(owner=rep)
    Rep.objects.update(team="south")
    lead.cool()
    lead.save()

    assert [f and f["owner__team"] for f in facets_of(last_event(lead))] == ["north", "south"]
    assert_whole(lead)


def test_an_overdue_decay_keeps_the_facet_of_its_instant(time: Clock) -> None:
    """A change made today does not reach back to a decay of last week."""
    lead = Lead.objects.create(channel="web")
    time.advance(timedelta(days=10))
    lead.channel = "phone"
    lead.win(1)
    lead.save()

    assert trail(lead)[1:] == ["moved hot>warm", "reclassified warm>warm", "moved warm>won"]
    decay, change, _ = events_of(lead.stock_lifecycle)[1:]
    assert (facets_of(decay)[1]["channel"], facets_of(change)[1]["channel"]) == ("web", "phone")
    assert (change.occurred_at or 0) - (decay.occurred_at or 0) == 3 * 86_400_000_000
    assert_whole(lead)


def test_a_reclassification_settles_first(time: Clock) -> None:
    """A facet changed after a decay was due changes in the state decayed to."""
    lead = Lead.objects.create()
    time.advance(timedelta(days=10))
    lead.channel = "phone"
    lead.save()

    assert trail(lead)[1:] == ["moved hot>warm", "reclassified warm>warm"]
    assert_whole(lead)


def test_a_reclassification_settles_first_with_update_fields_too(time: Clock) -> None:
    """The decay happened at its due instant, whatever the save names."""
    lead = Lead.objects.create()
    time.advance(timedelta(days=10))
    lead.channel = "phone"
    lead.save(update_fields=["channel"])

    assert trail(lead)[1:] == ["moved hot>warm", "reclassified warm>warm"]
    assert_whole(lead)


def test_a_proxy_s_event_bears_the_proxy_s_name_from_creation_on() -> None:
    """The model of a lifecycle is the one that it was created as."""
    hot = HotLead.objects.create()
    lead = Lead.objects.get()
    lead.cool()
    lead.save()

    assert {event.model for event in events_of(hot.stock_lifecycle)} == {"crm.hotlead"}
    assert_whole(lead)


@pytest.mark.parametrize(
    ("lookup", "message"),
    [
        pytest.param("chanel", r"crm.Lead has no field 'chanel' \(it has: .*channel", id="missing"),
        pytest.param("owner__squad", "crm.Rep has no field 'squad'", id="missing-behind"),
        pytest.param("channel__team", "'channel' is no foreign key", id="no-key"),
        pytest.param("amount", "a DecimalField cannot split a stock", id="decimal"),
        pytest.param("biglead", "is no column", id="backwards"),
    ],
)
def test_a_facet_that_does_not_resolve_says_why(lookup: str, message: str) -> None:
    """What, where and what there is instead."""
    with pytest.raises(InvalidDeclaration, match=message):
        resolve_facet(Lead, lookup)
