"""Objects deleted by a queryset leave their stocks, in a few statements for all."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F, ProtectedError, Window
from django.db.models.functions import RowNumber
from django.db.models.signals import post_save, pre_delete
from django.test.utils import CaptureQueriesContext

from stockflow import context
from stockflow.bulk import closing
from stockflow.models import Event, ScheduledTransition
from stockflow.testing import Clock
from tests.bulk.test_sameness import forget
from tests.crm.models import BigLead, HotLead, Lead, Order
from tests.eventstore.tampering import unguarded
from tests.fence.down import fence_down
from tests.stockflow.reading import events_of, trail

pytestmark = pytest.mark.django_db


def columns(event: Event) -> dict[str, object]:
    """What an event says, past its keys and its object's."""
    names = {f.name for f in Event._meta.fields} - {"id", "originator", "recorded_at", "payload"}
    return {name: getattr(event, name) for name in names}


def oldest_of_each(model: type[Lead]) -> Any:
    """Return the oldest object of each channel, as a window over all of them finds it."""
    place = Window(RowNumber(), partition_by=F("channel"), order_by="pk")
    return model.objects.annotate(place=place).filter(place=1)


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


def test_rows_older_than_their_history() -> None:
    """They go without a word, but for one that is adopted while others go."""
    leads = [Lead.objects.create() for _ in range(2)]
    with fence_down(operations=["update"]):
        for lead in leads:
            forget(lead)

    def cool_the_other(sender: type[Lead], instance: Lead, **kwargs: object) -> None:
        pre_delete.disconnect(cool_the_other, sender=Lead)
        for lead in Lead.objects.exclude(pk=instance.pk):
            lead.cool()
            lead.save()

    before = {*Event.objects.values_list("pk", flat=True)}
    pre_delete.connect(cool_the_other, sender=Lead)
    Lead.objects.all().delete()

    kinds = Event.objects.exclude(pk__in=before).order_by("version").values_list("kind", flat=True)
    assert list(kinds) == ["adopted", "moved", "left"]
    assert not Lead.objects.exists()


def test_a_field_that_was_declared_later() -> None:
    """It has no event that could be closed."""
    order = Order.objects.create()
    with fence_down(operations=["update"]), unguarded() as cursor:
        cursor.execute("DELETE FROM stockflow_event WHERE field = 'delivery'")
        cursor.execute("UPDATE crm_order SET stock_version = 1")
    Order.objects.all().delete()

    assert trail(order) == ["entered >due", "left due>"]


@pytest.mark.parametrize("in_bulk", [True, False])
def test_what_a_receiver_does_as_decays_are_recorded(in_bulk: bool, time: Clock) -> None:
    """The object leaves after that, though it is later than when the deletion began."""
    lead = Lead.objects.create()
    time.advance(timedelta(days=8))

    def rekindle(sender: type[Lead], instance: Lead, **kwargs: object) -> None:
        post_save.disconnect(rekindle, sender=Lead)
        time.advance(timedelta(seconds=1))
        instance.rekindle()
        instance.save()

    post_save.connect(rekindle, sender=Lead)
    (Lead.objects.all() if in_bulk else Lead.objects.get()).delete()

    assert trail(lead) == ["entered >hot", "moved hot>warm", "moved warm>hot", "left hot>"]
    instants = [event.occurred_at or 0 for event in events_of(lead.stock_lifecycle)]
    assert instants == sorted(instants)


def test_deleted_while_it_is_deleted() -> None:
    """By a receiver that deletes it once more: it leaves once."""
    lead = Lead.objects.create()

    def delete(sender: type[Lead], **kwargs: object) -> None:
        pre_delete.disconnect(delete, sender=Lead)
        Lead.objects.all().delete()

    pre_delete.connect(delete, sender=Lead)
    Lead.objects.all().delete()

    assert trail(lead) == ["entered >hot", "left hot>"]
    assert not Lead.objects.exists()


@pytest.mark.parametrize("model", [Lead, HotLead], ids=["parent", "proxy of the parent"])
def test_children_among_them(model: type[Lead], time: Clock) -> None:
    """A child leaves in each of its fields, after its overdue decays, and the others as ever."""
    big, lead = BigLead.objects.create(), Lead.objects.create()
    time.advance(timedelta(days=8))
    model.objects.all().delete()

    moved = ["entered >hot", "moved hot>warm", "left warm>"]
    assert [trail(one, "temperature") for one in (big, lead)] == [moved, moved]
    assert trail(big, "stage") == ["entered >draft", "moved draft>offered", "left offered>"]
    assert {event.model for event in events_of(big.stock_lifecycle)} == {"crm.biglead"}
    assert not Lead.objects.exists()
    assert not ScheduledTransition.objects.exists()


def test_what_a_window_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter on the keys of a chunk would make it another set: it is asked only as a whole."""
    monkeypatch.setattr(closing, "CHUNK", 1)
    leads = [Lead.objects.create(channel=channel) for channel in ("web", "fair") for _ in range(3)]
    oldest_of_each(Lead).delete()

    gone, kept = ["entered >hot", "left hot>"], ["entered >hot"]
    assert [trail(lead) for lead in leads] == [gone, kept, kept] * 2
    assert Lead.objects.count() == 4


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
