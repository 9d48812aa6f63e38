"""Giving committed events their positions: gapless, in the order that each object needs."""

from collections.abc import Iterator, Sequence
from itertools import islice
from secrets import token_bytes
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, IntegrityError, connections, transaction

from stockflow import rows
from stockflow.errors import InsideTransaction, InvalidIsolation
from stockflow.eventstore.chain import GENESIS, SALT, columns, hash_of
from stockflow.eventstore.expressions import clock_of
from stockflow.tables import Position, Unsequenced

BATCH = 1000
"""How many events one transaction positions at first."""

_CHUNK = 500
"""How many events are in memory at once."""

_LARGEST = 50_000
"""To how many a batch grows on PostgreSQL while more are waiting: there it locks out no writer."""

CHANNEL = "stockflow_position"
"""On which PostgreSQL tells that an application's events got positions."""

_OLDEST = """
SELECT u.event, u.transaction_id FROM stockflow_unsequenced u
CROSS JOIN stockflow_event e
WHERE e.id = u.event AND e.application = u.application AND u.application = %s
ORDER BY u.event LIMIT %s
"""
"""CROSS tells SQLite to begin with what waits, of which there is little, not with the whole log."""

_POSITIONED = """
DELETE FROM stockflow_unsequenced WHERE application = %s
AND EXISTS (SELECT 1 FROM stockflow_position p WHERE p.event = stockflow_unsequenced.event)
"""
"""Ends the waiting of events that were loaded with their positions, as from a fixture."""

_WHOLE = f"""
WITH w AS ({_OLDEST})
SELECT event, transaction_id NOT IN (
    SELECT transaction_id FROM stockflow_unsequenced
    WHERE application = %s AND event > (SELECT max(event) FROM w)
) FROM w ORDER BY max(event) OVER (PARTITION BY transaction_id), event
"""
"""The oldest events, ordered by the last event of their transaction, and whether all of that
transaction's events are among them.

A transaction that followed another one on some object has the later last event, whatever the
order in which the two began, and the events of one transaction stay together.
"""

_POSITION = {"event": "bigint", "position": "bigint", "hash": "bytea", "salt": "bytea"}

_ENLIST = """
INSERT INTO stockflow_unsequenced (event, application, transaction_id)
SELECT e.id, e.application, e.id FROM stockflow_event e
WHERE NOT EXISTS (SELECT 1 FROM stockflow_position p WHERE p.event = e.id)
AND NOT EXISTS (SELECT 1 FROM stockflow_unsequenced u WHERE u.event = e.id)
"""


def sequence(
    using: str = DEFAULT_DB_ALIAS, application: str | None = None, *, batch_size: int = BATCH
) -> int:
    """Give each committed event that lacks one its position, and its link in the hash chain.

    It may be called at any time, by any number of processes at once: what is left to do is
    done once. Events of a transaction that is still open are left to a later call, which
    gives them later positions; they hold up nobody.

    Args:
        using: The alias of the database that has the log.
        application: Whose events; those of all applications by default.
        batch_size: How many events to position in one transaction; more on PostgreSQL while
            many are waiting.

    Returns:
        How many events this call gave a position.

    Raises:
        InsideTransaction: If called inside ``atomic()``: a position must not be rolled back.
        InvalidIsolation: If transactions of the PostgreSQL database are not READ COMMITTED.
    """
    connection = connections[using]
    if connection.in_atomic_block or not connection.get_autocommit():
        raise InsideTransaction(
            "sequence() makes transactions of its own and cannot run inside one: call it outside "
            "of atomic(), or stockflow.testing.sequence() in a test."
        )
    return sum(sequence_here(using, application, batch_size=batch_size))


def catch_up(using: str, application: str | None = None) -> None:
    """Call :func:`sequence` where a reader may: outside of transactions, on what can be written."""
    connection = connections[using]
    if connection.in_atomic_block or not connection.get_autocommit():
        return
    try:
        sequence(using, application)
    except DatabaseError as error:
        if not _is_read_only(error):
            raise


def _is_read_only(error: DatabaseError) -> bool:
    state = getattr(error.__cause__, "sqlstate", None)
    return state == "25006" or "readonly database" in str(error)


def sequence_here(
    using: str, application: str | None = None, *, batch_size: int = BATCH
) -> Iterator[int]:
    """Yield how many events each batch positioned; a caller's transaction is not left.

    In there, events of others would wait for its end: :func:`sequence` refuses that.
    """
    for name in [application] if application is not None else waiting_applications(using):
        if Unsequenced.objects.using(using).filter(application=name).exists():
            try:
                yield from _sequence_application(using, name, batch_size)
            except IntegrityError:
                if not _unlist(using, name):
                    raise
                yield from _sequence_application(using, name, batch_size)


def waiting_applications(using: str) -> list[str]:
    """Return the applications that have events without a position."""
    waiting = Unsequenced.objects.using(using).order_by("application")
    return list(waiting.values_list("application", flat=True).distinct())


def enlist(using: str) -> int:
    """List each event that has no position and is not listed, as after a restore of events only.

    Returns:
        How many events were listed.
    """
    with connections[using].cursor() as cursor:
        cursor.execute(_ENLIST)
        return int(cursor.rowcount)


def _unlist(using: str, application: str) -> int:
    with connections[using].cursor() as cursor:
        cursor.execute(_POSITIONED, [application])
        return int(cursor.rowcount)


def _sequence_application(using: str, application: str, batch_size: int) -> Iterator[int]:
    limit, largest = batch_size, batch_size
    if connections[using].vendor == "postgresql":
        largest = max(batch_size, _LARGEST)
    while True:
        with transaction.atomic(using=using):
            at = lock(connections[using], application)
            events, is_last = _next(connections[using], application, limit)
            _position(using, application, at, events)
            if events:
                _notify(connections[using], application)
        if events:
            yield len(events)
        if is_last:
            return
        # A transaction that wrote more than a batch is positioned in one piece.
        limit = min(limit * 2, largest) if events else limit * 2


def lock(connection: Any, application: str) -> int:
    """Wait until this is the only sequencer, and return the instant that it is then.

    What is read afterwards must see what the sequencer before wrote: on PostgreSQL that takes a
    statement of its own after the lock, and an isolation that lets it see more than the first.
    SQLite has locked the database when the transaction began.
    """
    clock, values = clock_of(connection)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT current_setting('transaction_isolation'), "
                "pg_advisory_xact_lock(hashtext('stockflow'), hashtext(%s))",
                [application],
            )
            isolation = cursor.fetchone()[0]
            if isolation != "read committed":
                raise InvalidIsolation(
                    f"Positions need READ COMMITTED, and the database {connection.alias!r} has "
                    f"{isolation.upper()}: leave 'isolation_level' out of its OPTIONS, or give "
                    "stockflow an alias of its own."
                )
        cursor.execute(f"SELECT {clock}", values)
        return int(cursor.fetchone()[0])


def _next(connection: Any, application: str, limit: int) -> tuple[list[int], bool]:
    """Return the next events in order, and whether no other is waiting."""
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":  # one writer at a time: ids are in order of commit
            cursor.execute(_OLDEST, [application, limit])
            events = [event for event, _ in cursor.fetchall()]
            return events, len(events) < limit
        cursor.execute(_WHOLE, [application, limit, application])
        found = cursor.fetchall()
    return [event for event, is_whole in found if is_whole], len(found) < limit


def _position(using: str, application: str, at: int, events: Sequence[int]) -> None:
    head = (
        Position.objects.using(using).filter(application=application).order_by("-position").first()
    )
    last, previous = (head.position, bytes(head.hash)) if head else (0, GENESIS)
    connection, remaining = connections[using], iter(events)
    same = {"application": ("%s", (application,)), "sequenced_at": ("%s", (at,))}
    while chunk := list(islice(remaining, _CHUNK)):
        stored, placed = _read(connection, chunk), list[rows.Row]()
        for event in chunk:
            last += 1
            salt = token_bytes(SALT)
            previous = hash_of(previous, [application, last, at], stored[event], salt=salt)
            placed.append((event, last, previous, salt))
        rows.insert(connection, "stockflow_position", _POSITION, placed, also=same)
        test, values = rows.among(connection, "event", chunk)
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM stockflow_unsequenced WHERE {test}", values)


def _notify(connection: Any, application: str) -> None:
    """Wake who listens, once this transaction has committed; writers never notify.

    PostgreSQL lets transactions that notify commit one after the other, as sequencers do anyhow.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, application])


def _read(connection: Any, events: Sequence[int]) -> dict[int, tuple[Any, ...]]:
    """Return each event's columns as the database holds them: what was sent may have changed."""
    test, values = rows.among(connection, "e.id", events)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns(connection)} FROM stockflow_event e WHERE {test}", values)
        return {row[0]: row for row in cursor.fetchall()}
