"""Deletion: the closing event, however an object is deleted."""

from datetime import timedelta

import pytest
from django.db import transaction

from stockflow import context
from stockflow.models import Event, ScheduledTransition
from stockflow.testing import Clock
from tests.crm.models import BigLead, HotLead, Labelled, Lead, Order, Rep, Tag
from tests.stockflow.reading import assert_whole, events_of, facets_of, micros, trail

pytestmark = pytest.mark.django_db


def kinds(lifecycle: object) -> list[str]:
    """Return the kinds of a lifecycle's events."""
    return [event.kind or "" for event in events_of(lifecycle)]


def test_delete_records_the_closing_event(time: Clock, rep: Rep) -> None:
    """To the outside, from the cell that it was in, and who did it."""
    lead = Lead.objects.create(owner=rep)
    key, lifecycle = lead.pk, lead.stock_lifecycle
    time.advance(timedelta(days=1))
    with context(actor="ada", reason="spam", data={"n": 1}):
        lead.delete()
    opened, left = events_of(lifecycle)

    assert (left.kind, left.source, left.target, left.version) == ("left", "hot", None, 2)
    assert (left.source_facets, left.target_facets) == (opened.target_facets, None)
    assert (left.actor, left.reason, left.occurred_at) == ("ada", "spam", micros(time.at))
    assert bytes(left.payload or b"") == b'{"data":{"n": 1},"key":"%d"}' % key


def test_each_field_leaves() -> None:
    """One closing event per field, versions without a gap."""
    order = Order.objects.create()
    lifecycle = order.stock_lifecycle
    order.delete()

    assert [(e.version, e.field, e.kind) for e in events_of(lifecycle)[2:]] == [
        (3, "payment", "left"),
        (4, "delivery", "left"),
    ]


def test_timers_end() -> None:
    """Nothing is left to fire."""
    Lead.objects.create().delete()

    assert not ScheduledTransition.objects.exists()


def test_a_queryset_s_delete() -> None:
    """Each object has its closing event."""
    lifecycles = [Lead.objects.create().stock_lifecycle for _ in range(3)]
    Lead.objects.all().delete()

    assert [kinds(lifecycle) for lifecycle in lifecycles] == [["entered", "left"]] * 3


def test_a_cascade() -> None:
    """Deleted with its tag."""
    tag = Tag.objects.create(name="x")
    labelled = Labelled.objects.create(tag=tag)
    tag.delete()

    assert kinds(labelled.stock_lifecycle) == ["entered", "left"]


def test_a_cascade_from_a_queryset() -> None:
    """Deleted with all tags."""
    tag = Tag.objects.create(name="x")
    labelled = Labelled.objects.create(tag=tag)
    Tag.objects.all().delete()

    assert kinds(labelled.stock_lifecycle) == ["entered", "left"]


@pytest.mark.parametrize("model", [BigLead, Lead], ids=["child", "parent"])
def test_a_child_leaves_once(model: type[Lead]) -> None:
    """Deleted by either of its classes, with both of its fields."""
    big = BigLead.objects.create()
    model.objects.get().delete()

    assert sorted(f"{e.field} {e.kind}" for e in events_of(big.stock_lifecycle)[2:]) == [
        "stage left",
        "temperature left",
    ]


@pytest.mark.parametrize("model", [HotLead, Lead], ids=["proxy", "parent"])
def test_a_proxy_leaves_once(model: type[Lead]) -> None:
    """Deleted by either of its classes."""
    hot = HotLead.objects.create()
    model.objects.get().delete()

    assert kinds(hot.stock_lifecycle) == ["entered", "left"]


def test_a_child_that_leaves_its_parent_behind() -> None:
    """The child's own field leaves, the parent's stays and moves on."""
    big = BigLead.objects.create()
    big.delete(keep_parents=True)
    lead = Lead.objects.get()
    lead.cool()
    lead.save()

    assert trail(lead, "stage") == ["entered >draft", "left draft>"]
    assert trail(lead, "temperature") == ["entered >hot", "moved hot>warm"]
    assert_whole(lead)


def test_what_was_pending_is_gone() -> None:
    """A transition that was not saved did not happen."""
    lead = Lead.objects.create()
    lifecycle = lead.stock_lifecycle
    lead.cool()
    lead.delete()

    assert [(e.kind, e.source) for e in events_of(lifecycle)] == [
        ("entered", None),
        ("left", "hot"),
    ]


def test_a_stale_instance_deletes_what_is_there() -> None:
    """The closing event leaves the state of the row."""
    stale = Lead.objects.create()
    lifecycle = stale.stock_lifecycle
    other = Lead.objects.get()
    other.cool()
    other.channel = "phone"
    other.save()
    stale.delete()
    last = events_of(lifecycle)[-1]

    assert (last.source, facets_of(last)[0]["channel"]) == ("warm", "phone")


def test_deleted_and_saved_again_is_a_new_life() -> None:
    """As with any model, saving a deleted instance creates one."""
    lead = Lead.objects.create()
    first = lead.stock_lifecycle
    lead.delete()
    lead.save()

    assert kinds(first) == ["entered", "left"]
    assert trail(lead) == ["entered >hot"]
    assert_whole(lead)


def test_a_rolled_back_deletion_leaves_no_event() -> None:
    """Row and log stay."""
    lead = Lead.objects.create()
    with transaction.atomic():
        Lead.objects.all().delete()
        transaction.set_rollback(True)

    assert Event.objects.count() == 1
    assert_whole(lead)


def test_a_deferred_instance() -> None:
    """Deleting needs nothing loaded."""
    lifecycle = Lead.objects.create().stock_lifecycle
    Lead.objects.only("note").get().delete()

    assert kinds(lifecycle) == ["entered", "left"]
