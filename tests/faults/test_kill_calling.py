"""kill -9 between a commit and the event call, and at any statement of the call: none is lost."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from django.db import connection

from stockflow.models import Event
from stockflow.projections.event_calls import EventCall
from tests.crm.models import Lead

ROOT = Path(__file__).parent.parent.parent

KILLED = """
import sys
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
django.setup()
from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Concat
from stockflow.projections import Flow, Stock
from stockflow.projections.calling import begin, run_event_callables
from stockflow.projections.event_calls import EventCall
from tests.crm.models import Lead
from tests.faults.killing import at_each_statement, child, do_killed_at

def note(lead, source, sink, event):
    with open(sys.argv[2], "a") as outside:
        outside.write(f"{event.id}\\n")
    Lead.objects.filter(pk=lead.pk).update(note=Concat(F("note"), Value("x")))

ripe = Stock("ripe", Lead.temperature, states=["hot"])
Flow("ripening", sources=[None], sinks=[ripe], event_callables=[note])

def called_and_killed_at(number):
    with transaction.atomic():
        Lead.objects.create()
        transaction.on_commit(lambda: do_killed_at(number, run_event_callables))

def mend():
    run_event_callables()
    assert not EventCall.objects.exists()

assert child(lambda: begin("default")) == 0
print(at_each_statement(called_and_killed_at, mend))
"""


@pytest.mark.django_db(transaction=True)
def test_a_killed_call(tmp_path: Path) -> None:
    """What it does elsewhere is done at least once, what it writes to the database once."""
    outside = tmp_path / "outside"
    database = str(connection.settings_dict["NAME"])
    command = [sys.executable, "-c", KILLED, database, str(outside)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    kills = int(done.stdout)
    assert kills > 8  # the first of them before anything was looked for
    assert Lead.objects.count() == kills + 1
    assert set(Lead.objects.values_list("note", flat=True)) == {"x"}
    assert not EventCall.objects.exists()
    called = Counter(map(int, outside.read_text().split()))
    assert set(called) == set(Event.objects.values_list("id", flat=True))
    assert set(called.values()) == {1, 2}  # twice where it was killed after it was done elsewhere
