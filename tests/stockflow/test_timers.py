"""The timer of a state: one row, and a new one whenever the clock starts anew."""

import pytest

from stockflow.models import ScheduledTransition
from tests.crm.models import Lead

pytestmark = pytest.mark.django_db


def test_a_timer_started_anew_remembers_nothing() -> None:
    """What was tried, parked and released belongs to the stay that is over."""
    lead = Lead.objects.create()
    ScheduledTransition.objects.update(
        attempts=3, error="down", parked_at=1, retry_at=2, released_at=3
    )
    lead.cool()
    lead.save()
    lead.rekindle()
    lead.save()
    fresh = ScheduledTransition.objects.get()
    fields = ("attempts", "error", "parked_at", "retry_at", "released_at")

    assert [getattr(fresh, name) for name in fields] == [0, "", None, None, None]
    assert (fresh.transition, fresh.version) == ("cool", 3)


def test_no_column_of_a_timer_is_forgotten() -> None:
    """Who adds one says here whether it outlives the stay."""
    names = {field.name for field in ScheduledTransition._meta.fields}

    assert names == {
        *("id", "lifecycle", "model", "field", "version", "transition", "due_at"),
        *("attempts", "error", "parked_at", "retry_at", "released_at"),
    }
