"""Saving: creation, forms of save(), copies, pickles, stale instances, adoption."""

import copy
import pickle
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django import VERSION
from django.db import DatabaseError, IntegrityError, NotSupportedError, connection, transaction
from django.db.models import QuerySet

from stockflow.domain.errors import StockflowError, UnknownState
from stockflow.errors import ConcurrentTransition
from stockflow.models import Event, Kind
from stockflow.saving import updates
from stockflow.testing import Clock
from tests.crm.models import BigLead, HotLead, Lamp, Lead, Order, Pulse, Radio, Ticket, Veiled
from tests.eventstore.tampering import unguarded
from tests.fence.down import fence_down
from tests.stockflow.reading import (
    assert_whole,
    events_of,
    last_event,
    row_of,
    timers_of,
    trail,
)

pytestmark = pytest.mark.django_db


def test_creation_records_the_opening_event(time: Clock) -> None:
    """From the outside to the first state, at the clock's instant."""
    lead = Lead.objects.create()

    assert trail(lead) == ["entered >hot"]
    assert (lead.stock_version, lead.stock_changed_at) == (1, time.at)
    assert (lead.temperature_since, lead.temperature_due_at) == (
        time.at,
        time.at + timedelta(days=7),
    )
    assert_whole(lead)


def test_the_opening_event_s_columns() -> None:
    """Each column says its part, in words that stay."""
    lead = Lead.objects.create()
    event = last_event(lead)

    assert (event.application, event.topic) == ("stockflow", "stockflow:entered")
    assert (event.model, event.field, event.kind) == ("crm.lead", "temperature", Kind.ENTERED)
    assert (event.transition, event.payload, event.actor) == (None, None, "")
    assert event.recorded_at is not None


def test_several_fields_open_one_event_each() -> None:
    """Versions count all events of the object."""
    order = Order.objects.create()

    assert trail(order) == ["entered >due", "entered >waiting"]
    assert order.stock_version == 2
    assert_whole(order)


@pytest.mark.parametrize(
    "options",
    [{"force_insert": True}, {"force_insert": (Lead,)}, {}],
    ids=["insert", "insert-classes", "plain"],
)
def test_creation_by_every_form_of_save(options: dict[str, Any]) -> None:
    """force_insert changes nothing of what is recorded."""
    lead = Lead()
    lead.save(**options)

    assert trail(lead) == ["entered >hot"]
    assert_whole(lead)


@pytest.mark.parametrize("options", [{"force_update": True}, {}], ids=["update", "plain"])
def test_a_transition_by_every_form_of_save(options: dict[str, Any]) -> None:
    """force_update changes nothing of what is recorded."""
    lead = Lead.objects.create()
    lead.cool()
    lead.save(**options)

    assert trail(lead)[1:] == ["moved hot>warm"]
    assert_whole(lead)


def test_force_insert_of_what_is_there_is_refused() -> None:
    """The database refuses the second row; the log has no second beginning."""
    lead = Lead.objects.create()
    with pytest.raises(IntegrityError), transaction.atomic():
        lead.save(force_insert=True)

    assert Event.objects.count() == 1


@pytest.mark.parametrize("update", [{"force_update": True}, {"update_fields": ["channel"]}])
def test_an_update_of_what_was_never_loaded_is_refused(update: dict[str, Any]) -> None:
    """What it was is not known, so no event can say what changed."""
    key = Lead.objects.create().pk
    with pytest.raises(ConcurrentTransition, match=r"was not loaded.*channel.*load the object"):
        Lead(pk=key, channel="phone").save(**update)

    assert_whole(Lead.objects.get())


def test_an_update_of_other_columns_needs_no_loading() -> None:
    """Django's blind update works where no stock is touched."""
    key = Lead.objects.create().pk
    Lead(pk=key, note="x").save(update_fields=["note"])

    assert Lead.objects.get().note == "x"
    assert_whole(Lead.objects.get())


def test_a_blind_update_of_nobody_is_django_s_error() -> None:
    """No row, no update."""
    with pytest.raises(DatabaseError, match="did not affect any rows"):
        Lead(pk=12345, note="x").save(update_fields=["note"])


def test_a_natural_key() -> None:
    """A key of the user's own is no obstacle."""
    radio = Radio.objects.create(code="r1")
    radio.switch_off()
    radio.save()

    assert trail(radio) == ["entered >on", "moved on>off"]
    assert_whole(radio)


def test_a_second_object_of_the_same_natural_key_is_refused() -> None:
    """Django would write over the first one; here the key is taken."""
    Radio.objects.create(code="r1")
    with pytest.raises(IntegrityError), transaction.atomic():
        Radio(code="r1").save()

    assert_whole(Radio.objects.get())
    assert Event.objects.count() == 1


def test_a_changed_key_is_refused() -> None:
    """It would leave the old row and begin a second one under the same lifecycle."""
    radio = Radio.objects.create(code="r1")
    radio.code = "r2"
    with pytest.raises(ConcurrentTransition, match=r"its key was changed.*pk = None"):
        radio.save()

    assert Radio.objects.get().code == "r1"


def test_a_reused_key_begins_a_life_of_its_own() -> None:
    """The stream is the lifecycle, never the key."""
    first = Radio.objects.create(code="r1")
    lifecycle = first.stock_lifecycle
    first.delete()
    second = Radio.objects.create(code="r1")

    assert trail(second) == ["entered >on"]
    assert [event.kind for event in events_of(lifecycle)] == ["entered", "left"]


def test_a_uuid_key() -> None:
    """Django inserts at once where the key has a default."""
    order = Order.objects.create(id=uuid4())
    order.pay()
    order.save()

    assert_whole(order)


@pytest.mark.parametrize("is_adding", [False, True])
def test_a_copy_begins_a_lifecycle_of_its_own(is_adding: bool, time: Clock) -> None:
    """With ``pk = None``, and with ``_state.adding = True`` as Django's manual has it."""
    original = Lead.objects.create()
    original.cool()
    original.save()
    time.advance(timedelta(days=1))
    twin = Lead.objects.get()
    twin.pk, twin._state.adding = None, is_adding
    twin.save()

    assert trail(twin) == ["entered >warm"]
    assert twin.stock_lifecycle != original.stock_lifecycle
    assert twin.temperature_due_at == time.at + timedelta(days=30)
    assert_whole(twin)
    assert_whole(original)


def test_a_copy_takes_no_pending_transition_along() -> None:
    """What was called on the original is the original's."""
    lead = Lead.objects.create()
    lead.cool()
    lead.pk = None
    lead.save()

    assert trail(lead) == ["entered >warm"]
    assert_whole(lead)


def test_a_copy_of_a_child() -> None:
    """Both tables get a new row, the log a new stream."""
    big = BigLead.objects.create(budget=1)
    first = big.stock_lifecycle
    big.pk = big.id = None
    big._state.adding = True
    big.save()

    assert BigLead.objects.count() == Lead.objects.count() == 2
    assert trail(big) == ["entered >hot", "entered >draft"]
    assert big.stock_lifecycle != first
    assert_whole(big)


def test_a_copy_dated_before_its_original() -> None:
    """A copy is not bound to the past of what it was copied from."""
    from stockflow import context

    lead = Lead.objects.create()
    before = lead.stock_changed_at - timedelta(days=5)
    lead.pk, lead._state.adding = None, True
    with context(at=before):
        lead.save()

    assert lead.temperature_since == before
    assert_whole(lead)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copied_instance_carries_what_is_pending(copied: Any) -> None:
    """Tasks and caches pickle instances: what was called on them is saved once."""
    lead = Lead.objects.create()
    lead.cool()
    twin = copied(lead)
    twin.save()

    assert trail(lead)[1:] == ["moved hot>warm"]
    with pytest.raises(ConcurrentTransition):
        lead.save()
    assert_whole(twin)


def test_a_copied_instance_is_independent() -> None:
    """What is called on the copy is not pending on the original."""
    lead = Lead.objects.create()
    twin = copy.copy(lead)
    twin.cool()
    lead.note = "x"
    lead.save()

    assert trail(lead) == ["entered >hot"]


def test_a_stale_instance_cannot_move() -> None:
    """Another writer was first: nothing is written, and the text says so."""
    stale = Lead.objects.create()
    other = Lead.objects.get()
    other.cool()
    other.save()
    stale.win(1)
    with pytest.raises(ConcurrentTransition, match=r"crm.Lead \d+ is at version 2, not 1.*retry"):
        stale.save()

    assert trail(other)[1:] == ["moved hot>warm"]
    assert_whole(other)
    assert Lead.objects.get().amount == 0


def test_there_and_back_again_is_stale_too() -> None:
    """A > B > A leaves the state equal and the version not."""
    stale = Ticket.objects.create()
    other = Ticket.objects.get()
    other.open()
    other.reopen()
    other.save()
    stale.open()
    with pytest.raises(ConcurrentTransition, match="at version 3, not 1"):
        stale.save()


@pytest.mark.parametrize("by_django", [False, True])
@pytest.mark.parametrize("moves", [["open"], ["open", "closed"]], ids=["one", "two"])
def test_the_version_tells_however_the_row_is_updated(
    by_django: bool, moves: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where Django updates it, after events that were appended alone."""
    monkeypatch.setattr(Ticket._meta, "select_on_save", by_django)
    stale = Ticket.objects.create()
    other = Ticket.objects.get()
    other.open()
    other.reopen()
    other.save()
    for state in moves:
        stale.put(state)
    with pytest.raises(ConcurrentTransition, match="at version 3, not 1"):
        stale.save()

    assert_whole(other)


@pytest.mark.parametrize("by_django", [False, True])
def test_the_lifecycle_tells_whose_row_it_is(
    by_django: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key may have gone to another object, which is at the same version in the same state."""
    monkeypatch.setattr(Radio._meta, "select_on_save", by_django)
    stale = Radio.objects.create(code="a")
    Radio.objects.get().delete()
    other = Radio.objects.create(code="a")
    stale.kind = "b"
    stale.switch_off()
    with pytest.raises(ConcurrentTransition, match="is gone"):
        stale.save()

    assert_whole(other)


@pytest.mark.parametrize("by_django", [False, True])
def test_after_a_conflict_the_transaction_is_usable_and_the_instance_can_be_reloaded(
    by_django: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was written, so the caller may go on."""
    monkeypatch.setattr(Ticket._meta, "select_on_save", by_django)
    stale = Ticket.objects.create()
    other = Ticket.objects.get()
    other.open()
    other.save()
    stale.close()
    with pytest.raises(ConcurrentTransition):
        stale.save()
    stale.refresh_from_db()
    stale.close()
    stale.save()

    assert trail(stale)[1:] == ["moved new>open", "moved open>closed"]
    assert_whole(stale)


def test_a_conflict_leaves_the_instance_s_columns_as_they_were() -> None:
    """Version, lifecycle and clock in memory are not those of a save that failed."""
    stale = Ticket.objects.create()
    other = Ticket.objects.get()
    other.open()
    other.save()
    stale.close()
    with pytest.raises(ConcurrentTransition):
        stale.save()

    assert stale.stock_version == 1


def test_a_stale_instance_saved_for_its_note_restores_nothing(time: Clock) -> None:
    """State, version, since and due stay as the other writer left them."""
    stale = Lead.objects.create()
    time.advance(timedelta(hours=1))
    other = Lead.objects.get()
    other.cool()
    other.save()
    stale.note = "x"
    stale.save()

    assert Lead.objects.get().note == "x"
    assert_whole(Lead.objects.get())
    assert row_of(stale)["temperature"] == "warm"


def test_a_deleted_object_is_not_born_again() -> None:
    """A second instance of a deleted row cannot write."""
    stale = Lead.objects.create()
    Lead.objects.get().delete()
    stale.cool()
    with pytest.raises(ConcurrentTransition, match="is gone"):
        stale.save()

    assert not Lead.objects.exists()


@pytest.mark.parametrize("names", [["note"], ["stock_lifecycle"], ["channel"]])
def test_a_deferred_instance_of_a_deleted_object_is_told_so(names: list[str]) -> None:
    """What cannot be loaded any more is gone, and the block stays usable."""
    Lead.objects.create()
    lead = Lead.objects.defer(*names).get()
    Lead.objects.get().delete()
    lead.channel = "phone"
    with pytest.raises(ConcurrentTransition, match="is gone"):
        lead.save()

    assert not Lead.objects.exists()


@pytest.mark.parametrize("by_django", [False, True])
def test_a_row_changed_behind_the_log_is_named(
    by_django: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raw SQL that changed a state is reported with what the row says."""
    monkeypatch.setattr(Lead._meta, "select_on_save", by_django)
    lead = Lead.objects.create()
    with fence_down(), connection.cursor() as cursor:
        cursor.execute("UPDATE crm_lead SET temperature = 'won'")
    lead.cool()
    with pytest.raises(
        ConcurrentTransition, match=r"row says \{'temperature': 'won'\}.*behind the log"
    ):
        lead.save()


def test_a_hidden_row_s_conflict_leaves_nothing_half_written() -> None:
    """Where the base manager hides the row, the events go with the block."""
    veiled = Veiled.objects.create(hidden=True)
    veiled.off()
    with transaction.atomic():
        with pytest.raises(ConcurrentTransition):
            veiled.save()
        assert connection.needs_rollback
        transaction.set_rollback(True)

    assert trail(veiled) == ["entered >on"]


@pytest.mark.parametrize("in_bulk", [False, True])
def test_a_column_that_is_written_by_an_expression(
    in_bulk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A field may put more into the statement than a parameter: Django knows how."""
    Lead.objects.create(note="quiet")
    is_newer, note = VERSION >= (6, 1), Lead._meta.get_field("note")
    name = "get_placeholder_sql" if is_newer else "get_placeholder"

    def shout(value: Any, compiler: Any, connection: Any) -> Any:
        return ("upper(%s)", [value]) if is_newer else "upper(%s)"

    updates._shape.cache_clear()
    monkeypatch.setattr(note, name, shout, raising=False)
    try:
        if in_bulk:
            Lead.objects.transition("win", amount=1)
        else:
            lead = Lead.objects.get()
            lead.cool()
            lead.save()
    finally:
        updates._shape.cache_clear()
    lead = Lead.objects.get()

    assert (lead.note, lead.stock_version) == ("QUIET", 2)
    assert_whole(lead)


@pytest.fixture(name="unadopted")
def _unadopted() -> Lead:
    """A row that is older than its history."""
    Lead.objects.create(temperature="warm")
    with fence_down(), unguarded() as cursor:
        cursor.execute("DELETE FROM stockflow_event")
        cursor.execute("DELETE FROM stockflow_unsequenced")
        cursor.execute("DELETE FROM stockflow_scheduledtransition")
        cursor.execute(
            "UPDATE crm_lead SET stock_lifecycle = NULL, stock_version = 0, stock_changed_at = NULL, "
            "temperature_since = NULL, temperature_due_at = NULL"
        )
    lead: Lead = Lead.objects.get()
    return lead


def test_an_old_row_is_adopted_by_its_first_transition(unadopted: Lead) -> None:
    """First an event that says what it was, then the move."""
    unadopted.chill()
    unadopted.save()

    assert trail(unadopted) == ["adopted >warm", "moved warm>cold"]
    assert_whole(unadopted)


def test_an_old_row_is_not_adopted_by_a_mere_save(unadopted: Lead) -> None:
    """Saving the note, or a facet, leaves it outside the log."""
    unadopted.note = "x"
    unadopted.channel = "phone"
    unadopted.save()

    assert Lead.objects.get().stock_lifecycle is None
    assert Lead.objects.get().channel == "phone"
    assert not Event.objects.exists()


def test_two_adopters_conflict(unadopted: Lead) -> None:
    """The second one would begin a second history."""
    other = Lead.objects.get()
    other.chill()
    other.save()
    unadopted.chill()
    with pytest.raises(ConcurrentTransition, match="adopted by another writer"):
        unadopted.save()

    assert_whole(other)


@pytest.mark.parametrize("by_django", [False, True])
def test_a_lifecycle_that_came_behind_the_log_stays(
    unadopted: Lead, by_django: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As raw SQL may give one to a row that still has no version."""
    monkeypatch.setattr(Lead._meta, "select_on_save", by_django)
    lifecycle = uuid4()
    with fence_down(operations=["update"]):
        QuerySet(Lead).update(stock_lifecycle=lifecycle)
    unadopted.chill()
    with (
        pytest.raises(ConcurrentTransition, match="adopted by another writer"),
        transaction.atomic(),
    ):
        unadopted.save()

    assert Lead.objects.get().stock_lifecycle == lifecycle
    assert not Event.objects.exists()


def test_an_old_row_that_is_deleted_leaves_no_event(unadopted: Lead) -> None:
    """What never was in the log does not leave it."""
    unadopted.delete()

    assert not Event.objects.exists()


def test_an_adoption_that_was_rolled_back_is_written_again(unadopted: Lead) -> None:
    """As any other save."""
    with transaction.atomic():
        unadopted.chill()
        unadopted.save()
        transaction.set_rollback(True)
    unadopted.save()

    assert trail(unadopted) == ["adopted >warm", "moved warm>cold"]
    assert_whole(unadopted)


def test_a_proxy_and_siblings_keep_their_logs_apart() -> None:
    """A proxy shares its parent's table, siblings of an abstract base share nothing."""
    hot, lamp, radio = (
        HotLead.objects.create(),
        Lamp.objects.create(),
        Radio.objects.create(code="r"),
    )
    for each in (hot, lamp, radio):
        assert_whole(each)
    lamp.switch_off()
    lamp.save()

    assert last_event(hot).model == "crm.hotlead"
    assert (trail(lamp)[1:], trail(radio)[1:]) == (["moved on>off"], [])
    assert (list(timers_of(lamp)), list(timers_of(radio))) == ([], ["phase"])


def test_a_child_loaded_as_its_parent_moves_in_the_same_log() -> None:
    """One object, one log, whatever class it is loaded as."""
    big = BigLead.objects.create()
    lead = Lead.objects.get()
    lead.cool()
    lead.save()
    big.refresh_from_db()

    assert trail(big, "temperature") == ["entered >hot", "moved hot>warm"]
    assert {event.model for event in events_of(big.stock_lifecycle)} == {"crm.biglead"}
    assert_whole(big)


@pytest.mark.parametrize("names", [["stage"], ["temperature"], ["budget"], ["channel"]])
def test_update_fields_of_a_child(names: list[str]) -> None:
    """Each table is written where it is named, the version wherever there is an event."""
    big = BigLead.objects.create(budget=1)
    big.offer()
    big.cool()
    big.budget, big.channel = 2, "phone"
    big.save(update_fields=names)

    assert_whole(BigLead.objects.get())
    big.save()
    assert_whole(big)


@pytest.mark.parametrize(
    "names", [["temperature"], ["stock_version"], ["stock_lifecycle", "channel"]]
)
@pytest.mark.parametrize("how", ["defer", "only"])
def test_a_transition_of_a_deferred_instance(how: str, names: list[str]) -> None:
    """What is missing is loaded, all that belongs together at once."""
    Lead.objects.create()
    lead = getattr(Lead.objects, how)(*names).get()
    lead.cool()
    lead.save()

    assert trail(lead)[1:] == ["moved hot>warm"]
    assert_whole(Lead.objects.get())


def test_a_deferred_instance_saved_for_its_note() -> None:
    """Nothing else is written."""
    Lead.objects.create()
    lead = Lead.objects.only("note").get()
    lead.note = "x"
    lead.save()

    assert Lead.objects.get().note == "x"
    assert_whole(Lead.objects.get())


def test_get_or_create_and_update_or_create() -> None:
    """Both go through save()."""
    lead, _ = Lead.objects.get_or_create(note="x")
    same, created = Lead.objects.update_or_create(note="x", defaults={"channel": "phone"})

    assert not created
    assert trail(same) == ["entered >hot", "reclassified hot>hot"]
    assert_whole(same)
    with pytest.raises(AttributeError, match="call a transition"):
        Lead.objects.update_or_create(note="x", defaults={"temperature": "won"})
    assert lead.pk == same.pk


def test_select_for_update() -> None:
    """A locked instance moves as any other."""
    Lead.objects.create()
    with transaction.atomic():
        lead = Lead.objects.select_for_update().get()
        lead.cool()
        lead.save()

    assert_whole(lead)


def test_a_refused_object_leaves_the_transaction_usable() -> None:
    """Nothing was written, so nothing must be rolled back."""
    with transaction.atomic():
        with pytest.raises(UnknownState):
            Lead(temperature="luke").save()
        Lead.objects.create()

    assert Lead.objects.count() == 1


@pytest.mark.parametrize("names", [["temperature"], ["temperature", "channel"], ["stock_version"]])
def test_update_refuses_what_needs_an_event(names: list[str]) -> None:
    """queryset.update() of a state, a facet or a version is refused with what to call instead."""
    with pytest.raises(IntegrityError, match=r"^stockflow: update\(\) of crm.Lead would change"):
        Lead.objects.update(**dict.fromkeys(names, "1"))


@pytest.mark.parametrize("name", ["owner", "owner_id"])
def test_update_refuses_a_foreign_key_facet(name: str) -> None:
    """Under both of its names."""
    with pytest.raises(IntegrityError, match=f"would change {name} without an event"):
        Lead.objects.update(**{name: None})


def test_update_of_other_columns_is_welcome() -> None:
    """It changes no stock."""
    lead = Lead.objects.create()
    Lead.objects.update(note="x")
    lead.note = "y"
    Lead.objects.bulk_update([lead], ["note"])

    assert Lead.objects.get().note == "y"


def test_bulk_operations_are_refused() -> None:
    """They write rows without events."""
    lead = Lead.objects.create()
    with pytest.raises(IntegrityError, match=r"stockflow: bulk_update\(\) .* temperature"):
        Lead.objects.bulk_update([lead], ["temperature"])
    with pytest.raises(NotSupportedError, match=r"stockflow: bulk_create\(\) .* ignore_conflicts"):
        Lead.objects.bulk_create([Lead()], ignore_conflicts=True)
    with pytest.raises(NotSupportedError, match="update_conflicts"):
        HotLead.objects.bulk_create([HotLead()], update_conflicts=True)


def test_a_facet_changed_after_a_new_object_s_transition() -> None:
    """All before the first save: opened, moved, reclassified."""
    lead = Lead()
    lead.cool()
    lead.channel = "phone"
    lead.save()

    assert trail(lead) == ["entered >hot", "moved hot>warm", "reclassified warm>warm"]
    assert_whole(lead)


def test_a_delay_that_cannot_be_told_leaves_the_state() -> None:
    """The transition fails as a whole, in memory too."""
    order = Order.objects.create()
    order.deadline = "soon"
    with pytest.raises(StockflowError, match="gave 'soon'"):
        order.wait_again()
    order.deadline = None
    order.save()

    assert order.delivery == "waiting"
    assert_whole(order)


def test_a_state_set_outside_of_a_transition_by_code_is_not_recorded() -> None:
    """``set_state`` is django-fsm's own; what it sets in memory no save writes."""
    ticket = Ticket.objects.create()
    ticket._meta.get_field("state").set_state(ticket, "open")
    ticket.save()

    assert Ticket.objects.get().state == "new"
    assert trail(ticket) == ["entered >new"]


def test_very_many_events_are_saved_at_once() -> None:
    """More than one statement of either database takes."""
    pulse = Pulse.objects.create()
    for _ in range(900):
        pulse.rise()
        pulse.fall()
    pulse.save()

    assert len(trail(pulse)) == 1801
    assert_whole(pulse)
