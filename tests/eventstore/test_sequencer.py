"""Committed events get their positions: gapless, once, in each object's order."""

import pickle

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.utils import IntegrityError

from stockflow import testing
from stockflow.errors import InsideTransaction
from stockflow.eventstore.sequencer import _OLDEST, enlist, sequence
from stockflow.models import Event, Position
from stockflow.tables import Unsequenced
from tests.crm.models import Lead, Ticket
from tests.eventstore.tampering import tampering

committed = pytest.mark.django_db(transaction=True)


def log() -> list[tuple[int, str, int]]:
    """Return position, originator and version of each positioned event, in order."""
    events = Event.objects.in_bulk()
    return [
        (entry.position, events[entry.event].originator, events[entry.event].version)
        for entry in Position.objects.order_by("application", "position")
    ]


@committed
def test_positions_follow_each_other() -> None:
    """Each event gets one position, from 1, in the order in which it was written."""
    ticket = Ticket.objects.create()
    ticket.open()
    ticket.save()
    Lead.objects.create()

    assert sequence() == 3
    assert [position for position, _, _ in log()] == [1, 2, 3]
    assert [entry[2] for entry in log()] == [1, 2, 1]


@committed
def test_again_is_harmless() -> None:
    """What has a position keeps it."""
    Ticket.objects.create()
    sequence()
    before = list(Position.objects.values_list())

    assert sequence() == 0
    assert list(Position.objects.values_list()) == before
    assert not Unsequenced.objects.exists()


@committed
@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batches_give_the_same(batch_size: int) -> None:
    """However large the batch, positions are the same; a transaction stays in one piece."""
    with transaction.atomic():
        for _ in range(3):
            Ticket.objects.create()
    for _ in range(4):
        Ticket.objects.create()
    written = list(Event.objects.order_by("id").values_list("originator", flat=True))

    assert sequence(batch_size=batch_size) == 7
    assert [originator for _, originator, _ in log()] == written


@committed
def test_each_application_has_its_own_positions() -> None:
    """Positions are gapless per application, and one can be sequenced alone."""
    Ticket.objects.create()
    for name in ("first", "second"):
        Event.objects.create(application=name, originator="a", version=1, topic="t")

    assert sequence(application="first") == 1
    assert Position.objects.get().application == "first"
    assert sequence() == 2
    assert {entry.position for entry in Position.objects.all()} == {1}


@committed
def test_inside_a_transaction_it_refuses() -> None:
    """A position must not be rolled back with a caller's transaction."""
    with transaction.atomic(), pytest.raises(InsideTransaction, match="cannot run inside one") as e:
        sequence()

    assert "stockflow.testing.sequence()" in str(pickle.loads(pickle.dumps(e.value)))


@pytest.mark.django_db
def test_inside_a_test_the_helper_sequences() -> None:
    """In a test's own transaction the events are visible, and get their positions."""
    Ticket.objects.create()

    assert testing.sequence() == 1
    assert testing.sequence() == 0


@committed
def test_rolled_back_events_leave_nothing() -> None:
    """A rollback, of a savepoint or of all, takes the pending row with its event."""
    with transaction.atomic():
        Ticket.objects.create()
        with transaction.atomic():
            Ticket.objects.create()
            transaction.set_rollback(True)

    assert sequence() == 1
    assert [position for position, _, _ in log()] == [1]


@committed
def test_lost_pending_rows_are_listed_again() -> None:
    """Events that lost their pending row, in a partial restore, say, are found and positioned."""
    Ticket.objects.create()
    Unsequenced.objects.all().delete()

    assert sequence() == 0
    assert (enlist("default"), enlist("default")) == (1, 0)
    assert sequence() == 1


@committed
def test_pending_rows_of_another_cluster_are_positioned() -> None:
    """Whatever number their transactions had there, they hold up nobody and none is left."""
    ticket = Ticket.objects.create()
    Unsequenced.objects.update(transaction_id=2**63 - 1)
    ticket.open()
    ticket.save()

    assert (sequence(batch_size=1), sequence()) == (2, 0)
    assert [version for _, _, version in log()] == [1, 2]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="ids are in order of commit there")
def test_a_transaction_is_known_by_more_than_its_number() -> None:
    """A number that a restored event's transaction had elsewhere is not taken for this one's.

    If it were, the restored event would follow the new one, and the object's own next event
    would come before it.
    """
    ticket, other = Ticket.objects.create(), Lead.objects.create()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        Unsequenced.objects.filter(event=Event.objects.earliest("id").pk).update(
            transaction_id=cursor.fetchone()[0]
        )
        ticket.open()
        ticket.save()
        other.cool()
        other.save()
    mine, ours = Unsequenced.objects.order_by("event"), Event.objects.order_by("id")

    assert len({row.transaction_id for row in mine}) == 3
    assert len({row.transaction_id for row in mine[2:]}) == 1
    assert sequence() == 4
    assert [entry[1:] for entry in log()] == [(e.originator, e.version) for e in ours]


@committed
def test_events_that_have_their_positions_wait_no_more() -> None:
    """A fixture's events are listed when they are loaded, and its positions come after them."""
    Ticket.objects.create()
    pending = Unsequenced.objects.get()
    sequence()
    pending.save(force_insert=True)
    Ticket.objects.create()

    assert sequence() == 1
    assert [position for position, _, _ in log()] == [1, 2]
    assert not Unsequenced.objects.exists()


@committed
def test_migrate_lists_what_a_restore_forgot() -> None:
    """Every ``migrate`` looks for events that would never get a position."""
    Ticket.objects.create()
    Unsequenced.objects.all().delete()
    call_command("migrate", verbosity=0)

    assert sequence() == 1


@committed
@pytest.mark.parametrize("table", ["stockflow_event", "stockflow_position"])
@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE {} SET application = 'x'", id="update"),
        pytest.param("DELETE FROM {}", id="delete"),
        pytest.param("TRUNCATE {}", id="truncate"),
        pytest.param("REPLACE INTO {0} SELECT * FROM {0}", id="replace"),
        pytest.param("UPDATE OR REPLACE {} SET application = 'x'", id="update or replace"),
        pytest.param("UPDATE OR IGNORE {} SET application = 'x'", id="update or ignore"),
    ],
)
def test_log_is_never_altered(table: str, statement: str) -> None:
    """The database itself refuses what would alter an event or a position."""
    theirs = {"TRUNCATE"} if connection.vendor == "sqlite" else {"REPLACE", "OR"}
    if theirs & {*statement.split()}:
        pytest.skip("the other database's statement")
    Ticket.objects.create()
    sequence()
    before = list(Event.objects.values_list()), list(Position.objects.values_list())

    with pytest.raises(IntegrityError, match=f"^stockflow: [A-Z]+ of {table} is refused: "):
        connection.cursor().execute(statement.format(table))
    assert (list(Event.objects.values_list()), list(Position.objects.values_list())) == before


@pytest.mark.django_db
def test_without_the_triggers_the_log_is_lost() -> None:
    """They are needed: without them, what is refused above happens."""
    Ticket.objects.create()
    testing.sequence()
    with tampering() as cursor:
        for table in ("stockflow_event", "stockflow_position"):
            cursor.execute(f"DELETE FROM {table}")
        left = Event.objects.exists(), Position.objects.exists()

    assert left == (False, False)


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite has REPLACE")
def test_replace_needs_a_trigger_of_its_own() -> None:
    """On SQLite REPLACE removes a row without firing the trigger of DELETE."""
    Ticket.objects.create()
    columns = [str(f.column) for f in Event._meta.concrete_fields if f.column != "actor"]
    names = ", ".join(columns)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER stockflow_event_replace")
        cursor.execute(
            f"REPLACE INTO stockflow_event ({names}, actor) "
            f"SELECT {names}, 'forged' FROM stockflow_event WHERE id = (SELECT max(id) FROM stockflow_event)"
        )
        replaced = Event.objects.get().actor
        transaction.set_rollback(True)

    assert replaced == "forged"


@committed
def test_orm_cannot_alter_the_log() -> None:
    """So is what the ORM would do, and upserts."""
    Ticket.objects.create()
    event = Event.objects.get()

    for alter in (
        event.save,
        event.delete,
        Event.objects.all().delete,
        lambda: Event.objects.update(actor="x"),
        lambda: Event.objects.bulk_create(
            [event], update_conflicts=True, unique_fields=["id"], update_fields=["actor"]
        ),
    ):
        with pytest.raises(IntegrityError, match=r"^stockflow: "):
            alter()


@committed
def test_flush_empties_the_log_and_restores_the_triggers() -> None:
    """``flush`` may do what nobody else may; afterwards the log is guarded as before."""
    Ticket.objects.create()
    sequence()
    call_command("flush", interactive=False, verbosity=0)

    assert not Event.objects.exists()
    assert not Position.objects.exists()
    Ticket.objects.create()
    assert sequence() == 1
    with pytest.raises(IntegrityError, match=r"^stockflow: "):
        Event.objects.all().delete()


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL goes by its statistics")
def test_what_waits_is_read_without_the_log() -> None:
    """However long that is: each event is looked up by its key, in the order of what waits."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {_OLDEST}", ["stockflow", 10])
        plan = [row[3] for row in cursor.fetchall()]

    assert [step.split()[:2] for step in plan] == [["SCAN", "u"], ["SEARCH", "e"]]


@committed
def test_poll_reads_the_index_only_as_far_as_asked() -> None:
    """Reading on from a position neither sorts nor scans the log."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Of few rows the planner prefers to read all, or all that the index names.
            cursor.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        sql, values = (
            Position.objects.filter(application="stockflow", position__gt=7)
            .order_by("position")[:10]
            .query.sql_with_params()
        )
        explain = "EXPLAIN " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN "
        cursor.execute(explain + sql, values)
        plan = " ".join(str(row) for row in cursor.fetchall()).lower()
        if connection.vendor == "postgresql":
            cursor.execute("RESET enable_seqscan; RESET enable_bitmapscan")

    assert "sort" not in plan
    assert "temp b-tree" not in plan
    assert "index" in plan
