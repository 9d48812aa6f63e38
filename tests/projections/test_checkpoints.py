"""What retired generations leave is deleted, and nothing else is."""

import pytest

from stockflow.projections import checkpoints
from stockflow.projections.models import FlowCount, Generation, Status
from tests.projections.locking import before

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_rows_between_those_that_serve_are_deleted(batch: int) -> None:
    """Builds beside each other write in turns: their rows' keys are mixed."""
    retired, serving = (
        Generation.objects.create(projection="p", version=1, zone="", status=status)
        for status in (Status.RETIRED, Status.SERVING)
    )
    for day, own in enumerate([serving, retired, retired, serving, retired, serving, retired]):
        FlowCount.objects.create(generation=own.pk, day=day, path=1, number=1, seconds=0, micros=0)

    dropped = checkpoints.drop_retired("p", [FlowCount], using="default", batch=batch)

    assert dropped == 4
    assert list(FlowCount.objects.order_by("day").values_list("day", flat=True)) == [0, 3, 5]
    assert list(Generation.objects.filter(projection="p")) == [serving]


def test_a_generation_without_rows_is_dropped() -> None:
    """It may have been retired before it folded anything."""
    Generation.objects.create(projection="p", version=1, zone="", status=Status.RETIRED)

    assert checkpoints.drop_retired("p", [FlowCount], using="default") == 0
    assert not Generation.objects.filter(projection="p").exists()


def test_no_transaction_deletes_more_than_a_batch() -> None:
    """Others wait for it."""
    FlowCount.objects.bulk_create(
        FlowCount(generation=1, day=day, path=1, number=1, seconds=0, micros=0) for day in range(7)
    )

    assert list(checkpoints._delete(FlowCount, 1, 3, "default")) == [3, 3, 1]


@pytest.mark.parametrize("word", ["ASC LIMIT 1", "DESC LIMIT 1", "DELETE FROM"])
def test_another_process_deletes_them_too(word: str) -> None:
    """Whatever it leaves of them, nothing is left in the end."""
    own = Generation.objects.create(projection="p", version=1, zone="", status=Status.RETIRED)
    for day in range(3):
        FlowCount.objects.create(generation=own.pk, day=day, path=1, number=1, seconds=0, micros=0)

    def drop() -> int:
        return checkpoints.drop_retired("p", [FlowCount], using="default")

    with before(word, drop) as met:
        assert drop() == 0

    assert met == [3]
    assert not FlowCount.objects.exists()
    assert not Generation.objects.filter(projection="p").exists()
