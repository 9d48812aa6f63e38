"""Loading the example's data: repeatable, interruptible, always the same."""

import subprocess
import sys

import pytest
from django.core.management import call_command
from django.db import transaction

from example.crm import simulation
from example.crm.models import Lead, Rep
from example.webplatform import loading
from example.webplatform.models import Feature
from stockflow.models import Event
from tests.house import source

COLUMNS = ("version", "kind", "transition", "source", "target", "occurred_at", "actor", "reason")


@pytest.mark.django_db
def test_interrupted_load_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed stays, what is missing is loaded by the next run, nothing twice."""
    monkeypatch.setattr(loading, "CHUNK", 20)
    some = loading.read()[:50]
    monkeypatch.setattr(loading, "read", lambda: some)
    interrupted = loading.load(loading.missing())
    next(interrupted)
    interrupted.close()

    assert Feature.objects.count() == 20
    call_command("load_features", verbosity=0)
    assert Feature.objects.count() == 50
    assert loading.missing() == []
    assert Event.objects.count() == sum(map(len, some))


@pytest.mark.django_db
def test_load_says_what_it_did(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends with its figures."""
    some = loading.read()[:3]
    monkeypatch.setattr(loading, "read", lambda: some)
    call_command("load_features")

    assert capsys.readouterr().out == f"Loaded 3 features with {sum(map(len, some))} events.\n"


def events_of(seed: int) -> list[tuple[object, ...]]:
    """Simulate, return the events, and forget them."""
    with transaction.atomic():
        for _ in simulation.simulate(25, seed):
            pass
        events = list(Event.objects.order_by("id").values_list(*COLUMNS))
        transaction.set_rollback(True)
    return events


@pytest.mark.django_db
def test_simulation_depends_on_its_seed_only() -> None:
    """The same seed gives the same events, another seed gives others."""
    assert events_of(1) == events_of(1) != events_of(2)


@pytest.mark.django_db
def test_simulation_has_all_kinds_of_fate() -> None:
    """Leads are won, rekindled, decay and are deleted."""
    events = events_of(1)

    assert {event[2] for event in events} >= {"win", "rekindle", "cool", "chill"}
    assert {event[1] for event in events} == {"entered", "moved", "left"}


@pytest.mark.django_db
def test_interrupted_simulation_leaves_nothing() -> None:
    """It is there whole or not at all."""
    with transaction.atomic():
        steps = simulation.simulate(5, 1)
        next(steps)
        steps.close()

    assert not Rep.objects.exists()
    assert not Lead.objects.exists()


@pytest.mark.django_db
def test_simulation_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """The command does nothing where leads are."""
    Rep.objects.create(name="Ada", team="north")
    call_command("simulate_leads")

    assert capsys.readouterr().out == "Simulated 0 leads.\n"


@pytest.mark.once
def test_migrations_of_the_example_are_complete() -> None:
    """``makemigrations`` would write nothing, under the example's own settings."""
    command = [sys.executable, "example/manage.py", "makemigrations", "--check", "--dry-run"]
    done = subprocess.run(command, cwd=source.ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
