"""Waiting for projections, and runners that wait for the log."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction

from stockflow.errors import InsideTransaction
from stockflow.eventstore.sequencer import sequence
from stockflow.models import Event
from stockflow.projections import Batch, EventProjection, Reads, base, checkpoints, runner
from stockflow.projections.waiting import ProjectionBehind, wait_for, wait_for_more
from tests.crm.models import Journey, Lead
from tests.projections import own

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).parent.parent.parent
NAME = own.Journeys.name


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "installed", {})
    own.register()


def in_a_thread(work: Any) -> threading.Thread:
    """Run *work* as another process would, with a connection of its own."""

    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_read_your_writes() -> None:
    """Once it returns, what was saved before is in the rows."""
    Lead.objects.create()

    def later() -> None:
        time.sleep(0.1)
        runner.fold_all()

    thread = in_a_thread(later)
    position = wait_for(timeout=20)
    thread.join()

    assert position == 1
    assert set(own.journeys_served().values()) == {"hot>"}


def test_what_a_projection_does_not_read_is_not_waited_for() -> None:
    """Its checkpoint passes what it filters out, and other applications' events have none."""

    class Deaf(EventProjection):
        name = "tests.deaf"
        read_models = [Journey]
        reads = Reads(kinds=["left"])

        def handle(self, batch: Batch) -> None:
            raise AssertionError(batch)

    base.register_projection(Deaf)
    Lead.objects.create()
    runner.fold_all()

    assert wait_for(timeout=0, names=["tests.deaf"]) == 1


def test_in_vain() -> None:
    """Without a runner it says who is behind, and what to run."""
    Lead.objects.create()
    with pytest.raises(ProjectionBehind) as never:
        wait_for(timeout=0.05, names=[NAME])
    runner.fold_all()
    with pytest.raises(TimeoutError) as behind:
        wait_for(7, timeout=0.05, names=[NAME])

    assert never.value.reached == -1
    assert str(behind.value) == (
        "Projection 'tests.journeys' has read up to position 1 and not up to 7 within 0.05 seconds: "
        "is anyone folding? Run manage.py stockflow project --follow."
    )


def test_inside_a_transaction() -> None:
    """There it answers what is so, and refuses to wait for what it may never see."""
    Lead.objects.create()
    runner.fold_all()
    with transaction.atomic():
        assert wait_for(timeout=5) == 1
        with pytest.raises(InsideTransaction, match=r"call it outside of atomic\(\)"):
            wait_for(2)


def test_after_commit() -> None:
    """Where asked, the process that saved folds, once that is committed."""
    with transaction.atomic():
        Lead.objects.create()
        runner.project_on_commit(NAME)
        before = checkpoints.building(NAME, using="default")

    assert before is None
    assert set(own.journeys_served().values()) == {"hot>"}
    assert checkpoints.serving(own.ChannelDays.name, using="default") is None


def test_after_a_rollback() -> None:
    """What was not committed is not folded."""
    with transaction.atomic():
        Lead.objects.create()
        runner.project_on_commit()
        transaction.set_rollback(True)

    assert checkpoints.serving(NAME, using="default") is None


def test_an_error_after_commit_is_the_runner_s(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller's request does not fail for it."""
    monkeypatch.setattr(own.Journeys, "on_error", "stop")
    with transaction.atomic():
        lead = Lead.objects.create()
        monkeypatch.setattr(own.Journeys, "poisoned", {(str(lead.stock_lifecycle), 1)})
        runner.project_on_commit(NAME)

    assert "stopped at position 1" in caplog.text


def test_it_is_all_folded_once() -> None:
    """One function folds everything, and says how much; inside a transaction nothing."""
    Lead.objects.create()
    with transaction.atomic():
        inside = runner.fold_all()

    assert inside == {}
    assert runner.fold_all() == {own.ChannelDays.name: 1, NAME: 1}
    assert runner.fold_all() == {own.ChannelDays.name: 0, NAME: 0}


def seconds(work: Any) -> float:
    """Return how long *work* takes."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


@pytest.mark.skipif(
    connection.vendor != "postgresql", reason="an embedded database notifies nobody"
)
def test_a_listener_is_woken() -> None:
    """When another process gives positions, and not by its own."""
    stop = threading.Event()
    Lead.objects.create()
    wait_for_more(stop, 0.01, using="default")
    sequence()
    by_itself = seconds(lambda: wait_for_more(stop, 1, using="default"))
    Lead.objects.create()

    def later() -> None:
        time.sleep(0.3)
        sequence()

    thread = in_a_thread(later)
    woken = seconds(lambda: wait_for_more(stop, 60, using="default"))
    thread.join()

    assert by_itself >= 0.9
    assert woken < 30


def test_a_stopped_listener_does_not_wait() -> None:
    """Whatever the pause, it is over when the process is told to stop."""
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()

    assert seconds(lambda: wait_for_more(stop, 60, using="default")) < 30


FOLLOWER = """
import sys
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
django.setup()
from django.core.management import call_command
from tests.projections import own
own.register()
call_command("stockflow", "project", "tests.journeys", "--follow", "--every", "0.2")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_follower_ends_cleanly(number: signal.Signals) -> None:
    """It folds what is saved meanwhile, and ends with what it did when it is told to."""
    command = [sys.executable, "-c", FOLLOWER, str(connection.settings_dict["NAME"])]
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    Lead.objects.create()
    wait_for(timeout=60, names=[NAME])
    Lead.objects.create()
    wait_for(timeout=60, names=[NAME])
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (0, "")
    assert out == "Folded 2 positions into tests.journeys.\n"
    assert len(own.journeys_served()) == Event._default_manager.count() == 2


def test_a_follower_says_once_what_stops_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It tries again at each look, and goes on once that event can be folded."""
    lead = Lead.objects.create()
    monkeypatch.setattr(own.Journeys, "on_error", "stop")
    monkeypatch.setattr(own.Journeys, "poisoned", {(str(lead.stock_lifecycle), 1)})
    looks = 0

    def look(stop: threading.Event, seconds: float, *, using: str) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            monkeypatch.setattr(own.Journeys, "poisoned", set())
        if looks == 4:
            stop.set()

    monkeypatch.setattr("stockflow.projections.waiting.wait_for_more", look)
    call_command("stockflow", "project", NAME, "--follow")
    out, errors = capsys.readouterr()

    assert errors.count("stopped at position 1") == 1
    assert out == "Folded 1 positions into tests.journeys.\n"
