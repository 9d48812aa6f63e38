"""StockField: protected, and what it gives on a class and on an instance."""

import threading
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import models

from stockflow.domain.errors import UnknownState
from stockflow.errors import InvalidDeclaration
from stockflow.models import StockField, StockReference
from tests.crm.models import BigLead, HotLead, Lamp, Lead, Order, Paint, Shade, Ticket
from tests.stockflow.reading import assert_whole, last_event, trail


def test_setting_another_state_is_refused() -> None:
    """Only a transition changes it, and the error says so."""
    lead = Lead()
    with pytest.raises(AttributeError, match=r"crm.Lead.temperature is 'hot'.*call a transition"):
        lead.temperature = "won"


def test_setting_the_same_state_is_allowed() -> None:
    """Forms and full_clean set what is there."""
    lead = Lead()
    lead.temperature = "hot"

    assert lead.temperature == "hot"


@pytest.mark.django_db
def test_setting_a_deferred_state_is_refused() -> None:
    """What is not known cannot be known to be the same."""
    Lead.objects.create()
    lead = Lead.objects.defer("temperature").get()
    with pytest.raises(AttributeError, match="temperature is deferred and cannot be set"):
        lead.temperature = "hot"


@pytest.mark.django_db
def test_a_deferred_state_is_loaded_when_asked_for() -> None:
    """Reading a deferred state needs nothing special."""
    Lead.objects.create(temperature="cold")

    assert Lead.objects.defer("temperature").get().temperature == "cold"
    assert Lead.objects.only("note").get().temperature == "cold"


@pytest.mark.django_db
def test_the_initial_state_may_be_given() -> None:
    """At creation any state of the machine is a beginning."""
    lead = Lead.objects.create(temperature="cold")

    assert trail(lead) == ["entered >cold"]
    assert_whole(lead)


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["luke", "", None, 5])
def test_an_unknown_initial_state_is_refused(state: Any) -> None:
    """A state that no rule, choice or default names is not created."""
    with pytest.raises(UnknownState, match=r"crm.Lead.temperature has no state .*'cold'"):
        Lead.objects.create(temperature=state)

    assert not Lead.objects.exists()


@pytest.mark.django_db
def test_an_open_machine_takes_any_text() -> None:
    """Where a target is computed, what nothing names may be a state."""
    from tests.crm.models import RushedTicket

    assert trail(RushedTicket.objects.create(state="anything")) == ["entered >anything"]


@pytest.mark.django_db
def test_an_enumeration_s_members_are_states() -> None:
    """TextChoices are texts, in rows and in events."""
    paint = Paint.objects.create(shade=Shade.LIGHT, tone=Shade.DARK)
    paint.darken()
    paint.save()

    assert trail(paint) == ["entered >light", "moved light>dark"]
    assert '"tone":"dark"' in (last_event(paint).target_facets or "")
    paint.refresh_from_db()
    assert_whole(paint)


@pytest.mark.django_db
def test_the_state_after_a_transition_is_a_plain_text() -> None:
    """A member's repr would end up in messages and pickles."""
    paint = Paint.objects.create()
    paint.darken()

    assert type(paint.shade) is str


def test_on_a_class_it_is_a_reference() -> None:
    """Each model gives a reference of its own to the inherited field."""
    child, proxy = BigLead.temperature, HotLead.temperature

    assert isinstance(Lead.temperature, StockReference)
    assert [str(ref) for ref in (Lead.temperature, child, proxy)] == [
        "crm.Lead.temperature",
        "crm.BigLead.temperature",
        "crm.HotLead.temperature",
    ]
    assert child.model_labels == ("crm.biglead",)
    assert Lead.temperature.model_labels == ("crm.biglead", "crm.hotlead", "crm.lead")


def test_a_reference_tells_states_and_facets() -> None:
    """What a stock may be declared on."""
    assert Lead.temperature.states == {"hot", "warm", "cold", "won", "lost", "broken"}
    assert list(Lead.temperature.facets) == ["channel", "owner__team"]
    assert not Lead.temperature.open_states


def test_siblings_have_machines_and_references_of_their_own() -> None:
    """An abstract field is another one in each child."""
    from tests.crm.models import Radio

    assert Lamp.phase != Radio.phase
    assert Lamp.phase.model_labels == ("crm.lamp",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"protected": False}, "is protected", id="unprotected"),
        pytest.param({"null": True}, "cannot be null", id="nullable"),
        pytest.param({"facets": "channel"}, "must be a list", id="facets-as-text"),
    ],
)
def test_a_field_that_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    """Misuse is told where it is written."""
    with pytest.raises(InvalidDeclaration, match=message):
        StockField(default="on", **options)


def test_it_is_not_editable_unless_asked() -> None:
    """Forms leave it out; a migration does not ask for facets."""
    asked = StockField(default="on", editable=True)
    kwargs = Lead._meta.get_field("temperature").deconstruct()[3]

    assert not Lead._meta.get_field("temperature").editable
    assert asked.deconstruct()[3]["editable"] is True
    assert kwargs == {"default": "hot", "editable": False, "max_length": 50, "protected": True}


@pytest.mark.django_db
def test_full_clean_passes_and_keeps_the_state() -> None:
    """Cleaning sets each field to what it has."""
    ticket = Ticket(title="x")
    ticket.full_clean()
    ticket.save()
    ticket.open()
    ticket.full_clean()
    ticket.save()

    assert_whole(ticket)


@pytest.mark.django_db
def test_full_clean_of_a_deferred_instance() -> None:
    """What is loaded on the way may be set to itself."""
    Ticket.objects.create(title="x")
    Ticket.objects.only("title").get().full_clean()


def test_full_clean_refuses_what_is_no_choice() -> None:
    """Choices are checked as on any field, where it is editable."""
    field = StockField(default="on", choices=[("on", "On")], editable=True)
    with pytest.raises(ValidationError):
        field.clean("off", None)


@pytest.mark.django_db
def test_refresh_takes_the_row_s_state() -> None:
    """A protected field is refreshed as any other."""
    lead = Lead.objects.create()
    other = Lead.objects.get()
    other.cool()
    other.save()
    lead.refresh_from_db()

    assert_whole(lead)


@pytest.mark.django_db
@pytest.mark.parametrize("names", [["temperature"], ["stock_version"], ["temperature", "note"]])
def test_refresh_of_a_state_brings_all_that_belongs_to_it(names: list[str]) -> None:
    """State, version and facets fit together, so that the next save is right."""
    lead = Lead.objects.create()
    other = Lead.objects.get()
    other.cool()
    other.channel = "phone"
    other.save()
    lead.refresh_from_db(fields=names)
    lead.chill()
    lead.save()

    assert_whole(lead)


@pytest.mark.django_db
def test_refresh_of_a_state_keeps_an_unsaved_facet() -> None:
    """What the user changed and did not ask for stays changed, and is recorded."""
    lead = Lead.objects.create()
    lead.channel = "phone"
    lead.refresh_from_db(fields=["temperature"])
    lead.save()

    assert lead.channel == "phone"
    assert trail(lead)[1:] == ["reclassified hot>hot"]
    assert_whole(lead)


@pytest.mark.django_db
def test_refresh_of_another_field_keeps_what_is_pending() -> None:
    """Only asking for a state forgets a transition."""
    lead = Lead.objects.create()
    lead.cool()
    lead.refresh_from_db(fields=["note"])
    lead.save()

    assert trail(lead)[1:] == ["moved hot>warm"]


@pytest.mark.django_db
def test_refresh_forgets_what_is_pending() -> None:
    """The row as it is: the transition called in memory is gone."""
    lead = Lead.objects.create()
    lead.cool()
    lead.refresh_from_db()
    lead.save()

    assert lead.temperature == "hot"
    assert trail(lead) == ["entered >hot"]
    assert_whole(lead)


@pytest.mark.django_db(transaction=True)
def test_refresh_does_not_lift_protection_for_other_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While one object is refreshed, another one is as protected as ever."""
    lead, refused = Lead.objects.create(), []
    other = Lead()

    def attack() -> None:
        try:
            other.temperature = "won"
        except AttributeError as error:
            refused.append(error)

    def during(*args: Any, **kwargs: Any) -> None:
        thread = threading.Thread(target=attack)
        thread.start()
        thread.join()

    monkeypatch.setattr(models.Model, "refresh_from_db", during)
    lead.refresh_from_db()

    assert len(refused) == 1
    assert lead._meta.get_field("temperature").protected is True


@pytest.mark.django_db
def test_two_fields_have_each_their_protection() -> None:
    """A transition of one field does not open the other."""
    order = Order.objects.create()
    order.pay()
    with pytest.raises(AttributeError):
        order.delivery = "sent"


@pytest.mark.django_db
def test_arefresh_and_asave() -> None:
    """The asynchronous calls go through the same code."""
    from asgiref.sync import async_to_sync

    lead = Lead.objects.create()
    lead.cool()
    async_to_sync(lead.asave)()
    async_to_sync(lead.arefresh_from_db)()

    assert trail(lead)[1:] == ["moved hot>warm"]
    assert_whole(lead)


@pytest.mark.django_db
def test_acreate() -> None:
    """An object created asynchronously has its opening event."""
    from asgiref.sync import async_to_sync

    async def create() -> Lead:
        lead: Lead = await Lead.objects.acreate(channel="web")
        return lead

    lead = async_to_sync(create)()

    assert trail(lead) == ["entered >hot"]
