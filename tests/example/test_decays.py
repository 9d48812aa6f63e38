"""The 8,758 decays of the web platform's features: the same, however they are fired."""

import random
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep

import pytest
from django.db import connection, transaction

from example.webplatform import loading
from example.webplatform.models import Feature
from stockflow.domain.instants import from_micros
from stockflow.models import Event, ScheduledTransition
from stockflow.moments import SCHEDULE
from stockflow.testing import clock, run_due

ROOT = Path(__file__).parent.parent.parent
NOW = datetime(2026, 9, 22, tzinfo=UTC)

WORKER = """
import sys
from datetime import datetime
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
django.setup()
from stockflow.scheduling.decays import fire_due
from stockflow.testing import clock
with clock(datetime.fromisoformat(sys.argv[2])):
    for _ in fire_due(chunk_size=100):
        pass
"""

History = list[tuple[str, int | None]]


def decays() -> History:
    """Return who decayed when."""
    events = Event.objects.filter(actor=SCHEDULE).order_by("originator", "version")
    return list(events.values_list("originator", "occurred_at"))


def undone(fire: Callable[[], object]) -> History:
    """Return what *fire* does, and undo it."""
    with transaction.atomic():
        fire()
        found = decays()
        transaction.set_rollback(True)
    return found


def day_by_day() -> None:
    """Run the schedule on each day on which something is due, and on the one after."""
    due = ScheduledTransition.objects.order_by("due_at").values_list("due_at", flat=True)
    with clock(NOW) as time:
        days = sorted({from_micros(micros).date() for micros in due})
        for day in days:
            at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC) + timedelta(days=1)
            if at <= NOW:
                time.move_to(at)
                run_due()
        time.move_to(NOW)
        run_due()


def killed_workers() -> None:
    """Run two workers at once, kill one of them now and then, and start another in its place."""
    dice = random.Random(8758)
    command = [sys.executable, "-c", WORKER, str(connection.settings_dict["NAME"])]
    command.append(NOW.isoformat())
    for kills in range(4):
        workers = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
        if kills < 3:
            sleep(dice.uniform(0.8, 2.0))
            workers[0].kill()
            workers[1].kill()
        codes = [worker.wait(300) for worker in workers]
    assert codes == [0, 0]


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_however_they_are_fired() -> None:
    """In one run at the end, day by day, or by two workers killed at random."""
    for _ in loading.load(loading.read()):
        pass
    with clock(NOW):
        at_once = undone(run_due)
    by_day = undone(day_by_day)
    killed_workers()

    assert len(at_once) == 8_758
    assert at_once == by_day == decays()
    assert Feature.objects.filter(status="widely").count() == 8_758
