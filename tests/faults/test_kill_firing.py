"""kill -9 before and after each statement of a firing: each decay happens once all the same."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection

from stockflow.models import Event
from stockflow.testing import Clock, run_due
from tests.crm.models import Lamp, Lead
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
from stockflow.scheduling.decays import fire_due
from stockflow.testing import clock
from tests.crm.models import Lamp, Lead
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
    with clock(datetime.fromisoformat(sys.argv[2])), connection.execute_wrapper(wrap):
        for _ in fire_due(chunk_size=2):
            pass

kills = 0
for number in itertools.count(1):
    for after in (False, True):
        connection.close()
        child = os.fork()
        if not child:
            fire(number, after)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        for row in [*Lamp.objects.all(), *Lead.objects.all()]:
            assert_whole(row)
        kills += os.WIFSIGNALED(status)
    if not os.WIFSIGNALED(status):
        break
print(kills)
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", [Lamp, Lead], ids=["by-sql", "by-methods"])
def test_a_killed_firing(model: type[Lamp] | type[Lead], time: Clock) -> None:
    """What was not committed is done by the next run, what was is not done again."""
    objects = [model.objects.create() for _ in range(4)]
    time.advance(timedelta(days=100))
    command = [sys.executable, "-c", KILLED, str(connection.settings_dict["NAME"])]
    done = subprocess.run(
        [*command, time.at.isoformat()], cwd=ROOT, check=False, capture_output=True, text=True
    )
    run_due()

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10
    moves = ["moved on>off"] if model is Lamp else ["moved hot>warm", "moved warm>cold"]
    for each in objects:
        each.refresh_from_db()
        assert trail(each)[1:] == moves
        assert_whole(each)
    assert Event.objects.count() == len(objects) * (1 + len(moves))
