"""Firing by SQL, from the rows, and by methods: three ways to the same history."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from stockflow import machines
from stockflow.models import Event, ScheduledTransition
from stockflow.scheduling import decays, uniform
from stockflow.scheduling.decays import fire_due, next_due
from stockflow.scheduling.setwise import Setwise
from stockflow.testing import Clock
from tests.crm.models import Chain, Lamp, Lead, Loop
from tests.stockflow.reading import assert_whole, micros, timers_of, trail

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


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
