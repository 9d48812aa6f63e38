"""Decay: timers, settling in memory, chains, and whose outcome depends on no worker."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from stockflow import context
from stockflow.domain.errors import InvalidDelay, LateEntry, StockflowError
from stockflow.models import ScheduledTransition
from stockflow.moments import SCHEDULE
from stockflow.scheduling.decays import fire_due
from stockflow.testing import Clock
from tests.crm.models import BigLead, Chain, Lead, Loop, Order, Pulse, Trial
from tests.fence.down import fence_down
from tests.stockflow.reading import assert_whole, events_of, last_event, micros, timers_of, trail

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def fire(until: datetime | None = None, **options: Any) -> int:
    """Run the schedule; how many decays happened."""
    return sum(chunk.fired for chunk in fire_due(until, **options))


def test_entering_starts_a_timer(time: Clock) -> None:
    """One row names the decay, its due instant and the version that entered."""
    lead = Lead.objects.create()
    timer = timers_of(lead)["temperature"]

    assert (timer.model, timer.transition, timer.version) == ("crm.lead", "cool", 1)
    assert timer.due_at == micros(time.at + 7 * DAY)


def test_moving_on_replaces_the_timer() -> None:
    """One row per object and field."""
    lead = Lead.objects.create()
    lead.cool()
    lead.save()
    timer = timers_of(lead)["temperature"]

    assert (timer.transition, timer.version) == ("chill", 2)
    assert_whole(lead)


def test_leaving_ends_the_timer() -> None:
    """What is won does not cool."""
    lead = Lead.objects.create()
    lead.win(1)
    lead.save()

    assert timers_of(lead) == {}
    assert lead.temperature_due_at is None


def test_a_facet_change_leaves_the_timer() -> None:
    """The clock runs on."""
    lead = Lead.objects.create()
    lead.channel = "phone"
    lead.save()

    assert timers_of(lead)["temperature"].version == 1
    assert_whole(lead)


def test_reentry_restarts_the_clock(time: Clock) -> None:
    """From the new entry on."""
    lead = Lead.objects.create()
    time.advance(5 * DAY)
    lead.cool()
    lead.rekindle()
    lead.save()
    time.advance(5 * DAY)

    assert fire() == 0
    time.advance(2 * DAY)
    assert fire() == 1


def test_nothing_fires_before_it_is_due(time: Clock) -> None:
    """Not a microsecond early; at the instant itself it does."""
    lead = Lead.objects.create()
    time.advance(7 * DAY - timedelta(microseconds=1))
    early = fire()
    time.advance(timedelta(microseconds=1))

    assert (early, fire()) == (0, 1)
    assert trail(lead)[1:] == ["moved hot>warm"]


def test_a_decay_is_dated_at_its_due_instant(time: Clock) -> None:
    """However late the worker."""
    lead = Lead.objects.create()
    due = time.at + 7 * DAY
    time.advance(20 * DAY)
    fire()
    lead.refresh_from_db()
    event = last_event(lead)

    assert (event.occurred_at, event.transition, event.actor) == (micros(due), "cool", SCHEDULE)
    assert lead.temperature_since == due
    assert_whole(lead)


def test_a_chain_after_downtime_does_not_drift(time: Clock) -> None:
    """Each step counts from the one before, not from now."""
    lead = Lead.objects.create()
    start = time.at
    time.advance(100 * DAY)
    fire()
    lead.refresh_from_db()

    assert [e.occurred_at for e in events_of(lead.stock_lifecycle)] == [
        micros(start + days * DAY) for days in (0, 7, 37)
    ]
    assert_whole(lead)


@pytest.mark.parametrize("speed", [1, 3, 10, 200])
def test_the_outcome_depends_on_no_worker(speed: int, time: Clock) -> None:
    """Run daily, rarely or never before the last call: the same history."""
    lead = Lead.objects.create()
    start = time.at
    for day in range(1, 51):
        time.move_to(start + day * DAY)
        if day % speed == 0:
            fire()
        if day in {10, 45}:
            lead = Lead.objects.get()
            lead.rekindle()
            lead.save()
    lead = Lead.objects.get()

    assert [(e.target, ((e.occurred_at or 0) - micros(start)) // 86_400_000_000) for e in
            events_of(lead.stock_lifecycle)] == [
        ("hot", 0), ("warm", 7), ("hot", 10), ("warm", 17), ("hot", 45),
    ]  # fmt: skip
    assert_whole(lead)


def test_a_called_transition_settles_first(time: Clock) -> None:
    """What was overdue happened before what is called now."""
    lead = Lead.objects.create()
    time.advance(40 * DAY)
    lead.rekindle()
    lead.save()

    assert trail(lead)[1:] == ["moved hot>warm", "moved warm>cold", "moved cold>hot"]
    assert [e.actor for e in events_of(lead.stock_lifecycle)] == ["", SCHEDULE, SCHEDULE, ""]
    assert_whole(lead)


def test_a_settled_decay_bears_nobody_s_name(time: Clock) -> None:
    """The one who happened to touch the object did not do it."""
    lead = Lead.objects.create()
    time.advance(8 * DAY)
    with context(actor="ada", reason="r"):
        lead.win(1)
    lead.save()

    assert [(e.actor, e.reason) for e in events_of(lead.stock_lifecycle)[1:]] == [
        (SCHEDULE, ""),
        ("ada", "r"),
    ]


def test_a_transition_that_is_refused_after_settling_keeps_the_decay(time: Clock) -> None:
    """The decay is a fact, whatever becomes of the call."""
    from django_fsm import TransitionNotAllowed

    lead = Lead.objects.create()
    time.advance(8 * DAY)
    with pytest.raises(TransitionNotAllowed):
        lead.ping()
    lead.save()

    assert trail(lead)[1:] == ["moved hot>warm"]
    assert_whole(lead)


def test_at_exactly_a_due_instant_the_called_transition_wins(time: Clock) -> None:
    """With at= and without."""
    due = time.at + 7 * DAY
    first, second = Lead.objects.create(), Lead.objects.create()
    time.move_to(due)
    first.win(1)
    first.save()
    time.advance(DAY)
    with context(at=due):
        second.win(1)
        second.save()

    assert trail(first)[1:] == trail(second)[1:] == ["moved hot>won"]


def test_at_settles_what_fell_due_before_that_instant_only(time: Clock) -> None:
    """A late entry on day 8 settles day 7, not day 37."""
    lead = Lead.objects.create()
    start = time.at
    time.advance(100 * DAY)
    with context(at=start + 8 * DAY):
        lead.rekindle()
        lead.save()

    assert trail(lead)[1:] == ["moved hot>warm", "moved warm>hot"]
    assert lead.temperature_due_at == start + 15 * DAY
    assert_whole(lead)


@pytest.mark.parametrize("days", [6, 7])
def test_a_late_entry_cannot_undo_a_recorded_decay(days: int, time: Clock) -> None:
    """At or before its instant: refused with an error that names it."""
    lead = Lead.objects.create()
    start = time.at
    time.advance(10 * DAY)
    fire()
    lead.refresh_from_db()
    with (
        pytest.raises(LateEntry, match="the decay 'cool' was recorded at 2026-03-10T00:00:00"),
        context(at=start + days * DAY),
    ):
        lead.rekindle()

    assert trail(lead)[1:] == ["moved hot>warm"]


def test_a_stale_instance_loses_to_the_schedule(time: Clock) -> None:
    """The worker was first: the caller loads again."""
    from stockflow.errors import ConcurrentTransition

    lead = Lead.objects.create()
    time.advance(8 * DAY)
    fire()
    lead.win(1)
    with pytest.raises(ConcurrentTransition):
        lead.save()


def test_a_calendar_delay_counts_months(time: Clock) -> None:
    """31 January and one month is the last of February."""
    time.move_to(datetime(2026, 1, 29, tzinfo=UTC))
    order = Order.objects.create(grace=2 * DAY)
    time.move_to(datetime(2026, 6, 1, tzinfo=UTC))
    fire()
    order.refresh_from_db()

    assert order.payment == "written_off"
    assert order.payment_since == datetime(2026, 2, 28, tzinfo=UTC)


def test_a_computed_delay_and_a_computed_instant(time: Clock) -> None:
    """A function of the instance: a length, an instant, or None for never."""
    deadline = time.at + 5 * DAY
    order = Order.objects.create(grace=3 * DAY, deadline=deadline)
    never = Order.objects.create()

    assert order.payment_due_at == time.at + 3 * DAY
    assert (order.delivery_due_at, timers_of(order)["delivery"].transition) == (deadline, "delay")
    assert timers_of(never)["delivery"].transition == "cancel"


def test_a_deadline_already_past_is_due_at_once(time: Clock) -> None:
    """Never before the state was entered."""
    order = Order.objects.create(deadline=time.at - DAY)
    fire()
    order.refresh_from_db()

    assert (order.delivery, order.delivery_since) == ("late", time.at)
    assert_whole(order)


def test_a_delay_that_is_no_delay_is_refused(time: Clock) -> None:
    """Nothing is written, and the text says what to give."""
    with pytest.raises(InvalidDelay, match=r"The delay of 'delay' from 'waiting' gave .*timedelta"):
        Order.objects.create(deadline=datetime(2026, 5, 1))

    assert not Order.objects.exists()


@pytest.mark.parametrize("days", [10**9, 4_000_000])
def test_a_delay_that_no_calendar_reaches_is_refused(days: int) -> None:
    """Nothing is written, and the text says what to give."""
    with pytest.raises(InvalidDelay, match=r"The delay of 'end' from 'trying', .*a shorter one"):
        Trial.objects.create(trial_days=days)

    assert not Trial.objects.exists()


def test_the_earliest_of_several_decays_wins(time: Clock) -> None:
    """The others are forgotten with the state."""
    order = Order.objects.create(grace=400 * DAY, deadline=time.at + 10 * DAY)
    time.advance(200 * DAY)
    fire()
    order.refresh_from_db()

    assert order.delivery == "late"
    assert list(timers_of(order)) == ["payment"]
    assert_whole(order)


def test_a_delay_that_changed_since_does_not_move_the_timer(time: Clock) -> None:
    """What was due when the state was entered stays due then."""
    order = Order.objects.create(grace=2 * DAY)
    due = order.payment_due_at
    order.grace = 50 * DAY
    order.save()
    time.advance(3 * DAY)
    fire()
    order.refresh_from_db()

    assert (order.payment, order.payment_since) == ("overdue", due)


def test_two_fields_settle_in_due_order(time: Clock) -> None:
    """One object's decays of different fields never go back in time."""
    order = Order.objects.create(grace=2 * DAY, deadline=time.at + DAY)
    time.advance(60 * DAY)
    order.send()
    order.save()

    assert [f"{e.transition}" for e in events_of(order.stock_lifecycle)[2:]] == [
        "delay",
        "dun",
        "write_off",
        "send",
    ]
    assert_whole(order)


def test_a_child_s_decays_fire(time: Clock) -> None:
    """In its own table and in its parent's."""
    big = BigLead.objects.create(budget=1)
    time.advance(10 * DAY)
    fire()
    big.refresh_from_db()

    assert (big.stage, big.temperature) == ("offered", "warm")
    assert_whole(big)


def test_the_timer_of_a_deleted_object_is_gone(time: Clock) -> None:
    """Nothing is left to fire."""
    Lead.objects.create().delete()
    time.advance(10 * DAY)

    assert not ScheduledTransition.objects.exists()
    assert fire() == 0


def test_deletion_settles_first(time: Clock) -> None:
    """What was due before it left happened before it left."""
    lead = Lead.objects.create()
    lifecycle = lead.stock_lifecycle
    time.advance(10 * DAY)
    lead.delete()
    events = events_of(lifecycle)

    assert [(e.kind, e.source, e.target) for e in events[1:]] == [
        ("moved", "hot", "warm"),
        ("left", "warm", None),
    ]


def test_a_second_run_does_nothing(time: Clock) -> None:
    """It may be repeated at will."""
    Lead.objects.create()
    time.advance(10 * DAY)

    assert (fire(), fire()) == (1, 0)


def test_until_is_inclusive_and_leaves_the_rest(time: Clock) -> None:
    """A chain stops where it is told to."""
    start = time.at
    lead = Lead.objects.create()
    time.advance(100 * DAY)
    fire(start + 7 * DAY)
    first = trail(lead)[1:]
    fire(start + 37 * DAY - timedelta(microseconds=1))

    assert first == trail(lead)[1:] == ["moved hot>warm"]
    assert fire(start + 37 * DAY) == 1


@pytest.mark.parametrize("size", [1, 2, 500])
def test_due_order_over_objects_and_chunks(size: int, time: Clock) -> None:
    """Events of many objects are written in the order of their due instants."""
    from stockflow.models import Event

    for hours in (5, 1, 3, 2, 4):
        with context(at=time.at - timedelta(hours=hours)):
            Lead.objects.create()
    time.advance(60 * DAY)
    fire(chunk_size=size)
    events = Event.objects.filter(actor=SCHEDULE).order_by("id")
    instants = [event.occurred_at or 0 for event in events]

    assert len(instants) == 10
    assert instants == sorted(instants)


def test_a_false_condition_holds_a_decay_back(time: Clock) -> None:
    """It stays overdue; when the condition is true it happens then, in order."""
    chain = Chain.objects.create(ready=False)
    time.advance(5 * DAY)
    held = fire()
    Chain.objects.update(ready=True)
    at_once = fire()
    time.advance(timedelta(minutes=1))
    fired = fire()
    chain.refresh_from_db()

    assert (held, at_once, fired) == (0, 0, 1)
    assert chain.state == "b"
    assert_whole(chain)


def test_a_held_decay_does_not_hold_up_a_call(time: Clock) -> None:
    """What is called happens, from the state that still is."""
    chain = Chain.objects.create(ready=False)
    time.advance(5 * DAY)
    chain.stop()
    chain.save()

    assert trail(chain)[1:] == ["moved a>stopped"]
    assert_whole(chain)


def test_a_failing_decay_holds_up_nobody_else(time: Clock) -> None:
    """It is retried, then parked with its error."""
    broken, good = Chain.objects.create(is_broken=True), Chain.objects.create()
    time.advance(5 * DAY)
    start, tried, fired = time.at, [], []
    for _ in range(100):
        before = timers_of(broken)["state"].attempts
        fired.append(fire())
        if timers_of(broken)["state"].attempts > before:
            tried.append((time.at - start) // timedelta(minutes=1))
        time.advance(timedelta(minutes=1))
    timer = timers_of(broken)["state"]

    assert tried == [0, 1, 5, 21, 85]
    assert sum(fired) == 1
    assert (timer.attempts, timer.error) == (5, "ValueError: broken")
    assert timer.parked_at == micros(start + timedelta(minutes=85))
    assert trail(broken) == ["entered >a"]
    good.refresh_from_db()
    assert_whole(good)


def test_a_parked_timer_starts_anew_with_its_state(time: Clock) -> None:
    """Entering a state again forgets the failures."""
    broken = Chain.objects.create(is_broken=True)
    time.advance(5 * DAY)
    for _ in range(5):
        fire()
        time.advance(DAY)
    broken.is_broken = False
    broken.restart()
    broken.save()
    time.advance(5 * DAY)

    assert fire() == 1


def test_a_failing_decay_fails_the_call_that_settles_it(time: Clock) -> None:
    """And leaves the instance able to try again."""
    broken = Chain.objects.create(is_broken=True)
    time.advance(5 * DAY)
    with pytest.raises(ValueError, match="broken"):
        broken.stop()
    broken.is_broken = False
    broken.stop()
    broken.save()

    assert trail(broken)[1:] == ["moved a>b", "moved b>stopped"]
    assert_whole(broken)


def test_a_loop_without_delay_is_refused(time: Clock) -> None:
    """A hundred decays at one instant are taken for a loop."""
    loop = Loop.objects.create()
    time.advance(DAY)
    with pytest.raises(StockflowError, match=r"more than 100 decays at .*loop without delay"):
        loop.stop()


def test_a_long_chain_with_delays_is_no_loop(time: Clock) -> None:
    """An object that nobody fired for six weeks is settled by a call, as the schedule would."""
    called, foreseen = Pulse.objects.create(), Pulse.objects.create()
    time.advance(42 * DAY + timedelta(minutes=30))
    state = foreseen.effective_state()
    called.stop()
    called.save()
    fire()
    foreseen.refresh_from_db()

    clocks = [entry.clock_version for entry in called.stock_history()[1:-1]]
    assert clocks == list(range(1, 42 * 24 + 1))
    assert trail(called)[-1] == "moved ebb>stopped"
    assert_whole(called)
    assert (foreseen.state, state) == ("ebb", "ebb")


def test_a_loop_without_delay_does_not_hang_the_schedule(time: Clock) -> None:
    """It is parked with its error, and the others fire."""
    loop, lead = Loop.objects.create(), Lead.objects.create()
    time.advance(8 * DAY)
    fire()
    timer = timers_of(loop)["state"]

    assert "loop without delay" in timer.error
    assert timer.parked_at == micros(time.at)
    assert trail(lead)[1:] == ["moved hot>warm"]
    assert fire() == 0


def test_an_unsaved_object_settles_nothing(time: Clock) -> None:
    """Its time begins with its first event."""
    lead = Lead()
    time.advance(100 * DAY)
    lead.cool()
    lead.save()

    assert trail(lead) == ["entered >hot", "moved hot>warm"]


def test_a_stray_timer_is_cleared(time: Clock) -> None:
    """A timer whose object is gone does no harm."""
    lead = Lead.objects.create()
    with fence_down(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM crm_lead")
    time.advance(8 * DAY)

    assert fire() == 0
    assert not ScheduledTransition.objects.filter(lifecycle=lead.stock_lifecycle).exists()


def test_a_timer_that_is_not_what_its_row_says_is_mended(time: Clock) -> None:
    """A row changed by SQL does not keep the schedule busy for ever."""
    lead = Lead.objects.create()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE crm_lead SET temperature_due_at = %s", [time.at + 30 * DAY])
    time.advance(10 * DAY)
    early = fire()
    time.advance(30 * DAY)

    assert (early, fire()) == (0, 1)
    assert trail(lead)[1:] == ["moved hot>warm"]


def test_a_timer_of_a_model_that_is_gone_is_told(time: Clock) -> None:
    """The others fire."""
    gone, lead = Lead.objects.create(), Lead.objects.create()
    ScheduledTransition.objects.filter(lifecycle=gone.stock_lifecycle).update(model="crm.gone")
    time.advance(8 * DAY)

    assert fire() == 1
    assert "gone" in timers_of(gone)["temperature"].error
    lead.refresh_from_db()
    assert_whole(lead)


def test_a_state_that_no_decay_leaves_any_more(
    time: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decay taken out of the code is an error that says what to do."""
    from stockflow import deferring

    lead = Lead.objects.create()
    monkeypatch.setattr(deferring, "due_decay", lambda *_: None)
    time.advance(8 * DAY)

    assert fire() == 0
    assert "no decay leaves 'hot' any more" in timers_of(lead)["temperature"].error
