"""One suite of decay, through each way in which it comes to happen."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django_fsm import TransitionNotAllowed

from stockflow.models import ScheduledTransition
from stockflow.testing import Clock, run_due
from tests.crm.models import Chain, Fading, Lamp, Trial
from tests.scheduling.cases import DecayCases, TransactionCases
from tests.scheduling.ways import ByMethods, BySql, FromRows, InMemory

DAY = timedelta(days=1)


@pytest.mark.django_db
class TestBySql(DecayCases):
    kind = BySql


@pytest.mark.django_db
class TestFromRows(DecayCases):
    kind = FromRows


@pytest.mark.django_db
class TestByMethods(DecayCases):
    kind = ByMethods


@pytest.mark.django_db
class TestInMemory(DecayCases):
    kind = InMemory


@pytest.mark.django_db(transaction=True)
class TestBySqlInTransactions(TransactionCases):
    kind = BySql


@pytest.mark.django_db(transaction=True)
class TestFromRowsInTransactions(TransactionCases):
    kind = FromRows


@pytest.mark.django_db(transaction=True)
class TestByMethodsInTransactions(TransactionCases):
    kind = ByMethods


@pytest.mark.django_db(transaction=True)
class TestInMemoryInTransactions(TransactionCases):
    kind = InMemory


@pytest.mark.django_db
def test_the_cause_of_a_decay_that_was_held_back(time: Clock) -> None:
    """It tells when it was due, though it happened later; what is skipped has a cause, too."""
    trial, start = Trial.objects.create(trial_days=0, ready=False), time.at
    chain = Chain.objects.create(ready=False)
    time.advance(3 * DAY)
    run_due()
    Chain.objects.update(ready=True)
    chain.refresh_from_db()
    chain.restart()
    chain.save()
    told = [(e.version, e.clock_version, e.due_at) for e in trial.stock_history()]

    assert told == [(1, None, None), (2, 1, start), (3, 2, start + DAY)]
    settled = chain.stock_history()[1]
    assert (settled.transition, settled.due_at) == ("advance", start + DAY)


@pytest.mark.django_db
def test_a_cause_whose_timer_is_gone(time: Clock) -> None:
    """It tells what is known."""
    lamp = Lamp.objects.create()
    ScheduledTransition.objects.all().delete()
    time.advance(DAY)
    with pytest.raises(TransitionNotAllowed):
        lamp.switch_off()
    lamp.save()
    told = lamp.stock_history()[-1]

    assert (told.clock_version, told.due_at) == (None, lamp.phase_since)


@pytest.mark.django_db
def test_the_audit_shows_the_cause(time: Clock) -> None:
    """As the admin's history does."""
    lamp = Lamp.objects.create()
    time.advance(DAY)
    run_due()
    out = StringIO()
    call_command("stockflow", "audit", "crm.Lamp", str(lamp.pk), stdout=out, no_color=True)

    assert "timer of v1, due 2026-03-03 01:00:00" in out.getvalue()


@pytest.mark.django_db
def test_bulk_transitions_tell_the_cause(time: Clock) -> None:
    """Of what they settle before."""
    fading = Fading.objects.create()
    time.advance(4 * DAY)
    Fading.objects.all().transition("renew")

    assert [entry.clock_version for entry in fading.stock_history()] == [None, 1, 2, None]
