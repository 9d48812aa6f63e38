"""The periodic schedule folds: whoever calls it for decays has fast answers too."""

from datetime import timedelta

import pytest
from django.core.management import call_command

from stockflow.models import PeriodicRun
from stockflow.projections import Stock, checkpoints, flow_counts
from stockflow.scheduling.periodic import JOBS
from stockflow.scheduling.runs import run_jobs
from tests.crm.models import Lead

NAME = "stockflow.project"


@pytest.mark.django_db(transaction=True)
def test_the_schedule_folds() -> None:
    """One call gives positions and folds, and says how much."""
    Lead.objects.create()
    call_command("run_periodic_schedule", verbosity=0)
    serving = checkpoints.serving(flow_counts.NAME, using="default")

    assert "flow_counts: 1 positions" in PeriodicRun.objects.get(name=NAME).result.split(", ")
    assert serving is not None
    assert serving.position == 1
    assert Stock("hot", Lead.temperature, states=["hot"]).count() == 1


@pytest.mark.django_db
def test_it_waits_for_the_end_of_a_transaction() -> None:
    """A checkpoint is not moved in somebody else's transaction, which may be long or roll back."""
    Lead.objects.create()
    results = {run.name: run.result for run in run_jobs()}

    assert results[NAME] == "nothing: it folds outside transactions"
    assert checkpoints.serving(flow_counts.NAME, using="default") is None


def test_a_killed_run_does_not_hold_it_up_for_long() -> None:
    """A run beside one that only seemed dead folds nothing twice, so it need not wait an hour."""
    assert JOBS[NAME].at_most <= timedelta(minutes=10)
