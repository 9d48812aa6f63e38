"""An admin's editable list: a real request, of a state and of a facet."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import FieldError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.test import Client
from django.urls import path, reverse

from tests.crm.models import Lead, Ticket
from tests.stockflow.reading import assert_whole, trail

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.web.test_admin_lists")]

site = admin.AdminSite(name="lists")


@admin.register(Lead, site=site)
class LeadAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no class to subscript at run time
    """Django's own, with a list that writes a facet."""

    list_display = ("id", "temperature", "channel", "note")
    list_editable = ("channel", "note")


@admin.register(Ticket, site=site)
class TicketAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # as above
    """As above, with a state."""

    list_display = ("id", "state", "title")
    list_editable = ("state", "title")


urlpatterns = [path("admin/", site.urls)]


def post(client: Client, model: str, key: int, **values: Any) -> Any:
    """Save the first row of the list of *model*, as a browser does."""
    client.force_login(User.objects.create_superuser("ada"))
    form = {f"form-0-{name}": value for name, value in ({"id": key} | values).items()}
    counts = {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1}
    address = reverse(f"lists:crm_{model}_changelist")
    with transaction.atomic():  # the test goes on after what fails
        return client.post(address, form | counts | {"_save": "Save"})


def test_a_state_is_no_field_of_a_list(client: Client) -> None:
    """Django's check names it, and a request fails before anything is read from it."""
    ticket = Ticket.objects.create()
    errors = TicketAdmin(Ticket, site).check()
    with pytest.raises(FieldError, match=r"'state' cannot be specified.*non-editable"):
        post(client, "ticket", ticket.pk, state="closed", title="x")

    assert [error.id for error in errors] == ["admin.E125"]
    assert list(Ticket.objects.values_list("state", "title")) == [("new", "")]


def test_a_state_that_was_made_editable(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is protected all the same: nothing of the list is saved."""
    monkeypatch.setattr(Ticket._meta.get_field("state"), "editable", True)
    ticket = Ticket.objects.create()
    with pytest.raises(
        AttributeError, match=r"is .new. and cannot be set to .closed.: call a transition"
    ):
        post(client, "ticket", ticket.pk, state="closed", title="x")

    assert list(Ticket.objects.values_list("state", "title")) == [("new", "")]
    assert trail(ticket) == ["entered >new"]


def test_a_list_that_writes_past_the_instance(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An admin that saves by a queryset of its own meets the fence."""

    def save_model(self: Any, request: Any, obj: Any, form: Any, change: bool) -> None:
        QuerySet(Lead).filter(pk=obj.pk).update(channel=obj.channel, note=obj.note)

    monkeypatch.setattr(LeadAdmin, "save_model", save_model)
    lead = Lead.objects.create()
    with pytest.raises(IntegrityError, match=r"^stockflow: a state, facet or version in crm_lead"):
        post(client, "lead", lead.pk, channel="phone", note="x")

    assert list(Lead.objects.values_list("channel", "note")) == [("web", "")]


def test_a_facet_is_recorded(client: Client) -> None:
    """What an instance's save() writes has its event."""
    lead = Lead.objects.create()
    answer = post(client, "lead", lead.pk, channel="phone", note="x")
    lead.refresh_from_db()

    assert (answer.status_code, lead.channel, lead.note) == (302, "phone", "x")
    assert trail(lead) == ["entered >hot", "reclassified hot>hot"]
    assert_whole(lead)
