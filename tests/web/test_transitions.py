"""Transitions in the admin: who may make which, and that it is asked again when it is made."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.messages import get_messages
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from stockflow.errors import ConcurrentTransition
from stockflow.models import Event
from stockflow.testing import Clock
from tests.crm.models import Lead, Stamped
from tests.stockflow.reading import trail

LEADS = reverse("admin:crm_lead_changelist")


@pytest.fixture(name="deal")
def _deal(db: None, time: Clock) -> Lead:
    """One hot lead."""
    deal: Lead = Lead.objects.create()
    return deal


@pytest.fixture(name="seller")
def _seller(db: None) -> Client:
    """A client logged in as staff that may change leads, but not close them."""
    user = User.objects.create_user("seller", is_staff=True)
    user.user_permissions.add(
        *Permission.objects.filter(
            content_type__app_label="crm", codename__in=["view_lead", "change_lead"]
        )
    )
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture(name="closer")
def _closer(seller: Client) -> Client:
    """The same one, who may close leads too."""
    kind = ContentType.objects.get_for_model(Lead)
    permission = Permission.objects.create(codename="close_lead", content_type=kind, name="Close")
    User.objects.get(username="seller").user_permissions.add(permission)
    return seller


@pytest.fixture(name="reader")
def _reader(db: None) -> Client:
    """A client logged in as staff that may view leads."""
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.add(
        Permission.objects.get(content_type__app_label="crm", codename="view_lead")
    )
    client = Client()
    client.force_login(user)
    return client


def page(deal: Lead) -> str:
    """Return the address of the lead's form."""
    return reverse("admin:crm_lead_change", args=[deal.pk])


def move(deal: Lead, name: str) -> str:
    """Return the address of a transition."""
    return reverse("admin:crm_lead_stock_transition", args=[deal.pk, name])


def told(answer: Any) -> list[str]:
    """Return the messages that an answer leaves."""
    return [str(message) for message in get_messages(answer.wsgi_request)]


def labels(client: Client, deal: Lead) -> list[str]:
    """Return what the buttons of the lead's form say."""
    return [button.label for button in client.get(page(deal)).context["stock_buttons"]]


def test_buttons(closer: Client, deal: Lead) -> None:
    """There is one for each transition that may be made now, and none for decays."""
    assert labels(closer, deal) == ["Win", "Lose", "Ping", "Touch", "Break down"]


def test_buttons_follow_the_state(closer: Client, deal: Lead) -> None:
    """What leaves other states is not offered."""
    deal.cool()
    deal.save()

    assert labels(closer, deal) == ["Rekindle", "Win", "Lose"]


def test_buttons_follow_permissions(seller: Client, reader: Client, deal: Lead) -> None:
    """Who lacks a transition's permission does not see it; who may not change sees none."""
    assert "Win" not in labels(seller, deal)
    assert "Touch" in labels(seller, deal)
    assert labels(reader, deal) == []


def test_buttons_follow_conditions(closer: Client, deal: Lead) -> None:
    """A false condition takes it away."""
    Lead.objects.update(amount=-1)

    assert "Win" not in labels(closer, deal)


def test_a_refused_form_keeps_its_buttons(closer: Client, deal: Lead) -> None:
    """They are those of the object as it is stored."""
    answer = closer.post(page(deal), {"channel": "", "note": "sealed"})

    assert answer.status_code == 200
    assert "Touch" in [button.label for button in answer.context["stock_buttons"]]


def test_a_transition_is_made(seller: Client, deal: Lead) -> None:
    """By a POST of the button; the user is the actor, and the admin's own log knows."""
    answer = seller.post(move(deal, "touch"))

    assert answer.headers["Location"] == page(deal)
    assert trail(deal) == ["entered >hot", "moved hot>hot"]
    assert Event.objects.latest("id").actor.startswith("auth.user:")
    assert told(answer) == [f"{deal}: touch is done."]
    assert b"Touch." in seller.get(reverse("admin:crm_lead_history", args=[deal.pk])).content


def test_a_look_makes_nothing(seller: Client, deal: Lead) -> None:
    """A GET only asks."""
    answer = seller.get(move(deal, "touch"))

    assert answer.status_code == 200
    assert trail(deal) == ["entered >hot"]


def test_arguments_and_reason(closer: Client, deal: Lead) -> None:
    """What is filled in is what the method gets, and why it is made is recorded."""
    form = closer.get(move(deal, "win"))
    closer.post(move(deal, "win"), {"amount": "900", "stockflow_reason": "signed"})
    deal = Lead.objects.get()

    assert b'name="amount"' in form.content
    assert (deal.temperature, deal.amount) == ("won", Decimal(900))
    assert Event.objects.latest("id").reason == "signed"


@pytest.mark.parametrize("amount", ["", "much"])
def test_bad_arguments(closer: Client, deal: Lead, amount: str) -> None:
    """They are asked for again, and nothing is made."""
    answer = closer.post(move(deal, "win"), {"amount": amount})

    assert answer.status_code == 200
    assert answer.context["form"].errors["amount"]
    assert trail(deal) == ["entered >hot"]


def test_an_argument_left_empty(seller: Client, deal: Lead) -> None:
    """Has its default."""
    seller.post(move(deal, "lose"), {"channel": ""})

    assert Lead.objects.get().channel == "web"
    assert trail(deal) == ["entered >hot", "moved hot>lost"]


def test_what_the_method_refuses(
    seller: Client, deal: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ValidationError is shown with the form, and nothing is written."""

    def refuse(self: Lead, *args: Any, **kwargs: Any) -> None:
        raise ValidationError("Not on Sundays.")

    monkeypatch.setattr(Lead, "save", refuse)
    answer = seller.post(move(deal, "lose"), {"channel": "phone"})

    assert b"Not on Sundays." in answer.content
    assert trail(deal) == ["entered >hot"]


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(
    ("who", "name", "status"),
    [
        pytest.param("seller", "win", 403, id="without-its-permission"),
        pytest.param("reader", "touch", 403, id="without-change"),
        pytest.param("stranger", "touch", 403, id="without-anything"),
        pytest.param("client", "touch", 302, id="without-login"),
        pytest.param("seller", "cool", 404, id="a-decay"),
        pytest.param("seller", "delete", 404, id="no-transition"),
    ],
)
def test_refusals(
    request: pytest.FixtureRequest, deal: Lead, who: str, name: str, status: int, method: str
) -> None:
    """What is refused to a GET is refused to a POST."""
    client = request.getfixturevalue(who)
    answer = getattr(client, method)(move(deal, name), {"amount": "1"})

    assert answer.status_code == status
    assert trail(deal) == ["entered >hot"]


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_sealed_object(seller: Client, deal: Lead, method: str) -> None:
    """What this admin does not let be changed is not moved."""
    Lead.objects.update(note="sealed")

    assert getattr(seller, method)(move(deal, "touch")).status_code == 403
    assert trail(deal) == ["entered >hot"]


@pytest.mark.parametrize("method", ["get", "post"])
def test_another_state(seller: Client, deal: Lead, method: str) -> None:
    """Where the object went on meanwhile, one is told and nothing is made."""
    answer = getattr(seller, method)(move(deal, "rekindle"))

    assert told(answer) == [f"{deal}: rekindle is not possible from 'hot'."]
    assert trail(deal) == ["entered >hot"]


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_false_condition(closer: Client, deal: Lead, method: str) -> None:
    """Likewise."""
    Lead.objects.update(amount=-1)
    answer = getattr(closer, method)(move(deal, "win"), {"amount": "1"})

    assert told(answer) == [f"{deal}: win is not possible now: a condition is not met."]
    assert trail(deal) == ["entered >hot"]


def test_an_overdue_decay_comes_first(seller: Client, deal: Lead, time: Clock) -> None:
    """A lead that cooled a minute ago cannot be touched as a hot one, worker or not."""
    time.advance(timedelta(days=7, minutes=1))
    answer = seller.post(move(deal, "touch"))

    assert told(answer) == [f"{deal}: touch is not possible from 'warm'."]
    seller.post(move(deal, "rekindle"))
    assert trail(deal) == ["entered >hot", "moved hot>warm", "moved warm>hot"]


def test_no_object(seller: Client, db: None) -> None:
    """A key that is none is not found."""
    address = reverse("admin:crm_lead_stock_transition", args=[999, "touch"])

    assert seller.post(address).status_code == 404


@pytest.mark.parametrize("what", ["button", "action"])
def test_forged_requests(deal: Lead, what: str) -> None:
    """Without the token nothing is made."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    if what == "button":
        answer = client.post(move(deal, "touch"))
    else:
        answer = client.post(LEADS, {"action": "stockflow_touch", "_selected_action": [deal.pk]})

    assert answer.status_code == 403
    assert trail(deal) == ["entered >hot"]


def act(client: Client, name: str, *deals: Lead, **more: Any) -> Any:
    """Choose an action of the list."""
    keys = [deal.pk for deal in deals]
    return client.post(LEADS, {"action": f"stockflow_{name}", "_selected_action": keys, **more})


def test_actions(closer: Client, seller: Client, reader: Client, deal: Lead) -> None:
    """The list has one for each transition that one may make."""
    choices = dict(seller.get(LEADS).context["action_form"].fields["action"].choices)

    assert choices["stockflow_touch"] == "Touch selected leads"
    assert "stockflow_win" in choices
    assert "stockflow_cool" not in choices
    assert reader.get(LEADS).context["action_form"] is None


def test_actions_follow_permissions(seller: Client, deal: Lead) -> None:
    """What one may never make is no choice, and a POST of it makes nothing."""
    choices = dict(seller.get(LEADS).context["action_form"].fields["action"].choices)
    act(seller, "win", deal, stockflow_confirmed="1", amount="1")

    assert "stockflow_win" not in choices
    assert trail(deal) == ["entered >hot"]


def test_an_action(seller: Client, deal: Lead) -> None:
    """Each object is moved that can be, and the others are counted."""
    warm, sealed = Lead.objects.create(), Lead.objects.create(note="sealed")
    warm.cool()
    warm.save()
    answer = act(seller, "touch", deal, warm, sealed)

    assert trail(deal) == ["entered >hot", "moved hot>hot"]
    assert trail(sealed) == ["entered >hot"]
    assert told(answer) == [
        "Touch: 1 changed, 1 not possible from the present state, 1 not permitted."
    ]
    assert Event.objects.latest("id").actor.startswith("auth.user:")


def test_an_action_with_arguments(closer: Client, deal: Lead) -> None:
    """They are asked for once for all, also for those of other pages."""
    other = Lead.objects.create()
    asked = act(closer, "win", deal, select_across="1")
    refused = act(closer, "win", deal, select_across="1", stockflow_confirmed="1", amount="much")
    given = {"stockflow_confirmed": "1", "amount": "9", "stockflow_reason": "fair"}
    answer = act(closer, "win", deal, select_across="1", **given)

    assert b"2 leads selected" in asked.content
    assert asked.context["form"].errors == {}
    assert refused.context["form"].errors["amount"]
    assert told(answer) == ["Win: 2 changed."]
    assert trail(other) == ["entered >hot", "moved hot>won"]
    assert set(Lead.objects.values_list("amount", flat=True)) == {Decimal(9)}
    assert Event.objects.latest("id").reason == "fair"


def test_an_action_that_asks_each_object(admin: Client, time: Clock) -> None:
    """A permission that is a function is asked of each one."""
    stamped = Stamped.objects.create()
    told_keys = {"action": "stockflow_seal", "_selected_action": [stamped.pk]}
    answer = admin.post(reverse("admin:crm_stamped_changelist"), told_keys)

    assert told(answer) == ["Seal: 1 not permitted."]
    assert trail(stamped) == ["entered >on"]


def test_another_writer_was_first(
    seller: Client, deal: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is told, and nothing is made."""

    def save(self: Lead, *args: Any, **kwargs: Any) -> None:
        raise ConcurrentTransition("Another writer was first.")

    monkeypatch.setattr(Lead, "save", save)
    answer = seller.post(move(deal, "touch"))

    assert told(answer) == [f"{deal} was not changed. Another writer was first."]
    assert trail(deal) == ["entered >hot"]


def test_named_transitions(admin: Client, time: Clock) -> None:
    """An admin may name those that it offers."""
    stamped = Stamped.objects.create()
    answer = admin.get(reverse("admin:crm_stamped_change", args=[stamped.pk]))
    address = reverse("admin:crm_stamped_stock_transition", args=[stamped.pk, "dim"])

    assert [button.label for button in answer.context["stock_buttons"]] == ["Off"]
    assert admin.post(address).status_code == 404
