"""Migrations build what the models say."""

import pytest
from django.core.management import call_command

from stockflow.eventstore.sequencer import sequence
from stockflow.models import Event


@pytest.mark.django_db
def test_migrations_are_complete() -> None:
    """``makemigrations`` would write nothing, for our apps and those of the tests."""
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db(transaction=True)
def test_migrations_can_be_undone_and_done_again() -> None:
    """``migrate stockflow zero`` leaves no trigger or function behind, and the way back works."""
    call_command("migrate", "stockflow", "zero", verbosity=0)
    call_command("migrate", verbosity=0)
    Event.objects.create(originator="a", version=1, topic="t")

    assert sequence() == 1
