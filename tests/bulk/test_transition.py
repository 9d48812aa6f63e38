"""A transition of a queryset: one event for each object, and counts of what became of them."""

import pytest

from stockflow.bulk.outcomes import Outcome
from tests.crm.models import Lead, Rep
from tests.stockflow.reading import assert_whole, trail

pytestmark = pytest.mark.django_db


def test_an_empty_method_moves_all(rep: Rep) -> None:
    """One event for each object, and the rows, facets and timers that go with it."""
    leads = [Lead.objects.create(owner=rep, channel=channel) for channel in ("web", "fair")]

    assert Lead.objects.transition("cool") == Outcome(moved=2)
    for lead in leads:
        lead.refresh_from_db()
        assert trail(lead) == ["entered >hot", "moved hot>warm"]
        assert_whole(lead)


def test_a_method_with_a_body_is_called_on_each() -> None:
    """What it changes is written, and its arguments reach it."""
    leads = [Lead.objects.create() for _ in range(3)]

    assert Lead.objects.transition("win", amount=900) == Outcome(moved=3)
    for lead in leads:
        lead.refresh_from_db()
        assert lead.amount == 900
        assert_whole(lead)


def test_bulk_create() -> None:
    """Rows with their opening events and timers."""
    leads = Lead.objects.bulk_create([Lead(), Lead(channel="fair")])

    for lead in leads:
        assert_whole(lead)
    leads[0].cool()
    leads[0].save()
    assert_whole(leads[0])
