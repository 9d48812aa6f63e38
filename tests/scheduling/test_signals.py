"""Ctrl-C and SIGTERM: the chunk at hand is finished, the rest waits, and the words are clean."""

import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection

from stockflow.models import Event
from stockflow.moments import SCHEDULE
from stockflow.scheduling.daemon import stopping
from stockflow.testing import Clock, run_due
from tests.crm.models import Lead
from tests.stockflow.reading import assert_whole

ROOT = Path(__file__).parents[2]

TOLD = """
import os, sys
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
django.setup()
from django.core.management import execute_from_command_line
from stockflow.scheduling import decays, running

def told_in_each_chunk(until, *, using):
    for chunk in decays.fire_due(until, using=using, chunk_size=2):
        yield chunk

def fire_objects(*args, **kwargs):
    for _ in range(int(sys.argv[3])):
        os.kill(os.getpid(), int(sys.argv[2]))
    real(*args, **kwargs)

running.fire_due = told_in_each_chunk
real, decays._fire_objects = decays._fire_objects, fire_objects
execute_from_command_line(["manage.py", "run_periodic_schedule", *sys.argv[4:]])
"""


def told(number: int, times: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process that gets a signal, so many times, in the midst of a chunk."""
    name = str(connection.settings_dict["NAME"])
    command = [sys.executable, "-c", TOLD, name, str(number), str(times), *words]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


def decayed() -> int:
    """Return how many decays are recorded."""
    return Event.objects.filter(actor=SCHEDULE).count()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, id="ctrl-c"),
        pytest.param(signal.SIGTERM, 143, id="sigterm"),
    ],
)
def test_a_run_that_is_told_to_stop(number: int, code: int, time: Clock) -> None:
    """It finishes its chunk and says so; the next run does the rest."""
    leads = [Lead.objects.create() for _ in range(5)]
    time.advance(timedelta(days=400))
    done = told(number, 1)

    assert done.returncode == code
    assert "Stopped when told to; nothing is left half done." in done.stderr
    assert "Traceback" not in done.stderr
    assert 0 < decayed() < 10
    run_due()
    assert decayed() == 10
    for lead in leads:
        lead.refresh_from_db()
        assert_whole(lead)


@pytest.mark.django_db(transaction=True)
def test_a_run_that_is_told_twice(time: Clock) -> None:
    """It ends at once: what is not committed is done by the next run."""
    leads = [Lead.objects.create() for _ in range(5)]
    time.advance(timedelta(days=400))
    done = told(signal.SIGTERM, 2)

    assert done.returncode == -signal.SIGTERM
    assert decayed() == 0
    run_due()
    assert decayed() == 10
    for lead in leads:
        lead.refresh_from_db()
        assert_whole(lead)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_service_that_is_told_to_stop(number: int, time: Clock) -> None:
    """It succeeds, since to stop is its end."""
    for _ in range(5):
        Lead.objects.create()
    done = told(number, 1, "--loop")

    assert (done.returncode, done.stderr) == (0, "")
    assert "Stopped; nothing is left half done." in done.stdout
    assert 0 < decayed() < 10


@pytest.mark.django_db
def test_signals_are_the_main_thread_s(time: Clock) -> None:
    """In another one, as in a task runner's, the command runs all the same."""
    before = signal.getsignal(signal.SIGTERM)
    errors: list[BaseException] = []

    def listen() -> None:
        try:
            with stopping() as stop:
                assert not stop.is_set()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    call_command("run_periodic_schedule", verbosity=0)

    assert errors == []
    assert signal.getsignal(signal.SIGTERM) is before
