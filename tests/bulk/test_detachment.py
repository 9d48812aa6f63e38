"""Deleting what a facet is read through: the objects are reclassified, and then let go."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.deletion import Collector
from django.db.models.signals import post_save, pre_delete
from django.test.utils import CaptureQueriesContext

from stockflow import context
from stockflow.bulk import chunks, detachment
from stockflow.errors import ConcurrentTransition
from stockflow.testing import Clock
from tests.bulk.test_sameness import forget
from tests.crm.models import Call, LongVisit, Mail, Mirror, Source, Tag, Visit, no_source
from tests.fence.down import fence_down
from tests.stockflow.reading import assert_whole, events_of, last_event, trail

pytestmark = pytest.mark.django_db


def facets(visit: Visit) -> Any:
    """Return the facets of the last event."""
    return json.loads(last_event(visit).target_facets or "")


@pytest.mark.parametrize(
    ("column", "lookup", "expected"),
    [
        pytest.param("source", "source__name", None, id="SET_NULL"),
        pytest.param("other", "other", None, id="SET_DEFAULT"),
        pytest.param("third", "third__name", "none", id="SET"),
    ],
)
def test_the_object_is_reclassified(column: str, lookup: str, expected: str | None) -> None:
    """Its facet takes the value that on_delete gives, in the deletion's transaction."""
    source = Source.objects.create(name="ad")
    visits = [Visit.objects.create(**{column: source}) for _ in range(3)]
    with context(actor="ada"):
        source.delete()

    for visit in visits:
        visit.refresh_from_db()
        assert trail(visit) == ["entered >open", "reclassified open>open"]
        assert (facets(visit)[lookup], last_event(visit).actor) == (expected, "ada")
        assert_whole(visit)


@pytest.mark.parametrize("how", ["queryset", "cascade", "proxy", "proxies"])
def test_however_it_is_deleted(how: str) -> None:
    """By a queryset, with something else, or by another of its classes."""
    tag = Tag.objects.create(name="x")
    source = Source.objects.create(name="ad", tag=tag)
    visit = Visit.objects.create(source=source)
    does = {
        "queryset": Source.objects.all().delete,
        "cascade": tag.delete,
        "proxy": Mirror.objects.get(pk=source.pk).delete,
        "proxies": Mirror.objects.all().delete,
    }
    does[how]()
    visit.refresh_from_db()

    assert visit.source is None
    assert_whole(visit)


def test_a_child_is_reclassified_whole() -> None:
    """Each of its fields that the relation splits; its model stays."""
    source = Source.objects.create(name="ad")
    visit = LongVisit.objects.create(source=source)
    source.delete()
    visit.refresh_from_db()

    assert trail(visit, "pages") == ["entered >few", "reclassified few>few"]
    assert trail(visit, "state") == ["entered >open", "reclassified open>open"]
    assert {event.model for event in events_of(visit.stock_lifecycle)} == {"crm.longvisit"}
    assert_whole(visit)


def test_a_base_manager_that_refuses_updates() -> None:
    """Django asks it for an update that finds nothing left to do, and that is let through."""
    sources = [Source.objects.create(name=name) for name in ("ad", "fair")]
    mail, other = Mail.objects.create(source=sources[0]), Mail.objects.create()
    for source in sources:
        source.delete()
    mail.refresh_from_db()

    assert trail(mail) == ["entered >open", "reclassified open>open"]
    assert trail(other) == ["entered >open"]
    assert_whole(mail)


def test_letting_go_without_a_deletion() -> None:
    """It is refused where a row would change."""
    mail = Mail.objects.create(source=Source.objects.create(name="ad"))
    with pytest.raises(IntegrityError, match=r"update\(\) of crm.Mail would change source"):
        Mail.objects.update(source=None)

    assert trail(mail) == ["entered >open"]


def test_a_child_that_is_created_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what it is, though it was there only when its parent's table was read."""
    source, pages, made = Source.objects.create(name="ad"), chunks.pages, list[LongVisit]()
    Visit.objects.create(source=source)

    def pages_late(queryset: Any, size: int) -> Any:
        if queryset.model is Visit and not made:
            made.append(LongVisit.objects.create(source=source))
        return pages(queryset, size)

    monkeypatch.setattr(chunks, "pages", pages_late)
    source.delete()
    (visit,) = LongVisit.objects.all()

    assert trail(visit, "pages") == ["entered >few", "reclassified few>few"]
    assert_whole(visit)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("model", [Visit, LongVisit, Call])
def test_what_goes_with_it_leaves(model: type[Visit], is_first: bool) -> None:
    """An object that the same deletion takes is closed in the end, whichever is asked first."""
    source = Source.objects.create(name="ad")
    gone = model.objects.create(source=source)
    collector = Collector("default")
    for one in (gone, source) if is_first else (source, gone):
        collector.collect([one])
    collector.delete()

    assert {e.kind for e in events_of(gone.stock_lifecycle)} >= {"entered", "left"}
    assert events_of(gone.stock_lifecycle)[-1].kind == "left"
    assert not model.objects.exists()


def test_overdue_decays_come_first(time: Clock) -> None:
    """It had its source until then."""
    source = Source.objects.create(name="ad")
    visit = Visit.objects.create(source=source)
    time.advance(timedelta(days=2))
    source.delete()
    visit.refresh_from_db()

    assert trail(visit) == ["entered >open", "moved open>closed", "reclassified closed>closed"]
    assert_whole(visit)


def test_a_row_older_than_its_history() -> None:
    """It lets go and stays outside of the log."""
    source = Source.objects.create(name="ad")
    visit = Visit.objects.create(source=source)
    with fence_down(operations=["update"]):
        forget(visit)
    source.delete()

    visit.refresh_from_db()
    assert (visit.source, visit.stock_lifecycle, visit.stock_version) == (None, None, 0)


def test_one_that_a_receiver_changes_meanwhile() -> None:
    """Nothing is deleted where another instance was first."""
    source = Source.objects.create(name="ad")
    visits = [Visit.objects.create(source=source) for _ in range(2)]

    def close_the_other(sender: type[Visit], instance: Visit, **kwargs: object) -> None:
        post_save.disconnect(close_the_other, sender=Visit)
        other = Visit.objects.exclude(pk=instance.pk).get()
        other.close()
        other.save()

    post_save.connect(close_the_other, sender=Visit)
    with (
        pytest.raises(ConcurrentTransition, match=r"crm.Visit whose source is being deleted"),
        transaction.atomic(),
    ):
        source.delete()

    assert Source.objects.filter(name="ad").exists()
    assert [trail(visit) for visit in visits] == [["entered >open"]] * 2


def test_few_statements_for_all() -> None:
    """Twenty visits cost no more statements than two."""
    counts, _ = [], no_source()
    for size in (2, 20):
        source = Source.objects.create(name="ad")
        Visit.objects.bulk_create([Visit(source=source) for _ in range(size)])
        with CaptureQueriesContext(connection) as queries:
            source.delete()
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_a_rolled_back_deletion_leaves_no_event() -> None:
    """Row and log stay."""
    source = Source.objects.create(name="ad")
    visit = Visit.objects.create(source=source)
    with transaction.atomic():
        source.delete()
        transaction.set_rollback(True)

    assert trail(visit) == ["entered >open"]
    assert_whole(visit)


def test_without_it_the_deletion_is_refused() -> None:
    """It is needed: Django's own update is stopped by the fence, which says what to do."""
    source = Source.objects.create(name="ad")
    Visit.objects.create(source=source)
    pre_delete.disconnect(sender=Source, dispatch_uid="stockflow.detach")
    try:
        with (
            pytest.raises(IntegrityError, match=r"stockflow: a state.*assign the facet"),
            transaction.atomic(),
        ):
            source.delete()
    finally:
        detachment.connect()

    assert Source.objects.filter(name="ad").exists()
