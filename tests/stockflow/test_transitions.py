"""All that django-fsm's decorator takes, recorded."""

from datetime import timedelta
from typing import Any

import django_fsm
import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django_fsm import TransitionNotAllowed, can_proceed, has_transition_perm
from django_fsm.signals import post_transition, pre_transition

from stockflow.domain.errors import UnknownState
from stockflow.errors import InvalidDeclaration
from stockflow.models import StockField, StockflowModel, transition
from stockflow.testing import Clock
from tests.crm.models import BigLead, Lead, Order, RushedTicket, Ticket
from tests.stockflow.reading import assert_whole, events_of, last_event, timers_of, trail

pytestmark = pytest.mark.django_db


def test_one_event_for_each_transition() -> None:
    """Two transitions before one save are two events."""
    lead = Lead.objects.create()
    lead.cool()
    lead.chill()
    lead.save()

    assert trail(lead) == ["entered >hot", "moved hot>warm", "moved warm>cold"]
    assert_whole(lead)


def test_nothing_is_written_before_save() -> None:
    """A transition changes memory only."""
    lead = Lead.objects.create()
    lead.cool()

    assert trail(lead) == ["entered >hot"]
    assert Lead.objects.get().temperature == "hot"


def test_a_native_transition_is_recorded_just_the_same() -> None:
    """django-fsm's own decorator on a StockField needs nothing more."""
    ticket = Ticket.objects.create()
    ticket.open()
    ticket.save()

    assert trail(ticket) == ["entered >new", "moved new>open"]
    assert last_event(ticket).transition == "open"
    assert_whole(ticket)


def test_a_wrong_source_is_refused() -> None:
    """What the machine does not allow leaves nothing behind."""
    lead = Lead.objects.create(temperature="won")
    with pytest.raises(TransitionNotAllowed, match="Can't switch from state 'won'"):
        lead.cool()
    lead.save()

    assert trail(lead) == ["entered >won"]


def test_a_false_condition_refuses() -> None:
    """Conditions are asked before anything is remembered."""
    lead = Lead.objects.create(amount=-1)
    with pytest.raises(TransitionNotAllowed, match="conditions have not been met"):
        lead.win(1)
    lead.save()

    assert not can_proceed(lead.win)
    assert trail(lead) == ["entered >hot"]


def test_a_method_call_trusts_its_caller_and_permissions_can_be_asked() -> None:
    """has_transition_perm works; the call itself asks nobody."""
    lead, user = Lead.objects.create(), User.objects.create(username="ada")
    before = has_transition_perm(lead.win, user)
    kind = ContentType.objects.get_for_model(Lead)
    permission = Permission.objects.create(codename="close_lead", content_type=kind)
    user.user_permissions.add(permission)

    assert (before, has_transition_perm(lead.win, User.objects.get())) == (False, True)


def test_the_method_gives_its_value_and_its_changes_are_saved() -> None:
    """What the method sets is written by the same save."""
    lead = Lead.objects.create()
    value = lead.win(900)
    lead.save()

    assert value == "won"
    assert Lead.objects.get().amount == 900


def test_on_error_is_a_move_of_its_own() -> None:
    """The error goes on to the caller, the state that it led to is recorded."""
    lead = Lead.objects.create()
    with pytest.raises(ValueError, match="broken down"):
        lead.break_down()
    lead.save()

    assert trail(lead)[1:] == ["moved hot>broken"]
    assert last_event(lead).transition == "break_down"
    assert_whole(lead)


def test_an_error_without_on_error_leaves_nothing() -> None:
    """A method that raises has not happened."""
    lead = Lead.objects.create()
    with pytest.raises(TypeError):
        lead.win("1", "2")
    lead.save()

    assert trail(lead) == ["entered >hot"]
    assert_whole(lead)


@pytest.mark.parametrize(("close", "state"), [(True, "closed"), (False, "open")])
def test_the_returned_value_is_the_target(close: bool, state: str) -> None:
    """RETURN_VALUE records the state that came out."""
    ticket = Ticket.objects.create()
    ticket.decide(close)
    ticket.save()

    assert trail(ticket)[1:] == [f"moved new>{state}"]
    assert_whole(ticket)


def test_the_computed_state_is_the_target() -> None:
    """GET_STATE records the state that came out."""
    ticket = Ticket.objects.create()
    ticket.put("closed")
    ticket.save()

    assert trail(ticket)[1:] == ["moved new>closed"]


def test_a_computed_state_out_of_the_list_is_refused() -> None:
    """Nothing is remembered of a state that is not allowed."""
    ticket = Ticket.objects.create()
    with pytest.raises(django_fsm.InvalidResultState):
        ticket.put("elsewhere")
    ticket.save()

    assert trail(ticket) == ["entered >new"]
    assert_whole(ticket)


@pytest.mark.parametrize("nothing", [None, "", 5])
def test_a_computed_state_that_is_no_text_is_refused(nothing: Any) -> None:
    """A state is a text that says something."""
    ticket = RushedTicket.objects.create()
    with pytest.raises(UnknownState, match="a state is a text"):
        ticket.become(nothing)
    ticket.save()

    assert trail(ticket) == ["entered >new"]


def test_a_star_leaves_from_anywhere_and_to_itself() -> None:
    """The source "*" holds in the target too."""
    ticket = Ticket.objects.create()
    ticket.put("open")
    ticket.put("open")
    ticket.save()

    assert trail(ticket)[1:] == ["moved new>open", "moved open>open"]
    assert_whole(ticket)


def test_a_plus_leaves_from_anywhere_but_its_target() -> None:
    """The source "+" refuses its own target."""
    ticket = Ticket.objects.create()
    ticket.close()
    with pytest.raises(TransitionNotAllowed):
        ticket.close()
    ticket.save()

    assert trail(ticket)[1:] == ["moved new>closed"]


def test_no_target_is_an_event_that_keeps_the_state_and_its_clock(time: Clock) -> None:
    """target=None is a fact, not a move: the decay's clock runs on."""
    lead = Lead.objects.create()
    due = lead.temperature_due_at
    time.advance(timedelta(days=1))
    lead.ping()
    lead.save()

    assert trail(lead)[1:] == ["reclassified hot>hot"]
    assert (last_event(lead).transition, lead.temperature_due_at) == ("ping", due)
    assert_whole(lead)


def test_a_transition_to_itself_restarts_the_clock(time: Clock) -> None:
    """Entering a state anew starts its decay anew."""
    lead = Lead.objects.create()
    time.advance(timedelta(days=1))
    lead.touch()
    lead.save()

    assert trail(lead)[1:] == ["moved hot>hot"]
    assert lead.temperature_due_at == time.at + timedelta(days=7)
    assert_whole(lead)


def test_several_fields_have_each_their_own_events() -> None:
    """One version counts the events of both fields."""
    order = Order.objects.create()
    order.pay()
    order.send()
    order.save()

    assert trail(order, "payment") == ["entered >due", "moved due>paid"]
    assert trail(order, "delivery") == ["entered >waiting", "moved waiting>sent"]
    assert [event.version for event in events_of(order.stock_lifecycle)] == [1, 2, 3, 4]
    assert_whole(order)


def test_update_fields_saves_the_transitions_of_what_it_names() -> None:
    """The other field's transition waits for its save."""
    order = Order.objects.create()
    order.pay()
    order.send()
    order.save(update_fields=["delivery"])
    after_first = trail(order)[2:]
    order.save()

    assert after_first == ["moved waiting>sent"]
    assert trail(order)[3:] == ["moved due>paid"]
    assert_whole(order)


def test_what_was_left_out_keeps_its_order(time: Clock) -> None:
    """A transition saved after a later one is dated no earlier."""
    order = Order.objects.create()
    order.pay()
    time.advance(timedelta(hours=1))
    order.send()
    order.save(update_fields=["delivery"])
    order.save(update_fields=["payment"])

    assert_whole(order)
    assert Order.objects.get().payment_since == time.at


def test_update_fields_of_other_columns_leave_the_transition_waiting() -> None:
    """Saving the note saves the note."""
    lead = Lead.objects.create()
    lead.cool()
    lead.note = "seen"
    lead.save(update_fields=["note"])

    assert trail(lead) == ["entered >hot"]
    assert list(Lead.objects.values_list("temperature", "note")) == [("hot", "seen")]
    lead.save()
    assert trail(lead)[1:] == ["moved hot>warm"]
    assert_whole(lead)


def test_a_nested_transition_comes_before_its_outer_one() -> None:
    """The chain links up even where the inner one is saved inside."""
    ticket = RushedTicket.objects.create()
    ticket.rush()
    ticket.save()

    assert trail(ticket)[1:] == ["moved new>open", "moved open>closed"]
    assert_whole(ticket)


@pytest.fixture(name="on_signal")
def _on_signal() -> Any:
    """Connect a function to a signal for one test."""
    connected = []

    def connect(signal: Any, function: Any) -> None:
        signal.connect(function, weak=False)
        connected.append((signal, function))

    yield connect
    for signal, function in connected:
        signal.disconnect(function)


def test_a_signal_that_saves(on_signal: Any) -> None:
    """Saving in post_transition is a save like any other."""
    ticket = Ticket.objects.create()
    on_signal(post_transition, lambda instance, **_: instance.save())
    ticket.open()

    assert trail(ticket)[1:] == ["moved new>open"]
    ticket.save()
    assert_whole(ticket)


def test_a_signal_that_calls_a_transition(on_signal: Any) -> None:
    """A transition called in post_transition follows the one that it answers."""
    ticket = Ticket.objects.create()
    on_signal(post_transition, lambda instance, name, **_: name == "open" and instance.close())
    ticket.open()
    ticket.save()

    assert trail(ticket)[1:] == ["moved new>open", "moved open>closed"]
    assert_whole(ticket)


def test_a_signal_before_that_calls_a_transition(on_signal: Any) -> None:
    """A transition called in pre_transition precedes, and the chain links up."""
    ticket = Ticket.objects.create()
    on_signal(pre_transition, lambda instance, name, **_: name == "open" and instance.put("open"))
    ticket.open()
    ticket.save()

    assert trail(ticket)[1:] == ["moved new>open", "moved open>open"]
    assert_whole(ticket)


def test_a_save_signal_that_saves_again(on_signal: Any) -> None:
    """Saving in post_save, with a transition, is a save of its own."""

    def once(instance: Any, created: bool, **_: Any) -> None:
        if created and isinstance(instance, Ticket):
            instance.open()
            instance.save()

    on_signal(models.signals.post_save, once)
    ticket = Ticket.objects.create()

    assert trail(ticket) == ["entered >new", "moved new>open"]
    assert_whole(ticket)


def test_a_pre_save_signal_that_calls_a_transition(on_signal: Any) -> None:
    """What a pre_save handler does belongs to this save."""

    def once(instance: Any, **_: Any) -> None:
        if isinstance(instance, Ticket) and instance.state == "new":
            instance.open()

    on_signal(models.signals.pre_save, once)
    ticket = Ticket.objects.create()

    assert trail(ticket) == ["entered >new", "moved new>open"]
    assert_whole(ticket)


def test_the_transitions_before_the_first_save_follow_the_opening_event() -> None:
    """A new object may move before it is saved."""
    lead = Lead()
    lead.cool()
    lead.save()

    assert trail(lead) == ["entered >hot", "moved hot>warm"]
    assert timers_of(lead)["temperature"].version == 2
    assert_whole(lead)


def test_the_flow_and_all_of_fsm_s_arguments_pass_through() -> None:
    """``custom`` stays the user's, beside what stockflow keeps there."""
    lead: Any = Lead()
    names = {t.name for t in lead.get_all_temperature_transitions()}
    available = {t.name for t in lead.get_available_temperature_transitions()}

    assert {"cool", "chill", "rekindle", "win", "lose"} <= names
    assert "rekindle" not in available
    assert "cool" in available


@pytest.mark.parametrize("field", ["reference", "name", "field"])
def test_the_field_may_be_given_in_three_ways(field: str) -> None:
    """A field, a reference and a name all declare the same."""
    given = {"reference": Ticket.state, "name": "state", "field": Ticket._meta.get_field("state")}
    method: Any = transition(given[field], source="new", target="open")(lambda self: None)

    assert getattr(method._django_fsm.field, "name", method._django_fsm.field) == "state"


@pytest.mark.parametrize("decorate", [transition, django_fsm.transition], ids=["ours", "native"])
def test_an_async_transition_is_refused_at_class_definition(decorate: Any) -> None:
    """A coroutine would change the state before it has run."""
    with pytest.raises(InvalidDeclaration, match=r"go is an async transition.*await asave"):

        class Eager(StockflowModel):
            state = StockField(default="on")

            @decorate(state, source="on", target="off")  # type: ignore[untyped-decorator]
            async def go(self) -> None: ...

            class Meta:
                app_label = "crm"


def test_a_child_s_fields_are_moved_together_with_its_parent_s() -> None:
    """One save, two tables, one log."""
    lead = BigLead.objects.create(budget=5)
    lead.offer()
    lead.cool()
    lead.save()

    assert trail(lead)[2:] == ["moved draft>offered", "moved hot>warm"]
    assert_whole(lead)
