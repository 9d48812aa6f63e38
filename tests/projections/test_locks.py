"""What must stand still while a generation flips, is compared or takes back parked events."""

import pytest
from django.db import transaction

from stockflow.eventstore.sequencer import sequence
from stockflow.models import Event
from stockflow.projections import base, checkpoints, parking, runner
from stockflow.projections.models import Generation, ParkedEvent, Status
from stockflow.projections.replay import Comparison
from tests.projections import own
from tests.projections.locking import before, elsewhere
from tests.projections.test_folding import a_life

pytestmark = pytest.mark.django_db(transaction=True)
NAME = own.Journeys.name


@pytest.fixture(autouse=True)
def _folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "installed", {})
    own.register()
    Event._default_manager.bulk_create(a_life())
    sequence()
    list(runner.project(names=[NAME]))
    Event._default_manager.bulk_create(a_life())
    sequence()


def serving() -> Generation:
    """Return the generation that serves."""
    found = checkpoints.serving(NAME, using="default")
    assert found is not None
    return found


def fold_elsewhere() -> bool:
    """Return whether another runner can fold into what serves now, without waiting for long."""

    def fold() -> bool:
        with transaction.atomic():
            return runner.fold_batch(own.Journeys(), serving(), 4, using="default")

    return bool(elsewhere(fold))


def test_others_can_fold_otherwise() -> None:
    """The attempt of the tests below succeeds where nothing is locked."""
    assert fold_elsewhere()


def test_a_flip() -> None:
    """Between its look at how far both have read and its change of them, neither reads further.

    Else what serves would know less than before, and break what wait_for() said.
    """
    new = Generation.objects.create(projection=NAME, version=1, zone="", position=2)
    with before('UPDATE "stockflow_projections_generation" SET "status"', fold_elsewhere) as folded:
        flipped = checkpoints.flip(new, using="default")

    assert folded == [False]
    assert flipped
    assert serving().status == Status.SERVING


def test_a_comparison() -> None:
    """Both generations stand at one position while their rows are compared."""
    comparison = Comparison(own.Journeys(), serving(), using="default")
    with before(" EXCEPT ", fold_elsewhere) as folded:
        list(comparison.run())

    assert folded == [False]
    assert comparison.differences == []


def test_a_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """No later event of an object is folded while its parked ones are."""
    parked = Event._default_manager.order_by("pk")[1]
    ParkedEvent.objects.create(
        generation=serving().pk,
        projection=NAME,
        position=2,
        event=parked.pk,
        originator=parked.originator,
        parked_at=0,
    )
    with before('"crm_journey"', fold_elsewhere) as folded:
        done = parking.release(ParkedEvent.objects.all())

    assert folded == [False]
    assert done == (1, 0)
