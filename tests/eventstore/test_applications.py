"""Any application of ``eventsourcing`` lives in the log beside ours."""

import threading
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, connections, transaction
from eventsourcing import persistence
from eventsourcing.application import Application
from eventsourcing.cipher import AESCipher
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import StoredEvent, Tracking
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.utils import Environment

from stockflow import testing
from stockflow.domain.events import Moved, StockEvent
from stockflow.eventstore import Factory
from stockflow.eventstore.applications import StockLog
from stockflow.eventstore.recorders import DjangoApplicationRecorder, StockRecorder
from stockflow.eventstore.sequencer import sequence
from stockflow.eventstore.tracking import DjangoTrackingRecorder
from stockflow.models import Event, Position
from stockflow.tables import Snapshot, TrackedPosition
from tests.crm.models import Tag, Ticket

committed = pytest.mark.django_db(transaction=True)
ENV = {"PERSISTENCE_MODULE": "stockflow.eventstore"}


class Account(Aggregate):
    """An aggregate that has nothing to do with stocks."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.balance = Decimal(0)

    @event("Paid")
    def pay(self, amount: Decimal) -> None:
        self.balance += amount


class Bank(Application[UUID]):
    """An application of another name than ours."""

    snapshotting_intervals = {Account: 2}


def open_account(bank: Bank) -> UUID:
    """Save an account with three events, and return its id."""
    account = Account("Ada")
    account.pay(Decimal("9.99"))
    account.pay(Decimal("0.01"))
    bank.save(account)
    return account.id


@committed
@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="plain"),
        pytest.param({"COMPRESSOR_TOPIC": "zlib"}, id="compressed"),
        pytest.param({"CIPHER_KEY": AESCipher.create_key(16)}, id="encrypted"),
    ],
)
def test_an_application_keeps_its_aggregates(more: dict[str, str]) -> None:
    """What it saves it loads again, from a snapshot and the events after it."""
    key = open_account(Bank({**ENV, **more}))

    assert Bank({**ENV, **more}).repository.get(key).balance == 10
    assert (Event.objects.filter(application="Bank").count(), Snapshot.objects.count()) == (3, 1)
    assert [entry.position for entry in Position.objects.order_by("position")] == [1, 2, 3]
    assert (b"Ada" in bytes(Event.objects.earliest("id").payload or b"")) is (not more)


@committed
def test_two_writers_of_an_aggregate_conflict() -> None:
    """The second one's save fails with the library's own error, and writes nothing."""
    bank = Bank(ENV)
    key = open_account(bank)
    accounts: list[Account] = [bank.repository.get(key) for _ in range(2)]
    for account in accounts:
        account.pay(Decimal(1))
    bank.save(accounts[0])

    with pytest.raises(persistence.IntegrityError):
        bank.save(accounts[1])
    assert bank.repository.get(key).balance == 11


@committed
def test_a_save_is_part_of_the_transaction_around_it() -> None:
    """Rolled back, it is gone; committed, it gets its positions afterwards."""
    bank = Bank(ENV)
    with transaction.atomic():
        assert bank.save(Account("Ada")) == []
        transaction.set_rollback(True)
    with transaction.atomic():
        bank.save(Account("Bo"))
        assert bank.recorder.max_notification_id() is None

    assert bank.recorder.max_notification_id() == 1
    assert len(bank.recorder.select_notifications(start=1, limit=10)) == 1


def test_its_own_name_is_taken() -> None:
    """Another application cannot write among the stock events."""
    factory = Factory(Environment("stockflow", dict(ENV)))

    with pytest.raises(persistence.InfrastructureFactoryError, match="Give yours another name"):
        factory.application_recorder()


def test_type_of_ids_is_checked() -> None:
    """A word that means nothing is said to."""
    factory = Factory(Environment("app", {**ENV, "ORIGINATOR_ID_TYPE": "int"}))

    with pytest.raises(persistence.InfrastructureFactoryError, match="'uuid' or 'text', not 'int'"):
        factory.application_recorder()


@pytest.mark.django_db
def test_errors_are_those_of_eventsourcing() -> None:
    """Whoever knows its errors need not know Django's."""
    recorder = DjangoApplicationRecorder("default", "app")
    stored = StoredEvent("a", 1, "t", b"")

    with pytest.raises(persistence.IntegrityError), transaction.atomic():
        recorder.insert_events([stored, stored])
    with pytest.raises(persistence.DatabaseError), transaction.atomic():
        transaction.set_rollback(True)
        recorder.select_events("a")


class Moves(DjangoTrackingRecorder):
    """A view of stock events."""

    def note(self, name: str, tracking: Tracking) -> None:
        """Add a row, and how far it has read."""
        with self.writing():
            Tag.objects.using(self.using).create(name=name)
            self.insert_tracking(tracking)


class MovesOfStock(Projection[Moves]):
    """Follows the stock log as it follows any application."""

    @singledispatchmethod
    def process_event(self, domain_event: StockEvent, tracking: Tracking) -> None:
        self.view.insert_tracking(tracking)

    @process_event.register
    def _moved(self, domain_event: Moved, tracking: Tracking) -> None:
        self.view.note(str(domain_event.target), tracking)


@committed
def test_a_projection_follows_the_stock_log() -> None:
    """Stock events are domain events to ``eventsourcing``: each is delivered once."""
    ticket = Ticket.objects.create()
    with ProjectionRunner(
        application_class=StockLog, projection_class=MovesOfStock, view_class=Moves, env=ENV
    ) as runner:
        ticket.open()
        ticket.save()
        sequence()
        runner.wait(2, timeout=10)

    assert list(Tag.objects.values_list("name", flat=True)) == ["open"]
    assert TrackedPosition.objects.get().position == 2
    assert TrackedPosition.objects.get().consumer == "MovesOfStock"


@pytest.mark.django_db
def test_stock_events_are_given_by_position() -> None:
    """The stock log's recorder gives what has a position, chosen by topic too."""
    ticket = Ticket.objects.create()
    ticket.open()
    ticket.save()
    testing.sequence()
    found = StockRecorder("default").select_notifications(1, 10, topics=["stockflow:moved"])

    assert [(one.id, one.originator_id) for one in found] == [(2, str(ticket.stock_lifecycle))]


@pytest.fixture(name="opened")
def _opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The connections that threads have used."""
    seen: list[Any] = []
    plain = DjangoApplicationRecorder.reading

    def reading(self: Any) -> Any:
        seen.append(connections[self.using])
        return plain(self)

    monkeypatch.setattr(DjangoApplicationRecorder, "reading", reading)
    return seen


@committed
def test_threads_leave_no_connection_open(opened: list[Any]) -> None:
    """A subscription read in a thread closes the thread's connection with it, errors or not."""
    recorder = DjangoApplicationRecorder("default", "app", originator_type=str)
    recorder.insert_events([StoredEvent(str(n), 1, "t", b"") for n in range(2)])
    opened.clear()

    def read_one_and_fail() -> None:
        with recorder.subscribe() as subscription:
            next(subscription)

    thread = threading.Thread(target=read_one_and_fail)
    thread.start()
    thread.join()

    assert opened
    assert all(used is not connection and used.connection is None for used in opened)


@committed
def test_what_cannot_be_written_can_be_read() -> None:
    """On a read-only connection a reader sees what has a position, and nothing fails."""
    Ticket.objects.create()
    sequence()
    Ticket.objects.create()
    recorder = StockRecorder("default")
    read_only, back = (
        ("SET default_transaction_read_only = on", "RESET default_transaction_read_only")
        if connection.vendor == "postgresql"
        else ("PRAGMA query_only = on", "PRAGMA query_only = off")
    )
    with connection.cursor() as cursor:
        cursor.execute(read_only)
        seen = recorder.max_notification_id()
        cursor.execute(back)

    assert (seen, recorder.max_notification_id()) == (1, 2)
