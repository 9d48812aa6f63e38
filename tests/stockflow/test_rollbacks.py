"""Rolled back means gone, and the next save of the same instance writes what is missing."""

from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from django.db.models.signals import post_save

from stockflow.errors import ConcurrentTransition
from stockflow.models import Event, ScheduledTransition
from stockflow.testing import Clock
from tests.crm.models import BigLead, Lead, Order, Paint
from tests.stockflow.reading import assert_whole, row_of, timers_of, trail

# Each once with real transactions, once inside a test's own, as users' TestCases have it.
pytestmark = [
    pytest.mark.parametrize(
        "real",
        [
            pytest.param(True, id="real", marks=pytest.mark.django_db(transaction=True)),
            pytest.param(False, id="inside", marks=pytest.mark.django_db),
        ],
    )
]


@contextmanager
def rolled_back() -> Any:
    """A block whose work is undone."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_a_transition(real: bool) -> None:
    """Gone with the block, there after the next save."""
    lead = Lead.objects.create()
    with rolled_back():
        lead.cool()
        lead.save()
    gone = (trail(lead), row_of(lead)["temperature"])
    lead.save()

    assert gone == (["entered >hot"], "hot")
    assert trail(lead)[1:] == ["moved hot>warm"]
    assert_whole(lead)


def test_a_creation(real: bool) -> None:
    """The row and its opening event are inserted by the next save."""
    with rolled_back():
        lead = Lead.objects.create()
    assert not Event.objects.exists()
    lead.save()

    assert trail(lead) == ["entered >hot"]
    assert_whole(lead)


def test_a_creation_and_what_followed(real: bool) -> None:
    """All batches are written again, in their order."""
    with rolled_back():
        lead = Lead.objects.create()
        lead.cool()
        lead.save()
        lead.channel = "phone"
        lead.save()
    lead.chill()
    lead.save()

    assert trail(lead) == [
        "entered >hot",
        "moved hot>warm",
        "reclassified warm>warm",
        "moved warm>cold",
    ]
    assert_whole(lead)


def test_a_child_s_creation(real: bool) -> None:
    """Both tables."""
    with rolled_back():
        big = BigLead.objects.create(budget=3)
    big.offer()
    big.save()

    assert BigLead.objects.get().budget == 3
    assert_whole(big)


def test_a_transition_called_after_the_rollback(real: bool) -> None:
    """It follows what is written again."""
    lead = Lead.objects.create()
    with rolled_back():
        lead.cool()
        lead.save()
    lead.chill()
    lead.save()

    assert trail(lead)[1:] == ["moved hot>warm", "moved warm>cold"]
    assert_whole(lead)


def test_a_savepoint(real: bool) -> None:
    """What was before the savepoint stays, what was after it comes again."""
    with transaction.atomic():
        lead = Lead.objects.create()
        with rolled_back():
            lead.cool()
            lead.save()
        assert trail(lead) == ["entered >hot"]
        lead.save()

    assert trail(lead)[1:] == ["moved hot>warm"]
    assert_whole(lead)


def test_a_savepoint_and_then_the_outer_block(real: bool) -> None:
    """Twice undone is undone once."""
    lead = Lead.objects.create()
    with rolled_back():
        lead.cool()
        lead.save()
        with rolled_back():
            lead.chill()
            lead.save()
        lead.save()
    lead.save()

    assert trail(lead)[1:] == ["moved hot>warm", "moved warm>cold"]
    assert_whole(lead)


def test_a_reclassification(real: bool) -> None:
    """A facet's change is written again too."""
    lead = Lead.objects.create(channel="web")
    with rolled_back():
        lead.channel = "phone"
        lead.save()
    lead.save()

    assert trail(lead)[1:] == ["reclassified hot>hot"]
    assert Lead.objects.get().channel == "phone"
    assert_whole(lead)


def test_a_timer_that_ended(real: bool) -> None:
    """The timer came back with the rollback and goes with the second writing."""
    lead = Lead.objects.create()
    with rolled_back():
        lead.win(1)
        lead.save()
    assert list(timers_of(lead)) == ["temperature"]
    lead.save()

    assert not ScheduledTransition.objects.exists()
    assert_whole(lead)


def test_update_fields_after_a_rollback(real: bool) -> None:
    """Whatever the save names, what is missing is written."""
    order = Order.objects.create()
    with rolled_back():
        order.pay()
        order.save()
    order.send()
    order.save(update_fields=["delivery"])

    assert trail(order)[2:] == ["moved due>paid", "moved waiting>sent"]
    assert_whole(order)


def test_another_writer_after_the_rollback(real: bool, time: Clock) -> None:
    """What was rolled back is not written over what another one did since."""
    lead = Lead.objects.create()
    with rolled_back():
        lead.cool()
        lead.save()
    time.advance(timedelta(seconds=1))
    other = Lead.objects.get()
    other.win(1)
    other.save()
    for change in (lambda: None, lead.chill):
        change()
        with pytest.raises(ConcurrentTransition, match="another writer"):
            lead.save()

    assert_whole(other)


@pytest.mark.parametrize("by_django", [False, True])
def test_another_writer_of_the_same_move_after_the_rollback(
    real: bool, by_django: bool, time: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same state at the same version is not the same history."""
    monkeypatch.setattr(Lead._meta, "select_on_save", by_django)
    lead = Lead.objects.create(channel="web")
    with rolled_back():
        lead.channel = "phone"
        lead.save()
    time.advance(timedelta(seconds=1))
    other = Lead.objects.get()
    other.channel = "mail"
    other.save()
    lead.cool()
    with pytest.raises(ConcurrentTransition, match="another writer"):
        lead.save()

    assert_whole(other)


def test_a_stale_instance_in_one_transaction_restores_nothing(real: bool, time: Clock) -> None:
    """Inside a block as outside: saved for its note, it writes its note."""
    with transaction.atomic():
        stale = Lead.objects.create()
        time.advance(timedelta(seconds=1))
        other = Lead.objects.get()
        other.cool()
        other.channel = "phone"
        other.save()
        stale.note = "x"
        stale.save()

    assert Lead.objects.get().note == "x"
    assert_whole(Lead.objects.get())


def test_a_waiting_transition_does_not_disturb_a_save_in_the_same_block(
    real: bool, time: Clock
) -> None:
    """A transition that update_fields leaves out is no sign of a rollback."""
    with transaction.atomic():
        lead = Lead.objects.create()
        time.advance(timedelta(seconds=1))
        lead.cool()
        lead.note = "x"
        lead.save(update_fields=["note"])
        lead.save()

    assert trail(lead)[1:] == ["moved hot>warm"]
    assert_whole(lead)


def test_a_deletion_that_was_rolled_back(real: bool) -> None:
    """The object lives on in its log."""
    lead = Lead.objects.create()
    with rolled_back():
        Lead.objects.get().delete()
    lead.cool()
    lead.save()

    assert trail(lead) == ["entered >hot", "moved hot>warm"]
    assert_whole(lead)


@pytest.fixture(name="taken")
def _taken() -> Callable[[], Paint]:
    """Make a paint whose label is taken, so that saving a second one fails."""
    return lambda: Paint.objects.create(label="taken")


def test_a_save_that_fails_in_the_database_leaves_all_as_it_was(
    real: bool, taken: Callable[[], Paint]
) -> None:
    """No event without its row; mended, the same instance saves."""
    taken()
    paint = Paint.objects.create()
    paint.darken()
    paint.label = "taken"
    with pytest.raises(DatabaseError), transaction.atomic():
        paint.save()
    assert (trail(paint), paint.stock_version) == (["entered >light"], 1)
    paint.label = "free"
    paint.save()

    assert trail(paint)[1:] == ["moved light>dark"]
    assert_whole(paint)


def test_a_creation_that_fails_in_the_database(real: bool, taken: Callable[[], Paint]) -> None:
    """The opening event goes with the row; mended, the same instance saves."""
    taken()
    paint = Paint(label="taken")
    with pytest.raises(DatabaseError), transaction.atomic():
        paint.save()
    paint.label = "free"
    paint.save()

    assert trail(paint) == ["entered >light"]
    assert_whole(paint)


def test_a_second_writing_that_fails_can_be_repeated(
    real: bool, taken: Callable[[], Paint]
) -> None:
    """What was rolled back is not forgotten by a save that fails."""
    taken()
    paint = Paint.objects.create()
    with rolled_back():
        paint.darken()
        paint.tone = "dark"
        paint.save()
    paint.label = "taken"
    with pytest.raises(DatabaseError), transaction.atomic():
        paint.save()
    paint.label = "free"
    paint.save()

    assert trail(paint)[1:] == ["moved light>dark", "reclassified dark>dark"]
    assert_whole(paint)


def test_an_error_in_post_save(real: bool) -> None:
    """The save is rolled back with its block and written by the next one."""

    def fail(instance: Any, **_: Any) -> None:
        if getattr(instance, "is_failing", False):
            raise ValueError("no")

    post_save.connect(fail, sender=Lead, weak=False)
    try:
        lead = Lead.objects.create()
        lead.cool()
        lead.is_failing = True
        with pytest.raises(ValueError, match="no"), transaction.atomic():
            lead.save()
        before = trail(lead)
        lead.is_failing = False
        lead.save()
    finally:
        post_save.disconnect(fail, sender=Lead)

    assert before == ["entered >hot"]
    assert trail(lead)[1:] == ["moved hot>warm"]
    assert_whole(lead)


def test_an_error_in_python_between_event_and_row(real: bool) -> None:
    """A value that no column takes fails the save whole."""
    lead = Lead.objects.create()
    lead.cool()
    lead.amount = object()
    with pytest.raises(ValidationError), transaction.atomic():
        lead.save()
    assert trail(lead) == ["entered >hot"]
    lead.amount = 1
    lead.save()

    assert_whole(lead)


def test_a_pickle_after_a_rollback(real: bool) -> None:
    """What is missing travels with the instance."""
    import pickle

    lead = Lead.objects.create()
    with rolled_back():
        lead.cool()
        lead.save()
        packed = pickle.dumps(lead)
    lead = pickle.loads(packed)
    lead.save()

    assert trail(lead)[1:] == ["moved hot>warm"]
    assert_whole(lead)


def test_a_refresh_after_a_rollback_forgets(real: bool) -> None:
    """The row as it is."""
    lead = Lead.objects.create()
    with rolled_back():
        lead.cool()
        lead.save()
    lead.refresh_from_db()
    lead.save()

    assert trail(lead) == ["entered >hot"]
    assert_whole(lead)


def test_nothing_is_written_again_without_a_rollback(real: bool) -> None:
    """A block that was committed leaves nothing to repeat."""
    lead = Lead.objects.create()
    with transaction.atomic():
        lead.cool()
        lead.save()
        lead.save()
    lead.save()

    assert trail(lead)[1:] == ["moved hot>warm"]
    assert connection.in_atomic_block is not real
    assert_whole(lead)


@pytest.mark.parametrize("names", [["note"], ["temperature"], ["channel"], ["stage"], ["budget"]])
def test_update_fields_after_a_creation_that_was_rolled_back(real: bool, names: list[str]) -> None:
    """Django's error where there is no row to update; a plain save inserts it."""
    with rolled_back():
        big = BigLead.objects.create()
    with pytest.raises(DatabaseError, match="did not affect any rows"), transaction.atomic():
        big.save(update_fields=names)
    assert not Event.objects.exists()
    big.save()

    assert trail(big) == ["entered >hot", "entered >draft"]
    assert_whole(big)
