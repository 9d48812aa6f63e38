"""A transition of a queryset: one event for each object, and counts of what became of them."""

import json
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection, models, transaction
from django.db.models.signals import post_save, pre_save
from django.test.utils import CaptureQueriesContext
from django_fsm import TransitionNotAllowed
from django_fsm.signals import post_transition, pre_transition

from stockflow import context, testing
from stockflow.domain.errors import InvalidInstant, LateEntry, UnknownTransition
from stockflow.models import Outcome, StockField
from stockflow.testing import Clock
from tests.bulk.test_closing import oldest_of_each
from tests.bulk.test_sameness import forget
from tests.crm.models import (
    BigLead,
    Careful,
    DatedNotice,
    HotLead,
    Lead,
    Order,
    Rep,
    Stamped,
    Ticket,
    Trial,
)
from tests.fence.down import fence_down
from tests.stockflow.reading import assert_whole, facets_of, last_event, timers_of, trail

pytestmark = pytest.mark.django_db


def statements(name: str, **arguments: Any) -> list[str]:
    """Return the statements of a transition of all leads."""
    with CaptureQueriesContext(connection) as queries:
        Lead.objects.transition(name, **arguments)
    return [query["sql"] for query in queries]


def test_an_empty_method_moves_all(rep: Rep) -> None:
    """One event for each object, and the rows, facets and timers that go with it."""
    leads = [Lead.objects.create(owner=rep, channel=channel) for channel in ("web", "fair")]

    assert Lead.objects.transition("cool") == Outcome(moved=2)
    for lead in leads:
        lead.refresh_from_db()
        assert trail(lead) == ["entered >hot", "moved hot>warm"]
        assert_whole(lead)


@pytest.mark.parametrize("size", [0, -1, "many", True])
def test_a_chunk_has_objects(size: Any) -> None:
    """At least one."""
    lead = Lead.objects.create()

    with pytest.raises(ValueError, match=f"chunk_size is {size!r}"):
        Lead.objects.transition("cool", chunk_size=size)
    with pytest.raises(ValueError, match=f"chunk_size is {size!r}"):
        Lead.objects.reclassify("temperature", {"hot": "cold"}, chunk_size=size)
    assert trail(lead) == ["entered >hot"]


def test_a_child_says_in_its_own_table_when_it_was_saved(time: Clock) -> None:
    """That is written, too, and not into the parent's table."""
    notice = DatedNotice.objects.create()
    time.advance(timedelta(hours=1))

    assert DatedNotice.objects.transition("withdraw") == Outcome(moved=1)
    before, _ = notice.updated_at, notice.refresh_from_db()
    assert_whole(notice)
    assert notice.updated_at > before


def test_a_method_with_a_body_is_called_on_each() -> None:
    """What it changes is written, and its arguments reach it."""
    leads = [Lead.objects.create() for _ in range(3)]

    assert Lead.objects.transition("win", amount=900) == Outcome(moved=3)
    for lead in leads:
        lead.refresh_from_db()
        assert lead.amount == 900
        assert_whole(lead)


@pytest.mark.parametrize(("name", "arguments"), [("cool", {}), ("win", {"amount": 1})])
def test_more_objects_take_no_more_statements(name: str, arguments: dict[str, Any]) -> None:
    """Twenty cost as many as two, by SQL alone and with instances."""
    counts = []
    for size in (2, 20):
        Lead.objects.bulk_create([Lead() for _ in range(size)])
        counts.append(len(statements(name, **arguments)))

    assert counts[0] == counts[1]


def test_outcomes_are_counted() -> None:
    """Each object is counted once, by what became of it."""
    for values in ({}, {"amount": -1}, {"temperature": "won"}, {"temperature": "warm"}):
        Lead.objects.create(**values)

    outcome = Lead.objects.transition("win", amount=1)

    assert outcome == Outcome(moved=2, not_allowed=1, condition_false=1)
    assert outcome.total == 4
    assert Lead.objects.transition("win", amount=1) == Outcome(not_allowed=3, condition_false=1)


def test_a_condition_of_an_empty_method() -> None:
    """It is asked of each object too."""
    for ready in (True, False):
        Trial.objects.create(state="over", ready=ready)

    assert Trial.objects.transition("drop") == Outcome(moved=1, condition_false=1)


@pytest.mark.parametrize(
    "asks", [lambda lead, by: None, lambda lead, *, by: None], ids=["by place", "by name"]
)
def test_arguments_of_an_empty_method(asks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called as it asks, or not at all."""
    lead = Lead.objects.create()
    with pytest.raises(TypeError, match="unexpected keyword argument 'by'"):
        Lead.objects.transition("cool", by="ada")
    monkeypatch.setattr(vars(Lead.cool)["__wrapped__"], "__code__", asks.__code__)
    with pytest.raises(TypeError, match=r"missing 1 required .*'by'"):
        Lead.objects.transition("cool")

    assert trail(lead) == ["entered >hot"]
    assert Lead.objects.transition("cool", by="ada") == Outcome(moved=1)


def test_who_lacks_a_permission_moves_nothing() -> None:
    """Both the model's own and the transition's are asked for; without a user, neither."""
    lead, user = Lead.objects.create(), User.objects.create(username="ada")
    change = Permission.objects.get(codename="change_lead", content_type__app_label="crm")

    assert Lead.objects.transition("cool", user=user) == Outcome(denied=1)
    assert trail(lead) == ["entered >hot"]
    user.user_permissions.add(change)
    user = User.objects.get(pk=user.pk)
    assert Lead.objects.transition("win", user=user, amount=1) == Outcome(denied=1)
    assert Lead.objects.transition("cool", user=user) == Outcome(moved=1)
    assert Lead.objects.transition("win", amount=1) == Outcome(moved=1)


def test_a_permission_that_asks_the_object() -> None:
    """Not even who may do all else moves what it refuses."""
    Stamped.objects.create()
    user = User.objects.create(username="ada", is_superuser=True)

    assert Stamped.objects.transition("seal", user=user) == Outcome(denied=1)
    assert Stamped.objects.transition("seal") == Outcome(moved=1)


def test_a_denied_object_is_left_as_it_is(time: Clock) -> None:
    """Not even its overdue decay is recorded in the name of who may not touch it."""
    lead = Lead.objects.create()
    time.advance(timedelta(days=8))

    outcome = Lead.objects.transition("rekindle", user=User.objects.create(username="ada"))

    assert outcome == Outcome(denied=1)
    assert trail(lead) == ["entered >hot"]


def test_overdue_decays_come_first(time: Clock) -> None:
    """The transition leaves from where the object is by then."""
    lead = Lead.objects.create()
    time.advance(timedelta(days=8))

    assert Lead.objects.transition("chill") == Outcome(moved=1)
    lead.refresh_from_db()
    assert trail(lead) == ["entered >hot", "moved hot>warm", "moved warm>cold"]
    assert_whole(lead)


def test_overdue_decays_come_before_permissions(time: Clock) -> None:
    """What a user may do is asked of where the object is by then."""
    lead, user = Lead.objects.create(), User.objects.create(username="ada", is_superuser=True)
    time.advance(timedelta(days=8))

    assert Lead.objects.transition("chill", user=user) == Outcome(moved=1)
    assert trail(lead) == ["entered >hot", "moved hot>warm", "moved warm>cold"]


@pytest.mark.parametrize(("name", "arguments"), [("cool", {}), ("win", {"amount": 1})])
def test_a_row_older_than_its_history(name: str, arguments: dict[str, Any]) -> None:
    """It is adopted in its old state first."""
    lead = Lead.objects.create()
    with fence_down(operations=["update"]):
        forget(lead)

    assert Lead.objects.transition(name, **arguments) == Outcome(moved=1)
    lead.refresh_from_db()
    assert trail(lead) == ["adopted >hot", f"moved hot>{lead.temperature}"]
    assert_whole(lead)


@pytest.mark.parametrize(("name", "arguments"), [("cool", {}), ("win", {"amount": 1})])
def test_a_clock_that_lags(name: str, arguments: dict[str, Any], time: Clock) -> None:
    """An object's instants stay in order: it happened no earlier than what was before."""
    lead = Lead.objects.create()
    time.advance(-timedelta(hours=1))
    Lead.objects.transition(name, **arguments)

    lead.refresh_from_db()
    assert lead.temperature_since == time.at + timedelta(hours=1)
    assert_whole(lead)


def test_the_context_is_kept_with_each_event() -> None:
    """Who, why and what else, by SQL alone too."""
    lead = Lead.objects.create()
    with context(actor="ada", reason="spring", correlation="c1", data={"n": 1}):
        Lead.objects.transition("cool")

    event = last_event(lead)
    assert (event.actor, event.reason, event.correlation) == ("ada", "spring", "c1")
    assert json.loads(bytes(event.payload or b"")) == {"data": {"n": 1}}


@pytest.mark.parametrize(("name", "arguments"), [("touch", {}), ("lose", {})])
def test_late_entries(time: Clock, name: str, arguments: dict[str, Any]) -> None:
    """They are dated as told, and refused where something later is recorded."""
    lead = Lead.objects.create()
    began = time.at
    time.advance(timedelta(days=3))
    with context(at=began + timedelta(days=1)):
        assert Lead.objects.transition(name, **arguments) == Outcome(moved=1)
    lead.refresh_from_db()
    assert lead.temperature_since == began + timedelta(days=1)
    assert_whole(lead)

    with context(at=began), pytest.raises(LateEntry):
        Lead.objects.transition("lose")
    with context(at=time.at + timedelta(hours=1)), pytest.raises(InvalidInstant):
        Lead.objects.transition(name, **arguments)


def test_a_late_entry_at_the_instant_of_a_decay(time: Clock) -> None:
    """It is refused, as an object refuses it: there what is called would have come first."""
    lead = Lead.objects.create()
    decayed = time.at + timedelta(days=7)
    time.advance(timedelta(days=8))
    testing.run_due()
    with context(at=decayed), pytest.raises(LateEntry, match=r"the decay 'cool' was recorded at"):
        Lead.objects.transition("chill")

    assert trail(lead) == ["entered >hot", "moved hot>warm"]


@pytest.mark.parametrize(("is_own", "name"), [(False, "ping"), (True, "rekindle")])
def test_what_a_transition_calls_must_be_allowed(is_own: bool, name: str) -> None:
    """Where another transition, or another object's, is not, that is an error and no outcome."""
    lead, won = Lead.objects.create(note="mine"), Lead.objects.create(temperature="won")

    def hear(sender: type[Lead], instance: Lead, **kwargs: object) -> None:
        getattr(instance if is_own else won, name)()

    post_transition.connect(hear, sender=Lead)
    try:
        with pytest.raises(TransitionNotAllowed, match=name):
            Lead.objects.filter(note="mine").transition("ping")
    finally:
        post_transition.disconnect(hear, sender=Lead)

    assert trail(lead) == ["entered >hot"]


def test_a_method_that_raises_undoes_its_chunk_only() -> None:
    """Chunks before it are done; the error says how far it came; repeating goes on."""
    leads = [Lead.objects.create(note=note) for note in ("a", "b", "bad", "d")]

    class Bad(Exception):
        pass

    def hear(sender: type[Lead], instance: Lead, **kwargs: object) -> None:
        if instance.note == "bad":
            raise Bad

    post_transition.connect(hear, sender=Lead)
    try:
        with pytest.raises(Bad) as caught:
            Lead.objects.transition("cool", chunk_size=2)
    finally:
        post_transition.disconnect(hear, sender=Lead)

    assert "2 objects before it are done with (2 moved)" in caught.value.__notes__[0]
    assert [len(trail(lead)) for lead in leads] == [2, 2, 1, 1]
    assert Lead.objects.transition("cool", chunk_size=2) == Outcome(moved=2, not_allowed=2)


@pytest.mark.parametrize("signal", [pre_save, post_save, pre_transition, post_transition])
def test_receivers_hear_each(signal: Any) -> None:
    """Who listens to saves or transitions hears of bulk ones too."""
    Lead.objects.bulk_create([Lead(), Lead()])
    heard: list[str] = []

    def hear(sender: type[Lead], **kwargs: object) -> None:
        heard.append(sender.__name__)

    signal.connect(hear, sender=Lead)
    try:
        Lead.objects.transition("cool")
    finally:
        signal.disconnect(hear, sender=Lead)

    assert heard == ["Lead", "Lead"]


@pytest.mark.parametrize("name", ["save_base", "_save_table", "_do_update"])
def test_what_a_model_does_as_it_saves_is_done(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However deep it puts it."""
    lead, plain, saved = Lead.objects.create(), getattr(Lead, name), list[Any]()

    def save(lead: Lead, *args: Any, **kwargs: Any) -> Any:
        saved.append(lead.pk)
        return plain(lead, *args, **kwargs)

    monkeypatch.setattr(Lead, name, save)
    Lead.objects.transition("cool")

    assert saved == [lead.pk]


def test_a_method_that_saves_its_siblings_makes_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that is stale by then overwrites nothing; repeating moves it."""
    leads = [Lead.objects.create() for _ in range(2)]
    heard: list[int] = []

    def hear(sender: type[Lead], instance: Lead, **kwargs: object) -> None:
        if not heard:
            heard.append(1)
            other = Lead.objects.get(pk=leads[1].pk)
            other.touch()
            other.save()

    post_transition.connect(hear, sender=Lead)
    try:
        outcome = Lead.objects.transition("ping")
    finally:
        post_transition.disconnect(hear, sender=Lead)

    assert outcome == Outcome(moved=1, conflict=1)
    assert trail(leads[1]) == ["entered >hot", "moved hot>hot"]
    assert Lead.objects.transition("ping") == Outcome(moved=2)


def test_progress_is_told_by_chunk() -> None:
    """How many objects each had."""
    Lead.objects.bulk_create([Lead() for _ in range(5)])
    told: list[int] = []
    Lead.objects.transition("cool", chunk_size=2, progress=told.append)

    assert told == [2, 2, 1]


def test_a_proxy_and_a_related_manager(rep: Rep) -> None:
    """They move their own."""
    HotLead.objects.create(owner=rep)
    Lead.objects.create()

    assert rep.lead_set.transition("cool") == Outcome(moved=1)
    assert HotLead.objects.filter(temperature="hot").transition("cool") == Outcome(moved=1)


def test_an_unknown_name() -> None:
    """The known ones are listed."""
    with pytest.raises(UnknownTransition, match=r"crm.Ticket has no transition 'shut' .*'close'"):
        Ticket.objects.transition("shut")


@pytest.mark.parametrize(
    ("queryset", "shape"),
    [
        (lambda: Lead.objects.all()[:1], "a slice"),
        (lambda: Lead.objects.values("pk"), r"values\(\)"),
        (Lead.objects.distinct, r"distinct\(\)"),
        (lambda: Lead.objects.all().union(Lead.objects.all()), r"union\(\)"),
        (lambda: oldest_of_each(Lead), "a filter by a window"),
    ],
)
def test_a_queryset_that_is_no_set_of_objects(queryset: Any, shape: str) -> None:
    """It is refused with what to write instead."""
    with pytest.raises(TypeError, match=rf"transition\(\) cannot follow {shape}.*filter\(pk__in"):
        queryset().transition("cool")


def test_reclassifying_what_a_window_finds() -> None:
    """It is refused too: a chunk of it would be another set."""
    with pytest.raises(TypeError, match=r"reclassify\(\) cannot follow a filter by a window"):
        oldest_of_each(Lead).reclassify("temperature", {"hot": "won"})


def test_joins_annotations_and_orders_do_no_harm(rep: Rep) -> None:
    """The objects are those that the queryset finds."""
    Lead.objects.create(owner=rep)
    queryset = Lead.objects.filter(owner__team="north").order_by("-amount").select_related("owner")

    assert queryset.annotate(n=models.Count("owner")).transition("cool") == Outcome(moved=1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite has one writer at a time")
def test_another_writer_in_between_is_waited_for() -> None:
    """What the queryset no longer finds after the wait is a conflict and stays as it is."""
    lead = Lead.objects.create(note="mine")
    found: list[Outcome] = []

    def run() -> None:
        found.append(Lead.objects.filter(note="mine").transition("cool"))
        connection.close()

    with transaction.atomic():
        Lead.objects.filter(pk=lead.pk).update(note="yours")
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(1)
    thread.join()

    assert found == [Outcome(conflict=1)]
    assert trail(lead) == ["entered >hot"]


@pytest.mark.parametrize("name", ["off", "dim"])
def test_auto_now_is_kept_up(name: str) -> None:
    """By SQL alone and with instances."""
    lamp = Stamped.objects.create()
    before = lamp.updated_at

    Stamped.objects.transition(name)
    lamp.refresh_from_db()

    assert lamp.updated_at > before


def test_a_value_that_the_database_computes() -> None:
    """A method may leave that to it, as it may before a save."""
    leads = [Lead.objects.create(amount=amount) for amount in (1, 2)]

    assert Lead.objects.transition("win", amount=models.F("amount") + 10) == Outcome(moved=2)
    for lead, amount in zip(leads, (11, 12), strict=True):
        lead.refresh_from_db()
        assert lead.amount == amount
        assert_whole(lead)


def test_a_field_with_a_value_of_its_own_at_each_save(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the instance, since the value may hang on it."""

    class Counted(models.CharField):  # type: ignore[type-arg]  # Django itself has no arguments
        def pre_save(self, model_instance: Any, add: bool) -> str:
            model_instance.note += "+"
            return str(model_instance.note)

    lead = Lead.objects.create(note="a")
    monkeypatch.setattr(Lead._meta.get_field("note"), "__class__", Counted)
    Lead.objects.transition("cool")

    lead.refresh_from_db()
    assert lead.note == "a+"


def test_a_time_of_its_own_at_each_save(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is each time the clock's."""

    class Fixed(models.DateTimeField):  # type: ignore[type-arg]  # as above
        def pre_save(self, model_instance: Any, add: bool) -> datetime:
            at: datetime = model_instance.state_since
            model_instance.updated_at = at
            return at

    lamp = Stamped.objects.create()
    monkeypatch.setattr(Stamped._meta.get_field("updated_at"), "__class__", Fixed)
    Stamped.objects.transition("off")

    lamp.refresh_from_db()
    assert lamp.updated_at == lamp.state_since


def test_a_column_that_holds_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its facet is what the object shows, as in a save; the fence knows the column alone."""

    class Loud(models.CharField):  # type: ignore[type-arg]  # as above
        def from_db_value(self, value: str, *args: Any) -> str:
            return value.upper()

    lead = Lead.objects.create()
    monkeypatch.setattr(Lead._meta.get_field("channel"), "__class__", Loud)
    with fence_down():
        Lead.objects.transition("cool")

    assert (facets_of(last_event(lead))[1] or {})["channel"] == "WEB"


def test_a_value_that_is_changed_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written, though it is the very object that was loaded."""

    class Listed(models.CharField):  # type: ignore[type-arg]  # as above
        def from_db_value(self, value: str, *args: Any) -> list[str]:
            return value.split()

        def get_prep_value(self, value: list[str]) -> str:
            return " ".join(value)

    def add(sender: type[Lead], instance: Any, **kwargs: object) -> None:
        instance.note.append("b")

    Lead.objects.create(note="a")
    monkeypatch.setattr(Lead._meta.get_field("note"), "__class__", Listed)
    post_transition.connect(add, sender=Lead)
    try:
        Lead.objects.transition("ping")
    finally:
        post_transition.disconnect(add, sender=Lead)

    assert list(Lead.objects.values_list("note", flat=True)) == [["a", "b"]]


def test_a_stock_field_of_one_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does when a state is entered is done for each object."""
    entered: list[str] = []

    class Loud(StockField):
        def set_state(self, instance: Any, state: Any) -> None:
            entered.append(state)
            super().set_state(instance, state)

    Lead.objects.bulk_create([Lead(), Lead()])
    monkeypatch.setattr(Lead._meta.get_field("temperature"), "__class__", Loud)
    Lead.objects.transition("cool")

    assert entered == ["warm", "warm"]


def test_what_is_wrapped_around_a_transition_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """However it hands on what django-fsm knows of the method."""
    lead, plain, called = Lead.objects.create(), Lead.cool, list[Any]()

    def cool(lead: Lead) -> None:
        called.append(lead.pk)
        plain(lead)

    vars(cool).update(vars(plain))
    monkeypatch.setattr(Lead, "cool", cool)

    assert Lead.objects.transition("cool") == Outcome(moved=1)
    assert called == [lead.pk]


def test_a_clock_that_goes_on(time: Clock) -> None:
    """From a state to itself a decay stays due when it was, where so declared."""
    trial = Trial.objects.create(state="dropped")
    due_at = trial.state_due_at
    time.advance(timedelta(days=1))

    assert Trial.objects.transition("remember") == Outcome(moved=1)
    trial.refresh_from_db()
    assert trial.state_due_at == due_at
    assert_whole(trial)


def test_a_save_of_its_own_is_called() -> None:
    """What it does happens in bulk too."""
    careful = Careful.objects.create()

    assert Careful.objects.transition("off") == Outcome(moved=1)
    careful.refresh_from_db()
    assert careful.saves == 2
    assert_whole(careful)


def test_orders_with_delays_of_their_own(time: Clock) -> None:
    """A delay that asks the object takes the instance; a calendar one does not."""
    order = Order.objects.create(deadline=time.at + timedelta(days=5))
    assert Order.objects.transition("dun") == Outcome(moved=1)
    assert Order.objects.transition("wait_again") == Outcome(moved=1)

    order.refresh_from_db()
    assert timers_of(order)["payment"].transition == "write_off"
    assert order.delivery_due_at == order.deadline
    assert_whole(order)
    big = BigLead.objects.create()
    assert BigLead.objects.transition("offer") == Outcome(moved=1)
    big.refresh_from_db()
    assert_whole(big)
