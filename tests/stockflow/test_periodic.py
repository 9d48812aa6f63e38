"""The periodic schedule: once per period, one at a time, each run recorded; and the daemon."""

import os
import signal
import subprocess
import sys
import time as real_time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection

from stockflow import conf
from stockflow.domain.instants import from_micros
from stockflow.domain.periods import FREQUENCIES
from stockflow.errors import InvalidDeclaration
from stockflow.models import PeriodicRun
from stockflow.scheduling import periodic, register
from stockflow.scheduling.daemon import pause
from stockflow.scheduling.runs import run_jobs
from stockflow.testing import Clock, run_due
from tests.crm.models import Lead
from tests.stockflow.reading import trail

ROOT = Path(__file__).parent.parent.parent
BERLIN = ZoneInfo("Europe/Berlin")
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("jobs")]


def run() -> list[PeriodicRun]:
    """Run the jobs once."""
    return list(run_jobs())


@pytest.mark.parametrize("frequency", [name for name in FREQUENCIES if name != "never"])
def test_a_job_runs_once_in_each_period(frequency: str, time: Clock) -> None:
    """However often the schedule is called."""
    calls: list[int] = []
    register(frequency, calls.append, args=[1], name="job")
    length = FREQUENCIES[frequency] or timedelta()
    time.move_to(datetime(2026, 1, 1, tzinfo=UTC) + length / 2)
    run()
    run()
    once = len(calls)
    time.advance(length)
    run()

    assert (once, len(calls)) == (1, 2)


def test_never_is_never() -> None:
    """It is registered, and does not run."""
    register("never", int, name="job")

    assert run() == []


def test_missed_periods_are_caught_up_or_skipped(time: Clock) -> None:
    """As declared; each one caught up is told its period."""
    caught: list[datetime] = []
    skipped: list[datetime] = []

    @periodic("daily", catch_up=True)
    def every_one(period: datetime) -> None:
        caught.append(period)

    @periodic("daily")
    def only_now(period: datetime, using: str) -> str:
        skipped.append(period)
        return using

    start = time.at
    run()
    time.advance(timedelta(days=3, hours=5))
    run()

    assert caught == [start + timedelta(days=n) for n in range(4)]
    assert skipped == [start, start + timedelta(days=3)]


def test_a_run_is_recorded(time: Clock) -> None:
    """When it began and ended, and what it gave."""

    @periodic("hourly", name="job")
    def job() -> str:
        time.advance(timedelta(seconds=5))
        return "done"

    start = time.at
    run()
    found = PeriodicRun.objects.get()

    assert (found.name, found.result, found.error) == ("job", "done", "")
    assert from_micros(found.started_at) == start
    assert from_micros(found.ended_at or 0) == start + timedelta(seconds=5)


def test_a_failing_job_is_told_and_holds_up_no_other() -> None:
    """Its error is recorded; the command ends with it, after the rest."""
    calls: list[int] = []

    @periodic("hourly", name="broken")
    def broken() -> None:
        raise ValueError("no luck")

    register("hourly", calls.append, args=[1], name="good")
    with pytest.raises(CommandError, match=r"job 'broken' failed:[\s\S]*no luck"):
        call_command("run_periodic_schedule", verbosity=0)

    assert calls == [1]
    assert "ValueError: no luck" in PeriodicRun.objects.get(name="broken").error


def test_runs_of_a_job_do_not_overlap(time: Clock) -> None:
    """While one has not ended no other begins; one that is dead is given up."""
    inner: list[int] = []

    @periodic("minutely", name="job", at_most=timedelta(minutes=10))
    def job() -> None:
        time.advance(timedelta(minutes=2))
        inner.append(len(list(run_jobs())))

    run()
    PeriodicRun.objects.update(ended_at=None)
    time.advance(timedelta(minutes=5))
    blocked = run()
    time.advance(timedelta(minutes=6))
    after = run()

    assert (inner[0], blocked, len(after)) == (0, [], 1)
    assert "taken for dead" in PeriodicRun.objects.earliest("id").error


def test_a_period_that_another_one_ran_meanwhile() -> None:
    """Between looking and writing it down: it runs once all the same."""
    calls: list[int] = []
    register("hourly", calls.append, args=[1], name="job")
    others = [run]

    def wrapper(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and others:
            assert len(others.pop()()) == 1
        return execute(sql, *rest)

    with connection.execute_wrapper(wrapper):
        ran = run()

    assert (ran, calls) == ([], [1])
    assert PeriodicRun.objects.get().ended_at is not None


@pytest.mark.parametrize("day", ["2026-06-01", "2026-03-29", "2026-10-25"])
def test_cron_counts_on_the_wall_clock(day: str, time: Clock) -> None:
    """Each wall time once a day, whatever the clocks do."""
    started: list[datetime] = []

    @periodic(cron="30 2 * * *", tz=BERLIN, catch_up=True, name="job")
    def job(period: datetime) -> None:
        started.append(period.astimezone(BERLIN))

    time.move_to(datetime.fromisoformat(day).replace(tzinfo=BERLIN) - timedelta(hours=1))
    run()
    for _ in range(26):
        time.advance(timedelta(hours=1))
        run()

    assert len([at for at in started if at.date().isoformat() == day]) == 1


def test_what_began_before_the_clock_was_put_back(time: Clock) -> None:
    """It has begun, though the wall clock shows less than then; the next one is to come."""
    job = register(None, int, cron="30 2 * * *", tz=BERLIN, name="job")
    for minute in range(30, 150, 10):
        time.move_to(datetime(2026, 10, 25, tzinfo=UTC) + timedelta(minutes=minute))
        run()

        assert job.rhythm.current(time.at) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
        assert pause("default") > timedelta(seconds=5)
    assert PeriodicRun.objects.filter(name="job").count() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"frequency": "yearly"}, "'yearly' is no frequency: take one of", id="word"),
        pytest.param({"cron": "every day"}, "'every day' is no cron expression", id="cron"),
        pytest.param({}, "needs a frequency .* not neither", id="neither"),
        pytest.param({"frequency": "daily", "cron": "* * * * *"}, "not both", id="both"),
    ],
)
def test_a_rhythm_that_is_none(options: dict[str, Any], message: str) -> None:
    """Refused with what to give instead."""
    with pytest.raises(InvalidDeclaration, match=message):
        periodic(**options)(int)


def test_two_functions_of_one_name() -> None:
    """The second one is refused; the same one may be registered again."""
    register("daily", int, name="job")
    register("hourly", int, name="job")
    for again in ({"function": float}, {"function": int, "args": ["1"]}):
        with pytest.raises(InvalidDeclaration, match="give this one a name"):
            register("daily", name="job", **again)


def test_a_function_without_a_name() -> None:
    """Its runs are known by a name, so it is given one."""
    with pytest.raises(InvalidDeclaration, match="give it a name="):
        register("daily", partial(sum, [1]))

    job = register("daily", partial(sum, [1]), name="one")
    assert job.call(datetime.now(UTC), "default") == 1


def test_the_daemon_sleeps_until_something_is_due(time: Clock) -> None:
    """Not longer than it takes to notice what others schedule, and never not at all."""
    idle = pause("default")
    lead = Lead.objects.create()
    time.move_to((lead.temperature_due_at or time.at) - timedelta(seconds=3))
    soon = pause("default")
    time.advance(timedelta(days=1))

    assert (idle, soon) == (timedelta(seconds=10), timedelta(seconds=3))
    assert pause("default") == timedelta(milliseconds=100)


def test_time_machine_moves_the_clock() -> None:
    """What is due, and when it occurred, follow it."""
    start = datetime(2030, 1, 1, tzinfo=UTC)
    conf._test_clock, before = None, conf._test_clock
    try:
        with time_machine.travel(start, tick=False):
            lead = Lead.objects.create()
        with time_machine.travel(start + timedelta(days=8), tick=False):
            fired = run_due()
    finally:
        conf._test_clock = before
    lead.refresh_from_db()

    assert fired == 1
    assert lead.temperature_since == start + timedelta(days=7)


DAEMON = """
import sys
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
django.setup()
from django.core.management import call_command
call_command("run_periodic_schedule", loop=True)
"""


@pytest.mark.django_db(transaction=True)
def test_the_daemon_fires_and_stops_at_sigterm(time: Clock) -> None:
    """Cleanly, with the exit code of success."""
    lead = Lead.objects.create()
    name = str(connection.settings_dict["NAME"])
    daemon = subprocess.Popen(
        [sys.executable, "-c", DAEMON, name], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        for _ in range(600):
            if len(trail(lead)) > 1:
                break
            real_time.sleep(0.05)
        os.kill(daemon.pid, signal.SIGTERM)
        out, _ = daemon.communicate(timeout=30)
    finally:
        daemon.kill()

    assert trail(lead)[1:] == ["moved hot>warm", "moved warm>cold"]
    assert (daemon.returncode, "nothing is left half done" in out) == (0, True)
