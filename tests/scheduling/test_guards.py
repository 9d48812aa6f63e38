"""What keeps the schedule right in rare cases, each guard by a test that fails without it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import OperationalError, connection, connections
from django.db.models import QuerySet
from django_fsm.signals import pre_transition

from stockflow import context, machines
from stockflow.models import Event, PeriodicRun, ScheduledTransition
from stockflow.moments import SCHEDULE
from stockflow.scheduling import decays, objects, periodic, register
from stockflow.scheduling.daemon import LONGEST_SLEEP, pause
from stockflow.scheduling.decays import count_due, fire_due
from stockflow.scheduling.outcomes import Chunk, Failure
from stockflow.scheduling.runs import run_jobs
from stockflow.testing import Clock
from tests.crm.models import BigLead, Chain, DatedNotice, Fading, Lamp, Lead, Notice, Veiled
from tests.scheduling.ways import ByMethods, BySql, FromRows, Way
from tests.stockflow.reading import assert_whole, last_event, micros, timers_of, trail

pytestmark = pytest.mark.django_db

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MINUTE = timedelta(minutes=1)


def fire(size: int | None = None) -> list[Chunk]:
    """Run the schedule; what its chunks did."""
    return list(fire_due(chunk_size=size))


def failures(chunks: list[Chunk]) -> list[Failure]:
    """Return all of them."""
    return [failure for chunk in chunks for failure in chunk.failures.values()]


@pytest.fixture(name="way", params=[BySql, FromRows, ByMethods], ids=lambda way: way.__name__)
def _way(request: pytest.FixtureRequest) -> Iterator[Way]:
    """The way in which decays are fired."""
    with request.param().forced() as way:
        yield way


@pytest.fixture(name="retried")
def _retried(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the objects of each chunk were fired one by one, since it failed."""
    real, carefully = decays._fire_objects, list[bool]()

    def fire_objects(*args: Any, careful: bool) -> None:
        carefully.append(careful)
        real(*args, careful=careful)

    monkeypatch.setattr(decays, "_fire_objects", fire_objects)
    return carefully


@contextmanager
def when(name: str, act: Callable[[Any], object]) -> Any:
    """Do *act* once, with the instance whose transition *name* is called."""
    done: list[Any] = []

    def told(instance: Any, **options: Any) -> None:
        if options["name"] == name and not done:
            done.append(instance)
            act(instance)

    pre_transition.connect(told)
    try:
        yield
    finally:
        pre_transition.disconnect(told)
    assert done


@pytest.mark.usefixtures("way")
def test_a_timer_that_is_earlier_than_its_row_says(time: Clock) -> None:
    """Nothing happens before the row's instant, and the timer is put right."""
    lamp, other = Lamp.objects.create(), Lamp.objects.create()
    timers = ScheduledTransition.objects.filter(lifecycle=lamp.stock_lifecycle)
    timers.update(due_at=micros(time.at + MINUTE))
    time.advance(HOUR - MINUTE)
    chunks = fire()

    assert [trail(each)[1:] for each in (lamp, other)] == [[], []]
    assert sum(chunk.obsolete for chunk in chunks) == 1
    assert_whole(lamp)


@pytest.mark.usefixtures("way")
def test_a_timer_whose_row_is_never_due(time: Clock) -> None:
    """It is taken away."""
    lamp = Lamp.objects.create()
    QuerySet(Lamp).filter(pk=lamp.pk).update(phase_due_at=None)
    time.advance(DAY)
    fire()

    assert (trail(lamp)[1:], timers_of(lamp)) == ([], {})


@pytest.mark.usefixtures("way")
def test_a_row_that_changed_after_it_was_due(time: Clock) -> None:
    """Its decay comes after that: the log never goes back in time."""
    lamp = Lamp.objects.create()
    changed_at = time.at + 2 * HOUR
    QuerySet(Lamp).filter(pk=lamp.pk).update(stock_changed_at=changed_at)
    time.advance(DAY)
    fire()
    lamp.refresh_from_db()

    assert last_event(lamp).occurred_at == micros(changed_at)
    assert lamp.phase_since == changed_at


@pytest.mark.usefixtures("way")
def test_a_row_that_the_base_manager_hides(time: Clock) -> None:
    """It decays like any other."""
    veiled, seen = Veiled.objects.create(hidden=True), Veiled.objects.create()
    time.advance(DAY)
    chunks = fire()

    assert sum(chunk.obsolete for chunk in chunks) == 0
    for each in (veiled, seen):
        assert trail(each)[1:] == ["moved on>off"]
        assert timers_of(each) == {}
        assert QuerySet(Veiled).filter(pk=each.pk, state="off", state_due_at=None).exists()


@pytest.mark.usefixtures("way")
def test_events_are_written_in_due_order(time: Clock) -> None:
    """Whatever the order in which the timers were made."""
    for hours in (5, 1, 3):
        with context(at=time.at - hours * MINUTE):
            Lamp.objects.create()
    time.advance(DAY)
    fire()
    instants = Event.objects.filter(actor=SCHEDULE).order_by("id").values_list("occurred_at")

    assert [*instants] == sorted(instants)


@pytest.mark.parametrize(
    "stray",
    [
        pytest.param({"field": "gone"}, id="of-a-field-that-is-gone"),
        pytest.param({"field": "phase", "transition": "gone"}, id="of-a-decay-that-is-gone"),
    ],
)
def test_a_stray_timer_undoes_no_chunk(
    stray: dict[str, str], time: Clock, retried: list[bool]
) -> None:
    """It is left out by SQL, and the others are fired at once."""
    lamp, other = Lamp.objects.create(), Lamp.objects.create()
    timers, made = ScheduledTransition.objects, timers_of(lamp)["phase"]
    timers.update_or_create(
        lifecycle=lamp.stock_lifecycle,
        field=stray["field"],
        defaults={"model": made.model, "version": 1, "transition": "switch_off"}
        | {"due_at": made.due_at, **stray},
    )
    time.advance(DAY)
    fire()

    assert [trail(each)[1:] for each in (lamp, other)] == [["moved on>off"]] * 2
    assert True not in retried
    assert not timers.exists()


def test_a_decay_that_may_be_too_late_is_left_to_its_method(
    time: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQL does not ask how late it is."""
    machine = machines.machine_of(Lamp, "phase")
    rules = tuple(replace(rule, max_lateness=HOUR) for rule in machine.rules)
    known: dict[Any, Any] = {**machines._machines, (Lamp, "phase"): replace(machine, rules=rules)}
    monkeypatch.setattr(machines, "_machines", known)
    lamp = Lamp.objects.create()
    time.advance(DAY)
    (failure,) = failures(fire())

    assert (failure.is_parked, failure.error) == (True, "It is later than its max_lateness.")
    assert trail(lamp)[1:] == []


def test_a_database_that_fails_parks_nobody(time: Clock) -> None:
    """The run ends with the database's error, also where objects are fired one by one."""
    bad, good = Chain.objects.create(is_broken=True), Chain.objects.create()

    def full(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith(("INSERT", "UPDATE", "DELETE", "WITH")):
            raise OperationalError("the disk is full")
        return execute(sql, *rest)

    time.advance(DAY)
    with (
        connection.execute_wrapper(full),
        pytest.raises(OperationalError, match="the disk is full"),
    ):
        fire()

    for each in (bad, good):
        assert timers_of(each)["state"].attempts == 0
        assert trail(each)[1:] == []


def test_a_connection_that_breaks_parks_nobody(
    time: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nothing was written yet: whose fault it is cannot be known."""
    chain = Chain.objects.create()

    def save(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(Chain, "save", save)
    monkeypatch.setattr(objects, "write", save)
    monkeypatch.setattr(connections["default"], "is_usable", lambda: False)
    time.advance(DAY)
    with pytest.raises(OperationalError, match="the connection is lost"):
        fire()

    assert timers_of(chain)["state"].attempts == 0


def test_a_method_that_saves_another_object_of_the_chunk(time: Clock) -> None:
    """What was written to it meanwhile is not written over, nor counted as fired."""
    chain, other = Chain.objects.create(), Chain.objects.create()
    time.advance(DAY)

    def act(_: Any) -> None:
        mine = Chain.objects.get(pk=other.pk)
        mine.stop()
        mine.save()

    with when("advance", act):
        chunks = fire()

    assert sum(chunk.fired for chunk in chunks) == 2
    for each in (chain, other):
        each.refresh_from_db()
        assert_whole(each)
        assert trail(each)[1:] == ["moved a>b"]


@pytest.mark.usefixtures("way")
def test_a_child_says_in_its_own_table_when_it_was_saved(time: Clock, retried: list[bool]) -> None:
    """Its decay writes that, too, and not into the parent's table."""
    notice, plain = DatedNotice.objects.create(), Notice.objects.create()
    time.advance(2 * DAY)
    chunks = fire()
    for each in (notice, plain):
        each.refresh_from_db()
        assert_whole(each)

    assert sum(chunk.fired for chunk in chunks) == 2
    assert True not in retried
    assert (notice.state, plain.state) == ("old", "old")


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL keeps instants")
def test_instants_in_the_zone_of_the_connection(
    time: Clock, monkeypatch: pytest.MonkeyPatch, retried: list[bool]
) -> None:
    """SQLite keeps them as texts in the zone that the settings say."""
    kept: Any = connections["default"]
    monkeypatch.setitem(kept.settings_dict, "TIME_ZONE", "Europe/London")
    monkeypatch.setitem(kept.__dict__, "timezone", ZoneInfo("Europe/London"))
    monkeypatch.setitem(kept.__dict__, "timezone_name", "Europe/London")
    time.move_to(datetime(2026, 3, 1, 12, tzinfo=UTC))
    notice = Notice.objects.create()
    time.advance(DAY)
    fire()
    notice.refresh_from_db()
    assert_whole(notice)

    assert notice.state_due_at == datetime(2026, 4, 1, 12, tzinfo=UTC)  # in summer
    assert True not in retried


def test_no_decay_is_early(time: Clock) -> None:
    """Whatever instant is asked for."""
    Lamp.objects.create()

    assert list(fire_due(time.at + DAY)) == []
    assert Event.objects.count() == 1


def test_parked_timers_are_not_due(time: Clock) -> None:
    """Nobody waits for them but a person."""
    Lamp.objects.create()
    ScheduledTransition.objects.update(parked_at=1)
    time.advance(DAY)

    assert count_due(time.at) == 0
    assert fire() == []


def test_a_page_that_stays_is_looked_at_once(time: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run leaves as it is does not keep it busy."""
    big = BigLead.objects.create()
    timers_of(big)["temperature"].delete()
    ScheduledTransition.objects.update(model="crm.lead")  # which does not know the child's field
    time.advance(2 * DAY)
    real, pages = decays.next_page, list[int]()

    def next_page(*args: Any) -> Any:
        pages.append(1)
        assert len(pages) < 5
        return real(*args)

    monkeypatch.setattr(decays, "next_page", next_page)
    fire(1)

    assert len(pages) == 1


def test_a_held_decay_comes_after_what_happened_meanwhile(
    time: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is dated at the object's last instant, not before it."""
    may = [False]
    rule = Fading.age._django_fsm.transitions["fresh"]  # type: ignore[attr-defined]
    monkeypatch.setattr(rule, "conditions", [lambda _: may[0]])
    fading = Fading.objects.create()
    time.advance(2 * DAY)
    fire()
    fading.kind = "b"
    fading.save()
    changed_at = time.at
    time.advance(DAY)
    may[0] = True
    fire()
    fading.refresh_from_db()

    assert fading.state_since == changed_at
    assert_whole(fading)


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda lead: lead.rekindle(), id="another-transition"),
        pytest.param(lambda _: Lead.objects.get(note="warm").cool(), id="another-object"),
    ],
)
def test_a_refusal_of_something_else_is_a_failure(
    act: Callable[[Any], object], time: Clock
) -> None:
    """The decay itself was allowed: it is not held back for a condition, but told."""
    warm = Lead.objects.create(note="warm")
    warm.cool()
    warm.save()
    lead = Lead.objects.create()
    time.advance(7 * DAY)
    with when("cool", act):
        chunks = fire()

    assert sum(len(chunk.held) for chunk in chunks) == 0
    assert trail(lead)[1:] == ["moved hot>warm"]


def test_a_late_entry_at_the_instant_of_a_decay_in_memory(time: Clock) -> None:
    """What was called at an instant may be followed at the same one, decay before it or not."""
    lead, start = Lead.objects.create(), time.at
    time.advance(7 * DAY)
    fire()
    time.advance(2 * DAY)
    lead.refresh_from_db()
    with context(at=start + 8 * DAY):
        lead.rekindle()
        lead.touch()
    lead.save()

    assert trail(lead)[1:] == ["moved hot>warm", "moved warm>hot", "moved hot>hot"]
    with context(at=start + 8 * DAY):  # the decay is not its last event
        lead.touch()
    lead.save()
    assert_whole(lead)


def test_a_clock_that_was_put_back(time: Clock) -> None:
    """What is called is dated at the object's last instant."""
    Lead.objects.create()
    lead, start = Lead.objects.get(), time.at
    time.move_to(start - HOUR)
    lead.touch()
    lead.save()

    assert lead.temperature_since == start
    assert_whole(lead)


@pytest.mark.usefixtures("jobs")
def test_a_period_that_another_one_has_is_not_passed_over(time: Clock) -> None:
    """Its later ones wait for the next run."""
    ran: list[datetime] = []

    @periodic("daily", name="job", catch_up=True)
    def job(period: datetime) -> None:
        ran.append(period)

    list(run_jobs())
    start = time.at
    time.advance(2 * DAY)
    others = [micros(start + DAY)]

    def wrapper(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and others:
            PeriodicRun.objects.create(
                name="job", period=others.pop(), started_at=micros(time.at), ended_at=1
            )
        return execute(sql, *rest)

    with connection.execute_wrapper(wrapper):
        assert list(run_jobs()) == []
    assert len(list(run_jobs())) == 1
    assert ran == [start, start + 2 * DAY]


@pytest.mark.usefixtures("jobs")
def test_a_run_that_was_given_up_stays_so(time: Clock) -> None:
    """It ends after another one took it for dead."""

    @periodic("hourly", name="job")
    def outlast() -> None:
        if PeriodicRun.objects.count() == 1:
            time.advance(2 * HOUR)
            list(run_jobs())

    list(run_jobs())
    errors = PeriodicRun.objects.order_by("id").values_list("error", flat=True)

    assert ["taken for dead" in error for error in errors] == [True, False]


@pytest.mark.usefixtures("jobs")
def test_a_run_that_is_interrupted_is_ended() -> None:
    """So that the next one may begin; and the interruption goes on."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    register("hourly", interrupt, name="job")
    with pytest.raises(KeyboardInterrupt):
        list(run_jobs())
    run = PeriodicRun.objects.get()

    assert (run.error, run.ended_at is None) == ("Interrupted: KeyboardInterrupt", False)


@pytest.mark.usefixtures("jobs")
def test_a_job_does_not_run_for_a_period_before_its_last(time: Clock) -> None:
    """A clock that was put back repeats nothing."""
    register("daily", int, name="job")
    list(run_jobs())
    time.advance(-2 * DAY)

    assert list(run_jobs()) == []


@pytest.mark.usefixtures("jobs")
def test_the_daemon_looks_again_before_what_it_knows() -> None:
    """Another process may start a timer that is due earlier."""
    Lead.objects.create()

    assert pause("default") == LONGEST_SLEEP
