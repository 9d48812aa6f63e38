"""Inline event callables: told by every way of writing, in its transaction, which they may undo."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from stockflow.projections import EventCallable, Flow, Stock
from stockflow.scheduling import decays
from stockflow.testing import Clock, clock, run_due
from tests.crm.models import Lead, Ticket

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
WEEK = timedelta(days=7)
pytestmark = pytest.mark.django_db


@pytest.fixture(name="time")
def _time() -> Iterator[Clock]:
    with clock(NOW) as time:
        yield time


class Book:
    """What was booked, and whether booking fails."""

    def __init__(self) -> None:
        self.entries: list[tuple[Any, ...]] = []
        self.is_closed = False

    def enter(self, lead: Any, source: Any, sink: Any, event: Any) -> None:
        if self.is_closed:
            raise ValueError("the book is closed")
        self.entries.append((source, sink, lead is not None and lead.temperature))


@pytest.fixture(name="book")
def _book(time: Clock) -> Book:
    """Book all that happens to leads."""
    book, states = Book(), ["hot", "warm", "cold", "lost"]
    hot = Stock("hot", Lead.temperature, states=["hot"])
    Flow(
        "all",
        sources=[None, hot, *states[1:]],
        sinks=[None, hot, *states[1:]],
        event_callables=[EventCallable(book.enter, inline=True)],
    )
    return book


def create(time: Clock) -> None:
    """Create one."""
    Lead.objects.create()


def save(time: Clock) -> None:
    """Save a transition."""
    lead = Lead.objects.get()
    lead.lose()
    lead.save()


def save_inside(time: Clock) -> None:
    """Save it in a block."""
    with transaction.atomic():
        save(time)


def delete(time: Clock) -> None:
    """Delete one."""
    Lead.objects.get().delete()


def delete_many(time: Clock) -> None:
    """Delete a queryset."""
    Lead.objects.all().delete()


def create_many(time: Clock) -> None:
    """Create in bulk."""
    Lead.objects.bulk_create([Lead(), Lead()])


def by_sql(time: Clock) -> None:
    """Make a transition in bulk, by SQL alone."""
    Lead.objects.all().transition("cool")


def by_method(time: Clock) -> None:
    """Make one in bulk, by its method."""
    Lead.objects.all().transition("lose")


def decay(time: Clock) -> None:
    """Let a decay happen."""
    time.advance(WEEK)
    run_due()


WAYS: dict[Callable[[Clock], None], list[tuple[Any, Any, Any]]] = {
    create: [(None, "hot", "hot")],
    save: [("hot", "lost", "lost")],
    save_inside: [("hot", "lost", "lost")],
    delete: [("hot", None, "hot")],
    delete_many: [("hot", None, "hot")],
    create_many: [(None, "hot", "hot")] * 2,
    by_sql: [("hot", "warm", "warm")],
    by_method: [("hot", "lost", "lost")],
    decay: [("hot", "warm", "warm")],
}
BEFORE: dict[Callable[[Clock], None], int] = {create: 0, create_many: 0}


def named(end: Any) -> Any:
    """Return a stock's slug, or the end itself."""
    return getattr(end, "slug", end)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_of_writing_tells(way: Callable[[Clock], None], book: Book, time: Clock) -> None:
    """With the object as its row is then, once for each event."""
    for _ in range(BEFORE.get(way, 1)):
        Lead.objects.create()
    book.entries.clear()
    way(time)

    assert [(named(s), named(t), state) for s, t, state in book.entries] == WAYS[way]


def test_setwise_firing_tells(book: Book, time: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SQL alone moves a full page of timers."""
    for _ in range(3):
        Lead.objects.create()
    book.entries.clear()
    time.advance(WEEK)
    fired = sum(chunk.fired for chunk in decays.fire_due(chunk_size=3))

    assert fired == 3
    assert len(book.entries) == 3


@pytest.mark.parametrize("way", [w for w in WAYS if w is not decay], ids=lambda way: way.__name__)
def test_what_it_raises_undoes_the_transaction(
    way: Callable[[Clock], None], book: Book, time: Clock
) -> None:
    """Row and event together."""
    for _ in range(BEFORE.get(way, 1)):
        Lead.objects.create()
    before = list(Lead.objects.values_list("pk", "temperature", "stock_version"))
    book.is_closed = True
    with pytest.raises(ValueError, match="the book is closed"), transaction.atomic():
        way(time)

    assert list(Lead.objects.values_list("pk", "temperature", "stock_version")) == before


def test_who_catches_it_inside_keeps_nothing(book: Book) -> None:
    """The block is broken, as after an error of the database."""
    book.is_closed = True
    with transaction.atomic():
        try:
            Lead.objects.create()
        except ValueError:
            broken = transaction.get_rollback()
    assert broken
    assert not Lead.objects.exists()


def test_a_decay_that_it_refuses_is_tried_again(book: Book, time: Clock) -> None:
    """It holds up no other object."""
    Lead.objects.create()
    Ticket.objects.create()
    book.is_closed = True
    time.advance(WEEK)
    (chunk,) = decays.fire_due()
    book.is_closed = False
    time.advance(timedelta(minutes=2))

    assert [str(one.error) for one in chunk.failures.values()] == ["ValueError: the book is closed"]
    assert run_due() == 1


def test_what_it_writes_is_told_too(book: Book, time: Clock) -> None:
    """A callable that makes a transition has that told as well."""

    def cool(lead: Any, source: Any, sink: Any, event: Any) -> None:
        if sink == "lost":
            return
        lead.lose()
        lead.save()

    Flow(
        "arriving",
        sources=[None],
        sinks=[Stock("h", Lead.temperature, states=["hot"])],
        event_callables=[EventCallable(cool, inline=True, name="cool")],
    )
    Lead.objects.create()

    assert [(named(s), named(t)) for s, t, _ in book.entries] == [(None, "hot"), ("hot", "lost")]


def test_nobody_else_pays(book: Book, django_assert_num_queries: Any) -> None:
    """A model without inline callables is written as before."""
    with django_assert_num_queries(2):
        Ticket.objects.create()
