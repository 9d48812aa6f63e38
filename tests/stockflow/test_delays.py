"""Delays: by fields, calendars and zones; postponed, cancelled, kept, skipped and parked."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stockflow import context
from stockflow.domain.errors import InvalidInstant, StockflowError, UnknownTransition
from stockflow.errors import ConcurrentTransition
from stockflow.models import ScheduledTransition
from stockflow.scheduling import parking
from stockflow.testing import Clock, run_due
from tests.crm.models import Lead, Loop, Order, Trial
from tests.stockflow.reading import assert_whole, last_event, timers_of, trail

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def data_of(instance: Any) -> dict[str, Any]:
    """Return what the last event says of the schedule."""
    payload = json.loads(bytes(last_event(instance).payload or b"{}"))
    found: dict[str, Any] = payload["data"]["stockflow.schedule"]
    return found


def test_a_field_says_how_long(time: Clock) -> None:
    """A whole number of the unit that ends its name."""
    trial = Trial.objects.create(trial_days=3)

    assert trial.state_due_at == time.at + 3 * DAY
    assert timers_of(trial)["state"].transition == "end"


def test_a_field_s_new_value_moves_the_due_instant(time: Clock) -> None:
    """Counted from the entry of the state, with an event that moves nobody."""
    trial, start = Trial.objects.create(trial_days=3), time.at
    time.advance(DAY)
    trial.trial_days = 10
    trial.save()

    assert trial.state_due_at == start + 10 * DAY
    assert trail(trial)[1:] == ["reclassified trying>trying"]
    assert data_of(trial)["due"] == {"end": (start + 10 * DAY).isoformat()}
    assert_whole(trial)
    time.move_to(start + 9 * DAY)
    assert run_due() == 0
    time.move_to(start + 10 * DAY)
    assert run_due() == 1


def test_a_field_that_is_an_instant(time: Clock) -> None:
    """The due instant itself; without one, never."""
    trial = Trial.objects.create(ends_at=time.at + 5 * DAY)
    trial.pay()
    trial.save()
    trial.ends_at = None
    trial.save()

    assert trial.state_due_at is None
    assert timers_of(trial) == {}
    trial.ends_at = time.at + 2 * DAY
    trial.save(update_fields=["ends_at"])
    assert trial.state_due_at == time.at + 2 * DAY
    assert_whole(trial)


def test_a_field_moved_to_the_past_is_due_at_once(time: Clock) -> None:
    """Nothing is dated before it was known."""
    trial = Trial.objects.create(trial_days=20)
    time.advance(10 * DAY)
    trial.trial_days = 1
    trial.save()

    assert trial.state_due_at == time.at
    assert run_due() == 1
    trial.refresh_from_db()
    assert trial.state_since == time.at


def test_a_stale_instance_moves_no_due_instant(time: Clock) -> None:
    """Saved for its other fields it restores nothing, saved for this one it is too late."""
    trial = Trial.objects.create(trial_days=3)
    stale = Trial.objects.get()
    trial.trial_days = 10
    trial.save()
    stale.ready = False
    stale.save(update_fields=["ready"])
    stale.trial_days = 5
    with pytest.raises(ConcurrentTransition):
        stale.save()

    assert Trial.objects.get().state_due_at == time.at + 10 * DAY


def test_the_same_value_is_no_event() -> None:
    """Nothing moved, nothing to tell."""
    trial = Trial.objects.create(trial_days=3)
    trial.trial_days = 3
    trial.save()

    assert trail(trial) == ["entered >trying"]


def test_a_calendar_of_one_s_own(time: Clock) -> None:
    """Five working days after a Tuesday are the next Tuesday; its condition decides on drop."""
    trial = Trial.objects.create(trial_days=0, ready=False)
    time.advance(6 * DAY)
    run_due()
    trial.refresh_from_db()

    assert trial.state_due_at == datetime(2026, 3, 10, tzinfo=UTC)
    time.advance(DAY)
    run_due()
    trial.refresh_from_db()
    assert (trial.state, trial.state_since) == ("archived", datetime(2026, 3, 10, tzinfo=UTC))


def test_a_decay_is_skipped_where_its_condition_is_false(time: Clock) -> None:
    """It does not happen in this stay: an event says so, and the next decay is the earliest."""
    trial = Trial.objects.create(trial_days=0, ready=False)
    time.advance(2 * DAY)
    fired = run_due()
    trial.refresh_from_db()

    assert fired == 1
    assert trail(trial)[1:] == ["moved trying>over", "reclassified over>over"]
    assert data_of(trial) == {"change": "skipped", "due": {"drop": None}}
    assert timers_of(trial)["state"].transition == "archive"
    assert_whole(trial)


def test_a_call_skips_as_the_schedule_does(time: Clock) -> None:
    """The outcome depends on no worker."""
    trial = Trial.objects.create(trial_days=0, ready=False)
    time.advance(2 * DAY)
    trial.pay()
    trial.save()

    assert trail(trial)[1:] == ["moved trying>over", "reclassified over>over", "moved over>paid"]
    assert_whole(trial)


def test_a_decay_is_parked_where_its_condition_is_false(time: Clock) -> None:
    """A person releases it."""
    trial = Trial.objects.create(pause=DAY, ready=False)
    time.advance(2 * DAY)
    with pytest.raises(AssertionError, match="Its conditions were false when it was due"):
        run_due()
    Trial.objects.update(ready=True)
    assert run_due() == 0
    assert parking.release(ScheduledTransition.objects.all()) == 1
    assert run_due() == 1
    assert trail(trial)[1:] == ["moved trying>nudged", "moved nudged>called"]


def test_a_decay_that_is_too_late_is_left_to_a_person(time: Clock) -> None:
    """By the schedule and by a call alike; released it happens, at its due instant."""
    trial, start = Trial.objects.create(pause=DAY), time.at
    time.move_to(start + 2 * DAY)
    run_due(start + DAY)
    time.move_to(start + 4 * DAY + timedelta(microseconds=1))
    with pytest.raises(AssertionError, match="later than its max_lateness"):
        run_due()
    parking.release(ScheduledTransition.objects.all())
    run_due()
    trial.refresh_from_db()

    assert (trial.state, trial.state_since) == ("called", start + 2 * DAY)
    assert_whole(trial)


def test_a_call_does_not_settle_what_is_too_late(time: Clock) -> None:
    """Else the outcome would depend on who was first."""
    trial = Trial.objects.create(pause=DAY)
    time.advance(DAY)
    run_due()
    time.advance(10 * DAY)
    trial.refresh_from_db()
    trial.pay()
    trial.save()

    assert trail(trial)[1:] == ["moved trying>nudged", "moved nudged>paid"]


@pytest.mark.parametrize(
    ("since", "due"),
    [
        pytest.param("2026-02-15T12:00", "2026-03-15T12:00", id="no-change"),
        pytest.param("2026-03-15T12:00", "2026-04-15T11:00", id="spring"),
        pytest.param("2026-10-15T12:00", "2026-11-15T13:00", id="autumn"),
        pytest.param("2026-01-31T12:00", "2026-02-28T12:00", id="month-end"),
        pytest.param("2026-01-30T23:30", "2026-02-27T23:30", id="month-end-by-the-wall-clock"),
        pytest.param("2026-02-28T01:30", "2026-03-28T01:30", id="before-the-gap"),
        pytest.param("2026-09-25T00:30", "2026-10-25T00:30", id="the-hour-that-comes-twice"),
    ],
)
def test_a_calendar_delay_in_a_zone(since: str, due: str, time: Clock) -> None:
    """Berlin's wall clock says the same a month later, whatever its clocks did between."""
    at = datetime.fromisoformat(since).replace(tzinfo=UTC)
    time.move_to(at)
    trial = Trial.objects.create()
    trial.put("dropped")
    trial.save()

    assert trial.state_due_at == datetime.fromisoformat(due).replace(tzinfo=UTC)


def test_a_decay_is_postponed(time: Clock) -> None:
    """With an event that says who and why; at the new instant it happens."""
    lead, start = Lead.objects.create(), time.at
    with context(actor="ada", reason="on leave"):
        lead.postpone_decay("cool", to=start + 20 * DAY)
    lead.save()
    event = last_event(lead)

    assert (event.kind, event.actor, event.reason) == ("reclassified", "ada", "on leave")
    assert data_of(lead)["due"] == {"cool": (start + 20 * DAY).isoformat()}
    assert_whole(lead)
    time.move_to(start + 19 * DAY)
    assert run_due() == 0
    time.move_to(start + 20 * DAY)
    assert run_due() == 1
    lead.refresh_from_db()
    assert lead.temperature_since == start + 20 * DAY


def test_a_postponed_decay_lets_another_be_the_earliest(time: Clock) -> None:
    """And when that is cancelled, it is the earliest again."""
    order = Order.objects.create(deadline=time.at + 10 * DAY)
    order.postpone_decay("delay", to=time.at + 120 * DAY)
    order.save()
    first = timers_of(order)["delivery"].transition
    order = Order.objects.get()
    order.cancel_decay("cancel")
    order.save()

    assert (first, timers_of(order)["delivery"].transition) == ("cancel", "delay")
    assert order.delivery_due_at == time.at + 120 * DAY
    assert_whole(order)
    time.advance(200 * DAY)
    run_due()
    order.refresh_from_db()
    assert order.delivery == "late"


def test_a_cancelled_decay_does_not_happen(time: Clock) -> None:
    """Until the state is entered anew."""
    lead = Lead.objects.create()
    lead.cancel_decay("cool")
    lead.save()

    assert timers_of(lead) == {}
    assert_whole(lead)
    time.advance(100 * DAY)
    assert run_due() == 0
    lead.touch()
    lead.save()
    assert timers_of(lead)["temperature"].transition == "cool"


def test_what_was_due_before_is_not_postponed(time: Clock) -> None:
    """It happened."""
    lead = Lead.objects.create()
    time.advance(8 * DAY)

    with pytest.raises(UnknownTransition, match=r"No decay 'cool' leaves .*it has: 'chill'"):
        lead.postpone_decay("cool", to=time.at + DAY)


def test_nothing_is_postponed_to_the_past(time: Clock) -> None:
    """The error says what to do."""
    with pytest.raises(InvalidInstant, match="call the transition, or give a later instant"):
        Lead.objects.create().postpone_decay("cool", to=time.at)


def test_a_transition_to_itself_restarts_the_clock_or_not(time: Clock) -> None:
    """As declared; what it keeps it keeps when the field changes nothing."""
    trial, start = Trial.objects.create(trial_days=10), time.at
    time.advance(4 * DAY)
    trial.look()
    trial.save()
    kept = trial.state_due_at
    assert_whole(trial)
    trial.extend()
    trial.save()

    assert (kept, trial.state_due_at) == (start + 10 * DAY, start + 14 * DAY)
    assert timers_of(trial)["state"].transition == "end"
    assert_whole(trial)


def test_what_is_cancelled_stays_so_where_the_clock_is_kept(time: Clock) -> None:
    """A transition that leaves the clock as it is forgets no decay that was called off."""
    trial, start = Trial.objects.create(trial_days=5, pause=20 * DAY), time.at
    trial.cancel_decay("end")
    trial.save()
    for _ in range(2):
        trial.look()
        trial.save()
    assert data_of(trial)["still"] == {"end": "cancelled"}
    trial.trial_days = 3
    trial.save()

    assert (trial.state_due_at, timers_of(trial)["state"].transition) == (start + 20 * DAY, "nudge")
    assert_whole(trial)


def test_where_all_is_cancelled_a_kept_clock_says_so(time: Clock) -> None:
    """Nothing is due, before and after; unsaved and loaded anew."""
    trial = Trial.objects.create(trial_days=5, pause=20 * DAY)
    trial.cancel_decay("end")
    trial.cancel_decay("nudge")
    trial.look()
    trial.save()
    trial = Trial.objects.get()
    trial.look()
    trial.trial_days, trial.pause = 3, DAY
    trial.save()

    assert (trial.state_due_at, timers_of(trial)) == (None, {})
    assert data_of(trial)["still"] == {"end": "cancelled", "nudge": "cancelled"}
    assert_whole(trial)


def test_what_never_comes_may_come_after_the_clock_was_kept(time: Clock) -> None:
    """None in its field is no word of a person; the other decay is cancelled."""
    trial, start = Trial.objects.create(trial_days=None, pause=20 * DAY), time.at
    trial.cancel_decay("nudge")
    trial.save()
    trial.look()
    trial.save()
    for days in (3, 60):
        trial.trial_days = days
        trial.save()
        assert trial.state_due_at == start + days * DAY
        assert timers_of(trial)["state"].transition == "end"


def test_a_field_counts_from_where_the_kept_clock_began(time: Clock) -> None:
    """Not from the last transition of the state to itself."""
    trial, start = Trial.objects.create(trial_days=10), time.at
    for _ in range(2):
        time.advance(2 * DAY)
        trial.look()
        trial.save()
    trial.trial_days = 12
    trial.save()

    assert trial.state_due_at == start + 12 * DAY
    assert_whole(trial)


@pytest.mark.parametrize(
    ("days", "state"), [(6, "hot"), (7, "warm"), (36, "warm"), (37, "cold"), (400, "cold")]
)
def test_the_effective_state(days: int, state: str, time: Clock) -> None:
    """What it is once settled: nothing is written, and the schedule comes to the same."""
    lead, start = Lead.objects.create(), time.at
    time.move_to(start + days * DAY)

    assert lead.effective_state() == lead.effective_state(at=start + days * DAY) == state
    assert (lead.temperature, trail(lead)) == ("hot", ["entered >hot"])
    run_due()
    lead.refresh_from_db()
    assert lead.temperature == state


@pytest.mark.parametrize(("days", "state"), [(0, "over"), (6, "over"), (7, "archived")])
def test_the_effective_state_where_a_decay_is_skipped(days: int, state: str, time: Clock) -> None:
    """The next decay of the state has its turn: foreseen from the state before, and in it."""
    trial, start = Trial.objects.create(trial_days=0, ready=False), time.at
    time.move_to(start + days * DAY)
    before = trial.effective_state()
    time.move_to(start)
    run_due()
    trial.refresh_from_db()
    entered = trial.state, trial.effective_state(at=start + days * DAY)
    time.move_to(start + days * DAY)
    run_due()
    trial.refresh_from_db()

    assert (before, entered, trial.state) == (state, ("over", state), state)


def test_the_effective_state_where_a_decay_is_postponed_and_another_skipped(time: Clock) -> None:
    """What was said of the others counts."""
    trial, start = Trial.objects.create(trial_days=0, ready=False), time.at
    run_due()
    trial.refresh_from_db()
    trial.postpone_decay("archive", to=start + 20 * DAY)
    trial.save()

    assert trial.effective_state(at=start + 19 * DAY) == "over"
    assert trial.effective_state(at=start + 20 * DAY) == "archived"


def test_the_effective_state_where_a_decay_is_too_late(time: Clock) -> None:
    """It waits for a person, so it stays where it is; once released it happens."""
    trial = Trial.objects.create(pause=DAY)
    time.advance(DAY)
    run_due()
    trial.refresh_from_db()
    ahead = trial.effective_state(at=time.at + 10 * DAY)
    time.advance(10 * DAY)
    late = trial.effective_state()
    with pytest.raises(AssertionError, match="later than its max_lateness"):
        run_due()
    parking.release(ScheduledTransition.objects.all())

    assert (ahead, late, trial.effective_state()) == ("called", "nudged", "called")


def test_the_effective_state_of_one_of_several_fields(time: Clock) -> None:
    """It must be named; the past and a loop are refused."""
    order = Order.objects.create()
    with pytest.raises(StockflowError, match="say which"):
        order.effective_state()
    with pytest.raises(InvalidInstant, match="tells the past"):
        order.effective_state("payment", at=time.at - DAY)
    with pytest.raises(StockflowError, match="loop without delay"):
        Loop.objects.create().effective_state()

    assert order.effective_state("payment", at=time.at + 3 * DAY) == "overdue"
