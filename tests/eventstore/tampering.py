"""Altering the log as somebody does who has the database: without its triggers."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

from django.db import IntegrityError, connection, transaction

from stockflow.eventstore.triggers import lifting
from stockflow.models import Event, Position

TABLES = {Event: "id", Position: "event"}


@contextmanager
def unguarded() -> Iterator[Any]:
    """Give a cursor to a log without triggers; at the end it has them again."""
    connection.check_constraints()  # a table with deferred checks cannot be altered
    lift, restore = lifting(connection, {model._meta.db_table for model in TABLES})
    with connection.cursor() as cursor:
        for statement in lift:
            cursor.execute(statement)
        yield cursor
        for statement in restore:
            cursor.execute(statement)


@contextmanager
def tampering() -> Iterator[Any]:
    """Give a cursor to a log without triggers; at the end all is as before."""
    with transaction.atomic():
        with unguarded() as cursor:
            yield cursor
        transaction.set_rollback(True)


def change_a_byte(cursor: Any, random: Random) -> int:
    """Change one byte of one value somewhere, and return the position that it belongs to."""
    while True:
        model = random.choice(list(TABLES))
        field = random.choice(model._meta.concrete_fields)
        row: Any = random.choice(model._default_manager.all())
        value = getattr(row, field.attname)
        position = row.position if model is Position else _position_of(row.pk)
        if value in (None, "", b""):
            continue
        marks, changed = _changed(value, random)
        with suppress(IntegrityError), transaction.atomic():  # what is unique stays so
            cursor.execute(
                f"UPDATE {model._meta.db_table} SET {field.column} = {marks} "
                f"WHERE {TABLES[model]} = %s",
                [changed, row.pk],
            )
            return position


def _position_of(event: int) -> int:
    return Position.objects.get(event=event).position


def _changed(value: Any, random: Random) -> tuple[str, Any]:
    """Return *value* with one byte changed, and how to write it."""
    if isinstance(value, int):
        return "%s", value ^ (random.randrange(1, 256) << 8 * random.randrange(7))
    data = bytearray(value.encode() if isinstance(value, str) else bytes(value))
    at = random.randrange(len(data))
    if isinstance(value, str) and connection.vendor == "postgresql":
        while data[at] >= 128:  # what is no UTF-8 the database refuses by itself
            at = random.randrange(len(data))
        data[at] = data[at] % 94 + 33
        return "%s", data.decode()
    data[at] ^= random.randrange(1, 256)
    return ("CAST(%s AS text)" if isinstance(value, str) else "%s"), bytes(data)


def delete_a_row(cursor: Any, random: Random) -> int:
    """Delete an event or a position."""
    entry: Any = random.choice(Position.objects.all())
    model = random.choice(list(TABLES))
    cursor.execute(f"DELETE FROM {model._meta.db_table} WHERE {TABLES[model]} = %s", [entry.event])
    return int(entry.position)


def swap_two_positions(cursor: Any, random: Random) -> int:
    """Let two events change places, with their hashes or without."""
    first, second = sorted(random.sample(list(Position.objects.all()), 2), key=lambda e: e.position)
    for event, position in (
        (first.event, 0),
        (second.event, first.position),
        (first.event, second.position),
    ):
        cursor.execute(
            "UPDATE stockflow_position SET position = %s WHERE event = %s", [position, event]
        )
    if random.random() < 0.5:
        for entry, other in ((first, second), (second, first)):
            cursor.execute(
                "UPDATE stockflow_position SET hash = %s WHERE event = %s",
                [bytes(other.hash), entry.event],
            )
    return int(first.position)


def insert_an_event(cursor: Any, random: Random) -> int:
    """Insert a copy of an event in the name of another version, with a position or without."""
    event: Any = random.choice(Event.objects.all())
    last = Event.objects.latest("id").pk
    columns = ", ".join(
        str(f.column) for f in Event._meta.concrete_fields if f.column not in ("id", "version")
    )
    cursor.execute(
        f"INSERT INTO stockflow_event (id, version, {columns}) "
        f"SELECT %s, %s, {columns} FROM stockflow_event WHERE id = %s",
        [last + 1, 1000, event.pk],
    )
    position = Position.objects.latest("position").position + 1
    if random.random() < 0.5:
        cursor.execute(
            "INSERT INTO stockflow_position (event, application, position, sequenced_at, hash) "
            "VALUES (%s, 'stockflow', %s, 0, %s)",
            [last + 1, position, random.randbytes(32)],
        )
    return int(position)


TAMPERINGS = [
    change_a_byte,
    change_a_byte,
    change_a_byte,
    delete_a_row,
    swap_two_positions,
    insert_an_event,
]
