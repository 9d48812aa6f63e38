"""Objects deleted by a queryset leave their stocks, in a few statements for all."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import ProtectedError
from django.db.models.signals import pre_delete
from django.test.utils import CaptureQueriesContext

from stockflow import context
from stockflow.models import Event, ScheduledTransition
from stockflow.testing import Clock
from tests.crm.models import BigLead, Lead, Order
from tests.stockflow.reading import events_of, trail

pytestmark = pytest.mark.django_db


def columns(event: Event) -> dict[str, object]:
    """What an event says, past its keys and its object's."""
    names = {f.name for f in Event._meta.fields} - {"id", "originator", "recorded_at", "payload"}
    return {name: getattr(event, name) for name in names}


@pytest.mark.parametrize("model", [Lead, Order, BigLead])
def test_the_same_as_one_by_one(model: type[Lead], time: Clock) -> None:
    """Overdue decays come first; the key outlives the row; timers end."""
    with context(actor="ada", reason="spring"):
        ours, other = model.objects.create(), model.objects.create()
        time.advance(timedelta(days=8))
        key = other.pk
        model.objects.filter(pk=ours.pk).delete()
        other.delete()

    mine, theirs = events_of(ours.stock_lifecycle), events_of(other.stock_lifecycle)
    assert [columns(event) for event in mine] == [columns(event) for event in theirs]
    assert f'"key":"{key}"' in bytes(theirs[-1].payload or b"").decode()
    assert b'"key":' in bytes(mine[-1].payload or b"")
    assert not ScheduledTransition.objects.exists()
    assert not model.objects.exists()


def test_few_statements_for_all() -> None:
    """Twenty objects cost no more statements than two."""
    counts = []
    for size in (2, 20):
        Lead.objects.bulk_create([Lead() for _ in range(size)])
        with CaptureQueriesContext(
            connection,
        ) as queries:
            Lead.objects.all().delete()
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_what_the_signals_refuse_stays() -> None:
    """Nothing is closed where the deletion fails."""
    lead = Lead.objects.create()

    def refuse(sender: type[Lead], **kwargs: object) -> None:
        raise ProtectedError("no", set())

    pre_delete.connect(refuse, sender=Lead)
    try:
        with pytest.raises(ProtectedError):
            Lead.objects.all().delete()
    finally:
        pre_delete.disconnect(refuse, sender=Lead)

    assert trail(lead) == ["entered >hot"]
