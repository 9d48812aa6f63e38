"""The coaching: what is simulated, counted, walked through and done."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

import stockflow
from example import settings as example_settings
from example.coaching import simulation
from example.coaching.models import Coach, Login, Profile
from example.coaching.stocks import calling, coaching, lapsed, logging_in, slipping, steady
from stockflow.testing import clock
from tests.stockflow.reading import trail

pytestmark = pytest.mark.django_db

MAY = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture(name="people")
def _people() -> Any:
    """Twelve people, and the decays until the simulation's end."""
    with clock(simulation.END):
        for _ in simulation.simulate(12, seed=3):
            pass
        call_command("run_periodic_schedule", verbosity=0)
        yield


@pytest.fixture(name="slipped")
def _slipped() -> Any:
    """Three people who slip, the second for the longest."""
    coach = Coach.objects.create(name="Frida")
    with clock(MAY + timedelta(days=12)):
        for number, day in enumerate((3, 1, 2)):
            told: dict[str, Any] = {"coach": coach, "ramp": "gentle", "source": "ad"}
            profile = Profile(name=f"P{number}", **told)
            with stockflow.context(at=MAY + timedelta(days=day)):
                profile.save()
        call_command("run_periodic_schedule", verbosity=0)
        yield list(Profile.objects.order_by("name"))


def coach_client(*names: str) -> Client:
    """Return a client logged in as staff with permissions of the coaching."""
    user = User.objects.create_user("frida", is_staff=True)
    may = Permission.objects.filter(content_type__app_label="coaching", codename__in=names)
    user.user_permissions.add(*may)
    client = Client()
    client.force_login(user)
    return client


def test_the_simulation_adds_up(people: Any) -> None:
    """Levels are the rows, each login is an event of its flow, and the roll-forward has no gap."""
    end = simulation.END + timedelta(days=1)
    tables = coaching.roll_forward(simulation.START, end, every="month", by="coach")

    for stock in coaching.stocks:
        assert stock.count() == Profile.objects.filter(consistency__in=stock.states).count()
        assert sum(row.unexplained or 0 for row in tables[stock.slug]) == 0
    assert logging_in.count(simulation.START, end) == Login.objects.count() > 50
    by_coach = logging_in.count(simulation.START, end, by="profile__coach__name")
    assert sum(by_coach.values()) == Login.objects.count()
    assert set(by_coach) <= set(simulation.COACHES)
    assert calling.count(simulation.START, end) > 0


def test_the_simulation_is_always_the_same() -> None:
    """For one seed; run twice by its command it does nothing more."""
    call_command("simulate_coaching", people=3, verbosity=0)
    found = list(Profile.objects.values_list("name", "ramp", "source", "pay_state"))
    call_command("simulate_coaching", people=3, verbosity=0)
    again = list(Profile.objects.values_list("name", "ramp", "source", "pay_state"))

    assert found == again
    assert len(found) == 3


def test_consistency_decays_and_comes_back(slipped: list[Profile]) -> None:
    """A week without a login, then three more; a login begins anew."""
    first = slipped[1]
    with clock(MAY + timedelta(days=30)):
        call_command("run_periodic_schedule", verbosity=0)
        assert (slipping.count(), lapsed.count()) == (1, 2)
        first.refresh_from_db()
        first.log_in()
        first.save()

        assert steady.count() == 1
    assert trail(first) == [
        *("entered >new", "moved new>slipping", "moved slipping>lapsed", "moved lapsed>steady")
    ]


def test_a_coach_walks_through_those_who_slip(slipped: list[Profile]) -> None:
    """Whoever waited longest comes first; one who was called is walked past."""
    client = coach_client("view_profile", "change_profile", "call_profile")
    first = client.get("/coaching/walk/", {"stock": "slipping"}, follow=True)
    slipped[1].refresh_from_db()
    slipped[1].call()
    slipped[1].save()
    second = client.get(first.context["walk"].next, follow=True)

    assert first.context["object"] == slipped[1]
    assert second.context["object"] == slipped[2]
    assert second.context["walk"].place == (0, 2, True)


def test_the_page_shows_the_process(slipped: list[Profile]) -> None:
    """By two lines of its template; who may not view profiles sees none of it."""
    may, client = coach_client("view_profile").get("/coaching/"), Client()
    client.force_login(User.objects.create_user("stranger"))
    stranger = client.get("/coaching/")

    assert b"Slipping: roll-forward" in may.content
    assert b"<svg" in may.content
    assert b"<svg" not in stranger.content
    assert b"roll-forward" not in stranger.content


@pytest.mark.parametrize("address", ["walk/?stock=slipping", "profile/{}/?stock=slipping"])
def test_the_pages_are_for_who_may_view(slipped: list[Profile], address: str) -> None:
    """Nobody else sees a profile."""
    address = "/coaching/" + address.format(slipped[0].pk)

    assert Client().get(address).status_code == 302
    assert coach_client("view_coach").get(address).status_code == 403


@pytest.mark.parametrize("address", ["", "walk/?stock=slipping", "profile/1/"])
def test_the_pages_lead_to_the_login(settings: Any, address: str) -> None:
    """That of the admin, which the example has."""
    settings.LOGIN_URL = example_settings.LOGIN_URL
    answer = Client().get(f"/coaching/{address}")

    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(f"{reverse('admin:login')}?next=/coaching/")


@pytest.mark.urls("example.urls")
def test_the_coach_s_actions(slipped: list[Profile]) -> None:
    """In the site of stocks: calling moves each and is recorded as the coach's."""
    client = coach_client("view_profile", "change_profile", "call_profile")
    address = "/stock-admin/stockflow_projections/stock_slipping/"
    keys = [profile.pk for profile in slipped[:2]]
    offered = dict(client.get(address).context["action_form"].fields["action"].choices)
    client.post(address, {"action": "stockflow_call", "_selected_action": keys})
    client.post(address, {"action": "hand_over", "_selected_action": [slipped[2].pk]})

    assert [name for name in offered if name] == [
        *("hand_over", "stockflow_call", "stockflow_let_go")
    ]
    assert (slipping.count(), calling.count()) == (1, 2)
    assert trail(slipped[0])[-1] == "moved slipping>called"
