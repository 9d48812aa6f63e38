"""kill -9 before and after each statement of a firing: each decay happens once all the same."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from stockflow.models import Event
from stockflow.testing import Clock, run_due
from tests.crm.models import Fading, Lamp, Lead
from tests.stockflow.reading import assert_whole, trail

ROOT = Path(__file__).parent.parent.parent

KILLED = """
import itertools, os, signal, sys
from datetime import datetime
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
django.setup()
from django.db import connection
from stockflow.testing import clock
from tests.crm.models import Fading, Lamp, Lead
from tests.scheduling.ways import WAYS
from tests.stockflow.reading import assert_whole

def fire(number, after):
    seen = itertools.count(1)
    def wrap(execute, sql, params, many, context):
        mine = next(seen) == number
        if mine and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = execute(sql, params, many, context)
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    with (
        clock(datetime.fromisoformat(sys.argv[2])),
        WAYS[sys.argv[3]]().forced() as way,
        connection.execute_wrapper(wrap),
    ):
        way.fire(2)

kills = 0
for number in itertools.count(1):
    for after in (False, True):
        connection.close()
        child = os.fork()
        if not child:
            fire(number, after)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        for row in [*Lamp.objects.all(), *Lead.objects.all(), *Fading.objects.all()]:
            assert_whole(row)
        kills += os.WIFSIGNALED(status)
    if not os.WIFSIGNALED(status):
        break
print(kills)
"""

MOVES: dict[type[Any], list[str]] = {
    Lamp: ["moved on>off"],
    Lead: ["moved hot>warm", "moved warm>cold"],
    Fading: ["moved fresh>stale", "moved stale>old", "moved old>gone"],
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("way", "model"),
    [
        pytest.param("by-sql", Lamp, id="by-sql"),
        pytest.param("from-rows", Fading, id="from-rows"),
        pytest.param("by-methods", Lead, id="by-methods"),
        pytest.param("in-memory", Fading, id="in-memory"),
    ],
)
def test_a_killed_firing(way: str, model: type[Any], time: Clock) -> None:
    """What was not committed is done by the next run, what was is not done again."""
    objects = [model.objects.create() for _ in range(4)]
    time.advance(timedelta(days=100))
    command = [sys.executable, "-c", KILLED, str(connection.settings_dict["NAME"])]
    done = subprocess.run(
        [*command, time.at.isoformat(), way], cwd=ROOT, check=False, capture_output=True, text=True
    )
    run_due()

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 2 * len(objects)  # PostgreSQL saves one by one statement
    moves = MOVES[model]
    for each in objects:
        each.refresh_from_db()
        assert trail(each)[1:] == moves
        assert_whole(each)
    assert Event.objects.count() == len(objects) * (1 + len(moves))
