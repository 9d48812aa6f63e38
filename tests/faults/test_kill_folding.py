"""kill -9 at any statement of a rebuild, of its folds and its flip: nothing lost or doubled."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from stockflow.eventstore.sequencer import sequence
from stockflow.models import Event
from stockflow.projections import checkpoints, flow_counts, runner
from stockflow.projections.models import FlowCount, Generation
from tests.projections.test_folding import a_life

ROOT = Path(__file__).parent.parent.parent

KILLED = """
import os, signal, sys
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
django.setup()
from django.db import connection
from stockflow.projections import checkpoints, flow_counts, runner
from stockflow.projections.replay import Comparison

def child(work):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]

def rebuild_killed_at(number):
    seen = 0
    def wrap(execute, sql, params, many, context):
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(sql, params, many, context)
    with connection.execute_wrapper(wrap):
        list(runner.rebuild(names=["flow_counts"], batch_size=2))

def mend():
    list(runner.rebuild(names=["flow_counts"], batch_size=2))
    serving = checkpoints.serving(flow_counts.NAME, using="default")
    comparison = Comparison(flow_counts.FlowCounts(), serving, using="default")
    list(comparison.run())
    assert serving.position == 4, serving.position
    assert not comparison.differences, comparison.differences

number = 1
while status := child(lambda: rebuild_killed_at(number)):
    assert os.WTERMSIG(status) == signal.SIGKILL, status
    assert child(mend) == 0, f"after a kill at statement {number}"
    number += 1
print(number - 1)
"""


@pytest.mark.django_db(transaction=True)
def test_a_killed_rebuild() -> None:
    """The next one resumes or begins anew, and what serves is what the log adds up to."""
    Event._default_manager.bulk_create(a_life() + a_life())
    sequence()
    list(runner.project())
    command = [sys.executable, "-c", KILLED, str(connection.settings_dict["NAME"])]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    serving = checkpoints.serving(flow_counts.NAME, using="default")

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20  # statements: it was killed at each of them
    assert serving is not None
    assert Generation.objects.filter(projection=flow_counts.NAME).count() == 1
    own = FlowCount.objects.filter(generation=serving.pk)
    assert sum(own.values_list("number", flat=True)) == FlowCount.objects.count() + 2 == 4
