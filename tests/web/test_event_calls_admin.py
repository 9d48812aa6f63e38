"""The admin's list of the calls of event callables."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from stockflow.projections.event_calls import EventCall

CALLS = reverse("admin:stockflow_projections_eventcall_changelist")


@pytest.fixture(name="parked")
def _parked(db: None) -> EventCall:
    """A parked call."""
    return EventCall.objects.create(
        flow="winning",
        name="crm.send_flowers",
        event=1,
        originator="11111111-1111-1111-1111-111111111111",
        position=1,
        attempts=5,
        error="ValueError: <b>no</b>",
        parked_at=timezone.now(),
    )


def _release(client: Client, call: EventCall) -> None:
    client.post(CALLS, {"action": "release", "_selected_action": [call.pk]})


def test_calls_are_listed(admin: Client, parked: EventCall) -> None:
    """Which callable, of which flow, and why it is parked."""
    text = admin.get(CALLS).content.decode()

    for told in ("crm.send_flowers", "winning", "ValueError: &lt;b&gt;no&lt;/b&gt;"):
        assert told in text
    for standing, number in (("waiting", 0), ("parked", 1)):
        found = admin.get(CALLS, {"standing": standing}).context["cl"].queryset
        assert found.count() == number


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, ">parked <span"),
        ({"parked_at": None}, ">failed 5 ×, again from <span"),
        ({"parked_at": None, "retry_at": None}, ">waiting<"),
    ],
)
def test_how_a_call_stands(
    admin: Client, parked: EventCall, changes: dict[str, Any], shown: str
) -> None:
    """Parked since when, tried again when, or only waiting."""
    EventCall.objects.update(**{"retry_at": timezone.now(), **changes})

    assert shown in admin.get(CALLS).content.decode()


def test_parked_calls_are_released(admin: Client, parked: EventCall) -> None:
    """By the action."""
    _release(admin, parked)
    parked.refresh_from_db()

    assert (parked.parked_at, parked.attempts, parked.error) == (None, 0, "")


def test_releasing_asks_for_the_permission(client: Client, parked: EventCall) -> None:
    """Who may only see them releases none."""
    user = User.objects.create(username="viewer", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_eventcall"))
    client.force_login(user)
    shown = client.get(CALLS).status_code
    _release(client, parked)
    parked.refresh_from_db()

    assert shown == 200
    assert parked.attempts == 5
