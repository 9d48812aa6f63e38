"""bulk_create(): rows with their opening events and timers, or nothing."""

import pytest
from asgiref.sync import async_to_sync
from django.db import IntegrityError, NotSupportedError, connection, transaction
from django.test.utils import CaptureQueriesContext

from stockflow import context
from stockflow.domain.errors import UnknownState
from stockflow.models import Event, ScheduledTransition
from tests.crm.models import Lead, Order, Radio, Rep
from tests.stockflow.reading import assert_whole, facets_of, last_event, trail

pytestmark = pytest.mark.django_db


def test_each_object_has_its_opening_event(rep: Rep) -> None:
    """With its facets, under the context, and with its timer."""
    with context(actor="import"):
        leads = Lead.objects.bulk_create([Lead(owner=rep), Lead(temperature="won")])

    for lead in leads:
        assert last_event(lead).actor == "import"
        assert_whole(lead)
    assert facets_of(last_event(leads[0]))[1] == {"channel": "web", "owner__team": "north"}
    assert trail(leads[1]) == ["entered >won"]
    assert ScheduledTransition.objects.count() == 1


def test_what_happened_before_is_written_too() -> None:
    """A transition and a changed facet of an unsaved object have their events."""
    lead = Lead()
    lead.cool()
    lead.channel = "fair"
    Lead.objects.bulk_create([lead])

    assert trail(lead) == ["entered >hot", "moved hot>warm", "reclassified warm>warm"]
    assert_whole(lead)


def test_created_objects_go_on() -> None:
    """Two fields, a key of their own, and a transition afterwards."""
    order, *_ = Order.objects.bulk_create([Order(), Order()])
    order.pay()
    order.save()

    assert_whole(order)


def test_more_objects_take_no_more_statements() -> None:
    """Twenty cost as many as two."""
    counts = []
    for size in (2, 20):
        with CaptureQueriesContext(connection) as queries:
            Lead.objects.bulk_create([Lead() for _ in range(size)])
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_a_row_that_is_there_creates_none() -> None:
    """Neither rows nor events are written, and the objects can be saved otherwise."""
    Radio.objects.create(code="a")
    radios = [Radio(code="b"), Radio(code="a")]
    with pytest.raises(IntegrityError), transaction.atomic():
        Radio.objects.bulk_create(radios)

    assert Event.objects.count() == 1
    assert radios[0].stock_lifecycle is None
    radios[0].save()
    assert_whole(radios[0])


def test_an_unknown_state_creates_none() -> None:
    """As save() refuses it."""
    with pytest.raises(UnknownState):
        Lead.objects.bulk_create([Lead(), Lead(temperature="tepid")])

    assert not Event.objects.exists()


@pytest.mark.parametrize("option", ["ignore_conflicts", "update_conflicts"])
def test_conflicts_are_refused(option: str) -> None:
    """An event without its row, or a row without its event, would follow."""
    with pytest.raises(NotSupportedError, match=rf"stockflow: bulk_create\(\) .* {option}"):
        Lead.objects.bulk_create([Lead()], **{option: True})


def test_a_block_that_is_rolled_back_is_written_again_by_save() -> None:
    """As after save(): the memory knows what the database lost."""
    lead = Lead()
    with transaction.atomic():
        Lead.objects.bulk_create([lead])
        transaction.set_rollback(True)
    assert not Event.objects.exists()
    lead.save()

    assert trail(lead) == ["entered >hot"]
    assert_whole(lead)


def test_abulk_create() -> None:
    """The same, awaited."""

    async def create() -> list[Lead]:
        created: list[Lead] = await Lead.objects.abulk_create([Lead(), Lead()])
        return created

    for lead in async_to_sync(create)():
        assert_whole(lead)
