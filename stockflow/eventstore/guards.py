"""What guards the log's own tables: whether it stands as its script says, and putting it back."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connections, transaction

from stockflow.eventstore.triggers import script
from stockflow.tables import Event

_TRIGGER = re.compile(r"(CREATE TRIGGER (\w+) .*? ON (\w+)\b.*?);?\Z", re.DOTALL)
_FUNCTION = re.compile(r"CREATE (FUNCTION (\w+)\(.*?AS \$\$(.*)\$\$);", re.DOTALL)
_SQLITE = (
    "SELECT name, tbl_name, sql FROM sqlite_master "
    "WHERE type = 'trigger' AND substr(name, 1, 9) = 'stockflow'"
)
_POSTGRESQL = """
    SELECT t.tgname, c.relname, pg_get_triggerdef(t.oid, true)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE starts_with(t.tgname, 'stockflow') AND pg_table_is_visible(c.oid)
    AND t.tgenabled IN ('O', 'A') AND NOT t.tgisinternal
    UNION ALL
    SELECT proname, '', prosrc FROM pg_proc
    WHERE starts_with(proname, 'stockflow') AND pg_function_is_visible(oid)
"""


@dataclass(frozen=True)
class Guard:
    """One trigger, or a function that triggers and saves call.

    Attributes:
        name: Its name.
        table: The table that a trigger stands on; empty for a function.
        text: What the database keeps of it, and is compared by.
        statement: What makes it.
    """

    name: str
    table: str
    text: str
    statement: str

    def __str__(self) -> str:
        return f"{self.name} on {self.table}" if self.table else self.name


def missing(using: str) -> list[Guard]:
    """Return what does not stand in the database *using*, or not as it should; none without the log."""
    connection = connections[using]
    wanted = [*_wanted(connection.vendor)]
    if not wanted or Event._meta.db_table not in connection.introspection.table_names():
        return []
    there = _POSTGRESQL if connection.vendor == "postgresql" else _SQLITE
    with connection.cursor() as cursor:
        cursor.execute(there)
        found = {(name, table): _plain(text) for name, table, text in cursor.fetchall()}
    return [g for g in wanted if found.get((g.name, g.table)) != _plain(g.text)]


def restore(using: str) -> None:
    """Make what is missing in the database *using*, functions before the triggers that call them."""
    if not (gone := missing(using)):
        return
    on = " ON {}" if connections[using].vendor == "postgresql" else ""
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        for guard in gone:
            if guard.table:
                cursor.execute(f"DROP TRIGGER IF EXISTS {guard.name}{on.format(guard.table)}")
            cursor.execute(guard.statement)


def _wanted(vendor: str) -> Iterator[Guard]:
    for statement in script(vendor):
        if made := _TRIGGER.search(statement):
            text, name, table = made.groups()
            yield Guard(name, table, text, text)
        elif made := _FUNCTION.search(statement):
            text, name, body = made.groups()
            yield Guard(name, "", body, f"CREATE OR REPLACE {text}")


def _plain(text: str) -> str:
    """Return *text* without what only lays it out."""
    return re.sub(r"(?<=\() | (?=\))", "", " ".join(text.split()))
