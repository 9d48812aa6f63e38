"""A check beside other runs: it says what came between, and gives no false alarm."""

from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from stockflow.domain.events import StockEvent
from stockflow.models import Event
from stockflow.projections import Batch, EventProjection, Reads, base, checkpoints, parking, runner
from stockflow.projections.models import Generation, ParkedEvent
from stockflow.projections.replay import CheckDisturbed, Comparison
from stockflow.testing import sequence
from tests.crm.models import Journey, Step
from tests.projections import histories, own

pytestmark = pytest.mark.django_db
NAME = own.Journeys.name


class Steps(EventProjection):
    """The states of each lead, which refer to its journey."""

    name = "tests.steps"
    read_models = [Step, Journey]
    reads = Reads(models=["crm.Lead"])

    def process_event(self, event: StockEvent, batch: Batch) -> None:
        journey = Journey.objects.create(generation=batch.generation, lifecycle=event.originator_id)
        Step.objects.create(generation=batch.generation, journey=journey, state=str(event.target))


@pytest.fixture(autouse=True)
def _folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "installed", {})
    own.register()
    Event._default_manager.bulk_create(
        histories.event(
            UUID(int=number), 1, histories.START, kind="entered", source=None, target="hot"
        )
        for number in range(1, 6)
    )
    sequence()
    list(runner.project())


def comparison(name: str = NAME) -> Comparison:
    """Return a check that is not begun."""
    serving = checkpoints.serving(name, using="default")
    assert serving is not None
    return Comparison(base.find(name), serving, using="default")


def test_two_at_once() -> None:
    """The earlier one ends where the later one begins, and nothing is left of either."""
    first, second = comparison(), comparison()
    begun, later = first.run(batch_size=2), second.run(batch_size=2)
    next(begun)
    next(later)
    with pytest.raises(CheckDisturbed, match=r"check or replay of tests\.journeys came between"):
        list(begun)
    list(later)

    assert (first.number, second.number) == (0, 0)
    assert Generation.objects.count() == len(base.installed)
    assert Journey.objects.count() == 5


def test_begun_anew_before_the_rows_are_compared() -> None:
    """It folded all there was, and its rows are gone."""
    first = comparison()
    begun = first.run()
    next(begun)
    next(comparison().run())
    with pytest.raises(CheckDisturbed):
        list(begun)

    assert first.number == 0


def test_a_replay_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was to be compared serves no more; the command says so, and checks the others."""
    fold_batch = runner.fold_batch

    def folds(projection: Any, generation: Any, until: int, *, using: str) -> bool:
        monkeypatch.setattr(runner, "fold_batch", fold_batch)
        list(runner.rebuild(names=[NAME]))
        return fold_batch(projection, generation, until, using=using)

    monkeypatch.setattr(runner, "fold_batch", folds)
    said = StringIO()
    with pytest.raises(CommandError, match=r"of tests\.journeys came between, and nothing can"):
        call_command("stockflow", "replay", NAME, own.ChannelDays.name, "--check", stdout=said)

    assert "of tests.channel_days: what serves is what the log adds up to." in said.getvalue()


def test_what_a_killed_check_parked(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is shown it, and it is not released: it goes with the next check."""
    monkeypatch.setattr(own.Journeys, "poisoned", {(str(UUID(int=1)), 1)})
    killed = Generation.objects.create(projection=NAME + checkpoints.CHECK, version=1, zone="")
    runner.fold_batch(own.Journeys(), killed, 5, using="default")
    shown = StringIO()
    call_command("stockflow", "parked", stdout=shown)
    released = parking.release(ParkedEvent.objects.all())
    client.force_login(User.objects.create_superuser("ann"))
    page = client.get("/admin/stockflow_projections/parkedevent/").content.decode()
    left = ParkedEvent.objects.count()
    monkeypatch.setattr(own.Journeys, "poisoned", set())
    list(comparison().run())

    assert shown.getvalue() == "0 events are parked.\n"
    assert (released, left) == ((0, 0), 1)
    assert "ValueError: poisoned" not in page
    assert not ParkedEvent.objects.exists()


def test_rows_that_refer_to_others() -> None:
    """A rebuild has other keys: these are left out, and what else the rows say is compared."""
    base.register_projection(Steps)
    for run in (runner.project, runner.rebuild):
        list(run(names=[Steps.name]))
    right = comparison(Steps.name)
    list(right.run())
    Step.objects.filter(pk=Step.objects.first().pk).update(state="altered")  # type: ignore[union-attr]
    wrong = comparison(Steps.name)
    list(wrong.run())

    assert right.differences == []
    assert wrong.number == 3


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins anew the next time, and says so; a replay goes on."""

    def interrupted(*args: Any, **words: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "fold_batch", interrupted)
    with pytest.raises(CommandError, match=r"Nothing is changed; the same command begins anew\."):
        call_command("stockflow", "replay", NAME, "--check")
    with pytest.raises(CommandError, match=r"The same command goes on from here\."):
        call_command("stockflow", "replay", NAME)
