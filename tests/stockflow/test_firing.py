"""Firing by SQL, from the rows, and by methods: three ways to the same history."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django_fsm.signals import post_transition, pre_transition

from stockflow import machines
from stockflow.models import Event, ScheduledTransition
from stockflow.scheduling import decays, uniform
from stockflow.scheduling.decays import fire_due, next_due
from stockflow.scheduling.setwise import Setwise
from stockflow.testing import Clock
from tests.crm.models import BigLead, Chain, Fading, Lamp, Lead, Loop, Order, Trial
from tests.stockflow.reading import assert_whole, micros, timers_of, trail

pytestmark = pytest.mark.django_db

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def fire(**options: Any) -> int:
    """Run the schedule; how many decays happened."""
    return sum(chunk.fired for chunk in fire_due(**options))


@pytest.fixture(name="way", params=["setwise", "uniform", "methods"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The way to fire; counts how often it was gone."""
    way: str = request.param
    gone: list[int] = []

    def counting(real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            gone.append(1)
            return real(*args, **kwargs)

        return counted

    if way == "setwise":
        monkeypatch.setattr(Setwise, "_append", counting(Setwise._append))
    else:
        monkeypatch.setattr(Setwise, "fire", lambda *_: set())
    if way == "uniform":
        monkeypatch.setattr(uniform, "fire", counting(uniform.fire))
    if way == "methods":
        monkeypatch.setattr(uniform, "is_uniform", lambda _: False)
        monkeypatch.setattr(decays, "_fire_objects", counting(decays._fire_objects))
    yield
    assert gone, f"{way} was not used"


@pytest.mark.usefixtures("way")
def test_a_plain_decay(time: Clock) -> None:
    """Event, row and timer say the same, at the due instant to the microsecond."""
    time.advance(timedelta(microseconds=123))
    lamps = [Lamp.objects.create(kind=kind) for kind in "ab"]
    time.advance(timedelta(microseconds=1000))
    lamps += [Lamp.objects.create()]
    due = [lamp.phase_due_at for lamp in lamps]
    time.advance(2 * HOUR)
    fired = fire(chunk_size=3)

    assert fired == 3
    for lamp, at in zip(lamps, due, strict=True):
        lamp.refresh_from_db()
        assert (lamp.phase, lamp.phase_since, lamp.phase_due_at) == ("off", at, None)
        assert lamp.stock_changed_at == at
        assert_whole(lamp)
    events = Event.objects.filter(kind="moved").values_list("occurred_at", flat=True)
    assert list(events.order_by("id")) == sorted(micros(at) for at in due)


@pytest.mark.usefixtures("way")
def test_rows_are_counted(time: Clock) -> None:
    """A row that is missed undoes its chunk; then each object is written by itself."""
    lamps = [Lamp.objects.create(kind=kind) for kind in "abc"]
    time.advance(2 * HOUR)
    missed: list[str] = []

    def miss(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith('UPDATE "crm_lamp"') and not missed:
            missed.append(sql)
            sql += " AND kind <> 'b'"
        return execute(sql, *rest)

    with connection.execute_wrapper(miss):
        fired = fire(chunk_size=3)

    assert (fired, len(missed)) == (3, 1)
    for lamp in lamps:
        lamp.refresh_from_db()
        assert_whole(lamp)


@pytest.mark.usefixtures("way")
def test_a_decay_starts_the_next_timer(time: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a chain each counts from the one before."""
    slow = {"tock": timedelta(days=1), "tick": timedelta(days=2)}
    machine = machines.machine_of(Loop, "state")
    rules = (replace(r, delay=slow.get(r.transition)) for r in machine.rules)
    slowed = replace(machine, rules=tuple(rules))
    known: dict[Any, Any] = {**machines._machines, (Loop, "state"): slowed}
    monkeypatch.setattr(machines, "_machines", known)
    loops, start = [Loop.objects.create() for _ in range(2)], time.at
    time.advance(timedelta(days=7))

    assert fire(chunk_size=2) == 10
    for loop in loops:
        loop.refresh_from_db()
        assert_whole(loop)
        assert loop.state_since == start + timedelta(days=7)
        assert timers_of(loop)["state"].transition == "tick"


def test_what_differs_is_left_to_its_method(time: Clock) -> None:
    """A timer that is not what its row says does not hold up those that are."""
    lamps = [Lamp.objects.create() for _ in range(3)]
    ScheduledTransition.objects.filter(lifecycle=lamps[0].stock_lifecycle).update(
        due_at=micros(time.at + timedelta(minutes=1))
    )
    time.advance(2 * HOUR)

    assert fire(chunk_size=3) + fire(chunk_size=3) == 3
    for lamp in lamps:
        lamp.refresh_from_db()
        assert_whole(lamp)


def test_one_poisoned_among_a_thousand(time: Clock) -> None:
    """It is parked in the end, and holds up none of the others."""
    chains = Chain.objects.bulk_create([Chain(is_broken=n == 500) for n in range(1000)])
    time.advance(timedelta(days=2))
    fired = [fire(), fire()]
    broken = chains[500]
    for _ in range(5):
        time.advance(timedelta(days=1))
        fire()

    assert fired == [999, 0]
    assert timers_of(broken)["state"].parked_at is not None
    assert trail(broken) == ["entered >a"]
    assert Chain.objects.filter(state="b").count() == 999


def test_when_to_look_again(time: Clock) -> None:
    """At the earliest due instant; at a later one where a decay is held back."""
    assert next_due() is None
    chain = Chain.objects.create(ready=False)
    Lead.objects.create()
    first = next_due()
    time.advance(timedelta(days=1))
    fire()

    assert first == chain.state_due_at
    assert next_due() == time.at + timedelta(minutes=1)


def test_a_decay_that_cannot_be_saved_is_not_counted(
    time: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its method ran, its row was refused: it failed like any other."""
    chain = Chain.objects.create()

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ValueError("not today")

    monkeypatch.setattr(Chain, "save", refuse)
    time.advance(timedelta(days=2))

    assert fire() == 0
    assert timers_of(chain)["state"].error == "ValueError: not today"
    assert trail(chain) == ["entered >a"]


def test_a_parent_s_decay_leaves_the_child_s_timer(time: Clock) -> None:
    """Fired as the parent that entered the state, which does not know the child's field."""
    big = BigLead.objects.create()
    big.postpone_decay("offer", to=time.at + 90 * DAY)
    big.save()
    time.advance(37 * DAY)
    fire()
    lead = Lead.objects.get()
    lead.rekindle()
    lead.save()
    time.advance(8 * DAY)

    assert fire(chunk_size=1) == 1
    assert {name: t.model for name, t in timers_of(big).items()} == {
        "stage": "crm.biglead",
        "temperature": "crm.lead",
    }
    time.advance(90 * DAY)
    fire()
    assert trail(big, "stage")[-1] == "moved draft>offered"


def lose(lead: Lead) -> None:
    """Move one object."""
    lead.lose()
    lead.save()


@pytest.mark.parametrize("is_called", [True, False], ids=["called", "schedule"])
@pytest.mark.parametrize(
    "move",
    [
        pytest.param(lambda: lose(Lead.objects.get()), id="method"),
        pytest.param(lambda: Lead.objects.transition("lose"), id="bulk"),
        pytest.param(lambda: Lead.objects.reclassify("temperature", {"warm": "won"}), id="states"),
    ],
)
def test_a_child_s_decay_after_the_object_was_moved_as_its_parent(
    move: Callable[[], Any], is_called: bool, time: Clock
) -> None:
    """It comes at the object's last instant, not before it, and its cause tells when it was due."""
    big = BigLead.objects.create()
    due_at, moved_at = time.at + DAY, time.at + 9 * DAY
    time.advance(9 * DAY)
    move()
    time.advance(DAY)
    if is_called:
        lose(BigLead.objects.get())
    else:
        assert fire() == 1

    big.refresh_from_db()
    (entry,) = (entry for entry in big.stock_history() if entry.transition == "offer")
    assert (entry.occurred_at, entry.due_at, entry.clock_version) == (moved_at, due_at, 2)
    assert fire() == 0
    assert not ScheduledTransition.objects.filter(field="stage").exists()
    assert_whole(big)


def test_a_timer_of_a_field_that_is_gone(time: Clock) -> None:
    """No class knows it: it is taken away once its object is looked at."""
    lead = Lead.objects.create()
    ScheduledTransition.objects.create(
        lifecycle=lead.stock_lifecycle, model="crm.lead", field="gone", version=1, due_at=0
    )
    time.advance(7 * DAY)
    fire()

    assert [*timers_of(lead)] == ["temperature"]


def test_what_is_set_aside_is_named(time: Clock) -> None:
    """It is the decay at hand, not the one before it in the chain."""
    trial = Trial.objects.create(pause=DAY, ready=False)
    time.advance(2 * DAY)
    (failure,) = (f for chunk in fire_due() for f in chunk.failures.values())

    assert (failure.transition, failure.lifecycle) == ("call", trial.stock_lifecycle)


def test_what_another_decay_moved_is_not_set_aside(
    time: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was held back in the stay before has a clock of its own in the next one."""
    rule = Order.delay._django_fsm.transitions["waiting"]  # type: ignore[attr-defined]
    monkeypatch.setattr(rule, "conditions", [lambda _: False])

    def wait_again(instance: Any, name: str, **_: Any) -> None:
        if name == "dun":
            instance.deadline = time.at + 5 * DAY
            instance.wait_again()

    order = Order.objects.create(deadline=time.at + DAY)
    time.advance(2 * DAY)
    post_transition.connect(wait_again, sender=Order)
    try:
        held = [timer for chunk in fire_due() for timer in chunk.held]
    finally:
        post_transition.disconnect(wait_again, sender=Order)

    assert trail(order, "delivery")[1:] == ["moved waiting>waiting"]
    assert timers_of(order)["delivery"].retry_at is None
    assert held == []


def test_several_decays_of_a_state_cost_no_statement_each(time: Clock) -> None:
    """Their timers, read under the lock, say which of them is due."""
    for _ in range(12):
        Order.objects.create(deadline=time.at + DAY)
    time.advance(DAY)
    with CaptureQueriesContext(connection) as one_chunk:
        fired = fire()

    assert fired == 12
    assert len(one_chunk) < 20


def kept_and_renewed(fading: Fading) -> None:
    """End the timer and start another one."""
    fading.keep()
    fading.save()
    fading.renew()
    fading.save()


@pytest.mark.parametrize(
    ("name", "act", "clocks"),
    [
        pytest.param("wither", Fading.save, [None, 1, 2, 3], id="saved"),
        pytest.param("age", kept_and_renewed, [None, 1, 1, 1, 4, 5], id="timed-anew"),
    ],
)
def test_a_method_that_saves_its_own_object(
    name: str, act: Callable[[Any], None], clocks: list[int | None], time: Clock
) -> None:
    """Its timers are by then others than those that were read under the lock."""
    fading, acts = Fading.objects.create(), [act]

    def told(instance: Any, **options: Any) -> None:
        if options["name"] == name and acts:
            acts.pop()(instance)

    time.advance(8 * DAY)
    pre_transition.connect(told, sender=Fading)
    try:
        fired = fire()
    finally:
        pre_transition.disconnect(told, sender=Fading)
    fading.refresh_from_db()

    assert (fired, acts) == (3, [])
    assert [entry.clock_version for entry in fading.stock_history()] == clocks
    assert timers_of(fading) == {}
    assert_whole(fading)
