"""No event is lost, doubled or misplaced, whatever the writers do meanwhile."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from stockflow.errors import InvalidIsolation
from stockflow.eventstore import sequencer
from stockflow.eventstore.sequencer import sequence
from stockflow.models import Event, Position
from stockflow.tables import Unsequenced
from stockflow.verification import verify
from tests.crm.models import Ticket
from tests.faults.order_writer import HOT
from tests.house.source import ROOT

pytestmark = pytest.mark.django_db(transaction=True)
on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has one writer at a time"
)

Reader = Callable[[int], list[tuple[int, int]]]
"""Given the last position read, returns the next positions and their events."""


def by_position(after: int) -> list[tuple[int, int]]:
    """Read as the library does."""
    sequence()
    entries = Position.objects.filter(application="stockflow", position__gt=after)
    return list(entries.order_by("position").values_list("position", "event")[:50])


def by_id(after: int) -> list[tuple[int, int]]:
    """Read as one would without positions: the ids are taken before the commit."""
    events = Event.objects.filter(id__gt=after).order_by("id")[:50]
    return [(event, event) for event in events.values_list("id", flat=True)]


def deliver(reader: Reader, rounds: int = 25) -> list[tuple[int, int]]:
    """Let processes write, and return what *reader* delivered from the first moment to the last."""
    _hot_tickets()
    writers = _writers(rounds)
    delivered: list[tuple[int, int]] = []
    is_over = False
    while True:
        found = reader(delivered[-1][0] if delivered else 0)
        delivered += found
        if is_over and not found:
            break
        is_over = writers.poll() is not None
    errors = writers.communicate()[1].decode()
    assert writers.returncode == 0, errors
    return delivered


def _hot_tickets() -> None:
    for key in range(1, HOT + 1):
        Ticket.objects.create(title=f"hot {key}")


def _writers(rounds: int) -> "subprocess.Popen[bytes]":
    number = 8 if connection.vendor == "postgresql" else 4
    command = [sys.executable, "-m", "tests.faults.order_writer"]
    return subprocess.Popen(
        [*command, str(connection.settings_dict["NAME"]), str(number), str(rounds)],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stderr=subprocess.PIPE,
    )


def assert_all_delivered(delivered: list[tuple[int, int]]) -> None:
    """Delivered is what was committed, once each, in the order of each object."""
    committed = dict(Event.objects.values_list("id", "version"))
    originators = dict(Event.objects.values_list("id", "originator"))

    assert sorted(event for _, event in delivered) == sorted(committed)
    assert [position for position, _ in delivered] == list(range(1, len(committed) + 1))
    versions: dict[str, list[int]] = {}
    for _, event in delivered:
        versions.setdefault(originators[event], []).append(committed[event])
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())
    assert not Unsequenced.objects.exists()
    assert [wrong for step in verify() for wrong in step.wrong] == []


def test_nothing_is_lost_or_doubled(pytestconfig: pytest.Config) -> None:
    """Eight processes write on hot objects (four on SQLite), and a reader gets it all in order."""
    delivered = deliver(by_position, pytestconfig.getoption("--rounds"))

    assert len(delivered) > 100
    assert_all_delivered(delivered)


def test_writing_raises_no_alarm(pytestconfig: pytest.Config) -> None:
    """While they write, erase and sequence, verifying finds nothing wrong."""
    _hot_tickets()
    writers = _writers(pytestconfig.getoption("--rounds"))
    wrong, times, last = list[Any](), 0, 0
    while writers.poll() is None:
        for step in verify(since=last if times % 2 else 0):
            wrong += step.wrong
            last = step.last or last
        times += 1
    errors = writers.communicate()[1].decode()

    assert (writers.returncode, wrong) == (0, []), errors
    assert times > 3
    assert Event.objects.filter(kind="erased").exists()


@on_postgresql
def test_the_harness_can_fail() -> None:
    """A reader that goes by ids loses events in the same history."""
    delivered = {event for _, event in deliver(by_id)}

    assert set(Event.objects.values_list("id", flat=True)) - delivered


@contextmanager
def idle(database: str, *statements: str) -> Iterator[Any]:
    """Hold a transaction open in *database* that has written, on a connection of its own."""
    other = connection.copy()
    other.settings_dict = {**other.settings_dict, "NAME": database}
    other.set_autocommit(False)
    try:
        with other.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        yield other
    finally:
        other.close()


IDLE_EVENT = (
    "INSERT INTO stockflow_event (application, originator, version, topic, actor, reason, correlation) "
    "VALUES ('stockflow', 'idle', 1, 't', '', '', '')"
)


@on_postgresql
def test_idle_transactions_hold_up_nobody() -> None:
    """While one is open here and one in another database, all others' events are delivered."""
    here = str(connection.settings_dict["NAME"])
    with (
        idle(here, IDLE_EVENT) as late,
        idle("postgres", "SELECT pg_current_xact_id()"),
    ):
        delivered = deliver(by_position, rounds=8)
        assert_all_delivered(delivered)
        late.commit()

    assert sequence() == 1
    last = Position.objects.latest("position")
    assert (last.position, Event.objects.get(pk=last.event).originator) == (
        len(delivered) + 1,
        "idle",
    )


@on_postgresql
def test_transactions_stay_together() -> None:
    """Events of a transaction that began first and ended last follow each other."""
    with idle(str(connection.settings_dict["NAME"]), IDLE_EVENT) as late:
        Ticket.objects.create()
        with late.cursor() as cursor:
            cursor.execute(IDLE_EVENT.replace("'idle', 1", "'idle', 2"))
        late.commit()
    sequence(batch_size=1)

    order = Position.objects.order_by("position").values_list("event", flat=True)
    assert [Event.objects.get(pk=event).originator == "idle" for event in order] == [
        False,
        True,
        True,
    ]


@on_postgresql
def test_sequencers_wait_for_each_other() -> None:
    """Only one sequences an application at a time."""
    Ticket.objects.create()
    lock = "SELECT pg_advisory_xact_lock(hashtext('stockflow'), hashtext('stockflow'))"
    thread = threading.Thread(target=_sequence_and_close)
    with idle(str(connection.settings_dict["NAME"]), lock) as other:
        thread.start()
        thread.join(0.5)
        is_waiting = thread.is_alive()
        other.rollback()
    thread.join()

    assert is_waiting
    assert Position.objects.count() == 1


def _sequence_and_close() -> None:
    try:
        sequence()
    finally:
        connection.close()


@on_postgresql
def test_without_the_lock_sequencers_collide(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is needed: without it, two that read at once want to give the same position."""
    Ticket.objects.create()
    both, errors, plain = threading.Barrier(2, timeout=10), list[Exception](), sequencer._next

    def read_at_once(*arguments: Any) -> Any:
        found = plain(*arguments)
        both.wait()
        return found

    def run() -> None:
        try:
            _sequence_and_close()
        except IntegrityError as error:
            errors.append(error)

    monkeypatch.setattr(sequencer, "lock", lambda *_: 0)
    monkeypatch.setattr(sequencer, "_next", read_at_once)
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(errors) == 1


@on_postgresql
def test_other_isolation_is_refused() -> None:
    """A transaction that sees nothing newer than its first statement cannot sequence."""
    Ticket.objects.create()
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_isolation = 'repeatable read'")
        try:
            with pytest.raises(
                InvalidIsolation, match="has REPEATABLE READ: leave 'isolation_level'"
            ):
                sequence()
        finally:
            cursor.execute("RESET default_transaction_isolation")


def test_without_its_trigger_an_event_gets_no_position() -> None:
    """The trigger is needed: without it, an event is in the log and reaches no reader."""
    drop = "DROP TRIGGER stockflow_event_enlist"
    if connection.vendor == "postgresql":
        drop = "DROP TRIGGER stockflow_enlist ON stockflow_event"
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(drop)
        Ticket.objects.create()

        assert list(sequencer.sequence_here("default")) == []
        assert [str(w) for s in verify() for w in s.wrong] == [
            f"Event {Event.objects.get().pk}: it has no position and does not wait for one"
        ]
        transaction.set_rollback(True)
