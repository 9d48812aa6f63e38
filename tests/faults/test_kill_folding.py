"""kill -9 at any statement of a rebuild, of its folds and its flip: nothing lost or doubled."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from stockflow.eventstore.sequencer import sequence
from stockflow.models import Event
from stockflow.projections import base, checkpoints, flow_counts, runner, spell_rows
from stockflow.projections.models import FlowCount, Generation, ParkedEvent, Spell
from tests.projections import own
from tests.projections.test_folding import a_life

ROOT = Path(__file__).parent.parent.parent

KILLED = """
import sys
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
django.setup()
from stockflow.projections import base, checkpoints, runner
from stockflow.projections.replay import Comparison
from tests.faults.killing import at_each_statement, do_killed_at
from tests.projections import own

name = sys.argv[2]
own.register()
own.Journeys.poisoned = {(sys.argv[3], 1)}

def rebuild():
    list(runner.rebuild(names=[name], batch_size=2))

def mend():
    rebuild()
    serving = checkpoints.serving(name, using="default")
    comparison = Comparison(base.find(name), serving, using="default")
    list(comparison.run())
    assert serving.position == 4, serving.position
    assert not comparison.differences, comparison.differences

print(at_each_statement(lambda number: do_killed_at(number, rebuild), mend))
"""


def killed(name: str, poisoned: str = "nobody") -> int:
    """Kill rebuilds of a projection, each mended by the next; return at how many statements."""
    database = str(connection.settings_dict["NAME"])
    command = [sys.executable, "-c", KILLED, database, name, poisoned]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    serving = checkpoints.serving(name, using="default")

    assert done.returncode == 0, done.stderr
    assert serving is not None
    assert Generation.objects.filter(projection__startswith=name).count() == 1
    return int(done.stdout)


@pytest.mark.django_db(transaction=True)
def test_a_killed_rebuild() -> None:
    """The next one resumes or begins anew, and what serves is what the log adds up to."""
    Event._default_manager.bulk_create(a_life() + a_life())
    sequence()
    list(runner.project())
    statements = killed(flow_counts.NAME)
    serving = checkpoints.serving(flow_counts.NAME, using="default")

    assert statements > 20  # it was killed at each of them
    assert serving is not None
    counted = FlowCount.objects.filter(generation=serving.pk).values_list("number", flat=True)
    assert sum(counted) == FlowCount.objects.count() + 2 == 4


@pytest.mark.django_db(transaction=True)
def test_a_killed_rebuild_of_spells() -> None:
    """Each stay is begun and ended once."""
    Event._default_manager.bulk_create(a_life() + a_life())
    sequence()

    assert killed(spell_rows.NAME) > 15
    assert Spell.objects.count() == 4
    assert Spell.objects.filter(left_at=None).count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_poisoned", [False, True])
def test_a_killed_rebuild_of_ones_own(monkeypatch: pytest.MonkeyPatch, is_poisoned: bool) -> None:
    """In Python, and while events are parked: those are parked once, all others folded once."""
    events = a_life() + a_life()
    Event._default_manager.bulk_create(events)
    sequence()
    monkeypatch.setattr(base, "installed", {})
    own.register()
    expected = own.journeys(events)
    bad = next(iter(expected)) if is_poisoned else "nobody"
    statements = killed(own.Journeys.name, bad)
    expected.pop(bad, None)

    assert statements > 20
    assert own.journeys_served() == expected
    parked = ParkedEvent.objects.order_by("position").values_list("position", flat=True)
    assert list(parked) == ([1, 2] if is_poisoned else [])


@pytest.mark.django_db(transaction=True)
def test_a_killed_rebuild_of_what_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of sums that each event adds to."""
    events = a_life() + a_life()
    Event._default_manager.bulk_create(events)
    sequence()
    monkeypatch.setattr(base, "installed", {})
    own.register()

    assert killed(own.ChannelDays.name) > 20
    assert own.channel_days_served() == own.channel_days(events, "UTC")
