"""The admin's lists of scheduled transitions and of periodic runs."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from example.webplatform.models import Feature
from stockflow.models import PeriodicRun, ScheduledTransition
from tests.stockflow.reading import micros

TIMERS = reverse("admin:stockflow_scheduledtransition_changelist")
RUNS = reverse("admin:stockflow_periodicrun_changelist")


@pytest.fixture(name="parked")
def _parked(feature: Feature) -> ScheduledTransition:
    """A parked timer."""
    ScheduledTransition.objects.update(parked_at=1, attempts=5, error="ValueError: <b>no</b>")
    return ScheduledTransition.objects.get()


def _release(client: Client, timer: ScheduledTransition) -> None:
    client.post(TIMERS, {"action": "release", "_selected_action": [timer.pk]})


def test_scheduled_transitions_are_listed(admin: Client, parked: ScheduledTransition) -> None:
    """What is due when, and why it is parked."""
    text = admin.get(TIMERS).content.decode()

    for told in ("2028-08-01", "widen", str(parked.lifecycle), "ValueError: &lt;b&gt;no&lt;/b&gt;"):
        assert told in text
    assert str(parked.lifecycle) not in admin.get(TIMERS, {"standing": "waiting"}).content.decode()
    assert str(parked.lifecycle) in admin.get(TIMERS, {"standing": "parked"}).content.decode()
    page = reverse("admin:stockflow_scheduledtransition_change", args=[parked.pk])
    assert "widen" in admin.get(page).content.decode()


def test_how_far_the_schedule_is_behind(admin: Client, feature: Feature) -> None:
    """Stands above the list; a filter shows the overdue ones."""
    overdue = micros(datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC))
    ScheduledTransition.objects.update(due_at=overdue)
    text = admin.get(TIMERS, {"standing": "overdue"}).content.decode()

    assert "Overdue: <b>1</b>, the oldest since" in text
    assert ">2020-01-02 03:04:05</time>. Parked: <b>0</b>." in text
    assert str(ScheduledTransition.objects.get().lifecycle) in text


@pytest.mark.parametrize(
    ("ended_at", "error", "icon"),
    [(1, "", "icon-yes"), (1, "ValueError", "icon-no"), (None, "", "icon-unknown")],
)
def test_a_run_is_shown_as_it_went(
    ended_at: int | None, error: str, icon: str, admin: Client
) -> None:
    """Green if it succeeded, red if it failed, and unknown while it runs."""
    PeriodicRun.objects.create(name="x", period=0, started_at=0, ended_at=ended_at, error=error)

    assert f"admin/img/{icon}" in admin.get(RUNS).content.decode()


def test_parked_ones_are_released(admin: Client, parked: ScheduledTransition) -> None:
    """By the action."""
    _release(admin, parked)
    parked.refresh_from_db()

    assert (parked.parked_at, parked.attempts, parked.error) == (None, 0, "")


def test_who_may_only_look_releases_nothing(client: Client, parked: ScheduledTransition) -> None:
    """To release is to change."""
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_scheduledtransition"))
    client.force_login(user)
    shown = client.get(TIMERS)
    _release(client, parked)
    parked.refresh_from_db()

    assert shown.status_code == 200
    assert parked.parked_at == 1


def test_runs_are_listed(admin: Client) -> None:
    """With what they gave."""
    run = PeriodicRun.objects.create(
        name="tidy", period=0, started_at=0, ended_at=1, result="3 gone"
    )
    page = reverse("admin:stockflow_periodicrun_change", args=[run.pk])

    assert "3 gone" in admin.get(RUNS).content.decode()
    assert "tidy" in admin.get(page).content.decode()
