"""Putting the fence up, taking it down, and telling whether it stands as it should."""

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from django.db import connections, transaction

from stockflow import conf
from stockflow.fence import postgresql, sqlite
from stockflow.fence.subjects import Fenced, fenced_tables
from stockflow.fence.triggers import Trigger

_VENDORS: dict[str, ModuleType] = {"postgresql": postgresql, "sqlite": sqlite}


def wanted(using: str) -> dict[str, Trigger]:
    """Return the triggers that the database *using* should have, by name."""
    if not conf.fence():
        return {}
    made = [
        Trigger(fenced, operation, body)
        for fenced in fenced_tables(using)
        if _fits(fenced, using)
        for operation, body in _vendor(using).triggers(fenced, using).items()
    ]
    return {trigger.name: trigger for trigger in made}


def _fits(fenced: Fenced, using: str) -> bool:
    """Whether the tables have the columns already, or still: in the middle of migrations they may not."""
    root = Fenced(fenced.root, fenced.root)
    named = _vendor(using).named
    return all(named(one, using) <= _columns(one.table, using) for one in {fenced, root})


def _columns(table: str, using: str) -> set[str]:
    connection = connections[using]
    with connection.cursor() as cursor:
        described = connection.introspection.get_table_description(cursor, table)
    return {column.name for column in described}


def _vendor(using: str) -> Any:
    return _VENDORS[connections[using].vendor]


def installed(using: str) -> dict[str, tuple[str, str]]:
    """Return table and text of each trigger of the fence that stands, by name."""
    if connections[using].vendor not in _VENDORS:
        return {}
    with connections[using].cursor() as cursor:
        found: dict[str, tuple[str, str]] = _vendor(using).installed(cursor)
    return found


def differing(using: str) -> tuple[list[Trigger], list[str]]:
    """Return the triggers that are missing or not as they should be, and the names of stale ones."""
    should, there = wanted(using), installed(using)
    missing = [t for name, t in should.items() if there.get(name) != (t.table, t.body)]
    return missing, [name for name in there if name not in should]


def install(using: str) -> None:
    """Make the fence of the database *using* stand as the models and the setting say."""
    missing, stale = differing(using)
    there = installed(using)
    gone = [*stale, *(trigger.name for trigger in missing if trigger.name in there)]
    statements = [_vendor(using).drop(name) for name in gone]
    _execute(using, statements + [_vendor(using).create(trigger) for trigger in missing])


def _execute(using: str, statements: Iterable[str]) -> None:
    if not statements:
        return
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def take_down(using: str, operations: Iterable[str] | None = None) -> None:
    """Drop the fence of the database *using*, or what of it watches *operations*."""
    chosen = None if operations is None else set(operations)
    names = [n for n in installed(using) if chosen is None or n.split("_")[2] in chosen]
    _execute(using, [_vendor(using).drop(name) for name in names])
