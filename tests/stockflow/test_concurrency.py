"""Writers at the same time: nothing lost, nobody waits for ever."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from stockflow.errors import ConcurrentTransition
from stockflow.models import Event, ScheduledTransition
from stockflow.scheduling.decays import fire_due
from stockflow.testing import Clock
from tests.crm.models import BigLead, Lamp, Lead, Order, Ticket
from tests.stockflow.reading import assert_whole, events_of, trail

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)
postgresql = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="SQLite has one writer at a time"
)


def at_once(*acts: Callable[[], object]) -> list[BaseException]:
    """Run each act in a thread of its own, all let loose together; return what they raised."""
    barrier, errors = threading.Barrier(len(acts)), list[BaseException]()

    def run(act: Callable[[], object]) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(20)
            act()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


def _moving(name: str, model: type[Any] = Ticket) -> Callable[[], None]:
    instance = model.objects.get()

    def act() -> None:
        getattr(instance, name)()
        instance.save()

    return act


def test_of_many_writers_one_wins() -> None:
    """The others get ConcurrentTransition and write nothing."""
    ticket = Ticket.objects.create()
    errors = at_once(*[_moving("open") for _ in range(6)])
    ticket.refresh_from_db()

    assert [type(error) for error in errors] == [ConcurrentTransition] * 5
    assert trail(ticket)[1:] == ["moved new>open"]
    assert_whole(ticket)


def test_writers_who_retry_all_get_through() -> None:
    """Each loads again: no deadlock, no lost event, no gap."""
    ticket = Ticket.objects.create()

    def act() -> None:
        for _ in range(10):
            while True:
                mine = Ticket.objects.get()
                mine.put("open")
                try:
                    mine.save()
                except ConcurrentTransition:
                    continue
                break

    errors = at_once(*[act] * 4)
    ticket.refresh_from_db()

    assert errors == []
    assert ticket.stock_version == 41
    assert_whole(ticket)


def test_writers_in_blocks_that_roll_back() -> None:
    """What was rolled back leaves no gap and no event."""
    ticket = Ticket.objects.create()

    def act(is_kept: bool) -> Callable[[], None]:
        def run() -> None:
            for _ in range(10):
                try:
                    with transaction.atomic():
                        mine = Ticket.objects.get()
                        mine.put("open")
                        mine.save()
                        transaction.set_rollback(not is_kept)
                except ConcurrentTransition:
                    pass

        return run

    errors = at_once(act(True), act(False), act(True), act(False))
    ticket.refresh_from_db()

    assert errors == []
    assert_whole(ticket)


def test_a_facet_and_a_transition_at_once() -> None:
    """Both write the version, so one of them is first."""
    lead = Lead.objects.create()
    for n in range(10):
        mover, changer = Lead.objects.get(), Lead.objects.get()
        mover.lose()
        changer.channel = f"c{n}"
        errors = at_once(mover.save, changer.save)
        assert [type(error) for error in errors] in ([ConcurrentTransition], [])
    lead.refresh_from_db()

    assert_whole(lead)


def test_deleting_and_moving_at_once() -> None:
    """The log ends where the row does, whoever was first."""
    for _ in range(10):
        big = BigLead.objects.create()
        deleter, mover = BigLead.objects.get(), BigLead.objects.get()
        mover.offer()
        mover.cool()
        errors = at_once(deleter.delete, mover.save)
        log = events_of(big.stock_lifecycle)

        assert [type(error) for error in errors] in ([], [ConcurrentTransition])
        assert [event.version for event in log] == list(range(1, len(log) + 1))
        assert {event.field: event.kind for event in log} == {
            "temperature": "left",
            "stage": "left",
        }
        assert not BigLead.objects.exists()


def test_two_schedules_at_once(time: Clock) -> None:
    """A decay happens once, whoever fires it."""
    leads = [Lead.objects.create() for _ in range(20)]
    time.advance(timedelta(days=100))

    def run() -> None:
        for _ in fire_due(chunk_size=3):
            pass

    errors = at_once(run, run, run)

    assert errors == []
    assert Event.objects.count() == 60
    for lead in leads:
        lead.refresh_from_db()
        assert_whole(lead)


def test_two_schedules_at_once_by_sql(time: Clock) -> None:
    """Nor is one forgotten where the workers pass over what the other has locked."""
    lamps = [Lamp.objects.create() for _ in range(20)]
    time.advance(timedelta(days=1))
    errors = at_once(*[lambda: list(fire_due(chunk_size=4))] * 3)

    assert errors == []
    assert Event.objects.count() == 40
    for lamp in lamps:
        lamp.refresh_from_db()
        assert_whole(lamp)


def test_the_schedule_and_callers_at_once(time: Clock) -> None:
    """No deadlock between the worker's locks and a save's."""
    for _ in range(10):
        Lead.objects.create()
    time.advance(timedelta(days=100))

    def touch() -> None:
        for lead in Lead.objects.order_by("-pk"):
            lead.lose("phone")
            with suppress(ConcurrentTransition):
                lead.save()

    errors = at_once(lambda: list(fire_due(chunk_size=4)), touch, touch)

    assert errors == []
    for lead in Lead.objects.all():
        assert_whole(lead)


@postgresql
@pytest.mark.parametrize("by_django", [False, True])
def test_a_writer_waits_for_the_row_before_it_inserts_its_event(
    by_django: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row lock first, event second, also where Django updates the row: else it would deadlock."""
    monkeypatch.setattr(Ticket._meta, "select_on_save", by_django)
    ticket = Ticket.objects.create()
    first_has_written, second_has_begun = threading.Event(), threading.Event()

    def first() -> None:
        with transaction.atomic():
            mine = Ticket.objects.get()
            mine.put("open")
            mine.save()
            first_has_written.set()
            second_has_begun.wait(10)
            mine.put("closed")
            mine.save()

    def second() -> None:
        mine = Ticket.objects.get()
        mine.put("closed")
        first_has_written.wait(10)
        threading.Timer(0.2, second_has_begun.set).start()
        mine.save()

    errors = at_once(first, second)
    ticket.refresh_from_db()

    assert [type(error) for error in errors] == [ConcurrentTransition]
    assert trail(ticket)[1:] == ["moved new>open", "moved open>closed"]
    assert_whole(ticket)


@postgresql
def test_timers_are_read_once_their_object_is_locked(time: Clock) -> None:
    """What another worker set aside until then stays so, another field's timer too."""
    order = Order.objects.create(grace=DAY, deadline=time.at + DAY)
    time.advance(2 * DAY)
    timers = ScheduledTransition.objects.filter(field="delivery")
    acts = [lambda: timers.update(parked_at=1, error="wait")]

    def wrapper(execute: Any, sql: str, *rest: Any) -> Any:
        if "crm_order" in sql and "FOR NO KEY UPDATE" in sql and acts:
            assert at_once(acts.pop()) == []
        return execute(sql, *rest)

    with connection.execute_wrapper(wrapper):
        fired = sum(chunk.fired for chunk in fire_due(chunk_size=1))

    assert (fired, acts) == (1, [])
    assert [trail(order, name)[1:] for name in ("payment", "delivery")] == [
        ["moved due>overdue"],
        [],
    ]


@postgresql
def test_writers_of_different_objects_do_not_wait() -> None:
    """A long transaction on one object stalls no other one."""
    slow, quick = Ticket.objects.create(), Ticket.objects.create()
    with transaction.atomic():
        slow.open()
        slow.save()

        def act() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '2s'")
            mine = Ticket.objects.get(pk=quick.pk)
            mine.open()
            mine.save()

        errors = at_once(act)

    assert errors == []
    quick.refresh_from_db()
    assert_whole(quick)


@postgresql
def test_a_serialization_failure_is_the_database_s_own_error() -> None:
    """Under REPEATABLE READ the database says so itself, and nothing is written."""
    ticket = Ticket.objects.create()

    def act() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            mine = Ticket.objects.get()
            threading_done = at_once(_moving("open"))
            assert threading_done == []
            mine.close()
            mine.save()

    errors = at_once(act)
    ticket.refresh_from_db()

    assert [type(error) for error in errors] == [OperationalError]
    assert trail(ticket)[1:] == ["moved new>open"]
